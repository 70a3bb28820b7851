"""What a git revision holds, unpacked to a folder: results and cards as they were."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from shiftcast.util.strict import StrictModel

SECONDS = 300


def find_commit(folder: Path, revision: str) -> tuple[Path, str] | None:
    """Return the top of the repository that a folder is in and the commit that a revision names.

    None where the folder is in no repository, git is not there, or nothing is named so.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return None if top is None or commit is None else (Path(top.strip()), commit.split()[-1])


def unpack(top: Path, commit: str, paths: Sequence[str], folder: Path) -> list[str]:
    """Write those of some folders that a commit holds to an empty folder; return which they are.

    Parameters
    ----------
    top, commit
        As `find_commit` returns them.
    paths
        Folders, relative to the top.
    folder
        The empty folder.
    """
    # Asked first: `git archive` fails on a folder that this commit has not.
    listed = _git(top, "ls-tree", "-d", "-z", "--name-only", commit, "--", *paths) or ""
    present = [name for name in listed.split("\0") if name]
    archive = folder / "revision.tar"
    made = ("archive", "--format=tar", f"--output={archive}", commit, "--", *present)
    if not present or _git(top, *made) is None:
        return []
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
    archive.unlink()
    return present


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says; None where it fails or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def git_state() -> Git | None:
    """Return the checkout's commit and whether it has changes outside `results/`; None without git."""
    here = Path(__file__).resolve().parent

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()  # noqa: S603

    try:
        top = ask("rev-parse", "--show-toplevel")
        if Path(top) / "benchmark" / "shiftcast" not in here.parents:
            return None  # installed into somebody else's checkout
        commit = ask("rev-parse", "HEAD")
        # Runs write to results/ themselves: what they leave changes no code.
        changes = ask("-C", top, "status", "--porcelain", "--", ".", ":!results", ":!leaderboard.md")
    except (OSError, subprocess.SubprocessError):
        return None
    return Git(commit=commit, dirty=bool(changes))


class Git(StrictModel):
    """The checkout that a run was made from."""

    commit: str
    dirty: bool
