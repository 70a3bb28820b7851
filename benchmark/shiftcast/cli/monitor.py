"""`shiftcast monitor`: a model's accuracy over time, from a table of its outputs without labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from shiftcast.cli.estimate import Ensemble, asked_margin
from shiftcast.cli.options import YOUR_MODEL, AsJson, echo, example, keep_apart, tell
from shiftcast.errors import InvalidInputError
from shiftcast.util.files import write_atomic
from shiftcast.util.text import SHARES, percent, printable

app = typer.Typer()


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example(
        "monitor --source val.npz --target new.csv --time t --margin 3",
        "monitor --source val.csv --target new.csv --time t --append a.csv",
    ),
)
def monitor(
    source: Annotated[Path, typer.Option(help="Read labelled predictions, as estimate does.")],
    target: Annotated[Path, typer.Option(help="Read predictions over time: a .csv or .parquet table.")],
    time: Annotated[str, typer.Option(help="Read times from this column of the target: ISO 8601.")],
    chunk: Annotated[
        str, typer.Option(help="Estimate each day, week or month (UTC), or so many images.")
    ] = "week",
    margin: Annotated[
        float | None,
        typer.Option(help="Raise an alarm if accuracy is more than this many points below the source's."),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option(help="Let sampling raise any false alarm, over all looks, with this chance at most, %."),
    ] = 5.0,
    ensemble: Ensemble = None,
    append: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Add the rows to this .csv, .parquet or .sqlite file."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page with a chart to this HTML file.")
    ] = None,
    fail_on_alarm: Annotated[bool, typer.Option("--fail-on-alarm", help="Exit with 1 on an alarm.")] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate your model's accuracy over time.

    With --append, chunks are known by their start: one that is there already is replaced, and looks are
    counted on.
    """
    from shiftcast.estimate.monitor_file import require_kind
    from shiftcast.util.locks import locked

    keep_apart([source, target, ensemble], [append, html])
    share = asked_margin(margin, None)
    if fail_on_alarm and margin is None:
        raise typer.BadParameter("--fail-on-alarm needs --margin: alarms are about it")
    if not 0 < false_alarms < 100:
        raise InvalidInputError(f"false-alarms: expected percent between 0 and 100, got {false_alarms:g}")
    if append is not None:
        require_kind(append)
    with nullcontext() if append is None else locked(append.with_name(f".{append.name}.lock"), tell):
        result = _result((source, target, ensemble), time, chunk, share, false_alarms / 100, append)
    if html is not None:
        from shiftcast.estimate.monitor_page import monitor_page

        given = (result["rows"], result["source"]["accuracy"], share, result["table"], result["warnings"])
        write_atomic(html, monitor_page(*given))
    if as_json:
        typer.echo(json.dumps(result, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(result, share, [path for path in (append, html) if path is not None])
    raise typer.Exit(int(fail_on_alarm and any(row["alarm"] for row in result["rows"])))


def _result(
    files: tuple[Path, Path, Path | None],
    time: str,
    chunk: str,
    margin: float | None,
    false_alarms: float,
    append: Path | None,
) -> dict[str, Any]:
    """Return the rows and what they are about; they are added to `append`."""
    from shiftcast.cli.bars import doing
    from shiftcast.estimate.chunks import chunk_size, chunks_of, read_times
    from shiftcast.estimate.inputs import column_of, read_pair
    from shiftcast.estimate.monitor import monitor as estimates
    from shiftcast.estimate.monitor_file import looks_of, read_rows, write_rows
    from shiftcast.estimate.warnings import warnings_about

    by = chunk_size(chunk)
    known, unknown, doubts = read_pair(files[0], files[1], others={"reference": files[2]})
    first, second = known.predictions, unknown.predictions
    times = read_times(f"{second.name}: column {time}", column_of(unknown, time, "times need"))
    chunks = chunks_of(times, by)
    settings = {
        "source": first.name,
        "source_accuracy": round(first.accuracy, 6),
        "chunk_size": str(by),
        "margin": margin,
        "false_alarms": None if margin is None else false_alarms,
    }
    before = None if append is None else read_rows(append, settings)
    sizes = [(name, len(rows)) for name, _, rows in chunks]
    looks = [*range(1, len(chunks) + 1)] if before is None else looks_of(before, sizes)
    with doing(aside=True) as say:
        rows = estimates(
            known,
            unknown,
            chunks,
            looks,
            margin,
            false_alarms,
            lambda done: say(f"estimated {done} of {len(chunks)} chunks …"),
        )
    if append is not None and before is not None:
        write_rows(append, before, rows, settings)
    about = {"name": first.name, "images": len(first), "accuracy": settings["source_accuracy"]}
    warnings = [*warnings_about(first, second, known.classes), *doubts]
    head = {"units": SHARES, "source": about, "table": second.name}
    return {**head, "rows": rows, "warnings": warnings} | {
        key: settings[key] for key in ("chunk_size", "margin", "false_alarms")
    }


def _print(result: Mapping[str, Any], margin: float | None, written: Sequence[Path]) -> None:
    from shiftcast.cli.terminal import fitting_table, in_lines
    from shiftcast.estimate.monitor import MODEL_ERROR, headline, shown

    rows, source = result["rows"], result["source"]
    echo(in_lines(headline(rows, margin)))
    echo(f"\n{fitting_table(shown(rows))}\n")
    echo(f"Source {source['name']}: {percent(source['accuracy'])} % right on {source['images']:,} images.")
    if margin is not None:
        budget = f"False alarms by sampling: {100 * result['false_alarms']:g} % over all looks."
        echo(in_lines(f"{MODEL_ERROR} {budget}"))
    for text in result["warnings"]:
        echo(f"warning: {text}", err=True)
    for path in written:
        echo(f"wrote {printable(str(path))}")
