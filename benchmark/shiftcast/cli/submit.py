"""`shiftcast submit`: outputs of a model trained elsewhere, made a run of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from tabulate import tabulate

from shiftcast.cards import Suite
from shiftcast.estimators import official_estimators
from shiftcast.leaderboard.text import count, percent
from shiftcast.reported import File, Imported, import_run, make_claim
from shiftcast.scoring.candidate import default_suite
from shiftcast.workspace import Workspace

ABOVE_CHANCE = 6.0
"""Standard errors above chance up to which a model has learned next to nothing."""


def which_suite(workspace: Workspace, name: str | None, results: Path | None) -> Suite:
    """Return the suite that is named, or the one with the most runs."""
    if name is not None:
        return workspace.suite(name)
    suite = default_suite(workspace, results or workspace.results())
    typer.echo(f"suite {suite.name}, the one with the most runs")
    return suite


def files_of(predictions: Sequence[str]) -> list[File]:
    """Return files as they are given on the command line: `FILE`, or `SET=FILE` for a file of one set."""
    found = []
    for given in predictions:
        name, separator, path = given.partition("=")
        alone = separator and not Path(given).exists()
        found.append((name, Path(path)) if alone else ("", Path(given)))
    return found


def submit_predictions(
    workspace: Workspace,
    suite: Suite,
    files: Sequence[File],
    architecture: str,
    seed: int,
    family: str | None,
    parameters: int | None,
    note: str,
    results: Path | None,
    force: bool,
) -> None:
    """Write a self-reported run and say what it holds; arguments are the command's options."""
    claim = make_claim(workspace, architecture, seed, family, parameters, note)
    folder = results or workspace.results(suite)
    names = ", ".join(file.name for _, file in files)
    with Console(stderr=True).status(escape(f"Checking {names} against suite {suite.name} …")):
        found = import_run(workspace, suite, files, claim, folder, force)
    if found.changed:
        typer.echo(f"wrote {found.place.path}")
    else:
        typer.echo(f"{found.place.path} is there already, with the same content; nothing was written")
    _say_where_labels_are_from(found, folder / suite.name)
    typer.echo("\n" + _accuracies(found) + "\n")
    if found.record.outputs == "classes":
        skipped = [name for name, one in official_estimators().items() if "logits" in one.requires]
        typer.echo(f"class indices alone (hard labels): skipped for want of logits: {', '.join(skipped)}")
    _say_what_is_odd(workspace, suite, found)
    typer.echo(f"check it as a reviewer would: shiftcast validate {found.place.path}")
    typer.echo(_how_to_renew(workspace, suite, results))


def _say_where_labels_are_from(found: Imported, folder: Path) -> None:
    sets = found.record.targets
    asked = [name for name in sets if not found.known[name].from_runs]
    if len(asked) < len(sets):
        typer.echo(f"images and labels: as the complete runs in {folder} have them", nl=False)
        typer.echo(f" ({count(len(sets) - len(asked), 'set')})")
    if asked:
        typer.echo(
            f"images and labels: read from the dataset, as no complete run holds it: {', '.join(asked)}"
        )


def _accuracies(found: Imported) -> str:
    rows = [
        [name, f"{one.n:,}", "withheld" if one.accuracy is None else percent(one.accuracy)]
        for name, one in found.record.targets.items()
    ]
    headings = ("set", "images", "accuracy %")
    alignment = ("left", "right", "right")
    return str(tabulate(rows, headings, "simple", colalign=alignment, disable_numparse=True))


def _say_what_is_odd(workspace: Workspace, suite: Suite, found: Imported) -> None:
    sets, classes = found.record.targets, workspace.dataset(suite.source.test).classes
    lacking = [
        target.id
        for target in suite.unfolded_targets()
        if target.id not in sets and target.level == "required"
    ]
    if lacking:
        typer.echo(f"not in the file, though the suite requires them: {', '.join(lacking)}")
    source, chance = sets[suite.source.test], 1 / len(classes)
    spread = sqrt(chance * (1 - chance) / source.n)
    if source.accuracy is not None and source.accuracy < min(chance + ABOVE_CHANCE * spread, 2 * chance):
        typer.echo(
            "no better than chance in distribution: are the columns in the order of the suite's classes "
            f"({', '.join(classes)}), the rows in the order of the images?"
        )
    name = found.record.key.architecture
    if not suite.contributed and name in {
        key.architecture for key in [*suite.scored_runs(), *suite.reference_runs()]
    }:
        typer.echo(f"{name} is also an architecture of the suite: this run stands beside its runs, unranked")
    families = {card.family for card in workspace.architectures.values()}
    if not suite.contributed and found.record.family not in families:
        typer.echo(
            f"family {found.record.family!r} is that of no architecture card, so no member of the reference "
            "ensemble steps aside where this model's accuracy is predicted; if it is of a card's family, "
            "name that with --family"
        )


def _how_to_renew(workspace: Workspace, suite: Suite, results: Path | None) -> str:
    if results is None and suite.scratch:
        return f"renew the report with: shiftcast run {suite.name}"
    elsewhere = results is not None and results.resolve() != workspace.results().resolve()
    return "renew the board with: shiftcast leaderboard" + (
        f" --results {results} --out FOLDER" if elsewhere else ""
    )
