"""Whether a dataset is here, whether it can be read, and whose arrays it is.

Reading and hashing gigabytes takes a while, so fingerprints are kept for files of the same size and
time; `check` relies on none of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.filesize import decimal

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.download.fetch import part_of, wrong_bytes
from shiftcast.data.download.records import Entry, Record, Store, contents
from shiftcast.data.download.transfer import size_of
from shiftcast.data.loading import fingerprint_of
from shiftcast.errors import DataError, MissingDataError
from shiftcast.util.hashing import file_hash, hash_of, sha256
from shiftcast.util.text import now

Status = Literal["here", "missing", "damaged", "changed", "built in"]


@dataclass(frozen=True)
class State:
    """What is known of a dataset in a data folder.

    Parameters
    ----------
    name
        The dataset.
    status
        "here", "missing", "damaged" (cannot be read as its card says), "changed" (can be read, but is
        not what was recorded) or "built in" (there is nothing to get).
    where
        Its folder.
    size
        Bytes on disk.
    arrays
        "publisher", the name of an edition, "unverified" where nothing says what they should be,
        "unknown" where the card says and they are something else; empty if not here.
    fingerprint
        Of the arrays; empty if not here.
    note
        What more there is to say.
    """

    name: str
    status: Status
    where: Path
    size: int = 0
    arrays: str = ""
    fingerprint: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Return a line for people."""
        whose = {
            "publisher": "publisher's arrays",
            "yours": "as you added it",
            "unverified": f"unverified arrays, fingerprint {self.fingerprint[:12]}",
            "unknown": f"unknown arrays, fingerprint {self.fingerprint[:12]}",
        }.get(self.arrays, f"edition {self.arrays}" if self.arrays else "")
        size = f"{decimal(self.size)} in {self.where}" if self.size else ""
        return "; ".join(part for part in (self.status, whose, size, self.note) if part)


def inspect(card: DatasetCard, store: Store, fresh: bool = False) -> State:
    """Return what is known of a dataset; read it only if its files have changed since, or if `fresh`."""
    state = State(card.name, "built in", store.folder / card.path)
    if card.layout == "derived":
        return replace(state, note="made in memory; no download is needed")
    if card.layout == "digits":
        return replace(state, note="included in scikit-learn; no download is needed")
    places = {name: store.inside(card, name) for name in contents(card)}
    absent = [name for name, path in places.items() if not path.exists()]
    if absent:
        return replace(state, status="missing", note=_begun(card, store))
    extents = {name: extent(path) for name, path in places.items()}
    stamps = {name: stamp for name, (_, stamp) in extents.items()}
    state = replace(state, status="here", size=sum(size for size, _ in extents.values()))
    # Reading gigabytes takes a minute; a file that was not written to since is what it was.
    digest = None if fresh else store.fingerprint(card, stamps)
    if digest is None:
        try:
            digest = fingerprint_of(card, store.folder)
        except MissingDataError as error:
            return replace(state, status="missing", note=str(error))
        except DataError as error:
            return replace(state, status="damaged", note=str(error))
        store.remember(card, stamps, digest)
    return _identified(card, store.record(card.name), replace(state, fingerprint=digest))


def present(card: DatasetCard, store: Store) -> bool:
    """Whether a dataset has files and all of them are there, whatever they hold."""
    places = contents(card)
    return bool(places) and all(store.inside(card, name).exists() for name in places)


def _identified(card: DatasetCard, record: Record | None, state: State) -> State:
    """Say whose arrays these are: by the card's fingerprints, else by the hashes of what was got."""
    arrays, note = card.edition(state.fingerprint), ""
    if card.own and arrays == "publisher":
        return replace(state, arrays="yours")
    if arrays == state.fingerprint[:12]:
        arrays = "unverified"
        if card.fingerprint:
            arrays, note = "unknown", f"the card states {card.fingerprint[:12]}"
        elif record and record.fingerprint == state.fingerprint and _all_stated(record):
            files = ", ".join(received.file for received in record.received)
            arrays, note = "publisher", f"by the hash of {files}"
    if record and record.fingerprint != state.fingerprint and arrays in ("unverified", "unknown"):
        note = f"recorded on {record.time[:10]} as {record.fingerprint[:12]}"
        return replace(state, status="changed", arrays=arrays, note=note)
    return replace(state, arrays=arrays, note=note)


def _all_stated(record: Record) -> bool:
    return bool(record.received) and all(received.stated for received in record.received)


def _begun(card: DatasetCard, store: Store) -> str:
    begun = sum(size_of(part_of(store.partial(download))) for download in card.downloads)
    if begun:
        return f"{decimal(begun)} fetched so far"
    return "" if card.public else "not public"


def check(card: DatasetCard, store: Store) -> tuple[State, list[str]]:
    """Read and hash everything of a dataset again.

    Returns
    -------
    Its state, and what differs from the card or from what was recorded. A dataset of which nothing was
    recorded is recorded now, unless its arrays are not those that the card states: such a record would
    call the right ones changed.
    """
    state = inspect(card, store, fresh=True)
    if state.status == "built in":
        return state, []
    if state.status in ("missing", "damaged"):
        return state, [f"{state.status}: {state.note}".rstrip(": ")]
    unknown = (
        [f"arrays: the card states {card.fingerprint}, are {state.fingerprint}"]
        if state.arrays == "unknown"
        else []
    )
    record, entries = store.record(card.name), entries_of(card, store.folder)
    if record is None:
        if unknown:
            return state, unknown + _against_card(card, store)
        store.write_record(
            card.name, Record(time=now(), received=[], entries=entries, fingerprint=state.fingerprint)
        )
        return replace(state, note=state.note or "recorded now"), _against_card(card, store)
    problems = [
        f"{name}: recorded on {record.time[:10]} as sha256:{before.sha256}, is sha256:{after.sha256}"
        for name, before in record.entries.items()
        if (after := entries.get(name)) and after.sha256 != before.sha256
    ]
    if record.fingerprint != state.fingerprint:
        problems.append(f"arrays: recorded as {record.fingerprint}, are {state.fingerprint}")
    return state, problems + unknown + _against_card(card, store)


def _against_card(card: DatasetCard, store: Store) -> list[str]:
    """Hold files that are kept as they come against their stated sizes and hashes, or those first seen."""
    kept = [
        download for download in card.downloads if not download.members and not is_built(card, download.file)
    ]
    problems = []
    for download in kept:
        path = store.inside(card, str(Path(download.into) / download.file))
        trusted = None if download.digest else store.trusted(card.name, download)
        expected = f"sha256:{trusted.sha256}" if trusted else download.digest
        if path.is_file() and (problem := wrong_bytes(path, download, expected)):
            seen = f" (it came from {trusted.url} on {trusted.time[:10]})" if trusted else ""
            problems.append(problem + seen)
    return problems


def advice(card: DatasetCard, store: Store) -> str:
    """Return what can be done about a dataset that is not as it was recorded, or as its card states."""
    path, yours = store.record_path(card.name), ""
    if card.own:
        yours = f". If you changed it yourself, add it again: shiftcast data add {card.name} PATH --replace"
    elif path.exists() and not card.fingerprint:
        yours = f". If you changed it yourself, delete {path}, and it is recorded again"
    if not card.required_downloads:
        return (
            "It is not offered for download: put its files back, or name a folder that holds them: "
            f"shiftcast data get {card.name} --from DIR --force{yours}"
        )
    return f"Download it again: shiftcast data get {card.name} --force{yours}"


def is_built(card: DatasetCard, file: str) -> bool:
    """Whether arrays are built from a download, so that it is not kept itself."""
    return card.build is not None and card.build.archive == file


def entries_of(card: DatasetCard, folder: Path) -> dict[str, Entry]:
    """Hash every file of a dataset that is there."""
    return {name: _entry(folder / name) for name in contents(card)}


def _entry(path: Path) -> Entry:
    size, stamp = extent(path)
    if path.is_file():
        return Entry(size=size, stamp=stamp, sha256=file_hash(path))
    lines = [f"{name}\0{file_hash(path / name)}\n" for name, _, _ in sorted(scan(path))]
    return Entry(size=size, stamp=stamp, sha256=sha256("".join(lines).encode()))


def extent(path: Path) -> tuple[int, str]:
    """Return the bytes of a file or folder, and a text that changes when any of it is written to."""
    if path.is_file():
        facts = path.stat()
        return facts.st_size, f"{facts.st_size}-{facts.st_mtime_ns}"
    files = sorted(scan(path))
    return sum(size for _, size, _ in files), hash_of(files)


def scan(folder: Path, below: str = "") -> Iterator[tuple[str, int, int]]:
    """Yield path, bytes and time of every file below a folder; one look each, for there may be 100,000."""
    with os.scandir(folder / below) as entries:
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir():
                yield from scan(folder, name)
            else:
                try:
                    facts = entry.stat()
                except OSError:  # a link that leads nowhere, which reading will complain of
                    facts = entry.stat(follow_symlinks=False)
                yield name, facts.st_size, facts.st_mtime_ns
