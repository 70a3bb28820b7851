"""What a data folder remembers, in `.shiftcast/`: what was got, what was trusted, what was hashed.

.partial/KEY/                     a file that is being fetched, until it is unpacked
.partial/NAME.staging/            a dataset that is being unpacked
.shiftcast/trusted.json           files without a published hash, as they were first seen
.shiftcast/records/NAME.json      the files of a dataset as they were got or first checked
.shiftcast/fingerprints/NAME.json the fingerprint of files of this size and time: may be deleted
.shiftcast/locks/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shiftcast.cards.dataset import DatasetCard, Download
from shiftcast.errors import CardError, DataError
from shiftcast.util.files import write_atomic
from shiftcast.util.hashing import hash_of
from shiftcast.util.locks import locked
from shiftcast.util.text import now

Model = TypeVar("Model", bound=BaseModel)

READ_BY = frozenset(
    {
        *("layout", "path", "files", "keys", "clusters", "pattern", "n", "labels", "split", "derived"),
        *("classes", "class_map", "publisher_classes"),
    }
)
"""Fields of a card that decide what is read from a dataset's files, and whether it can be read."""


class Trusted(BaseModel):
    """A file without a published hash, as it was when it was first seen."""

    dataset: str
    file: str
    url: str
    size: int
    sha256: str
    time: str


class TrustedFiles(BaseModel):
    """What `trusted.json` holds."""

    files: list[Trusted] = []


class Received(BaseModel):
    """A download that a dataset was made from; `stated` is its publisher's hash, or empty."""

    file: str
    url: str
    size: int
    sha256: str
    stated: str


class Entry(BaseModel):
    """A file or folder of a dataset: bytes, size-and-time stamp, and hash of what it holds."""

    size: int
    stamp: str
    sha256: str


class Record(BaseModel):
    """A dataset as it was got, or first checked."""

    time: str
    received: list[Received]
    entries: dict[str, Entry]
    fingerprint: str


class Seen(BaseModel):
    """The fingerprint of files with these stamps, read as a card with these `READ_BY` fields says."""

    reading: str = ""
    stamps: dict[str, str]
    fingerprint: str


def key_of(download: Download) -> str:
    """Return the name of a download's folder: the same for two cards with the same file."""
    return f"{download.file}-{hash_of([download.digest] if download.digest else download.urls)[:8]}"


@dataclass(frozen=True)
class Store:
    """A data folder and what it remembers.

    Parameters
    ----------
    folder
        The data folder; it need not exist.
    """

    folder: Path

    @property
    def _memory(self) -> Path:
        return self.folder / ".shiftcast"

    def partial(self, download: Download) -> Path:
        """Return the folder in which a download is brought together."""
        return self.folder / ".partial" / key_of(download)

    def staging(self, name: str) -> Path:
        """Return the folder in which a dataset is unpacked before it is moved into place."""
        return self.folder / ".partial" / f"{name}.staging"

    def locks(self, card: DatasetCard) -> list[Path]:
        """Return the locks of a dataset and its downloads, in the order in which all take them."""
        names = {card.name, *(key_of(download) for download in card.downloads)}
        # Sorted: two processes that took them in different orders could wait for each other.
        return [self._memory / "locks" / f"{name}.lock" for name in sorted(names)]

    def record_path(self, name: str) -> Path:
        """Return the file with what was recorded of a dataset."""
        return self._memory / "records" / f"{name}.json"

    def inside(self, card: DatasetCard, place: str) -> Path:
        """Return a place below the data folder; `CardError` if a card names one that is not."""
        # By its text alone: a person may keep a folder elsewhere and link to it. Windows' rules contain
        # the others': both slashes, drives and shares.
        path = PureWindowsPath(place)
        if path.anchor or ".." in path.parts:
            raise CardError(f"dataset {card.name!r}: {place!r} leads out of the data folder {self.folder}")
        return self.folder / place

    def record(self, name: str) -> Record | None:
        """Return what was recorded of a dataset, or None."""
        return _read(self.record_path(name), Record)

    def write_record(self, name: str, record: Record) -> None:
        """Record what a dataset is."""
        write_atomic(self.record_path(name), record.model_dump_json(indent=1))

    def forget(self, name: str) -> None:
        """Forget what was recorded and hashed of a dataset: another one has its name now."""
        for path in (self.record_path(name), self._seen(name)):
            path.unlink(missing_ok=True)

    def fingerprint(self, card: DatasetCard, stamps: Mapping[str, str]) -> str | None:
        """Return the fingerprint of files with these stamps, or None if it must be computed."""
        try:
            seen = _read(self._seen(card.name), Seen)
        except DataError:
            return None
        known = seen is not None and seen.stamps == stamps and seen.reading == _reading(card)
        return seen.fingerprint if seen and known else None

    def remember(self, card: DatasetCard, stamps: Mapping[str, str], fingerprint: str) -> None:
        """Keep a fingerprint for the next time; a folder that cannot be written to keeps none."""
        with suppress(OSError):
            seen = Seen(reading=_reading(card), stamps=dict(stamps), fingerprint=fingerprint)
            write_atomic(self._seen(card.name), seen.model_dump_json())

    def trusted(self, name: str, download: Download) -> Trusted | None:
        """Return what a file without a published hash was when it was first seen, or None."""
        known = (_read(self._trusted_path, TrustedFiles) or TrustedFiles()).files
        return next((entry for entry in known if _same(entry, name, download)), None)

    def trust(self, name: str, download: Download, received: Received) -> None:
        """Record what a file without a published hash is, in place of what it was."""
        with locked(self._memory / "locks" / "trusted.lock", lambda _: None):
            known = (_read(self._trusted_path, TrustedFiles) or TrustedFiles()).files
            kept = [entry for entry in known if not _same(entry, name, download)]
            facts = received.model_dump(include={"file", "url", "size", "sha256"})
            files = TrustedFiles(files=[*kept, Trusted(dataset=name, time=now(), **facts)])
            write_atomic(self._trusted_path, files.model_dump_json(indent=1))

    @property
    def _trusted_path(self) -> Path:
        return self._memory / "trusted.json"

    def _seen(self, name: str) -> Path:
        return self._memory / "fingerprints" / f"{name}.json"


def _reading(card: DatasetCard) -> str:
    return hash_of(card.model_dump(include=set(READ_BY), mode="json"))


def _same(trusted: Trusted, name: str, download: Download) -> bool:
    return trusted.file == download.file and (trusted.dataset == name or trusted.url in download.urls)


def _read(path: Path, model: type[Model]) -> Model | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{path}: cannot be read as what Shiftcast wrote there ({error}). Delete it if you do not know "
            "how it came to be so; what it recorded is then recorded anew"
        ) from error


def contents(card: DatasetCard) -> Sequence[str]:
    """Return a dataset's files below the data folder, or its folder where the card names no files."""
    if card.layout in ("derived", "digits"):
        return []
    base = Path(card.path)
    names = [*card.files, *([card.clusters] if card.clusters else [])]
    return [str(base / name) for name in names] or [str(base)]
