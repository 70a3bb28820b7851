"""`shiftcast estimate`: the likely accuracy of a user's model on unlabelled data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import YOUR_MODEL, AsJson, example, keep_apart
from shiftcast.errors import BrokenEstimatorError, InvalidInputError
from shiftcast.util.files import write_atomic
from shiftcast.util.text import count, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from shiftcast.estimate.chances import Calibration
    from shiftcast.estimate.inputs import OwnSet
    from shiftcast.estimate.labels import Labelled
    from shiftcast.estimators import Estimator, Outside
    from shiftcast.predictions import Predictions

LONGEST_NAME = 24
"""Columns that names of classes and slices take; longer ones are folded."""

app = typer.Typer()
Ensemble = Annotated[
    Path | None,
    typer.Option(
        help="Use the probabilities of other models: .npz with source (M, n, K) and target, classes as in "
        "--source."
    ),
]
Peers = Annotated[
    Path | None,
    typer.Option(help="Use the predicted classes of other models: .npz with source (Z, n) and target."),
]
Margin = Annotated[
    float | None,
    typer.Option(help="Say whether accuracy is at most this many percentage points below the source's."),
]


class FailOn(StrEnum):
    """Verdicts that end the command with another exit code than 0."""

    not_supported = "not-supported"
    cannot_tell = "cannot-tell"


Failing = Annotated[
    FailOn | None,
    typer.Option(
        "--fail-on",
        help="Exit with 1 if the verdict is 'not supported'; with cannot-tell, also with 3 if it is that.",
    ),
]
Siblings = Annotated[
    Path | None,
    typer.Option(help="Use the predicted classes of your architecture with other seeds: .npz, as --peers."),
]
Others = Annotated[
    Path | None,
    typer.Option(
        help="Learn from labelled outputs of your model under other shifts: .npz, see shiftcast collect."
    ),
]


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example(
        "estimate --source validation.npz --target production.npz",
        "estimate --source val.csv --target new.csv --slice camera",
    ),
)
def estimate(
    source: Annotated[
        Path,
        typer.Option(
            help="Read labelled predictions: .npz, .npy (with --labels), .safetensors, .csv or .parquet."
        ),
    ],
    target: Annotated[Path, typer.Option(help="Read predictions without labels, in the same form.")],
    labels: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Read the source's labels (n,) from this .npy.")
    ] = None,
    estimators: Annotated[str, typer.Option(help="Use 'all', or these names with commas.")] = "all",
    ensemble: Ensemble = None,
    peers: Peers = None,
    siblings: Siblings = None,
    others: Others = None,
    labelled: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Measure with this file of shiftcast sample, labels filled in."),
    ] = None,
    column: Annotated[
        str | None, typer.Option("--slice", help="Also estimate each value of this column of the target.")
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Also estimate the accuracy of each predicted class.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the whole answer to this JSON file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page with figures to this HTML file.")
    ] = None,
    margin: Margin = None,
    fail_on: Failing = None,
    as_json: AsJson = False,
) -> None:
    """Estimate your model's accuracy on unlabelled data.

    It is estimated from predictions: labelled ones, and those on the unlabelled data. Neither torch nor a
    workspace is needed.
    """
    models = {"reference": ensemble, "peers": peers, "siblings": siblings}
    keep_apart([source, target, labels, others, labelled, *models.values()], [out, html])
    share, files = asked_margin(margin, fail_on), (source, target, labels, others, labelled)
    answer, first, second = _estimates(files, estimators, models, column, classes)
    verdict = _judge(answer, share)
    text = json.dumps(answer, indent=2, sort_keys=True, allow_nan=False)
    if out is not None:
        write_atomic(out, text + "\n")
    if html is not None:
        from shiftcast.estimate.html import page  # loads matplotlib

        write_atomic(html, page(answer, first, second))
    if as_json:
        typer.echo(text)
    else:
        print_estimates(answer)
        for written in filter(None, (out, html)):
            typer.echo(f"wrote {printable(str(written))}")
    raise typer.Exit(exit_code(verdict, fail_on))


def asked_margin(margin: float | None, fail_on: object = None) -> float | None:
    """Return the margin as a share; None where none is given, which nothing can fail on."""
    from shiftcast.estimate.lead import margin_of

    if margin is None and fail_on:
        raise typer.BadParameter("--fail-on needs --margin: the verdict is about it")
    return None if margin is None else margin_of(margin)


def _judge(answer: dict[str, Any], margin: float | None) -> str | None:
    """Put margin and verdict into the whole answer; return the verdict."""
    from shiftcast.estimate.lead import Answer

    judged = replace(Answer.from_dict(answer["answer"], answer), margin=margin)
    answer["answer"] = judged.to_dict()
    return judged.verdict


def exit_code(verdict: str | None, fail_on: FailOn | None) -> int:
    """Return 1 for "not supported" and 3 for "cannot tell" where these are to fail, else 0."""
    from shiftcast.estimate.lead import CANNOT_TELL, NOT_SUPPORTED

    if fail_on is None:
        return 0
    failing = {NOT_SUPPORTED: 1} | ({CANNOT_TELL: 3} if fail_on == FailOn.cannot_tell else {})
    return failing.get(str(verdict), 0)


def _estimates(
    given: tuple[Path, Path, Path | None, Path | None, Path | None],
    names: str,
    models: Mapping[str, Path | None],
    column: str | None,
    classes: bool,
) -> tuple[dict[str, Any], Predictions, Predictions]:
    """Return the answer, and the predictions on source and target that it is about."""
    from shiftcast.estimate.answer import choose_estimators
    from shiftcast.estimate.chances import calibrate
    from shiftcast.estimate.choice import at_most
    from shiftcast.estimate.drop import explained
    from shiftcast.estimate.inputs import read_others, read_pair
    from shiftcast.estimate.labels import read_labels
    from shiftcast.estimate.parts import actual_so_far, slice_values
    from shiftcast.estimators import load_outside

    source, target, labels, other_shifts, labelled = given
    outside = load_outside()
    chosen = choose_estimators(names, outside)
    known, unknown, doubts = read_pair(source, target, labels, models)
    if column is not None:
        slice_values(unknown, column)  # refused before anything is estimated
    first, second = known.predictions, unknown.predictions
    others = [] if other_shifts is None else read_others(other_shifts, known)
    drawn = None if labelled is None else read_labels(labelled, second, known.classes)
    answer = _answer(first, second, known.classes, chosen, others)
    answer["warnings"] += doubts
    answer["target"] |= actual_so_far(unknown)
    calibration = calibrate(at_most(first))
    answer |= _leading(first, second, answer, calibration, drawn)
    if answer["answer"]["accuracy"] is not None:
        answer["drop"]["explains"] = explained(answer["drop"], [answer["answer"]], first.accuracy)
    answer["skipped_plugins"] = _plugins(answer["estimates"], names, outside)
    answer |= _parts_and_metrics(known, unknown, answer, calibration, column, classes)
    return answer, first, second


def _leading(
    source: Predictions,
    target: Predictions,
    answer: Mapping[str, Any],
    calibration: Calibration,
    labelled: Labelled | None,
) -> dict[str, Any]:
    """Return JSON's object `answer`; with labels, also `answer_without_labels` and `labelled`."""
    from shiftcast.estimate.choice import choose_answer
    from shiftcast.estimate.labels import measured_answer

    before = choose_answer(source, target, answer, answer["warnings"], calibration)
    if labelled is None:
        return {"answer": before.to_dict()}
    lead, about = measured_answer(source, target, labelled, before)
    return {"answer": lead.to_dict(), "answer_without_labels": before.to_dict(), "labelled": about}


def _answer(
    source: Predictions,
    target: Predictions,
    classes: tuple[str, ...],
    estimators: Mapping[str, Estimator],
    others: Sequence[Predictions] = (),
) -> dict[str, Any]:
    """Return the answer on the whole target.

    Raises
    ------
    InvalidInputError
        If no estimator could answer.
    """
    from shiftcast.cli.bars import doing
    from shiftcast.estimate.answer import estimate_accuracy, summary
    from shiftcast.estimate.board_errors import board_errors
    from shiftcast.estimate.diagnoses import shift_statement
    from shiftcast.estimate.drop import explained, predicted_drop
    from shiftcast.estimate.warnings import warnings_about

    with doing(aside=True) as say:
        rows = estimate_accuracy(
            source,
            target,
            estimators,
            board_errors(),
            lambda name, number, all_: say(f"estimating with {name} ({number} of {all_}) …"),
            others,
        )
    if all("skipped" in row for row in rows):
        reasons = sorted({f"{row['estimator']}: {row['skipped']}" for row in rows})
        raise InvalidInputError(f"no estimator could answer: {'; '.join(reasons)}")
    answer = summary(source, target, rows)
    answer["warnings"] = warnings_about(source, target, classes)
    answer["shift"] = shift_statement(source, target)
    drop = predicted_drop(source, target)
    answer["drop"] = {**drop, "explains": explained(drop, rows, source.accuracy)}
    if classes:
        answer["class_names"] = list(classes)
    return answer


def _plugins(rows: list[dict[str, Any]], names: str, outside: Outside) -> list[str]:
    """Return which estimators of other packages could not be used and why; none that was asked for by name.

    Raises
    ------
    BrokenEstimatorError
        If one was asked for by name.
    """
    from shiftcast.estimate.answer import EVERY

    failed = [
        f"{row['estimator']} of package {outside.packages[row['estimator']]}: {row['skipped']}"
        for row in rows
        if "broken" in row and row["estimator"] in outside.packages
    ]
    if names != EVERY:
        if failed:
            raise BrokenEstimatorError(f"estimator {failed[0]}")
        return []
    return [*outside.broken.values(), *failed]


def _parts_and_metrics(
    source: OwnSet,
    target: OwnSet,
    answer: Mapping[str, Any],
    calibration: Calibration,
    column: str | None,
    classes: bool,
) -> dict[str, Any]:
    """Return `by_class` and `by_slice` where asked for, and `metrics`: what agrees with the answer."""
    from shiftcast.estimate.chances import Chances
    from shiftcast.estimate.choice import at_most
    from shiftcast.estimate.metrics import MOST_CLASSES, other_metrics
    from shiftcast.estimate.parts import by_predicted_class, by_slice

    known, few = source.predictions, source.predictions.classes <= MOST_CLASSES
    if not (classes or column is not None or few):
        return {}
    whole = classes or column is not None  # parts are of all images
    predictions = target.predictions if whole else at_most(target.predictions)
    chances = Chances(calibration, predictions, answer["answer"])
    found: dict[str, Any] = {}
    if classes:
        found["by_class"] = by_predicted_class(known, target, source.classes, chances)
    if column is not None:
        found["by_slice"] = by_slice(source, target, column, chances)
    if classes or few:
        found["metrics"] = other_metrics(known, chances, source.classes, len(target.predictions))
    return found


def print_estimates(answer: Mapping[str, Any]) -> None:
    """Print the estimates for a person's own predictions as a table."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from shiftcast.cli.terminal import print_whole
    from shiftcast.estimate.answer import BASELINES
    from shiftcast.estimate.lead import Answer
    from shiftcast.estimate.wording import (
        actual_note,
        board_error,
        flag_notes,
        interval_notes,
        is_sampling,
        marked,
        metric_notes,
        order_note,
    )

    source, target = answer["source"], answer["target"]
    title = escape(f"Estimated accuracy on {target['name']} ({count(target['images'], 'image')})")
    table = Table(title=title, box=SIMPLE, pad_edge=False, collapse_padding=True)  # fits 80 columns
    rows = [row for row in answer["estimates"] if "accuracy" in row]
    levels = sorted({row["conformal"]["level"] for row in rows if row.get("conformal")})
    wide = "/".join(f"{100 * level:g}" for level in levels)
    table.add_column("estimator", no_wrap=True)
    order = order_note(rows)
    headings = ["acc. %", "sampling %", *([f"model err. {wide} %"] if wide else []), "change"]
    for heading in (*headings, *(["MAE"] if order else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    skipped: dict[str, list[str]] = {}
    for row in answer["estimates"]:
        if "broken" in row:
            continue
        if "skipped" in row:
            skipped.setdefault(row["skipped"], []).append(row["estimator"])
            continue
        ends = [_ends(row) if is_sampling(row) else "–"]
        if wide:
            ends.append(_ends(row["conformal"]) if row.get("conformal") else "–")
        if row["estimator"] in BASELINES:
            table.add_section()
        change = 100 * (row["accuracy"] - source["accuracy"])
        last = [board_error(row)] if order else []
        table.add_row(marked(row), f"{100 * row['accuracy']:.2f}", *ends, f"{change:+.2f}", *last)
    console = Console(emoji=False)
    _print_lines(console, [*str(Answer.from_dict(answer["answer"], answer)).splitlines(), ""])
    _print_lines(console, [answer["shift"]["text"], "", *([order] if order else [])])
    print_whole(console, table)
    _print_lines(console, [*flag_notes(rows), *(f"skipped {reason}" for reason in answer["skipped_plugins"])])
    for reason, names in skipped.items():
        _print_lines(console, [f"skipped {', '.join(names)}: {reason}"])
    for key, title, head in (("by_class", "By predicted class", "class"), ("by_slice", "By slice", "slice")):
        if key in answer:
            print_whole(console, _parts(answer[key], title, head))
    _print_lines(console, [*metric_notes(answer), *actual_note(target)])
    known = f"{100 * source['accuracy']:.2f} % right on {count(source['images'], 'image')}"
    _print_lines(console, [f"Source {source['name']}: {known}.", *interval_notes(rows)])


def _print_lines(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _ends(row: Mapping[str, Any]) -> str:
    if row["low"] == row["high"]:  # every image says the same, which is no certainty
        return "–"
    return f"{100 * row['low']:.2f} to {100 * row['high']:.2f}"


def _parts(rows: list[dict[str, Any]], title: str, head: str) -> Table:
    """Return a table of parts of the target, beside the source's where it has the same parts."""
    from rich.markup import escape
    from rich.table import Table

    from shiftcast.estimate.parts import sizes_note
    from shiftcast.estimate.wording import part_columns

    table = Table(title=f"{title} (%)")
    table.add_column(head, max_width=LONGEST_NAME)
    columns = part_columns(rows)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for place, row in enumerate(rows):
        cells = [column[place] for column in columns.values()]
        table.add_row(escape(printable(str(row[head]))), *cells)
    table.caption = sizes_note(rows)
    return table
