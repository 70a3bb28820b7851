"""Tables that people bring, `.csv` and `.parquet`: structure before values, and text stays as written."""

from __future__ import annotations

import csv
import importlib
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shiftcast.errors import InvalidInputError
from shiftcast.intake.archives import WIDEST, require_file
from shiftcast.util.text import printable
from shiftcast.util.types import Floats, Integers

TABLES = (".csv", ".parquet")
NUMBERS = ("logit_", "prob_")
"""What the columns of a model's outputs begin with; the class's name follows."""
PREFIX_LIKE = {"logit_": ("logits", "logit"), "prob_": ("probs", "proba", "probability", "prob", "p")}
"""How people also call these, before the class's name."""
NEAR = 0.8
"""Likeness from which on a word may be another mistyped (`difflib`)."""
LABEL = "label"
BLANK = "is blank, or the row ends before it"
UNKNOWN = ("", "-1", "-1.0", "unknown")
"""Labels, in small letters, of images whose class is not known; no class may be called so."""
PLACEHOLDERS = (
    "?",
    "-",
    "--",
    "na",
    "n/a",
    "nan",
    "none",
    "null",
    "<na>",
    "missing",
    "unlabeled",
    "unlabelled",
)
"""What others write for such; text stays text, so that these are refused where they name no class."""
DECIMAL = re.compile(r"\d+\.0+")
COPY = re.compile(r"(.*\D)\.[1-9]\d*")
"""How pandas calls a second column of a name; `v1.1` may well be a name of its own."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table with as many cells in each row as columns, all of different names.

    Parameters
    ----------
    path
        Its file.
    frame
        One row an image. In a `.csv` the columns that begin as in `NUMBERS` are floats where they can be
        read as such, all others are text, empty where the cell is.
    """

    path: Path
    frame: pd.DataFrame

    @property
    def held(self) -> str:
        """The first columns' names, for messages."""
        return _some(list(self.frame.columns))

    def starting(self, prefix: str) -> dict[str, str]:
        """Return the columns with a prefix by what follows it, in the table's order."""
        return {str(c).removeprefix(prefix): c for c in self.frame.columns if str(c).startswith(prefix)}

    def nearly(self, prefix: str) -> dict[str, str]:
        """Return columns that may be meant to have a prefix, and what they would be called with it.

        `Logit_cat`, `logits_cat`, `logit.cat` and `lgoit_cat` are near `logit_`.
        """
        found = {}
        for name in map(str, self.frame.columns):
            head = re.split(r"[\W_]", name, maxsplit=1)[0]
            tail = name[len(head) + 1 :]
            near = get_close_matches(head.lower(), [*PREFIX_LIKE[prefix], prefix[:-1]], n=1, cutoff=NEAR)
            if tail and near and not name.startswith(NUMBERS):
                found[name] = prefix + tail
        return found

    def numbers(self, columns: Sequence[str], rows: Integers | None = None) -> Floats:
        """Return columns as an array (rows, columns) of finite numbers.

        Raises
        ------
        InvalidInputError
            If a cell is none; the first is named.
        """
        frame = self.frame[list(columns)]
        if all(map(_is_numeric, frame.dtypes)):
            part = frame if rows is None else frame.iloc[rows]
            array: Floats = part.to_numpy(dtype=np.float64, na_value=np.nan)
            if np.isfinite(array).all():
                return array
        texts = _texts((_read_csv(self.path, ()) if self._is_csv else self.frame)[list(columns)])
        wrong = np.argwhere(~texts.map(_is_finite).to_numpy())
        if len(wrong):
            raise self._no_number(texts, int(wrong[0][0]), int(wrong[0][1]), len(wrong))
        array = texts.to_numpy().astype(np.float64)
        return array if rows is None else array[rows]

    def _no_number(self, texts: pd.DataFrame, row: int, column: int, wrong: int) -> InvalidInputError:
        """Return the refusal of the first cell that is no finite number: row, column, what it holds."""
        held = str(texts.iat[row, column]).strip()
        where = f"{self.path}: column {texts.columns[column]}: row {row} (from 0)"
        more = f" ({wrong:,} cells are none)" if wrong > 1 else ""
        if not held:
            return InvalidInputError(f"{where} {BLANK}; expected a number in each column{more}")
        if held.lower().lstrip("+-") == "nan":
            return InvalidInputError(
                f"{where} is NaN; expected a finite number: compute the network's output for that image "
                f"again{more}"
            )
        hint = "; give logarithms of 0 a lower end such as -100" if held.lower() == "-inf" else ""
        if re.fullmatch(r"[+-]?\d+,\d+", held):
            hint = "; write decimals with a point, and no other commas"
        return InvalidInputError(f"{where}: expected a number, got {printable(repr(held), 80)}{hint}{more}")

    @property
    def _is_csv(self) -> bool:
        return self.path.suffix.lower() == ".csv"

    def texts(self, column: str) -> pd.Series[Any]:
        """Return a column that is none of numbers as it is written, empty where nothing is."""
        return self.frame[column] if self._is_csv else _texts(self.frame[[column]])[column]

    def classes(
        self, column: str, classes: Sequence[str], rows: Integers | None = None, partly: bool = False
    ) -> Integers:
        """Return a column's classes (n,) as positions: they are given by name, or as numbers from 0.

        Parameters
        ----------
        column
            The column.
        classes
            Their names, in order.
        rows
            Which rows; all when omitted.
        partly
            Whether a cell may say that its class is not known, as in `UNKNOWN`; its position is then -1.

        Raises
        ------
        InvalidInputError
            If a cell holds no class, or if its number could be a class's name as well as its position.
        """
        texts = self.texts(column) if rows is None else self.texts(column).iloc[rows]
        codes, held = pd.factorize(texts)
        named = {name: place for place, name in enumerate(classes)}
        numbered = {str(place): place for place in range(len(classes))}
        unknown = {text for text in held if text.strip().lower() in UNKNOWN and text not in named}
        given = set(held) - unknown if partly else set(held)
        self._refuse_ambiguous(column, given, classes)
        by_name = given <= set(named) or (bool(given & set(named)) and not given <= set(numbered))
        places = dict(named if by_name else numbered)
        if partly and unknown and all(map(DECIMAL.fullmatch, given)):
            # Whole numbers of a column with empty cells: pandas can keep them only as decimals.
            places |= {text: numbered.get(text.partition(".")[0], -2) for text in given}
        places |= dict.fromkeys(unknown, -1) if partly else {}
        found = np.array([places.get(text, -2) for text in held], dtype=np.int64)[codes]
        if (strange := np.flatnonzero(found == -2)).size:
            raise InvalidInputError(self._no_class(texts, column, int(strange[0]), classes, by_name))
        return found

    def _refuse_ambiguous(self, column: str, given: Collection[str], classes: Sequence[str]) -> None:
        """Refuse numbers that could be positions where the classes are called by other numbers."""
        positions = {str(k) for k in range(len(classes))}
        numbers = all(name.lstrip("-").isdigit() for name in classes)
        if numbers and positions != set(classes) and given and set(given) <= positions:
            raise InvalidInputError(
                f"{self.path}: column {column}: its numbers could be class names ({_some(classes[:6])}, …) "
                "or positions from 0; name the classes by words, or by 0, 1, 2, …"
            )

    def _no_class(
        self, texts: pd.Series[Any], column: str, row: int, classes: Sequence[str], by_name: bool
    ) -> str:
        """Say of a row that it holds no class, and which may be meant where others are given by name."""
        value = texts.iloc[row]
        expected = f"one of {_some(classes)}"
        if not by_name:
            expected += f", or a number from 0 to {len(classes) - 1}"
        where = f"{self.path}: column {column}: row {texts.index[row]} (from 0)"
        if not value.strip():
            return f"{where} {BLANK}; expected {expected}"
        hint = near_hint(value, classes) if by_name else ""
        if DECIMAL.fullmatch(value):
            hint = (
                "; this is a whole number written as a decimal, as pandas does in a column that once had "
                f"empty cells; make it integers: table[{column!r}].astype(int)"
            )
        elif value == str(len(classes)) and "0" not in set(texts):
            hint = "; if they count from 1, subtract 1"
        elif value.strip().lower() in PLACEHOLDERS:
            hint = "; if it stands for an unknown class, leave the cell empty: a target may have such rows"
        elif value.strip() in classes:
            hint = "; take away the spaces around it"
        return f"{where}: expected {expected}, got {printable(repr(value), 80)}{hint}"


def read_table(path: Path, kinds: Sequence[str] = TABLES) -> Table:
    """Read a table.

    Raises
    ------
    InvalidInputError
        If it is not there, of another kind, cannot be read, holds no rows, a row of more or fewer cells than
        columns, or two columns of one name.
    """
    kind = require_file(path, kinds)
    try:
        frame = _read_csv(path, NUMBERS) if kind == ".csv" else _read_parquet(path)
    except ImportError as error:
        raise InvalidInputError(
            f"{path}: reading Parquet files needs pyarrow; install it with: pip install 'shiftcast[parquet]'"
        ) from error
    except InvalidInputError:
        raise
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path}: cannot be read as a table: it is not in UTF-8: {error}") from error
    except Exception as error:  # damaged files raise anything
        raise InvalidInputError(f"{path}: cannot be read as a table: {printable(str(error), 200)}") from error
    if not len(frame):
        raise InvalidInputError(f"{path}: holds no rows")
    return Table(path, frame)


def _read_csv(path: Path, numbers: tuple[str, ...]) -> pd.DataFrame:
    """Return the table, columns that begin as in `numbers` as floats if all of their cells are."""
    names, head, rows = _structure(path)
    floats = [place for place, name in enumerate(names) if name.startswith(numbers)] if numbers else []
    dtype = dict.fromkeys(range(len(names)), str) | dict.fromkeys(floats, float)
    options: dict[str, Any] = {
        "header": None,
        "skiprows": head,
        "names": range(len(names)),
        "na_filter": False,  # NA, null and None are names like others
        "encoding": "utf-8-sig",
    }
    try:
        frame: pd.DataFrame = pd.read_csv(path, dtype=dtype, **options)
        if any(frame[place].isin([0, 1]).all() for place in floats):
            raise ValueError("True and False are read as 1 and 0")
    except (ValueError, OverflowError):
        frame = pd.read_csv(path, dtype=str, **options)
    if len(frame) != rows:
        raise ValueError(f"{rows:,} rows by its commas and quotes, {len(frame):,} as pandas reads it")
    frame.columns = pd.Index(names, dtype=object)
    return frame[[name for name in names if name]] if "" in names else frame


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns, without those of an index; no row is read."""
    if path.suffix.lower() == ".parquet":
        parquet = importlib.import_module("pyarrow.parquet")  # of an extra
        return [str(name).strip() for name in parquet.read_schema(path).names]
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [cell.strip() for cell in next(filter(None, csv.reader(stream)), [])]


def _structure(path: Path) -> tuple[list[str], int, int]:
    """Return the names in a table's head, with how many records that ends, and the rows after it.

    Refuses what is no table: names that stand twice, rows of more or fewer cells.
    """
    names: list[str] = []
    head = row = 0
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for record, cells in enumerate(csv.reader(stream, strict=True), start=1):
            if not cells:
                continue
            if not names:
                names, head = [cell.strip() for cell in cells], record
                _check_names(path, names)
                continue
            if len(cells) > len(names):
                cause = "a comma at its end" if len(names) > 1 else "a line above the columns' names"
                raise InvalidInputError(
                    f"{path}: its rows hold more cells than its header names columns; expected as many: "
                    f"{len(names)}, got {len(cells)} in row {row} (from 0). Is there {cause}?"
                )
            if len(cells) < len(names):
                raise InvalidInputError(
                    f"{path}: column {printable(names[len(cells)], 80)}: row {row} (from 0) {BLANK}; "
                    f"expected {len(names)} cells in each row as the header names, got {len(cells)}"
                )
            row += 1
    if not names:
        raise ValueError("it is empty")
    return names, head, row


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse columns of one name; those without one, as pandas writes its row numbers, are left out."""
    if len(names) == 1 and (other := next((c for c in ";\t|" if c in names[0]), "")):
        raise InvalidInputError(f"{path}: its columns are separated by {other!r}; write it with commas")
    if sum(map(_is_finite, names)) > len(names) / 2:
        raise InvalidInputError(
            f"{path}: its columns are called {_some(names)}; expected names, such as {NUMBERS[0]}CLASS for "
            "each class. Does its first line hold them?"
        )
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in NUMBERS:
            raise InvalidInputError(f"{path}: column {name!r} names no class; expected {name}CLASS")
        copied = COPY.fullmatch(name)
        key = copied[1] if copied and copied[1] in seen else name
        # One letter may be written as one character or two, and looks the same.
        key = unicodedata.normalize("NFC", LABEL if key.lower() == LABEL else key)
        if name and key in seen:
            first, other = names[seen[key]], f" (as {printable(repr(name), 80)})"
            raise InvalidInputError(
                f"{path}: two columns are called {printable(repr(first), 80)}, number {seen[key]} and {place}"
                f"{other if name != first else ''} (from 0); keep one, or name them apart"
            )
        seen[key] = place


def _read_parquet(path: Path) -> pd.DataFrame:
    """Return a Parquet file's table, all of whose texts can be read: they are decoded at the first look.

    Levels of an index that have names are columns like others, as a `.csv` file would have them.
    """
    table = pd.read_parquet(path)
    named = pd.DataFrame(
        {str(n): table.index.get_level_values(k) for k, n in enumerate(table.index.names) if n is not None}
    )
    table = pd.concat([named, table.reset_index(drop=True)], axis=1)
    table.columns = pd.Index([str(name).strip() for name in table.columns], dtype=object)
    _check_names(path, list(table.columns))
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            cells = table[name].to_list()
            if any(isinstance(cell, bytes) for cell in cells):  # as other programs than pandas write texts
                table[name] = [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]
    return table


def _texts(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells as they are written, empty where nothing is."""
    return cells.astype(object).where(cells.notna(), "").map(str)


def _is_numeric(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)


def _is_finite(cell: str) -> bool:
    try:
        return "_" not in cell and bool(np.isfinite(float(cell)))
    except (ValueError, OverflowError):
        return False


def near_hint(value: str, names: Sequence[str]) -> str:
    """Return which of some names may be meant by one that is none of them, as the end of a sentence."""
    known = {name.lower(): name for name in names}
    near = get_close_matches(value.strip().lower()[:WIDEST], list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(known[name] for name in near)}?" if near else ""


def _some(names: Sequence[str]) -> str:
    shown = [str(name) for name in list(names)[:12]]
    return printable(", ".join(shown), 200) + (", …" if len(names) > len(shown) else "")
