"""Arrays that people bring, `.npz`, `.npy` and `.safetensors`: read with suspicion, once for all commands.

Nothing is unpickled, and nothing is read of a file that claims more than it can hold.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from shiftcast.errors import InvalidInputError
from shiftcast.util.text import printable

ARCHIVES = (".npz", ".safetensors")
ARRAYS = (".npz", ".npy", ".safetensors")
UNNAMED = ""
"""What the one array of a `.npy` file is called."""
MOST_MEMBERS = 10_000
"""Arrays of an archive; a suite has some hundred sets."""
WIDEST = 160
"""Bytes of a value up to which an array is read and refused for what it is: numbers as text take 128."""
CONTENTS = {
    b"PK\x03\x04": (".npz", "a zip archive; name it .npz if it is one, and write an Excel sheet as .csv"),
    b"\x93NUMPY": (".npy", "a numpy array; name it .npy"),
    b"PAR1": (".parquet", "a Parquet table; name it .parquet"),
    b"\x1f\x8b": (".gz", "compressed with gzip; unpack it first: gunzip"),
    b"\x89HDF": (".h5", "an HDF5 file; write its arrays with numpy.savez"),
    b"BZh9": (".bz2", "compressed with bzip2; unpack it first: bunzip2"),
    b"\xfd7zXZ": (".xz", "compressed with xz; unpack it first: unxz"),
    b"(\xb5/\xfd": (".zst", "compressed with Zstandard; unpack it first: unzstd"),
    b"\xd0\xcf\x11\xe0": (".xls", "an old Excel sheet; write it as .csv"),
    b"ARROW1": (".feather", "a Feather table; write it with to_parquet"),
    b"<!DOCTYP": (".html", "a web page, perhaps of an error; download the file again"),
    b"<!doctyp": (".html", "a web page, perhaps of an error; download the file again"),
    b"<html": (".html", "a web page, perhaps of an error; download the file again"),
    b"version https://": (".txt", "a pointer of Git LFS, perhaps; get the file itself: git lfs pull"),
}
"""How files begin, of which kind they then are, and what they are called where their name says another."""


def require_file(path: Path, kinds: Sequence[str]) -> str:
    """Return a file's kind, its suffix in small letters.

    Raises
    ------
    InvalidInputError
        If there is no such file, or it is of none of the kinds by its name or by how it begins.
    """
    named = " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))
    if path.is_dir():
        raise InvalidInputError(f"{path}: is a folder; name a {named} file")
    if not path.is_file():
        raise InvalidInputError(f"{path}: there is no such file")
    kind = path.suffix.lower()
    if kind not in kinds:
        table = " a table as .csv, with commas between its cells, and" if ".csv" in kinds else ""
        raise InvalidInputError(
            f"{path}: expected a {named} file, got {kind or 'a name without ending'}; write{table} arrays "
            "with numpy.savez"
        )
    try:
        with path.open("rb") as stream:
            start = stream.read(max(map(len, CONTENTS)))
    except OSError as error:
        raise refusal(path, error) from error
    for magic, (content, what) in CONTENTS.items():
        # A .safetensors file begins with a number, which may be any of these.
        if start.startswith(magic) and kind not in (content, ".safetensors"):
            raise InvalidInputError(f"{path}: is called {kind}, but is {what}")
    return kind


def refusal(path: Path, error: BaseException | str, what: str = "") -> InvalidInputError:
    """Return the refusal of a file that cannot be read, or of an array in it."""
    said, kind = printable(str(error), 200), path.suffix.lower()
    if "pickle" in said:  # numpy would have it loaded all the same
        said = "it holds Python objects, or is not what numpy writes"
    if what:
        return InvalidInputError(
            f"{path}: {printable(what, 80)} cannot be read from a {kind} file; write it again, as plain "
            f"numbers (float32) or texts (dtype=str): {said}"
        )
    return InvalidInputError(
        f"{path}: cannot be read as a {kind} file; it is truncated or something else: {said}"
    )


@dataclass(frozen=True)
class Archive:
    """An open file of arrays.

    Parameters
    ----------
    path
        The file.
    names
        What its arrays are called; `UNNAMED` for the one of a `.npy` file.
    load
        Returns an array by name, of at most so many values where a number is given.
    """

    path: Path
    names: Sequence[str]
    load: Callable[[str, int | None], Any]

    @property
    def held(self) -> str:
        """The names, for messages."""
        return printable(", ".join(self.names), 200) or "nothing"

    def read(self, name: str, values: int | None = None) -> NDArray[Any]:
        """Return an array by name.

        Raises
        ------
        InvalidInputError
            If it is no array of plain values, or much larger than `values` values are.
        """
        try:
            return np.asarray(self.load(name, values))
        except Exception as error:  # anybody's bytes may raise anything
            raise refusal(self.path, error, name) from error


@contextmanager
def open_archive(path: Path, kinds: Sequence[str] = ARRAYS) -> Iterator[Archive]:
    """Open a file of arrays.

    Raises
    ------
    InvalidInputError
        If it is not there, of another kind, cannot be read, or holds two arrays of one name.
    """
    kind = require_file(path, kinds)
    if kind == ".npy":
        yield Archive(path, [UNNAMED], lambda *_: np.load(path, mmap_mode="r", allow_pickle=False))
        return
    try:
        if kind == ".npz":
            _refuse_bombs(path)
        opened: Any = np.load(path, allow_pickle=False) if kind == ".npz" else safe_open(path, "numpy")
    except Exception as error:  # anybody's bytes may raise anything
        raise refusal(path, error) from error
    with opened:
        if kind == ".safetensors":
            yield Archive(path, list(opened.keys()), lambda name, _: opened.get_tensor(name))
            return
        names = list(opened.files)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InvalidInputError(f"{path}: holds {printable(repr(twice[0]), 80)} twice; keep one")
        yield Archive(path, names, lambda name, values: _unpacked(opened, name, values))


def read_arrays(
    path: Path, wanted: Sequence[str], kinds: Sequence[str] = ARRAYS
) -> tuple[dict[str, NDArray[Any]], str]:
    """Return those of the wanted arrays that a file has, and the names of all that it holds."""
    with open_archive(path, kinds) as archive:
        return {name: archive.read(name) for name in archive.names if name in wanted}, archive.held


def unread(path: Path, known: Collection[str]) -> list[str]:
    """Return which arrays of an archive are called otherwise than all that is known; none of other files."""
    if path.suffix.lower() not in ARCHIVES:
        return []
    with open_archive(path) as archive:
        return [printable(name, 80) for name in archive.names if name not in known]


def _unpacked(opened: Any, name: str, values: int | None) -> Any:
    stored = {info.filename: info.file_size for info in opened.zip.infolist()}
    taken = stored.get(f"{name}.npy", stored.get(name, 0))
    if values is not None and taken > WIDEST * values + (1 << 16):
        raise ValueError(f"it unpacks to {taken:,} bytes, too many for {values:,} values")
    return opened[name]


def _refuse_bombs(path: Path) -> None:
    """Raise `ValueError` for archives that take much to be looked at, before they are read."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - (1 << 16) - 22))
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or not zipfile.is_zipfile(path):
        raise ValueError("no zip archive")
    if (count := int.from_bytes(tail[at + 10 : at + 12], "little")) > MOST_MEMBERS:
        raise ValueError(f"it holds {count:,} members or more; expected at most {MOST_MEMBERS:,}")
