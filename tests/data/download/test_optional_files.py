"""What goes with a dataset: had where it can be had, and never a reason to fail."""

from __future__ import annotations

from shiftcast.data.download.transfer import UnreachedError


def leftovers(tiny):
    partial = tiny.store.folder / ".partial"
    return sorted(path.name for path in partial.iterdir()) if partial.is_dir() else []


def labels_too(tiny, server, **more):
    body = b'{"labels": 1}'
    optional = {"into": "people", "optional": True, **more}
    first = tiny.download(server.add("/a", tiny.archive))
    extra = {"file": "people.json", "urls": [server.add("/people", body)], **optional}
    return tiny.card(first, extra), body


def test_what_goes_with_a_dataset_comes_along(tiny, server):
    card, body = labels_too(tiny, server)
    assert tiny.get(card).status == "here"
    assert len(server.asked("/people")) == 0
    tiny.extras(card)
    assert (tiny.store.folder / "people/people.json").read_bytes() == body
    tiny.extras(card)
    assert len(server.asked("/people")) == 1
    assert leftovers(tiny) == []


def test_without_it_the_dataset_is_complete(tiny, server):
    card, _ = labels_too(tiny, server, sha256="0" * 64, stated_by="a page")
    assert tiny.get(card).status == "here"
    tiny.extras(card)
    assert "continues without people.json, which is optional" in tiny.notes.text
    assert not (tiny.store.folder / "people").exists()


def test_it_is_taken_from_disk_too(tiny, server, tmp_path):
    card, body = labels_too(tiny, server)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "people.json").write_bytes(body)
    tiny.extras(card, source=tmp_path / "own")
    assert (tiny.store.folder / "people/people.json").read_bytes() == body
    assert server.log == []


def test_a_folder_that_cannot_be_written_to_goes_without(tiny, server):
    card, _ = labels_too(tiny, server)
    tiny.get(card)
    locks = tiny.store.folder / ".shiftcast/locks"
    locks.rmdir()
    locks.touch()  # no lock can be made in it, whoever tries
    tiny.extras(card)
    assert "continues without people.json, which is optional" in tiny.notes.text
    assert server.asked("/people") == []


def test_a_file_that_is_another_one_is_named_and_left(tiny, server):
    card, body = labels_too(tiny, server)
    tiny.get(card)
    tiny.extras(card)
    place = tiny.store.folder / "people/people.json"
    place.write_bytes(b"mine")
    tiny.extras(card)
    assert "people.json: expected sha256:" in tiny.notes.text
    assert "It was not changed; to download it again: shiftcast data get tiny-set --force" in tiny.notes.text
    assert place.read_bytes() == b"mine"
    tiny.extras(card, force=True)
    assert place.read_bytes() == body


def test_a_link_is_not_replaced_unasked(tiny, server, tmp_path):
    card, body = labels_too(tiny, server)
    place = tiny.store.folder / "people/people.json"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "unmounted.json")
    tiny.extras(card)
    assert "would be replaced" in tiny.notes.text
    assert place.is_symlink()
    tiny.extras(card, force=True)
    assert not place.is_symlink()
    assert place.read_bytes() == body


def test_a_persons_original_is_not_written_to(tiny, server, tmp_path):
    card, body = labels_too(tiny, server)
    (tmp_path / "own").mkdir()
    original = tmp_path / "own" / "people.json"
    original.write_bytes(b"mine")
    tiny.extras(card, source=tmp_path / "own")
    tiny.extras(card, force=True, trust=frozenset([card.name]))
    assert original.read_bytes() == b"mine"
    assert (tiny.store.folder / "people/people.json").read_bytes() == body


def test_an_unreached_host_is_worth_one_line_and_is_waited_for_once(tiny, server, monkeypatch):
    asked = []

    def unreached(download, *_):
        asked.append(download.file)
        raise UnreachedError(f"{download.file}: no source delivered it:\n  no connection\nTry again later")

    monkeypatch.setattr("shiftcast.data.download.obtain.fetch", unreached)
    extras = [
        {"file": f"{name}.json", "urls": ["http://127.0.0.1:9/x"], "into": "people", "optional": True}
        for name in "ab"
    ]
    tiny.extras(tiny.card(*extras))
    assert asked == ["a.json"]
    assert tiny.notes.lines == [
        "tiny-set: continues without a.json, which is optional: a.json: no source delivered it: "
        "no connection Try again later",
    ]


def test_hosts_that_are_not_reached_are_told_from_those_that_refuse(tiny, server):
    extra = {"file": "a.json", "into": "people", "optional": True}
    other = {**extra, "file": "b.json", "urls": [server.add("/b", b"{}")]}
    tiny.extras(tiny.card({**extra, "urls": ["http://127.0.0.1:9/a", server.url + "/none"]}, other))
    assert (tiny.store.folder / "people/b.json").exists()
    (tiny.store.folder / "people/b.json").unlink()
    tiny.extras(tiny.card({**extra, "urls": ["http://127.0.0.1:9/a"]}, other))
    assert not (tiny.store.folder / "people/b.json").exists()
