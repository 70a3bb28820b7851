"""`shiftcast bench`: how fast this machine trains."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import (
    BENCHMARK,
    Device,
    OnDevice,
    Threads,
    echo,
    example,
    require_writable,
    text_table,
    workspace_of,
)
from shiftcast.errors import StoppedError, needs_extra
from shiftcast.util.files import write_atomic

if TYPE_CHECKING:
    from shiftcast.training.speed import Machine, Measurement, Plan, Spread

MOST_WORKERS = 8
"""DataLoader processes by default, where there are as many cores."""
SLOWER = 0.9
"""A precision below this share of the other's speed is worth a hint."""

app = typer.Typer(name="bench", no_args_is_help=True)
Workers = Annotated[
    int | None, typer.Option(min=0, help="Start this many DataLoader processes [default: cores, at most 8].")
]


@app.callback(rich_help_panel=BENCHMARK)
def bench() -> None:
    """Measure the speed of training on this machine."""


@app.command(epilog=example("bench train resnet18_s2 --device cpu --json speed.json"))
def train(
    context: typer.Context,
    architectures: Annotated[
        list[str], typer.Argument(metavar="ARCH...", help="Names; see: shiftcast list architectures")
    ],
    recipe: Annotated[
        str, typer.Option(help="Train with this recipe; see: shiftcast list recipes")
    ] = "plain-8",
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Take this many images a step [default: the recipe's].")
    ] = None,
    device: OnDevice = Device.auto,
    threads: Threads = None,
    workers: Workers = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Take this long for a reading.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="Take this many readings of each arm.")] = 3,
    images: Annotated[int, typer.Option(min=2, help="Train on this many random images.")] = 50_000,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write all readings to this file too.")
    ] = None,
) -> None:
    """Time training against a plain PyTorch loop and its limit.

    The images are random. Four arms take turns: plain (Pillow images, torchvision transforms, a DataLoader,
    float32), the same loader before our step, ours (images resident on the device), and the limit (our step
    on one batch that is on the device already).
    """
    workspace = workspace_of(context)
    names = dict.fromkeys(architectures)
    update = {} if batch_size is None else {"batch_size": batch_size}
    pairs = [(workspace.network(name), workspace.training(name, recipe)) for name in names]
    with needs_extra("train"):
        from shiftcast.training import speed
        from shiftcast.training.job import choose_device, set_threads

    where = choose_device(device.value)
    set_threads(threads)
    machine = speed.describe_machine(where)
    plan = speed.Plan(_workers(workers, machine), seconds, rounds, images)
    echo("\n".join([_machine_line(machine), *(f"{arm}: {what}" for arm, what in speed.ARMS.items())]))
    readings: list[Measurement] = []
    if json_file is not None:
        require_writable(json_file.parent)
    try:
        for card, chosen in pairs:
            readings.append(
                speed.measure_training(
                    card, chosen.model_copy(update=update), plan, where, _announcing(card.name, rounds)
                )
            )
            echo(f"\n{in_words(readings[-1], plan)}")
            if json_file is not None:
                write_atomic(json_file, json.dumps(as_json(machine, plan, readings), indent=1) + "\n")
    except KeyboardInterrupt as error:
        kept = f", and {json_file} holds them" if json_file is not None and readings else ""
        raise StoppedError(f"stopped; the tables above stand{kept}") from error
    if json_file is not None:
        echo(f"\nwrote {json_file}")


def _workers(asked: int | None, machine: Machine) -> int:
    return min(machine.cores, MOST_WORKERS) if asked is None else asked


def _announcing(name: str, rounds: int) -> Callable[[int], None]:
    """Return what says on standard error which round begins; a live display would cost time."""
    return lambda number: echo(f"{name}: round {number} of {rounds}", err=True)


def _machine_line(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"{machine.device}: {machine.name}; {machine.cores} CPU cores, {machine.threads} threads; {versions}"
    )


def in_words(measurement: Measurement, plan: Plan) -> str:
    """Return an architecture's table, with what was measured above and what follows below it."""
    rows = [
        {
            "arm": arm,
            "images/s": f"{measurement.speed(arm).median:,.0f}",
            "lowest..highest": f"{measurement.speed(arm).low:,.0f}..{measurement.speed(arm).high:,.0f}",
            "resident is": _times(measurement.ratio(arm)) if arm != "resident" else "",
        }
        for arm in measurement.speeds
    ]
    lines = [
        f"{measurement.architecture}: {measurement.parameters:,} parameters, {measurement.precision}, "
        f"recipe {measurement.recipe}, batches of {measurement.batch_size}, "
        f"{plan.workers} DataLoader processes",
        text_table(rows),
        f"Medians of {plan.rounds} rounds of {plan.seconds:g} s an arm.",
    ]
    if measurement.parts > 1:
        lines.append(f"Memory did not suffice for whole batches: our step took {measurement.parts} parts.")
    if measurement.precisions:
        lines.append(_precision_line(measurement))
    return "\n".join(lines)


def _times(ratio: Spread) -> str:
    return f"{ratio.median:.2f} x ({ratio.low:.2f}..{ratio.high:.2f})"


def _precision_line(measurement: Measurement) -> str:
    """Say which precision is used and which is faster, with a hint where the choice costs much."""
    used, other = measurement.precision, measurement.other_precision
    speeds = {name: statistics.median(values) for name, values in measurement.precisions.items()}
    ratio = measurement.precision_ratio
    line = (
        f"Precision: the limit is {speeds[used]:,.0f} images/s in {used}, which is used, and "
        f"{speeds[other]:,.0f} in {other}: {used if ratio.median >= 1 else other} is faster "
        f"({used} is {_times(ratio)} as fast)."
    )
    if ratio.median >= SLOWER:
        return line
    return (
        f'{line}\nHint: precision = "{other}" in {measurement.precision_set_in} would train faster on this '
        "machine; runs trained before would count as stale."
    )


def as_json(machine: Machine, plan: Plan, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return settings, facts and every reading, with the medians that the tables show."""
    return {
        "machine": asdict(machine),
        "settings": asdict(plan),
        "architectures": [
            {
                **asdict(measurement),
                "images_per_second": {arm: asdict(measurement.speed(arm)) for arm in measurement.speeds},
                "resident_is": {arm: asdict(measurement.ratio(arm)) for arm in measurement.speeds},
                "precision_is": asdict(measurement.precision_ratio) if measurement.precisions else None,
            }
            for measurement in measurements
        ],
    }
