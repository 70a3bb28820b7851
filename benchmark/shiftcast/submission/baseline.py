"""Results as they were, a folder or a git revision, and what of them is no longer as it was."""

from __future__ import annotations

import filecmp
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.board_errors import FILE as RESIDUALS
from shiftcast.runs.layout import LEDGER, LEGEND_PAGE, is_made, is_register
from shiftcast.runs.problems import Problem
from shiftcast.util.git import find_commit, unpack


@contextmanager
def base_tree(root: Path, against: str | None) -> Iterator[Path | None]:
    """Give the results folder as it was: a folder, or that of a git revision, unpacked; None without either.

    Parameters
    ----------
    root
        The results folder as it is.
    against
        A folder, or whatever git takes for a commit.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    if against is None:
        yield None
    elif Path(against).is_dir():
        yield Path(os.path.abspath(against))  # noqa: PTH100  as `root` is
    else:
        with tempfile.TemporaryDirectory() as place:
            yield _unpacked(root, against, Path(place))


def _unpacked(root: Path, revision: str, place: Path) -> Path:
    """Return the results folder as a revision holds it; one that is not there where it held none."""
    found = find_commit(root, revision)
    if found is None:
        raise InvalidInputError(
            f"--against {revision}: is neither a folder nor a revision of the repository that {root} is in"
        )
    inside = root.resolve().relative_to(found[0].resolve()).as_posix()
    unpack(*found, [inside], place)
    return place / inside


def altered(old: Path, new: Path) -> list[Problem]:
    """Return a problem for each file that was there and is gone or another; additions are none.

    What `shiftcast leaderboard` makes may change, and registers of blind sets may grow.
    """
    before, after = _files(old), _files(new)
    problems = []
    for name, path in before.items():
        if name not in after:
            if not _generated(name):
                remedy = "restore it: git checkout BASE -- FILE"
                problems.append(Problem(str(new / name), "a file that stands in the base", "none", remedy))
        elif not _kept(name, path, after[name]):
            remedy = "restore it: git checkout BASE -- FILE"
            if name == LEDGER:
                remedy = "restore it: only maintainers say who vouches for a run"
            elif is_register(name):
                remedy = "restore it: lines of a register may only be added"
            problems.append(
                Problem(str(new / name), "the content that stands in the base", "another", remedy)
            )
    if LEDGER in after and LEDGER not in before:
        remedy = "take it out: only maintainers say who vouches for a run"
        problems.append(Problem(str(new / LEDGER), "no ledger, as in the base", "one", remedy))
    return problems


def _files(root: Path) -> Mapping[str, Path]:
    """Return every file below a folder by its path there, links among them and none followed."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))


def _generated(name: str) -> bool:
    """Whether `shiftcast leaderboard` makes a file of this name."""
    return name in (RESIDUALS.name, LEGEND_PAGE) or is_made(name.partition("/")[2])


def _kept(name: str, old: Path, new: Path) -> bool:
    if _generated(name):
        return True
    if new.is_symlink() or not new.is_file():
        return False
    if is_register(name):
        return new.read_bytes().startswith(old.read_bytes())
    return filecmp.cmp(old, new, shallow=False)
