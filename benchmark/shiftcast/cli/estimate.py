"""`shiftcast estimate`: the likely accuracy of somebody's own model on unlabelled data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shiftcast.errors import InvalidInputError
from shiftcast.files import write_atomic
from shiftcast.own import (
    by_predicted_class,
    by_slice,
    choose_estimators,
    estimate_accuracy,
    summary,
)
from shiftcast.own_files import OwnSet, attach, read_set

SHOWN = 4
"""Estimators that tables of classes and slices have room for; JSON holds all."""
PREFERRED = ("NoShift", "ATC-NE", "COTT", "AgreementShift")


def estimate_own(
    source: Path,
    target: Path,
    labels: Path | None,
    names: str,
    others: Mapping[str, Path | None],
    column: str | None,
    classes: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Read, estimate, and print a table or JSON; arguments are the command's options."""
    chosen = choose_estimators(names)
    known, unknown = read_set(source, labelled=True, labels=labels), read_set(target, labelled=False)
    _same_classes(known, unknown)
    first, second = known.predictions, unknown.predictions
    for key, path in others.items():
        if path is not None:
            first, second = attach(first, second, key, path)
    answer = summary(first, second, estimate_accuracy(first, second, chosen))
    if known.classes:
        answer["class_names"] = list(known.classes)
    if classes:
        answer["by_class"] = by_predicted_class(first, second, known.classes, chosen)
    if column is not None:
        whole = OwnSet(second, unknown.classes, unknown.columns)
        answer["by_slice"] = by_slice(first, whole, column, chosen)
    text = json.dumps(answer, indent=2, sort_keys=True, allow_nan=False)
    if all("skipped" in row for row in answer["estimates"]):
        reasons = sorted({f"{row['estimator']}: {row['skipped']}" for row in answer["estimates"]})
        raise InvalidInputError(f"no estimator could answer: {'; '.join(reasons)}")
    if out is not None:
        write_atomic(out, text + "\n")
    if as_json:
        typer.echo(text)
        return
    print_estimates(answer)
    if out is not None:
        typer.echo(f"wrote {out}")


def _same_classes(source: OwnSet, target: OwnSet) -> None:
    if source.classes and target.classes and source.classes != target.classes:
        one, other = (f"{o.predictions.name!r}: {', '.join(o.classes[:12])}" for o in (source, target))
        raise InvalidInputError(
            f"source and target name other classes, or in another order; give both alike. Source {one}; "
            f"target {other}"
        )


def print_estimates(answer: Mapping[str, Any]) -> None:
    """Print the estimates for a person's own predictions as a table."""
    source, target = answer["source"], answer["target"]
    table = Table(title=f"Estimated accuracy on {target['name']} ({target['images']:,} images)")
    table.add_column("estimator")
    for heading in ("accuracy %", "sampling interval %", "change pp"):
        table.add_column(heading, justify="right")
    skipped: dict[str, list[str]] = {}
    for row in answer["estimates"]:
        if "skipped" in row:
            skipped.setdefault(row["skipped"], []).append(row["estimator"])
            continue
        interval = f"{100 * row['low']:.2f} to {100 * row['high']:.2f}"
        change = 100 * (row["accuracy"] - source["accuracy"])
        table.add_row(row["estimator"], f"{100 * row['accuracy']:.2f}", interval, f"{change:+.2f}")
    console = Console()
    console.print(table)
    for reason, names in skipped.items():
        console.print(f"skipped {', '.join(names)}: {escape(reason)}", highlight=False)
    for key, title, head in (("by_class", "By predicted class", "class"), ("by_slice", "By slice", "slice")):
        if key in answer:
            console.print(_parts(answer[key], title, head))
    if "accuracy" in target:
        console.print(
            f"Actual accuracy, from the labels in {target['name']}: {100 * target['accuracy']:.2f} %"
        )
    console.print(
        f"Source {source['name']}: {100 * source['accuracy']:.2f} % right on {source['images']:,} images.\n"
        "The intervals cover sampling alone. They do not cover what an estimator gets wrong under shift, "
        "which is often larger; see the leaderboard.",
        highlight=False,
        markup=False,
    )


def _parts(rows: list[dict[str, Any]], title: str, head: str) -> Table:
    """Return a table of parts of the target, with as many estimators as there is room for."""
    answered = [one["estimator"] for row in rows for one in row.get("estimates", []) if "accuracy" in one]
    actual = any("actual" in row for row in rows)
    order = list(dict.fromkeys([*(name for name in PREFERRED if name in answered), *answered]))[:SHOWN]
    table = Table(title=f"{title} (accuracy %)")
    table.add_column(head)
    for heading in ("images", *(["actual"] if actual else []), *order):
        table.add_column(heading, justify="right")
    for row in rows:
        found = {one["estimator"]: one.get("accuracy") for one in row.get("estimates", [])}
        known = [f"{100 * row['actual']:.2f}"] if actual else []
        cells = ["–" if found.get(name) is None else f"{100 * found[name]:.2f}" for name in order]
        table.add_row(escape(str(row[head])), f"{row['images']:,}", *known, *cells)
    table.caption = "Without intervals: few images say little; --json holds them."
    return table
