"""`shiftcast leaderboard`: write the board from stored results, or check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import MAINTAIN, Results, echo, example, tell, workspace_of
from shiftcast.errors import CheckFailedError
from shiftcast.util.text import count

if TYPE_CHECKING:
    from shiftcast.workspace import Workspace

app = typer.Typer()


@app.command(rich_help_panel=MAINTAIN, epilog=example("leaderboard", "leaderboard --check --jobs 2"))
def leaderboard(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Compare only; exit 1 and show the differences, if any.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="With --check, score so many runs a suite alone; the rest comes from the stored tables.",
        ),
    ] = None,
    results: Results = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Write leaderboard.md to this folder [default: the workspace]."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Score a suite in this many processes [default: 1; one a core, at most 4, from 64 runs on].",
        ),
    ] = None,
) -> None:
    """Write leaderboard.md and its figures from results/.

    Neither datasets nor torch are needed. Suites without changes come from the cache, except with --check.
    """
    workspace = workspace_of(context)
    folder, place = results or workspace.results(), out or workspace.home
    if sample is not None and not check:
        raise typer.BadParameter("it goes with --check alone", param_hint="--sample")
    if check:
        check_leaderboard(workspace, folder, place, jobs, sample)
    else:
        write_leaderboard(workspace, folder, place, jobs)


def write_leaderboard(workspace: Workspace, results: Path, out: Path, jobs: int | None = None) -> None:
    """Write leaderboard.md and its figures; suites of which nothing has changed come from the cache.

    `jobs` is as in `board_pages`.
    """
    from shiftcast.cli.bars import Steps
    from shiftcast.leaderboard.cache import board_pages
    from shiftcast.leaderboard.pages import PAGE, assemble, write

    steps = Steps(tell, "Scoring {}".format, live=False)
    pages = list(board_pages(workspace, results, out, cached=True, jobs=jobs, say=tell, progress=steps))
    files = assemble(pages, results, out)
    changed = write(files, out)
    for path in changed:
        echo(f"wrote {out / path}")
    same = len(files) - len(changed)
    if same:
        echo(f"{count(same, 'file')} of {len(files)} stay as they are: {out / PAGE}")


def check_leaderboard(
    workspace: Workspace, results: Path, out: Path, jobs: int | None = None, sample: int | None = None
) -> None:
    """Compare the leaderboard with what results/ say; no cache is read. The rest is as in `board_pages`.

    Raises
    ------
    CheckFailedError
        If they differ; the message holds the differences.
    """
    from shiftcast.cli.bars import Steps
    from shiftcast.leaderboard.cache import board_pages
    from shiftcast.leaderboard.pages import PAGE, assemble
    from shiftcast.leaderboard.pages import check as differences

    steps = Steps(tell, "Scoring {}".format, live=False)
    pages = list(
        board_pages(workspace, results, out, cached=False, jobs=jobs, sample=sample, say=tell, progress=steps)
    )
    lines = differences(assemble(pages, results, out), out)
    if lines:
        body = "\n".join(lines)
        raise CheckFailedError(
            f"the leaderboard has drifted from {results}; renew it with: shiftcast leaderboard\n{body}"
        )
    echo(f"{out / PAGE} is what {results} says")
