"""`shiftcast compare`: which of several models is better on data without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import YOUR_MODEL, AsJson, echo, example
from shiftcast.errors import InvalidInputError
from shiftcast.util.text import BLANK, percent, signed

if TYPE_CHECKING:
    from shiftcast.estimate.compare import Model

app = typer.Typer()


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example("compare --source a.npz --target c.npz --source b.npz --target d.npz").replace(
        "  shiftcast",
        " shiftcast",  # one column less than 80
    ),
)
def compare(
    source: Annotated[
        list[Path], typer.Option(help="Read a model's labelled predictions; repeat it for each model.")
    ],
    target: Annotated[
        list[Path],
        typer.Option(help="Read its predictions without labels; as often, and in the same order of models."),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare models on unlabelled data.

    Files are those of `shiftcast estimate`. All models must be on the same images, in the same order.
    """
    from shiftcast.estimate.compare import compare_models, mixed_up
    from shiftcast.estimate.inputs import about_names, in_order, read_pair

    if len(source) != len(target) or len(source) < 2:
        raise typer.BadParameter(
            f"give --source and --target once for each of two models or more; got {len(source)} and "
            f"{len(target)}"
        )
    models: list[Model] = []
    doubts: list[str] = []
    _refuse_twice(source, "source")
    _refuse_twice(target, "target")
    for name, known, unknown in zip(_names(source), source, target, strict=True):
        its_source, its_target, warnings = read_pair(known, unknown)
        doubts += [f"{name}: {text}" for text in warnings]
        if models:
            first = models[0][1]
            doubts += about_names(first, its_source)
            its_source, its_target = in_order(its_source, first.classes), in_order(its_target, first.classes)
        models.append((name, its_source, its_target))
    result = compare_models(models)
    result["warnings"] = [*doubts, *mixed_up(models)]
    if as_json:
        typer.echo(json.dumps(result, indent=2, sort_keys=True, allow_nan=False))
        return
    _print(result)


def _refuse_twice(paths: list[Path], what: str) -> None:
    """Refuse one file for two models, however it is named.

    Raises
    ------
    InvalidInputError
        If a file is given twice.
    """
    known = [path.resolve() for path in paths]
    for path in paths:
        if known.count(path.resolve()) > 1:
            raise InvalidInputError(f"{path}: is given twice as a {what}; each model needs files of its own")


def _names(paths: list[Path]) -> list[str]:
    """Return short names of files that tell them apart."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else list(map(str, paths))


def _print(result: dict[str, Any]) -> None:
    from shiftcast.cli.terminal import fitting_table, in_lines
    from shiftcast.estimate.compare import LEVEL, best_line

    level = f"{100 * result['models'][0]['level']:g}"
    echo(in_lines(best_line(result)) + "\n")
    rows = [
        {
            "model": row["name"],
            "acc. %": BLANK if row["accuracy"] is None else percent(row["accuracy"]),
            f"likely ({level} %)": f"{percent(row['low'])} to {percent(row['high'])}",
            "validation %": percent(row["validation"]),
        }
        for row in result["models"]
    ]
    pairs = [
        {
            "a": pair["a"],
            "b": pair["b"],
            "a - b, pp": BLANK if pair["difference"] is None else signed(100 * pair["difference"]),
            f"likely ({100 * LEVEL:g} %)": f"{signed(100 * pair['low'])} to {signed(100 * pair['high'])}",
            "differ %": percent(pair["differ"]),
            "better": pair["better"] or "cannot tell",
        }
        for pair in result["pairs"]
    ]
    echo(fitting_table(rows))
    echo("\n" + fitting_table(pairs))
    note = (
        "Intervals of differences include model error as it was on the benchmark's natural shifts, each pair "
        "for itself. 'differ' is the share of images that the two put into different classes."
    )
    echo("\n" + in_lines(note))
    for row in result["models"]:
        for text in row["warnings"]:
            echo(f"warning: {row['name']}: {text}", err=True)
    for text in result["warnings"]:
        echo(f"warning: {text}", err=True)
