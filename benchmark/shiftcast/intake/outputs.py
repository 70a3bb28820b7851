"""What a person's file says of sets of images: an array a set, or a table with the column `set`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.intake.archives import ARRAYS, UNNAMED, Archive, open_archive, require_file
from shiftcast.intake.tables import LABEL, TABLES, Table, read_table
from shiftcast.util.text import printable

OUTPUTS = ("logits", "classes")
"""Names of arrays in files of a single set: floats (n, K), or class indices (n,)."""
ONE_SET = {*OUTPUTS, "probs"}
SET, PREDICTED, PREFIX = "set", "predicted", "logit_"
"""Columns of tables."""


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
    """One file, of which the sets can be read."""

    def names(self) -> Sequence[str]:
        """Return the names of its arrays: sets, or `logits` and `labels` of a single one."""

    def read(self, name: str, n: int, classes: int) -> Outputs:
        """Return an array of at most n x classes values."""

    def unread(self) -> Sequence[str]:
        """Return the columns of a table that are neither outputs nor say what these are of."""


@contextmanager
def open_outputs(path: Path, classes: Sequence[str]) -> Iterator[Source]:
    """Open a file of outputs.

    Parameters
    ----------
    path
        The file.
    classes
        The suite's classes, in order: columns of tables may be in any.

    Raises
    ------
    InvalidInputError
        If it is of no kind that is read, is not there, or cannot be read.
    """
    if require_file(path, (*ARRAYS, *TABLES)) in TABLES:
        yield _TableOfSets(read_table(path), classes)
    else:
        with open_archive(path) as archive:
            yield _ArchiveOfSets(archive)


@dataclass(frozen=True)
class _ArchiveOfSets:
    archive: Archive

    def names(self) -> list[str]:
        return [name if name != UNNAMED else "logits" for name in self.archive.names]

    def read(self, name: str, n: int, classes: int) -> Outputs:
        path, names = self.archive.path, self.archive.names
        if UNNAMED in names:
            return Outputs(str(path), self.archive.read(UNNAMED))
        labelled = name in OUTPUTS and "labels" in names
        labels = self.archive.read("labels", n) if labelled else None
        return Outputs(f"{path}: {name}", self.archive.read(name, n * classes), labels)

    def unread(self) -> list[str]:
        return []


class _TableOfSets:
    """A table with `logit_CLASS` for each class or `predicted`, and perhaps `set` and `label`."""

    def __init__(self, table: Table, classes: Sequence[str]) -> None:
        self.table, self.classes = table, list(classes)
        self.columns = table.starting(PREFIX)
        if bool(self.columns) == (PREDICTED in table.frame):
            raise InvalidInputError(
                f"{table.path}: expected a column {PREFIX}CLASS for each class, or the column {PREDICTED!r} "
                f"(not both kinds); its columns are {table.held}"
            )
        self.sets = table.texts(SET).to_numpy() if SET in table.frame else None
        if self.sets is not None and (empty := np.flatnonzero(self.sets == "")).size:
            raise InvalidInputError(f"{table.path}: column {SET}: row {empty[0]} is empty")

    def names(self) -> list[str]:
        return ["logits"] if self.sets is None else list(dict.fromkeys(self.sets))

    def read(self, name: str, n: int, classes: int) -> Outputs:  # noqa: ARG002  it is read already
        table, rows = self.table, None if self.sets is None else np.flatnonzero(self.sets == name)
        labels = table.classes(LABEL, self.classes, rows) if LABEL in table.frame else None
        if self.columns:
            array: NDArray[Any] = table.numbers(self._in_order(), rows)
        else:
            array = table.classes(PREDICTED, self.classes, rows)
        return Outputs(f"{table.path}: {name}" if rows is not None else str(table.path), array, labels)

    def unread(self) -> list[str]:
        known = {SET, LABEL, PREDICTED, *self.columns.values()}
        return [printable(str(name), 80) for name in self.table.frame.columns if name not in known]

    def _in_order(self) -> list[str]:
        """Return the columns in the order of the suite's classes."""
        numbers = [str(number) for number in range(len(self.classes))]
        order = self.classes if set(self.columns) == set(self.classes) else numbers
        if set(self.columns) != set(order):
            raise InvalidInputError(
                f"{self.table.path}: expected a column {PREFIX}CLASS for each of "
                f"{printable(', '.join(self.classes[:12]), 200)} (or for each number from 0), got "
                f"{printable(', '.join(list(self.columns)[:12]), 200)}"
            )
        return [self.columns[name] for name in order]
