"""Getting whole datasets: from sources, from disk, for the first time and again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from shiftcast.cards.dataset import Download
from shiftcast.data.download.fetch import part_of
from shiftcast.data.download.inventory import check, inspect
from shiftcast.data.download.transfer import size_of
from shiftcast.data.fingerprints import fingerprint
from shiftcast.errors import DataError, InvalidInputError, MissingDataError
from shiftcast.util.locks import locked
from support.workspaces import ARRAYS_CARD


@pytest.fixture
def stated(tiny):
    return {"sha256": hashlib.sha256(tiny.archive).hexdigest(), "stated_by": "a page"}


def leftovers(tiny):
    partial = tiny.store.folder / ".partial"
    return sorted(path.name for path in partial.iterdir()) if partial.is_dir() else []


def identity(tiny):
    return fingerprint(tiny.images, tiny.labels)


def test_an_archive_is_fetched_unpacked_read_and_recorded(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), **stated))
    state = tiny.get(card)
    assert (state.status, state.arrays, state.fingerprint) == ("here", "publisher", identity(tiny))
    assert state.note == "by the hash of tiny.tar.gz"
    assert state.size == sum(map(len, tiny.files.values()))
    assert (tiny.store.folder / "tiny/images.npy").read_bytes() == tiny.files["images.npy"]
    assert leftovers(tiny) == []
    assert not (tiny.store.folder / ".shiftcast/trusted.json").exists()
    record = tiny.store.record(card.name)
    assert record.received[0].stated == f"sha256:{stated['sha256']}"
    assert sorted(record.entries) == ["tiny/images.npy", "tiny/labels.npy"]
    assert check(card, tiny.store)[1] == []


def test_what_is_here_is_not_fetched_again_unless_forced(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), **stated))
    tiny.get(card)
    assert "already here" in tiny.get(card).note
    assert len(server.log) == 1
    assert "already here" not in tiny.get(card, force=True).note
    assert len(server.log) == 2


def test_locks_that_a_killed_process_left_are_removed_unless_somebody_holds_them(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), **stated))
    tiny.get(card)
    (first, *others) = tiny.store.locks(card)
    for path in (first, *others):
        path.write_text("1\nelsewhere\n")
    with locked(first, None):
        assert "already here" in tiny.get(card).note
        assert [path for path in (first, *others) if path.exists()] == [first]
    assert "already here" in tiny.get(card).note
    assert not first.exists()


def test_of_two_at_once_one_fetches_and_the_other_waits(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), **stated))
    with ThreadPoolExecutor(2) as pool:
        notes = sorted(state.note for state in pool.map(tiny.get, [card, card]))
    assert len(server.log) == 1
    assert [note.startswith("already here") for note in notes] == [True, False]
    assert f"waiting for process {os.getpid()}" in tiny.notes.text


def test_what_is_here_needs_no_folder_that_can_be_written_to(tiny, monkeypatch):
    fill(tiny.store.folder / "tiny", tiny)
    before = sorted(tiny.store.folder.rglob("*"))
    monkeypatch.setattr(
        "shiftcast.data.download.records.write_atomic", lambda *_: (_ for _ in ()).throw(OSError(30, "ro"))
    )
    assert "already here" in tiny.get(tiny.card(tiny.download("http://127.0.0.1:9/a"))).note
    assert sorted(tiny.store.folder.rglob("*")) == before


def test_files_that_are_no_archives_go_where_the_card_says(tiny, server):
    urls = {name: server.add(f"/{name}", content) for name, content in tiny.files.items()}
    downloads = [{"file": name, "urls": [url], "into": "tiny"} for name, url in urls.items()]
    state = tiny.get(tiny.card(*downloads))
    assert (state.status, state.arrays) == ("here", "unverified")
    assert leftovers(tiny) == []
    assert "images.npy is unverified, because it has no published hash" in tiny.notes.text


@pytest.mark.parametrize(
    ("changes", "arrays"),
    [
        ({"fingerprint": True}, "publisher"),
        ({"editions": True}, "ours"),
        ({"fingerprint": False}, "unknown"),
        ({}, "unverified"),
    ],
)
def test_it_is_said_whose_arrays_they_are(tiny, server, changes, arrays):
    if "editions" in changes:
        changes = {"editions": {"ours": {"fingerprint": identity(tiny), "description": "d"}}}
    elif changes:
        changes = {"fingerprint": identity(tiny) if changes["fingerprint"] else "0" * 64}
    state = tiny.get(tiny.card(tiny.download(server.add("/a", tiny.archive)), **changes))
    assert (state.status, state.arrays) == ("here", arrays)


def test_trust_on_first_use_and_refusal_of_changed_content(tiny, server):
    url = server.add("/a", tiny.archive)
    card = tiny.card(tiny.download(url))
    tiny.get(card)
    (seen,) = json.loads((tiny.store.folder / ".shiftcast/trusted.json").read_text())["files"]
    first = hashlib.sha256(tiny.archive).hexdigest()
    assert (seen["file"], seen["url"], seen["size"], seen["sha256"]) == (
        "tiny.tar.gz",
        url,
        len(tiny.archive),
        first,
    )
    tiny.get(card, force=True)
    assert "the same as on" in tiny.notes.text
    changed = type(tiny)(tiny.workspace, tiny.store.folder, tiny.notes)
    changed.images[0] ^= 1
    from_changed = zip_of({"tiny/images.npy": changed.images, "tiny/labels.npy": changed.labels})
    server.add("/a", from_changed)
    with pytest.raises(DataError) as caught:
        tiny.get(card, force=True)
    second = hashlib.sha256(from_changed).hexdigest()
    for part in (first, second, url, "data get tiny-set --force --trust tiny-set"):
        assert part in str(caught.value)
    assert inspect(card, tiny.store).fingerprint == fingerprint(tiny.images, np.arange(12) % 2)
    accepted = tiny.get(card, force=True, trust=frozenset([card.name]))
    assert accepted.fingerprint == fingerprint(changed.images, changed.labels)
    assert second in (tiny.store.folder / ".shiftcast/trusted.json").read_text()
    assert first not in (tiny.store.folder / ".shiftcast/trusted.json").read_text()


def zip_of(arrays):
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.save(part, array)
            archive.writestr(name, part.getvalue())
    return stream.getvalue()


def test_an_unchanged_second_source_is_used_when_the_first_has_changed(tiny, server):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), server.add("/b", tiny.archive)))
    tiny.get(card)
    server.add("/a", b"something else")
    tiny.get(card, force=True)
    assert server.asked("/b")
    assert "expected sha256:" in tiny.notes.text


def test_a_stated_hash_is_never_waived(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", b"other"), **stated))
    with pytest.raises(InvalidInputError, match="hash is stated"):
        tiny.get(card, trust=frozenset([card.name]))


def test_what_cannot_be_read_is_not_put_in_place(tiny, server):
    url = server.add("/a", tiny.archive)
    with pytest.raises(
        DataError, match=r"what tiny\.tar\.gz holds is not as the card says.*the card says 13"
    ):
        tiny.get(tiny.card(tiny.download(url), n=13))
    assert not (tiny.store.folder / "tiny").exists()
    assert not (tiny.store.folder / ".shiftcast/trusted.json").exists()


def test_changed_files_are_left_and_damaged_ones_replaced(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), **stated))
    tiny.get(card)
    place = tiny.store.folder / "tiny/labels.npy"
    np.save(place, 1 - tiny.labels)
    assert inspect(card, tiny.store).status == "changed"
    with pytest.raises(DataError, match=r"left as it is.*--force"):
        tiny.get(card)
    assert np.array_equal(np.load(place), 1 - tiny.labels)
    tiny.get(card, force=True)
    place.write_bytes(b"rubbish")
    assert inspect(card, tiny.store).status == "damaged"
    assert tiny.get(card).arrays == "publisher"


def test_an_archive_that_another_dataset_needs_is_kept_for_it(tiny, server, stated):
    download = tiny.download(server.add("/a", tiny.archive), **stated)
    other = tiny.card(download | {"into": "other"}, name="other", path="other/tiny")
    tiny.workspace.datasets["other"] = other
    tiny.get(tiny.card(download))
    assert "is kept in" in tiny.notes.text
    assert leftovers(tiny) != []
    tiny.workspace.datasets["tiny-set"] = tiny.card(download)
    assert tiny.get(other).where == tiny.store.folder / "other/tiny"
    assert len(server.log) == 1
    assert leftovers(tiny) == []


def test_arrays_are_built_from_an_archive_where_the_card_says_so(tiny, server, monkeypatch):
    seen = []

    def build(card, archive, folder, cards_folder, report):
        seen.append((archive.name, cards_folder))
        (folder / card.path).mkdir()
        for name, content in tiny.files.items():
            (folder / card.path / name).write_bytes(content)

    monkeypatch.setattr("shiftcast.data.build.build_dataset", build)
    download = tiny.download(server.add("/a", b"an archive of images"), members=[])
    recipe = {"kind": "image-tree", "archive": "tiny.tar.gz", "pattern": "(?P<class>.)"}
    assert tiny.get(tiny.card(download, build=recipe)).status == "here"
    assert seen == [("tiny.tar.gz", tiny.workspace.root / "datasets")]
    assert leftovers(tiny) == []


@pytest.mark.parametrize(("layout", "word"), [("derived", "made in memory"), ("digits", "scikit-learn")])
def test_of_what_is_built_in_nothing_is_to_be_got(tiny, layout, word):
    name = {"derived": "digits-shifted", "digits": "digits-test"}[layout]
    state = tiny.get(tiny.workspace.dataset(name))
    assert state.status == "built in"
    assert word in state.note


def test_what_is_not_public_says_how_to_get_it(tiny):
    with pytest.raises(MissingDataError, match=r"not public\. ask at the door"):
        tiny.get(tiny.card(public=False))


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def fill(folder, tiny):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tiny.files.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("below", ["", "one", "one/two"])
def test_an_archive_on_disk_is_used(tiny, disk, below, stated):
    (disk / below).mkdir(parents=True, exist_ok=True)
    (disk / below / "tiny.tar.gz").write_bytes(tiny.archive)
    state = tiny.get(tiny.card(tiny.download("http://127.0.0.1:9/a", **stated)), source=disk)
    assert state.arrays == "publisher"
    assert (disk / below / "tiny.tar.gz").exists()


@pytest.mark.parametrize("below", ["", "tiny", "one/tiny"])
def test_unpacked_files_on_disk_are_copied(tiny, disk, below):
    fill(disk / below, tiny)
    state = tiny.get(tiny.card(tiny.download("http://127.0.0.1:9/a")), source=disk)
    assert (state.status, state.arrays) == ("here", "unverified")
    assert not (disk / below / "images.npy").samefile(tiny.store.folder / "tiny/images.npy")
    assert leftovers(tiny) == []


def test_files_in_a_folder_of_another_name_must_be_known(tiny, disk):
    fill(disk / "another-set", tiny)
    with pytest.raises(MissingDataError, match="not found below"):
        tiny.get(tiny.card(), source=disk)
    assert tiny.get(tiny.card(fingerprint=identity(tiny)), source=disk).arrays == "publisher"


def test_a_wrong_archive_on_disk_is_named_with_both_hashes(tiny, disk, stated):
    (disk / "tiny.tar.gz").write_bytes(b"other")
    fill(disk / "tiny", tiny)
    with pytest.raises(MissingDataError, match=f"expected sha256:{stated['sha256']}, got sha256:"):
        tiny.get(tiny.card(tiny.download("http://127.0.0.1:9/a", **stated)), source=disk)
    with pytest.raises(MissingDataError, match="expected 7 bytes, got 5"):
        tiny.get(tiny.card(tiny.download("http://127.0.0.1:9/a", size=7)), source=disk)


def test_changed_content_on_disk_is_refused_too(tiny, disk):
    card = tiny.card(tiny.download("http://127.0.0.1:9/a"))
    (disk / "tiny.tar.gz").write_bytes(tiny.archive)
    tiny.get(card, source=disk)
    (disk / "tiny.tar.gz").write_bytes(
        zip_of({"tiny/images.npy": tiny.images, "tiny/labels.npy": tiny.labels})
    )
    with pytest.raises(MissingDataError, match=r"--from .* --force --trust tiny-set"):
        tiny.get(card, source=disk, force=True)
    tiny.get(card, source=disk, force=True, trust=frozenset([card.name]))


def test_an_image_folder_on_disk_is_taken_whole(tiny, disk):
    from PIL import Image

    for number, image in enumerate(tiny.images):
        place = disk / "x" / "tiny" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02d}.png")
    card = tiny.card(layout="image-folder", files=[])
    state = tiny.get(card, source=disk)
    assert state.status == "here"
    (tiny.store.folder / "tiny/a/00.png").unlink()
    assert inspect(card, tiny.store).status in ("damaged", "changed")
    assert check(card, tiny.store)[1]


def test_the_data_folder_may_be_given_as_source(tiny, server, stated):
    card = tiny.card(tiny.download(server.add("/a", tiny.archive), **stated))
    tiny.get(card)
    assert tiny.get(card, source=tiny.store.folder, force=True).status == "here"
    assert leftovers(tiny) == []


def typed(tiny, url, stated):
    """Return the command that a person types for a card with this source, and its environment."""
    (tiny.workspace.root / "datasets/tiny-set.toml").write_text(
        ARRAYS_CARD.format(url=url) + "".join(f'{key} = "{value}"\n' for key, value in stated.items())
    )
    environment = os.environ | {
        "SHIFTCAST_DATA": str(tiny.store.folder),
        "SHIFTCAST_WORKSPACE": str(tiny.workspace.root),
    }
    command = [sys.executable, "-c", "from shiftcast.cli import main; main()", "data", "get", "tiny-set"]
    return command, environment


def test_a_killed_get_goes_on_where_it_was(tiny, server, stated):
    url = server.add("/a", tiny.archive, hold=20_000)
    command, environment = typed(tiny, url, stated)
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    partial = part_of(tiny.store.partial(Download(file="tiny.tar.gz", urls=[url], **stated)))
    while size_of(partial) < 16_000:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    server.let_go("/a")
    there = size_of(partial)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "tiny-set: here; publisher's arrays" in again.stderr
    last = server.asked("/a")[-1]
    assert (last.range, last.status) == (f"bytes={there}-", 206)
    assert last.sent == len(tiny.archive) - there
    assert leftovers(tiny) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_get_says_that_the_same_command_goes_on(tiny, server, stated, sent, code):
    url = server.add("/a", tiny.archive, hold=20_000)
    command, environment = typed(tiny, url, stated)
    child = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job ignores it
    )
    partial = part_of(tiny.store.partial(Download(file="tiny.tar.gz", urls=[url], **stated)))
    while size_of(partial) < 16_000:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(sent)
    _, said = child.communicate()
    server.let_go("/a")
    assert child.returncode == code
    assert "the same command continues from there" in said
    assert "Traceback" not in said
    assert size_of(partial) >= 16_000
    assert not list((tiny.store.folder / ".shiftcast/locks").iterdir())


def test_archives_are_never_optional(tiny, server):
    with pytest.raises(ValueError, match="optional belongs to files that are kept whole"):
        tiny.card(tiny.download(server.add("/a", tiny.archive), optional=True))
