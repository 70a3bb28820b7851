"""Who vouches for a run: `results/ledger.toml`, kept by maintainers.

It lists, under the name of each level, the path of every `run.json` below `results/` with its SHA-256;
`run.json` in turn holds that of the predictions. A run that is not listed, or whose file has changed since,
is self-reported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError

from shiftcast.cards.base import explain
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import LEDGER, RECORD
from shiftcast.runs.record import LARGEST_RECORD
from shiftcast.util.files import read_regular, write_atomic
from shiftcast.util.hashing import sha256

LARGEST_LEDGER = 10_000_000
Level = Literal["reproduced", "recomputed", "self-reported"]
"""`reproduced`: trained or run again by maintainers; `recomputed`: accuracies follow from logits and the
dataset; `self-reported`: its author says so."""
LEVELS: tuple[Level, ...] = get_args(Level)
LOWEST: Level = "self-reported"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9@+._-]+(/[A-Za-z0-9._-]+){3}/run\.json$")]
_TABLES = TypeAdapter(dict[Literal["reproduced", "recomputed"], dict[RunPath, Digest]])

HEAD = """\
# Kept by maintainers, with shiftcast ledger: who vouches for which run. Under each level, the path of a
# run.json below this folder and its SHA-256 (run.json holds that of the predictions). "reproduced": trained
# or run again by maintainers. "recomputed": accuracies follow from the logits and the dataset. A run that is
# not here, or that has changed since, is self-reported.
"""


@dataclass(frozen=True)
class Ledger:
    """What maintainers vouch for: level and SHA-256 by the path of a `run.json` below `results`."""

    results: Path
    entries: Mapping[str, tuple[Level, str]] = field(default_factory=dict)

    def level(self, folder: Path) -> Level:
        """Return the level of the run in a folder; one that changed since it was entered has the lowest."""
        level, digest = self.entries.get(self._name(folder), (LOWEST, ""))
        return level if level != LOWEST and digest == _digest(folder) else LOWEST

    def changed(self, folder: Path) -> bool:
        """Whether a run is entered as it no longer is."""
        entry = self.entries.get(self._name(folder))
        return entry is not None and entry[1] != _digest(folder)

    def _name(self, folder: Path) -> str:
        return (folder / RECORD).relative_to(self.results).as_posix()

    def with_runs(self, folders: Iterable[Path], level: Level) -> Ledger:
        """Return a ledger in which the runs in these folders, as they are now, have a level."""
        entries = dict(self.entries)
        for folder in folders:
            if level == LOWEST:
                entries.pop(self._name(folder), None)
            else:
                entries[self._name(folder)] = (level, _digest(folder))
        return Ledger(self.results, entries)

    def text(self) -> str:
        """Return the file's content: equal entries, equal text."""
        blocks = [HEAD]
        for level in LEVELS:
            runs = sorted((path, digest) for path, (other, digest) in self.entries.items() if other == level)
            if runs:
                blocks.append(
                    "\n".join([f"[{level}]", *(f'"{path}" = "{digest}"' for path, digest in runs), ""])
                )
        return "\n".join(blocks)

    def write(self) -> Path:
        """Write `ledger.toml`; return where it stands."""
        write_atomic(self.results / LEDGER, self.text())
        return self.results / LEDGER


def read_ledger(results: Path) -> Ledger:
    """Return the ledger of a results folder; without a file, one that vouches for nothing.

    Raises
    ------
    RunError
        If the file is no such ledger, or names a run twice.
    """
    path = results / LEDGER
    try:
        values = tomllib.loads(read_regular(path, LARGEST_LEDGER).decode())
        tables = _TABLES.validate_python(values)
    except FileNotFoundError:
        return Ledger(results)
    except InvalidInputError as error:
        raise RunError(str(error)) from error
    except ValidationError as error:
        raise RunError(
            f"{path}: {explain(error)}; expected paths and SHA-256 under [reproduced] …"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: is not valid TOML: {error}") from error
    entries: dict[str, tuple[Level, str]] = {}
    for level, own in tables.items():
        for name, digest in own.items():
            if name in entries:
                raise RunError(f"{path}: names {name!r} twice, as {entries[name][0]} and {level}; keep one")
            entries[name] = (level, digest)
    return Ledger(results, entries)


def _digest(folder: Path) -> str:
    try:
        return sha256(read_regular(RunFolder(folder).record_path, LARGEST_RECORD))
    except (InvalidInputError, OSError):
        return ""
