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
from shiftcast.runs.record import LARGEST_RECORD
from shiftcast.util.files import read_regular, write_atomic
from shiftcast.util.hashing import sha256

FILE = "ledger.toml"
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

    def level(self, place: Path) -> Level:
        """Return the level of the run in a folder; one that changed since it was entered has the lowest."""
        level, digest = self.entries.get(self._name(place), (LOWEST, ""))
        return level if level != LOWEST and digest == _digest(place) else LOWEST

    def changed(self, place: Path) -> bool:
        """Whether a run is entered as it no longer is."""
        entry = self.entries.get(self._name(place))
        return entry is not None and entry[1] != _digest(place)

    def _name(self, place: Path) -> str:
        return (place / "run.json").relative_to(self.results).as_posix()

    def with_runs(self, places: Iterable[Path], level: Level) -> Ledger:
        """Return a ledger in which the runs in these folders, as they are now, have a level."""
        entries = dict(self.entries)
        for place in places:
            if level == LOWEST:
                entries.pop(self._name(place), None)
            else:
                entries[self._name(place)] = (level, _digest(place))
        return Ledger(self.results, entries)

    def text(self) -> str:
        """Return the file's content: equal entries, equal text."""
        blocks = [HEAD]
        for level in LEVELS:
            own = sorted((path, digest) for path, (other, digest) in self.entries.items() if other == level)
            if own:
                blocks.append(
                    "\n".join([f"[{level}]", *(f'"{path}" = "{digest}"' for path, digest in own), ""])
                )
        return "\n".join(blocks)

    def write(self) -> Path:
        """Write `ledger.toml`; return where it stands."""
        write_atomic(self.results / FILE, self.text())
        return self.results / FILE


def read_ledger(results: Path) -> Ledger:
    """Return the ledger of a results folder; without a file, one that vouches for nothing.

    Raises
    ------
    RunError
        If the file is no such ledger, or names a run twice.
    """
    path = results / FILE
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


def _digest(place: Path) -> str:
    try:
        return sha256(read_regular(RunFolder(place).record_path, LARGEST_RECORD))
    except (InvalidInputError, OSError):
        return ""
