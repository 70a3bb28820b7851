"""`shiftcast page`: the benchmark as a site of files."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from shiftcast.cli.options import BENCHMARK, Results, echo, example, tell, workspace_of
from shiftcast.util.files import sweep, write_atomic
from shiftcast.util.text import count

app = typer.Typer()


@app.command(rich_help_panel=BENCHMARK, epilog=example("page --out site/ --suite cifar10-cpu"))
def page(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(file_okay=False, help="Write the site here: a new or empty folder, or an earlier site."),
    ],
    suite: Annotated[
        list[str] | None, typer.Option(help="Show only this suite (repeatable) [default: all with results].")
    ] = None,
    images: Annotated[
        bool,
        typer.Option("--images", help="Also show images that may not be passed on: for your eyes alone."),
    ] = False,
    results: Results = None,
) -> None:
    """Write a site of the benchmark, with charts and tables.

    The site needs no network, and writing it needs no torch.
    """
    from shiftcast.cli.bars import Steps
    from shiftcast.site.build import LIST, previous, read_sections, site, vega_bundle, write_site

    start = time.perf_counter()
    workspace = workspace_of(context)
    bundle = vega_bundle()
    _tidy(out / LIST)
    before = previous(out)  # refuse a folder of other files before scoring, which takes a minute
    for name in suite or ():
        workspace.suite(name)
    steps, folder = Steps(tell, "Scoring {}".format, live=False), results or workspace.results()
    sections = read_sections(workspace, folder, suite or (), images, tell=tell, progress=steps)
    made = site(sections, bundle)
    # First of all: whenever this is killed, the folder is known as ours, and so is each file in it.
    write_atomic(out / LIST, "".join(f"{path}\n" for path in sorted(before | set(made))))
    write_site(made, out)
    size = sum(len(text.encode()) for text in made.values()) / 1e6
    seconds = time.perf_counter() - start
    echo(f"wrote {count(len(made), 'file')} ({size:.1f} MB) in {seconds:.1f} s; open {out / 'index.html'}")
    if images:
        echo("with --images: check the licence of every dataset before you pass the site on")


def _tidy(listing: Path) -> None:
    """Remove what a killed command left before it could mark the folder as a site of ours."""
    sweep(listing)
    with suppress(OSError):  # the folder is not empty, or does not exist
        listing.parent.rmdir()
