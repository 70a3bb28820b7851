"""The leaderboard's command; what scoring needs is loaded only where a suite is scored."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from shiftcast.errors import CheckFailedError
from shiftcast.leaderboard.cache import board_pages
from shiftcast.leaderboard.pages import PAGE, assemble, check, write
from shiftcast.util.text import count
from shiftcast.workspace import Workspace


def write_leaderboard(workspace: Workspace, results: Path, out: Path, jobs: int | None = None) -> None:
    """Write leaderboard.md and its figures; suites of which nothing has changed come from the cache.

    `jobs` is as in `board_pages`.
    """
    pages = list(board_pages(workspace, results, out, cached=True, jobs=jobs))
    files = assemble(pages, results, out)
    changed = write(files, out)
    console = Console()
    for path in changed:
        console.print(f"wrote {out / path}", highlight=False, markup=False, soft_wrap=True)
    same = len(files) - len(changed)
    if same:
        text = f"{count(same, 'file')} of {len(files)} stay as they are: {out / PAGE}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def check_leaderboard(workspace: Workspace, results: Path, out: Path, jobs: int | None = None) -> None:
    """Compare the leaderboard with what results/ say; no cache is read. `jobs` is as in `board_pages`.

    Raises
    ------
    CheckFailedError
        If they differ; the message holds the differences.
    """
    pages = board_pages(workspace, results, out, cached=False, jobs=jobs)
    lines = check(assemble(pages, results, out), out)
    if lines:
        body = "\n".join(lines)
        raise CheckFailedError(
            f"the leaderboard has drifted from {results}; renew it with: shiftcast leaderboard\n{body}"
        )
    Console().print(
        f"{out / 'leaderboard.md'} is what {results} says", highlight=False, markup=False, soft_wrap=True
    )
