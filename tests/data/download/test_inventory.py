"""What is known of datasets in a data folder, and what a check finds."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from shiftcast.data.download.inventory import check, inspect
from shiftcast.data.fingerprints import fingerprint
from shiftcast.errors import DataError


def fill(folder, tiny):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tiny.files.items():
        (folder / name).write_bytes(content)


def test_check_finds_what_changed_and_list_says_it(tiny, server):
    urls = {name: server.add(f"/{name}", content) for name, content in tiny.files.items()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in tiny.files.items()}
    downloads = [
        {"file": name, "urls": [url], "into": "tiny", "sha256": sums[name], "stated_by": "p"}
        for name, url in urls.items()
    ]
    card = tiny.card(*downloads)
    tiny.get(card)
    assert check(card, tiny.store)[1] == []
    place = tiny.store.folder / "tiny/labels.npy"
    facts, data = place.stat(), bytearray(place.read_bytes())
    data[-8] ^= 1
    place.write_bytes(data)
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # what a failing disk does
    assert inspect(card, tiny.store).arrays == "publisher"
    _, problems = check(card, tiny.store)
    assert len(problems) == 3
    for part in (
        f"recorded on {tiny.store.record(card.name).time[:10]}",
        "arrays: recorded as",
        "expected sha256",
    ):
        assert part in "\n".join(problems)


def test_what_a_person_put_there_is_recorded_by_the_first_check(tiny):
    card = tiny.card()
    fill(tiny.store.folder / "tiny", tiny)
    assert inspect(card, tiny.store).arrays == "unverified"
    state, problems = check(card, tiny.store)
    assert (state.note, problems) == ("recorded now", [])
    np.save(tiny.store.folder / "tiny/labels.npy", 1 - tiny.labels)
    assert inspect(card, tiny.store).status == "changed"
    assert check(card, tiny.store)[1]


@pytest.mark.parametrize("recorded", [False, True])
def test_arrays_that_the_card_does_not_state_are_named_whatever_is_recorded(tiny, recorded):
    card = tiny.card(fingerprint=fingerprint(tiny.images, tiny.labels))
    fill(tiny.store.folder / "tiny", tiny)
    place = tiny.store.folder / "tiny/images.npy"
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    if recorded:
        check(tiny.card(), tiny.store)
    state, problems = check(card, tiny.store)
    assert problems == [f"arrays: the card states {card.fingerprint}, are {state.fingerprint}"]
    if not recorded:
        fill(tiny.store.folder / "tiny", tiny)
        assert check(card, tiny.store)[1] == []


def test_fingerprints_are_kept_by_size_and_time(tiny, monkeypatch):
    card = tiny.card()
    fill(tiny.store.folder / "tiny", tiny)
    first = inspect(card, tiny.store)

    def never(*_):
        raise AssertionError("read again")

    monkeypatch.setattr("shiftcast.data.download.inventory.fingerprint_of", never)
    assert inspect(card, tiny.store) == first
    os.utime(tiny.store.folder / "tiny/labels.npy")
    with pytest.raises(AssertionError, match="read again"):
        inspect(card, tiny.store)


@pytest.mark.parametrize("name", ["trusted.json", "records/tiny-set.json", "fingerprints/tiny-set.json"])
def test_a_damaged_memory_is_named(tiny, server, name):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive)))
    tiny.get(card)
    (tiny.store.folder / ".shiftcast" / name).write_text("{")
    if name.startswith("fingerprints"):
        assert inspect(card, tiny.store).status == "here"
    else:
        with pytest.raises(DataError, match=f"{name}: cannot be read"):
            tiny.get(card, force=True)


@pytest.mark.parametrize(
    "changes", [{"n": 13}, {"classes": ["a"] * 2 + ["b"], "class_map": {}}, {"files": ["images.npy"]}]
)
def test_a_card_that_reads_otherwise_is_not_answered_from_memory(tiny, changes, monkeypatch):
    fill(tiny.store.folder / "tiny", tiny)
    inspect(tiny.card(), tiny.store)
    reads = []
    monkeypatch.setattr(
        "shiftcast.data.download.inventory.fingerprint_of", lambda *_: reads.append(1) or "0" * 64
    )
    inspect(tiny.card(title="another", citation="c2"), tiny.store)
    assert not reads
    inspect(tiny.card(**changes), tiny.store)
    assert len(reads) == 1


def test_a_card_with_another_number_of_images_is_found_out(tiny):
    fill(tiny.store.folder / "tiny", tiny)
    card = tiny.card(fingerprint=fingerprint(tiny.images, tiny.labels))
    assert inspect(card, tiny.store).arrays == "publisher"
    assert inspect(card.model_copy(update={"n": 13}), tiny.store).status == "damaged"


@pytest.mark.parametrize("optional", [True, False])
def test_files_without_a_stated_hash_are_held_against_what_first_came(tiny, server, optional):
    body = b"as it came"
    more = {"optional": True} if optional else {}
    extra = {"file": "people.json", "urls": [server.add("/people", body)], "into": "people", **more}
    card = tiny.card(tiny.download(server.add("/a", tiny.archive)), extra)
    if optional:
        tiny.get(card)
        tiny.extras(card)
    else:
        tiny.get(card)
        place = tiny.store.folder / "people"
        place.mkdir(exist_ok=True)
        (place / "people.json").write_bytes(body)
    assert check(card, tiny.store)[1] == []
    (tiny.store.folder / "people/people.json").write_bytes(b"as it is")
    (problem,) = check(card, tiny.store)[1]
    first = hashlib.sha256(body).hexdigest()
    assert f"people.json: expected sha256:{first}, got sha256:" in problem
    assert f"it came from {server.url}/people on " in problem


def test_a_link_that_leads_nowhere_is_damage_and_no_crash(tiny):
    folder = tiny.store.folder / "tiny" / "a"
    folder.mkdir(parents=True)
    (folder / "0.png").symlink_to(folder / "gone.png")
    assert inspect(tiny.card(layout="image-folder", files=[]), tiny.store).status in ("damaged", "missing")
