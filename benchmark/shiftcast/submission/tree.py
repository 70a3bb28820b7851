"""Where the runs of a results folder are, and what stands there that should not; links are never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.board_errors import FILE as RESIDUALS
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import (
    BLIND,
    FIGURES,
    LEDGER,
    LEGEND_PAGE,
    RECORD,
    RUNS_BELOW,
    SEED,
    SHAPE,
    SHIFTS,
    TABLES,
)
from shiftcast.runs.problems import Problem
from shiftcast.runs.reading import misplaced
from shiftcast.runs.soundness import is_being_written

TOP_FILES = (LEDGER, RESIDUALS.name, LEGEND_PAGE, "README.md")
SUITE_SUFFIXES = (".md", ".json")
OTHER_FOLDERS = ((0, BLIND), (1, FIGURES), (1, SHIFTS), (1, TABLES))
"""Folders without runs, and how deep they are."""
EXPECTED = (
    f"folders of suites, or one of {', '.join(TOP_FILES)}",
    "folders of architectures, or pages (.md) and figures (.json) about the suite",
    "folders of recipes",
    "folders of runs, seed-N",
)
"""What is below the folder of results, of a suite, of an architecture and of a recipe."""
MOST_ENTRIES = 200_000
"""Files and folders that are looked at."""


@dataclass
class Tree:
    """What a results folder holds.

    Parameters
    ----------
    root
        The folder.
    runs
        Every run's folder.
    problems
        What should not be there.
    """

    root: Path
    runs: list[RunFolder] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def locate(path: Path) -> tuple[Path, Path | None]:
    """Return the results folder that a path belongs to, and the part of it that is meant; None means all.

    Parameters
    ----------
    path
        A results folder, or one in it: of a suite, an architecture, a recipe or a run.

    Raises
    ------
    InvalidInputError
        If it is none of these.
    """
    whole = Path(os.path.abspath(path))  # noqa: PTH100  links stay what they are
    if not os.path.lexists(whole):
        raise InvalidInputError(f"{path}: there is no such folder")
    if whole.is_symlink() or not whole.is_dir():
        raise InvalidInputError(f"{path}: expected a folder of results, or of one run, that is not a link")
    above = [whole, *whole.parents]
    run = SEED.fullmatch(whole.name) or os.path.lexists(whole / RECORD)
    depth = 4 if run else next((n for n, runs in enumerate(RUNS_BELOW) if any(whole.glob(runs))), None)
    if depth is None or depth >= len(above):
        raise InvalidInputError(
            f"{path}: holds no run; expected a folder of results ({SHAPE}/{RECORD}), or one in it: "
            "of a suite, an architecture, a recipe or a run"
        )
    return above[depth], whole if depth else None


def walk(root: Path, part: Path | None) -> Tree:
    """Return the runs below a results folder, or in a part of it, and what should not be there."""
    tree = Tree(root)
    if part is not None:
        inside = part.relative_to(root)
        for folder in [*list(inside.parents)[-2::-1], inside]:
            if (root / folder).is_symlink():
                _link(tree, root / folder)
                return tree
    _descend(tree, part or root)
    return tree


def _descend(tree: Tree, path: Path) -> None:
    """Add the runs in a folder, and name its files that should not be there."""
    depth = len(path.relative_to(tree.root).parts)
    if depth == len(EXPECTED):
        _run(tree, path)
        return
    for entry in _entries(tree, path):
        if entry.is_dir():
            if (depth, entry.name) not in OTHER_FOLDERS:
                _descend(tree, entry)
        elif not (depth == 0 and entry.name in TOP_FILES) and not (
            depth == 1 and entry.suffix in SUITE_SUFFIXES
        ):
            remedy = "remove it, or give it the right name"
            tree.problems.append(Problem(str(entry), EXPECTED[depth], "another file", remedy))


def _entries(tree: Tree, folder: Path) -> Iterator[Path]:
    """Give what a folder holds, in order; links, and what is no file and no folder, are problems."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    if len(names) > MOST_ENTRIES:
        found = f"{len(names):,} entries"
        tree.problems.append(
            Problem(str(folder), f"at most {MOST_ENTRIES:,} entries", found, "take them out")
        )
        return
    for name in names:
        path = folder / name
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            _link(tree, path)
        elif not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            tree.problems.append(Problem(str(path), "a file or a folder", "neither", "take it out"))
        elif not is_being_written(name):
            yield path


def _link(tree: Tree, path: Path) -> None:
    remedy = "put a copy in its place"
    tree.problems.append(Problem(str(path), "a file or a folder", "a symbolic link", remedy))


def _run(tree: Tree, path: Path) -> None:
    """Add a run's folder, or say why it is none; what is in it is `Inspection`'s business."""
    run = RunFolder(path)
    try:
        _ = run.key
    except ValueError:
        tree.problems.append(misplaced(path))
    else:
        tree.runs.append(run)
