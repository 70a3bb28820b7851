"""What people submit, read with suspicion: `.npz`, `.safetensors`, `.npy` and `.csv` files of outputs.

A file holds all sets of a suite, each under its id, or one set that is named beside it. Nothing is unpickled,
and nothing is read of a file that claims more than it can hold.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open

from shiftcast.errors import InvalidInputError
from shiftcast.util.safetensors_header import LARGEST_HEADER, read_claims
from shiftcast.util.text import printable

KINDS = (".npz", ".safetensors", ".npy", ".csv")
ARCHIVES = (".npz", ".safetensors")
OUTPUTS = ("logits", "classes")
"""Names of arrays in files of a single set: floats (n, K), or class indices (n,)."""
ONE_SET = {*OUTPUTS, "probs"}
MOST_MEMBERS = 10_000
"""Arrays of an archive; a suite has some hundred sets."""
WIDEST = 160
"""Bytes of a value up to which an array is read and refused for what it is: numbers as text take 128."""
SET, PREDICTED, LABEL, PREFIX = "set", "predicted", "label", "logit_"
"""Columns of tables."""
BLANK = "is blank, or the row ends before it"


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a file says about one set.

    Parameters
    ----------
    what
        File and array, for messages.
    array
        As it stands there: floats (n, K) where they are logits, integers (n,) where they are classes.
    labels
        Classes that the file says are true (n,), to be held against those that are known; None without.
    """

    what: str
    array: NDArray[Any]
    labels: NDArray[Any] | None = None


class Source(Protocol):
    """One file, of which the arrays can be read."""

    def names(self) -> Sequence[str]:
        """Return the names of its arrays: sets, or `logits` and `labels` of a single one."""

    def read(self, name: str, n: int, classes: int) -> Outputs:
        """Return an array of at most n x classes values."""


@contextmanager
def opened(file: Path, names: Sequence[str]) -> Iterator[Source]:
    """Open a file of outputs.

    Parameters
    ----------
    file
        The file.
    names
        The suite's classes, in order: columns of tables may be in any.

    Raises
    ------
    InvalidInputError
        If it is of no kind that is read, is not there, or cannot be read.
    """
    kind = file.suffix.lower()
    if file.is_dir() or kind not in KINDS:
        raise InvalidInputError(
            f"{file}: expected a .npz or .safetensors file with an array for each set, or a .npy or .csv file"
        )
    if not file.is_file():
        raise InvalidInputError(f"{file}: there is no such file")
    if kind == ".npy":
        yield _Array(file)
    elif kind == ".csv":
        yield _Table(file, names)
    else:
        with _archive(file, kind) as archive:
            yield archive


def _refusal(file: Path, what: str, error: BaseException | str) -> InvalidInputError:
    hint = "write it again, as plain numbers (float32)" if what else "it is truncated or something else"
    said = printable(str(error), 200)
    return InvalidInputError(
        f"{file}: {what}cannot be read from a {file.suffix.lower()} file; {hint}: {said}"
    )


@contextmanager
def _archive(file: Path, kind: str) -> Iterator[Source]:
    try:
        _refuse_bombs(file, kind)
        opened = np.load(file, allow_pickle=False) if kind == ".npz" else safe_open(file, framework="numpy")
    except Exception as error:  # anybody's bytes may raise anything
        raise _refusal(file, "", error) from error
    with opened as archive:
        yield _Npz(file, archive) if kind == ".npz" else _Safetensors(file, archive)


def _refuse_bombs(file: Path, kind: str) -> None:
    """Raise `ValueError` for archives that take much to be looked at, before anybody looks."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        if kind == ".safetensors":
            claims = read_claims(stream.read(8 + min(size, LARGEST_HEADER)), size)
            if claims.problems:
                raise ValueError(str(claims.problems[0]))
            return
        stream.seek(max(0, size - (1 << 16) - 22))
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or not zipfile.is_zipfile(file):
        raise ValueError("no zip archive")
    if (count := int.from_bytes(tail[at + 10 : at + 12], "little")) > MOST_MEMBERS:
        raise ValueError(f"it holds {count:,} members or more; expected at most {MOST_MEMBERS:,}")


@dataclass(frozen=True)
class _Npz:
    file: Path
    archive: Any

    def names(self) -> list[str]:
        return list(self.archive.files)

    def read(self, name: str, n: int, classes: int) -> Outputs:
        labels = "labels" if name in OUTPUTS and "labels" in self.archive.files else None
        return Outputs(
            f"{self.file}: {name}",
            self._array(name, n * classes),
            None if labels is None else self._array(labels, n),
        )

    def _array(self, name: str, values: int) -> NDArray[Any]:
        try:
            stored = {info.filename: info.file_size for info in self.archive.zip.infolist()}
            taken = stored.get(f"{name}.npy", stored.get(name, 0))
            if taken > WIDEST * values + (1 << 16):
                raise ValueError(f"it unpacks to {taken:,} bytes, too many for {values:,} values")
            return np.asarray(self.archive[name])
        except Exception as error:
            raise _refusal(self.file, f"{name} ", error) from error


@dataclass(frozen=True)
class _Safetensors:
    file: Path
    archive: Any

    def names(self) -> list[str]:
        return list(self.archive.keys())

    def read(self, name: str, n: int, classes: int) -> Outputs:  # noqa: ARG002  its size is that of the file
        try:
            return Outputs(f"{self.file}: {name}", np.asarray(self.archive.get_tensor(name)))
        except Exception as error:
            raise _refusal(self.file, f"{name} ", error) from error


@dataclass(frozen=True)
class _Array:
    file: Path

    def names(self) -> list[str]:
        return ["logits"]

    def read(self, name: str, n: int, classes: int) -> Outputs:  # noqa: ARG002  it is mapped, not read
        try:
            return Outputs(str(self.file), np.load(self.file, mmap_mode="r", allow_pickle=False))
        except Exception as error:
            raise _refusal(self.file, "", error) from error


class _Table:
    """A `.csv` with `logit_CLASS` for each class or `predicted`, and perhaps `set` and `label`."""

    def __init__(self, file: Path, classes: Sequence[str]) -> None:
        self.file, self.classes = file, list(classes)
        try:
            self.table = pd.read_csv(file, dtype={SET: str, PREDICTED: str, LABEL: str})
        except (ValueError, OSError, pd.errors.ParserError) as error:
            raise _refusal(file, "", error) from error
        if len(self.table) and not isinstance(self.table.index, pd.RangeIndex):  # pandas shifts them
            raise InvalidInputError(
                f"{file}: its rows hold more cells than its header names columns; expected as many"
            )
        self.columns = [str(name) for name in self.table.columns if str(name).startswith(PREFIX)]
        if bool(self.columns) == (PREDICTED in self.table):
            held = printable(", ".join(map(str, self.table.columns[:12])), 200)
            raise InvalidInputError(
                f"{file}: expected a column {PREFIX}CLASS for each class, or the column {PREDICTED!r} (not "
                f"both kinds); its columns are {held}"
            )
        if SET in self.table and self.table[SET].isna().any():
            raise InvalidInputError(
                f"{file}: column {SET}: row {int(self.table[SET].isna().argmax())} is empty"
            )

    def names(self) -> list[str]:
        return list(dict.fromkeys(self.table[SET])) if SET in self.table else ["logits"]

    def read(self, name: str, n: int, classes: int) -> Outputs:  # noqa: ARG002  it is read already
        own = self.table[self.table[SET] == name] if SET in self.table else self.table
        labels = self._classes(own[LABEL]) if LABEL in own else None
        array = self._logits(own) if self.columns else self._classes(own[PREDICTED])
        return Outputs(f"{self.file}: {name}" if SET in own else str(self.file), array, labels)

    def _logits(self, own: pd.DataFrame) -> NDArray[np.float64]:
        """Return the columns in the order of the suite's classes."""
        found = {name.removeprefix(PREFIX): name for name in self.columns}
        numbers = [str(number) for number in range(len(self.classes))]
        order = self.classes if set(found) == set(self.classes) else numbers
        if set(found) != set(order):
            raise InvalidInputError(
                f"{self.file}: expected a column {PREFIX}CLASS for each of {_some(self.classes)} (or for "
                f"each number from 0), got {_some(found)}"
            )
        columns = [found[name] for name in order]
        try:
            array = own[columns].to_numpy(dtype=np.float64)
        except (ValueError, OverflowError) as error:  # the latter of whole numbers with hundreds of digits
            raise self._no_number(own, columns) from error
        if np.isnan(array).any():
            raise self._no_number(own, columns)
        return array

    def _no_number(self, own: pd.DataFrame, columns: Sequence[str]) -> InvalidInputError:
        """Return the refusal of the first cell of logits that is no number: row, column, what it holds."""
        row, place = np.argwhere(~own[columns].map(_is_number).to_numpy())[0].tolist()
        column = columns[place]
        where = f"{self.file}: column {column}: {self._row(own[column], row)}"
        held = self._as_written(column, own.index[row])
        if not held.strip():
            return InvalidInputError(f"{where} {BLANK}; expected a number in each column")
        if held.strip().lower().lstrip("+-") == "nan":
            return InvalidInputError(
                f"{where} is NaN; expected a finite number: compute the network's output for that image again"
            )
        return InvalidInputError(f"{where}: expected a number, got {printable(repr(held), 80)}")

    def _as_written(self, column: str, row: int) -> str:
        """Return a cell's text, which pandas may have taken for a missing value."""
        return str(pd.read_csv(self.file, dtype=str, na_filter=False)[column].iloc[row])

    def _row(self, column: pd.Series[Any], position: int) -> str:
        return f"row {column.index[position]} (from 0)"

    def _classes(self, column: pd.Series[Any]) -> NDArray[np.int64]:
        """Return classes as positions: they are given by name, or as numbers from 0."""
        named = {name: place for place, name in enumerate(self.classes)}
        numbered = {str(place): place for place in range(len(self.classes))}
        held = set(column)
        by_name = held <= set(named) or (bool(held & set(named)) and not held <= set(numbered))
        places = named if by_name else numbered
        strange = next((row for row, value in enumerate(column) if value not in places), None)
        if strange is not None:
            raise InvalidInputError(self._no_class(column, strange, by_name))
        return np.array([places[value] for value in column], dtype=np.int64)

    def _no_class(self, column: pd.Series[Any], row: int, by_name: bool) -> str:
        """Say of a row that it holds no class, and which may be meant where others are given by name."""
        value = column.iloc[row]
        expected = f"one of {_some(self.classes)}"
        if not by_name:
            expected += f", or a number from 0 to {len(self.classes) - 1}"
        where = f"{self.file}: column {column.name}: {self._row(column, row)}"
        if not isinstance(value, str):
            value = self._as_written(str(column.name), column.index[row])
        if not value.strip():
            return f"{where} {BLANK}; expected {expected}"
        hint = _near(value, self.classes) if by_name else ""
        return f"{where}: expected {expected}, got {printable(repr(value), 80)}{hint}"


def _is_number(cell: Any) -> bool:
    try:
        return not np.isnan(float(cell))
    except (ValueError, OverflowError):
        return False


def _near(value: str, names: Sequence[str]) -> str:
    known = {name.lower(): name for name in names}
    near = get_close_matches(value.strip().lower()[:WIDEST], list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(known[name] for name in near)}?" if near else ""


def _some(names: Sequence[str] | Mapping[str, Any]) -> str:
    shown = [str(name) for name in list(names)[:12]]
    return printable(", ".join(shown), 200) + (", …" if len(names) > len(shown) else "")
