"""`shiftcast plan` and `shiftcast sample`: how many target images to label, and which."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import YOUR_MODEL, AsJson, echo, example, keep_apart, text_table
from shiftcast.errors import InvalidInputError
from shiftcast.util.files import write_atomic
from shiftcast.util.text import SHARES, count, printable

if TYPE_CHECKING:
    from shiftcast.estimate.labels import Planned

app = typer.Typer()
Source = Annotated[Path, typer.Option(help="Read labelled predictions, as shiftcast estimate.")]
Target = Annotated[Path, typer.Option(help="Read predictions without labels, in the same form.")]
Labels = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Read the source's labels (n,) from this .npy.")
]
Ensemble = Annotated[
    Path | None,
    typer.Option(help="Use the probabilities of other models, as shiftcast estimate: strata then save more."),
]
RESTS = (
    "Savings rest on estimated error rates: no label was read. On the natural shifts of our board, with an "
    "ensemble, plans expected to save 37 % of the labels, and 25 % were saved (medians). Intervals hold "
    "either way."
)


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example("plan --source val.npz --target prod.npz --ensemble others.npz"),
)
def plan(
    source: Source,
    target: Target,
    labels: Labels = None,
    ensemble: Ensemble = None,
    half_width: Annotated[
        list[float] | None,
        typer.Option(
            help="Plan for this half-width of the 95 % interval, in pp (repeatable) [default: 5, 2, 1]."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan how many target images to label.

    For an interval of each half-width: labels drawn uniformly, and in strata of predicted difficulty.
    """
    from shiftcast.cli.terminal import in_lines
    from shiftcast.estimate.python import plan as planned_labels

    widths = [width / 100 for width in half_width or (5, 2, 1)]
    rows = planned_labels(source, target, labels=labels, ensemble=ensemble, half_widths=widths)
    if as_json:
        planned = [{**asdict(row), "saving": round(row.saving, 4)} for row in rows]
        typer.echo(
            json.dumps({"units": SHARES, "plan": planned, "rests_on": RESTS}, indent=2, sort_keys=True)
        )
        return
    more = "With the probabilities of other models (--ensemble) strata save more."
    echo(_table(rows))
    echo(in_lines(f"{RESTS} {more}" if ensemble is None else RESTS))


def _table(rows: list[Planned]) -> str:
    cells = [
        {
            "half-width pp": f"±{100 * row.half_width:g}",
            "labels, uniform": f"{row.uniform:,}",
            "labels, in strata": f"{row.stratified:,}",
            "saved %": f"{100 * row.saving:.0f}",
        }
        for row in rows
    ]
    return text_table(cells, align=["right"] * 4)


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example("sample --source val.npz --target prod.npz --images 200 --out k.csv"),
)
def sample(
    source: Source,
    target: Target,
    images: Annotated[int, typer.Option(min=1, help="Draw so many target images.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Write the drawn images to this CSV file.")],
    labels: Labels = None,
    ensemble: Ensemble = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Draw with this seed.")] = 0,
) -> None:
    """Draw the target images to label, as a CSV file.

    Fill its column label with class names or numbers, and give it to shiftcast estimate --labelled. An empty
    cell means that the image is not labelled. Any first rows are a sample too: label from the top.
    """
    keep_apart([source, target, labels, ensemble], [out])
    if out.suffix.lower() != ".csv":
        raise InvalidInputError(f"{out}: expected a name that ends in .csv, which estimate --labelled reads")
    from shiftcast.estimate.python import sample as drawn

    table = drawn(source, target, images, seed=seed, labels=labels, ensemble=ensemble)
    text = table.to_csv(index=False, lineterminator="\n")
    if out.exists() and out.read_bytes() != text.encode():
        raise InvalidInputError(f"{out}: exists, and may hold labels; name another file, or move it away")
    write_atomic(out, text)
    strata, name = table["stratum"].nunique(), printable(str(out))
    echo(
        f"wrote {name}: {count(len(table), 'image')} in {strata} {'stratum' if strata == 1 else 'strata'}. "
        "Fill its column label from the top, then: "
        f"shiftcast estimate … --labelled {name}"
    )
