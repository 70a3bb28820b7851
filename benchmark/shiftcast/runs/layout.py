"""Paths and names under `results/`, which only this file knows, and which suites have runs there.

`results/SUITE/ARCHITECTURE/RECIPE/seed-N/` is the folder of a run, with `SUITE@EDITION` in place of `SUITE`
where its arrays are not those that the suite names.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.errors import InvalidInputError, RunError
from shiftcast.workspace import Workspace

RECORD, PREDICTIONS, SIGNALS = "run.json", "predictions.safetensors", "signals.safetensors"
RUN_FILES = (RECORD, PREDICTIONS, SIGNALS)
"""What a run's folder holds; signals only where the recipe asks for them."""
LEDGER = "ledger.toml"
BLIND = "blind"
FIGURES, SHIFTS, TABLES = "figures", "shifts", "tables"
BOARD_PAGE, CONFUSION_PAGE, LEGEND_PAGE = "board.md", "confusion.md", "legend.md"
MADE = (BOARD_PAGE, CONFUSION_PAGE, f"{SHIFTS}/*.md", f"{FIGURES}/*.svg", f"{TABLES}/*.csv")
"""What `shiftcast leaderboard` makes below the folder of a suite's runs; the legend is beside that folder."""
SHAPE = "SUITE/ARCHITECTURE/RECIPE/seed-N"
SEED = re.compile(r"seed-(0|[1-9][0-9]{0,8})")
RUNS_BELOW = ("*/*/*/seed-*", "*/*/seed-*", "*/seed-*", "seed-*")
"""Where runs are below the folder of results, of a suite, of an architecture and of a recipe."""


def label_of(suite: str, edition: str) -> str:
    """Return the name of the folder of a suite's runs: `SUITE`, or `SUITE@EDITION` for other arrays."""
    return f"{suite}@{edition}" if edition else suite


def split_label(label: str) -> tuple[str, str]:
    """Return the suite and the edition, empty for the suite's own, that a folder's name stands for."""
    suite, _, edition = label.partition("@")
    return suite, edition


def results_folder(results: Path, suite: Suite, edition: str) -> Path:
    """Return the folder of a suite's runs."""
    return results / label_of(suite.name, edition)


def register_path(results: Path, name: str) -> Path:
    """Return the log of what was predicted about a blind set."""
    return results / BLIND / f"{name}.jsonl"


def table_path(name: str) -> str:
    """Return where a table is below the folder of a suite's runs, in letters that every system takes."""
    return f"{TABLES}/{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.csv"


def is_table(path: Path) -> bool:
    """Whether a path is that of one of a suite's tables."""
    return path.parent.name == TABLES and path.suffix == ".csv"


def is_register(name: str) -> bool:
    """Whether a path below the folder of results is one of a register of a blind set."""
    return name.startswith(f"{BLIND}/")


def is_made(name: str) -> bool:
    """Whether `shiftcast leaderboard` makes the file at a path below the folder of a suite's runs."""
    # A star of fnmatch also stands for slashes.
    return any(name.count("/") == made.count("/") and fnmatchcase(name, made) for made in MADE)


def key_of(path: Path) -> RunKey:
    """Return which run a folder is that of, by its name and those above it.

    Raises
    ------
    ValueError
        If they cannot be those of a run.
    """
    architecture, recipe, seed = path.parts[-3:]
    if not SEED.fullmatch(seed):
        raise ValueError(f"{path}: expected a folder seed-N")
    return RunKey(architecture=architecture, recipe=recipe, seed=int(seed.removeprefix("seed-")))


def run_folders(folder: Path, reported: bool) -> list[Path]:
    """Return the folders of a suite's runs, those of self-reported ones or the others, in order of name."""
    return sorted(
        path for path in folder.glob(RUNS_BELOW[1]) if (path.parent.name == SELF_REPORTED) == reported
    )


def recorded_folders(results: Path) -> list[Path]:
    """Return the folders of all runs in a results folder that are written to the end, in order of name."""
    return sorted(path.parent for path in results.glob(f"{RUNS_BELOW[0]}/{RECORD}"))


def stored_suites(workspace: Workspace, results: Path) -> list[tuple[Suite, str]]:
    """Return each suite and edition that has a folder in `results`, in order of name.

    Raises
    ------
    RunError
        If a folder holds runs of a suite that has no card.
    InvalidInputError
        If there is none.
    """
    stored = []
    for folder in sorted(path for path in results.glob("*") if path.is_dir()):
        name, edition = split_label(folder.name)
        if name in workspace.suites:
            stored.append((workspace.suites[name], edition))
        elif any(folder.glob(RUNS_BELOW[1])):
            raise RunError(
                f"{folder}: holds runs of a suite {name!r}, which has no file in "
                f"{workspace.root / 'benchmark/suites'}; add the suite or move the folder away"
            )
    if not stored:
        raise no_results(workspace, results)
    return stored


def no_results(workspace: Workspace, results: Path) -> InvalidInputError:
    """Return the refusal of a folder without results: they are in a checkout, or can be made."""
    if workspace.embedded:
        return InvalidInputError(
            f"{results}: holds no results. The stored predictions of the board are in the repository, the "
            "installed package brings none: clone it and run this there, or name the checkout with "
            "--workspace, or a folder of results with --results"
        )
    return InvalidInputError(f"{results}: holds no results; make some with: shiftcast run quickstart")
