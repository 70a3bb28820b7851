"""`shiftcast page`: the benchmark as a site of files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import typer

from shiftcast.site.build import LIST, previous, read_sections, site, vega_bundle, write_site
from shiftcast.util.files import sweep, write_atomic
from shiftcast.util.text import count
from shiftcast.workspace import Workspace


def write_page(workspace: Workspace, results: Path, out: Path, suites: Sequence[str], images: bool) -> None:
    """Score suites and write the site.

    Parameters
    ----------
    workspace, results
        Where the cards and the results are.
    out
        Folder of the site: new, empty, or with an earlier site of ours.
    suites
        Names of suites; all with results when empty.
    images
        Also show images whose licence does not let them be passed on.
    """
    start = time.perf_counter()
    bundle = vega_bundle()
    _tidy(out)
    before = previous(out)  # refuse a folder of other files before scoring, which takes a minute
    for name in suites:
        workspace.suite(name)
    sections = read_sections(workspace, results, suites, images, tell=partial(typer.echo, err=True))
    made = site(sections, bundle)
    # First of all: whenever this is killed, the folder is known as ours, and so is each file in it.
    write_atomic(out / LIST, "".join(f"{path}\n" for path in sorted(before | set(made))))
    write_site(made, out)
    size = sum(len(text.encode()) for text in made.values()) / 1e6
    seconds = time.perf_counter() - start
    typer.echo(
        f"wrote {count(len(made), 'file')} ({size:.1f} MB) in {seconds:.1f} s; open {out / 'index.html'}"
    )
    if images:
        typer.echo("with --images: check the licence of every dataset before you pass the site on")


def _tidy(out: Path) -> None:
    """Remove what a command left that was killed before it could say that the folder is its own."""
    sweep(out / LIST)
    with suppress(OSError):  # it is not empty, or not there
        (out / LIST).parent.rmdir()
