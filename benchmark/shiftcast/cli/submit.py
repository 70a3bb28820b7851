"""`shiftcast submit`: outputs of a model trained elsewhere, made a run of a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import SUBMIT, Results, echo, example, text_table, workspace_of
from shiftcast.errors import InvalidInputError
from shiftcast.util.text import count, percent, printable

if TYPE_CHECKING:
    from shiftcast.cards.suite import Suite
    from shiftcast.submission.create import File, Imported
    from shiftcast.workspace import Workspace

ABOVE_CHANCE = 6.0
"""Standard errors above chance up to which a model has learned next to nothing."""


app = typer.Typer()
Predictions = Annotated[
    list[str],
    typer.Option(
        metavar="[SET=]FILE",
        help="Read logits (n, K) or class indices (n,): .npz, .safetensors, .csv or .parquet of all sets by "
        "their ids, or SET=FILE for a file of one set, .npy too (repeatable).",
    ),
]


@app.command(
    rich_help_panel=SUBMIT,
    epilog=example("submit cifar10-cpu --predictions outputs.npz --architecture my-net"),
)
def submit(
    context: typer.Context,
    predictions: Predictions,
    architecture: Annotated[str, typer.Option(help="Name the model.")],
    suite: Annotated[
        str | None, typer.Argument(help="Name of the suite (needed); see: shiftcast list suites")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Number this training among several of the model.")] = 0,
    family: Annotated[
        str | None,
        typer.Option(help="Name its family [default: the card's of this name, else unknown]."),
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(min=1, help="State its trainable parameters [default: the card's].")
    ] = None,
    note: Annotated[str, typer.Option(help="Describe the training, in one line.")] = "",
    results: Results = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run that has other content.")] = False,
) -> None:
    """Make a run of the outputs of a model trained elsewhere.

    Such a run is listed apart and never ranked, except in a suite of contributed logits.
    """
    from rich.console import Console
    from rich.markup import escape

    from shiftcast.estimate.inputs import about_unread
    from shiftcast.intake.outputs import OUTPUTS
    from shiftcast.submission.create import import_run, make_claim

    workspace = workspace_of(context)
    chosen, files = _chosen_suite(workspace, suite), _files_of(predictions)
    family = _as_cards_spell_it(workspace, chosen, family)
    claim = make_claim(workspace, architecture, seed, family, parameters, note)
    folder = results or workspace.results(chosen)
    fresh = not folder.exists()
    names = printable(", ".join(file.name for _, file in files))
    with Console(stderr=True, emoji=False).status(escape(f"Checking {names} against suite {chosen.name} …")):
        found = import_run(workspace, chosen, files, claim, folder, force)
    if fresh:
        _say(f"made a new results folder, as there was none: {folder}")
    _report(workspace, chosen, found, folder)
    for text in found.doubts:
        echo(f"warning: {text}", err=True)
    for name, file in files:  # without a name, every array is a set's or refused
        for text in about_unread(file, (*OUTPUTS, "labels")) if name else ():
            echo(f"warning: {text}", err=True)
    echo(_how_to_renew(workspace, chosen, results))


def _say(text: str) -> None:
    from shiftcast.cli.terminal import in_lines

    echo(in_lines(text))


def _report(workspace: Workspace, suite: Suite, found: Imported, results: Path) -> None:
    """Print what a run holds, likely mistakes, and the command that checks it."""
    from shiftcast.submission import need_logits

    if found.changed:
        _say(f"wrote {printable(str(found.place.path))}")
    else:
        _say(f"{found.place.path} is there already, with the same content; nothing was written")
    _say_where_labels_are_from(found, results / suite.name)
    echo("\n" + _accuracies(found) + "\n")
    if found.record.outputs == "classes":
        skipped = ", ".join(need_logits())
        _say(f"class indices alone (hard labels): skipped for want of logits: {skipped}")
    _warn(workspace, suite, found)
    echo(f"check it as a reviewer would: shiftcast validate {found.place.path}")


def _chosen_suite(workspace: Workspace, name: str | None) -> Suite:
    """Return the suite that is named; a run is never written into one that is not.

    Raises
    ------
    InvalidInputError
        If none is named.
    UnknownNameError
        If there is no such suite.
    """
    if name is None:
        raise InvalidInputError(
            "submit: expected the name of the suite that the outputs are of, as in: shiftcast submit SUITE "
            f"--predictions …; got none. There are {', '.join(workspace.suites)} (shiftcast list suites)"
        )
    return workspace.suite(name)


def _files_of(predictions: Sequence[str]) -> list[File]:
    """Return files as they are given on the command line: `FILE`, or `SET=FILE` for a file of one set."""
    found = []
    for given in predictions:
        name, separator, path = given.partition("=")
        alone = separator and not Path(given).exists()
        found.append((name, Path(path)) if alone else ("", Path(given)))
    return found


def _families(workspace: Workspace) -> Collection[str]:
    return {card.family for card in workspace.architectures.values()}


def _as_cards_spell_it(workspace: Workspace, suite: Suite, family: str | None) -> str | None:
    """Return a family's name as the architecture cards have it where letters differ in case alone."""
    if family is None or suite.contributed:
        return family
    known = _families(workspace)
    same = next((name for name in sorted(known) if name.lower() == family.lower()), family)
    if family in known or same == family:
        return family
    _say(f"family {family!r} is taken for {same!r}, as the architecture cards spell it")
    return same


def _say_where_labels_are_from(found: Imported, folder: Path) -> None:
    sets = found.record.targets
    asked = [name for name in sets if not found.known[name].from_run]
    if len(asked) < len(sets):
        _say(
            f"images and labels of {count(len(sets) - len(asked), 'set')}: as in the complete runs in "
            f"{folder}"
        )
    if asked:
        _say(f"images and labels: read from the dataset, as no complete run holds it: {', '.join(asked)}")


def _accuracies(found: Imported) -> str:
    rows = [
        [name, f"{one.n:,}", "withheld" if one.accuracy is None else percent(one.accuracy)]
        for name, one in found.record.targets.items()
    ]
    return text_table(rows, ("set", "images", "accuracy %"), ("left", "right", "right"))


def _warn(workspace: Workspace, suite: Suite, found: Imported) -> None:
    """Name likely mistakes in what was submitted."""
    sets, classes = found.record.targets, workspace.dataset(suite.source.test).classes
    lacking = [
        target.id
        for target in suite.unfolded_targets()
        if target.id not in sets and target.level == "required"
    ]
    if lacking:
        _say(f"not in the file, though the suite requires them: {', '.join(lacking)}")
    source, chance = sets[suite.source.test], 1 / len(classes)
    labels = found.known[suite.source.test].labels
    spread = sqrt(chance * (1 - chance) / source.n)
    if source.accuracy is not None and source.accuracy < min(chance + ABOVE_CHANCE * spread, 2 * chance):
        _say(
            "no better than chance in distribution: are the columns in the order of the suite's classes "
            f"({', '.join(classes)}), the rows in the order of the images?"
        )
    elif source.accuracy is not None and labels is not None:
        commonest = Counter(labels.tolist()).most_common(1)[0][1] / source.n
        if source.accuracy <= commonest:
            _say(
                f"in distribution no better than always predicting the most frequent class "
                f"({percent(commonest)} %): do the outputs differ from image to image?"
            )
    name = found.record.key.architecture
    if not suite.contributed and name in {
        key.architecture for key in [*suite.scored_runs(), *suite.reference_runs()]
    }:
        _say(f"{name} is also an architecture of the suite: this run stands beside its runs, unranked")
    families = _families(workspace)
    if not suite.contributed and found.record.family not in families:
        _say(
            f"family {found.record.family!r} is on no architecture card, so no member of the reference "
            "ensemble "
            "is replaced when this model's accuracy is predicted; if the model belongs to the family of a "
            f"card, name it with --family{_near_family(found.record.family, families)}"
        )


def _near_family(family: str, known: Collection[str]) -> str:
    from shiftcast.submission.create import UNKNOWN_FAMILY

    near = get_close_matches(family.lower(), sorted(known), n=3) if family != UNKNOWN_FAMILY else []
    return f"; did you mean {' or '.join(near)}? Then repeat the command with it and --force" if near else ""


def _how_to_renew(workspace: Workspace, suite: Suite, results: Path | None) -> str:
    if results is None and suite.scratch:
        return f"renew the report with: shiftcast run {suite.name}"
    if results is not None and results.resolve() != workspace.results().resolve():
        return f"see it on a board of that folder: shiftcast leaderboard --results {results} --out FOLDER"
    return (
        "commit this folder alone: maintainers renew the board. To look at it locally, renew the board with: "
        "shiftcast leaderboard"
    )
