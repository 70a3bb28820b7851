"""`shiftcast bench`: how fast this machine trains."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.device import Device

if TYPE_CHECKING:
    from shiftcast.training.speed import Machine, Measurement, Plan, Spread

MOST_WORKERS = 8
"""DataLoader processes by default, where there are as many cores."""
SLOWER = 0.9
"""A precision below this share of the other's speed is worth a hint."""

app = typer.Typer(
    help="Measure speed on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def bench() -> None:
    """Measure speed on this machine."""


@app.command()
def train(
    context: typer.Context,
    architectures: Annotated[
        list[str], typer.Argument(metavar="ARCH...", help="See: shiftcast list architectures")
    ],
    recipe: Annotated[str, typer.Option(help="See: shiftcast list recipes")] = "plain-8",
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images a step [default: recipe's].")] = None,
    device: Annotated[Device, typer.Option(help="Where networks run.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes of the plain DataLoader [default: cores, at most 8]."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Length of one reading.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="Readings of each arm.")] = 3,
    images: Annotated[int, typer.Option(min=2, help="Random training images.")] = 50_000,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write everything to this file too.")
    ] = None,
) -> None:
    """Time training against a plain PyTorch loop and against its limit, on random images.

    Four arms take turns: plain (Pillow images, torchvision transforms, a DataLoader, float32), the same
    loader before our step, ours (images resident on the device), and the limit (our step on one batch
    that is there already).
    """
    from shiftcast.errors import MissingExtraError, StoppedError
    from shiftcast.util.files import write_atomic
    from shiftcast.workspace import find_workspace

    workspace = find_workspace(context.obj)
    names = list(dict.fromkeys(architectures))
    pairs = [(workspace.network(name), workspace.training(name, recipe)) for name in names]
    try:
        from shiftcast.training import run as work
        from shiftcast.training import speed as bench
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    place = work.choose_device(device.value)
    work.set_threads(threads)
    machine = bench.describe_machine(place)
    if workers is None:
        workers = min(machine.cores, MOST_WORKERS)
    plan = bench.Plan(workers, seconds, rounds, images)
    typer.echo("\n".join([_machine_line(machine), *(f"{arm}: {what}" for arm, what in bench.ARMS.items())]))
    found: list[Measurement] = []
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=json_file.parent):
            pass  # a folder that cannot be written is found now, not after the first network
    try:
        for card, own in pairs:
            chosen = own if batch_size is None else own.model_copy(update={"batch_size": batch_size})
            found.append(bench.measure_training(card, chosen, plan, place, _announcing(card.name, rounds)))
            typer.echo(f"\n{in_words(found[-1], plan)}")
            if json_file is not None:
                write_atomic(json_file, json.dumps(as_json(machine, plan, found), indent=1) + "\n")
    except KeyboardInterrupt as error:
        kept = f", and {json_file} holds them" if json_file is not None and found else ""
        raise StoppedError(f"stopped; the tables above stand{kept}") from error
    if json_file is not None:
        typer.echo(f"\nwrote {json_file}")


def _announcing(name: str, rounds: int) -> Callable[[int], None]:
    """Return what says on standard error which round begins; a live display would cost time."""
    return lambda number: typer.echo(f"{name}: round {number} of {rounds}", err=True)


def _machine_line(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"{machine.device}: {machine.name}; {machine.cores} CPU cores, {machine.threads} threads; {versions}"
    )


def in_words(found: Measurement, plan: Plan) -> str:
    """Return an architecture's table, with what was measured above and what follows below it."""
    from tabulate import tabulate

    rows = [
        {
            "arm": arm,
            "images/s": f"{found.speed(arm).median:,.0f}",
            "lowest..highest": f"{found.speed(arm).low:,.0f}..{found.speed(arm).high:,.0f}",
            "resident is": _times(found.ratio(arm)) if arm != "resident" else "",
        }
        for arm in found.speeds
    ]
    lines = [
        f"{found.architecture}: {found.parameters:,} parameters, {found.precision}, recipe {found.recipe}, "
        f"batches of {found.batch_size}, {plan.workers} DataLoader processes",
        str(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)),
        f"Medians of {plan.rounds} rounds of {plan.seconds:g} s an arm.",
    ]
    if found.parts > 1:
        lines.append(f"Memory did not suffice for whole batches: our step took {found.parts} parts.")
    if found.precisions:
        lines.append(_precision_line(found))
    return "\n".join(lines)


def _times(ratio: Spread) -> str:
    return f"{ratio.median:.2f} x ({ratio.low:.2f}..{ratio.high:.2f})"


def _precision_line(found: Measurement) -> str:
    """Say which precision is used and which is faster, with a hint where the choice costs much."""
    used, other = found.precision, found.other_precision
    speeds = {name: statistics.median(values) for name, values in found.precisions.items()}
    ratio = found.precision_ratio
    line = (
        f"Precision: the limit is {speeds[used]:,.0f} images/s in {used}, which is used, and "
        f"{speeds[other]:,.0f} in {other}: {used if ratio.median >= 1 else other} is faster "
        f"({used} is {_times(ratio)} as fast)."
    )
    if ratio.median >= SLOWER:
        return line
    return (
        f'{line}\nHint: precision = "{other}" in {found.precision_set_in} would train faster on this '
        "machine; runs trained before would count as stale."
    )


def as_json(machine: Machine, plan: Plan, found: Sequence[Measurement]) -> dict[str, Any]:
    """Return settings, facts and every reading, with the medians that the tables show."""
    return {
        "machine": asdict(machine),
        "settings": asdict(plan),
        "architectures": [
            {
                **asdict(one),
                "images_per_second": {arm: asdict(one.speed(arm)) for arm in one.speeds},
                "resident_is": {arm: asdict(one.ratio(arm)) for arm in one.speeds},
                "precision_is": asdict(one.precision_ratio) if one.precisions else None,
            }
            for one in found
        ],
    }
