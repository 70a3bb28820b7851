"""`shiftcast bench`: how fast networks train on this machine."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
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
    from shiftcast.training.speed import Measurement

MOST_WORKERS = 8
"""DataLoader processes by default, where there are as many cores."""

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

    The images are random. Three arms take turns: plain (Pillow images, torchvision transforms, a DataLoader,
    float32), ours (images resident on the device), and the limit (our step on one batch that is on the
    device already).
    """
    workspace = workspace_of(context)
    update = {} if batch_size is None else {"batch_size": batch_size}
    names = dict.fromkeys(architectures)
    pairs = [(workspace.network(name), workspace.training(name, recipe)) for name in names]
    with needs_extra("train"):
        from shiftcast.training import speed
        from shiftcast.training.job import choose_device, set_threads

    where, counted = choose_device(device.value), set_threads(threads)
    processes = min(os.cpu_count() or 1, MOST_WORKERS) if workers is None else workers
    plan = speed.Plan(processes, seconds, rounds, images)
    machine = {"device": where, "hardware": speed.hardware(where), "threads": counted}
    whole: dict[str, Any] = {"machine": machine, "settings": asdict(plan), "architectures": []}
    if json_file is not None:
        require_writable(json_file.parent)
    echo(f"{where}: {machine['hardware']}; {counted} threads, {processes} DataLoader processes")
    echo("\n".join(f"{arm}: {what}" for arm, what in speed.ARMS.items()))
    try:
        for card, resolved in pairs:
            chosen = resolved.model_copy(update=update)
            say = partial(_say_round, card.name, rounds)
            measured = speed.measure_training(card, chosen, plan, where, say)
            echo(
                f"\n{card.name}: {measured.parameters:,} parameters, {measured.precision}, recipe {recipe}, "
                f"batches of {chosen.batch_size}; medians of {rounds} rounds of {seconds:g} s"
            )
            echo(speeds_table(measured))
            about = {"architecture": card.name, "recipe": recipe, "batch_size": chosen.batch_size}
            whole["architectures"].append({**about, **asdict(measured)})
            _write(json_file, whole)
    except KeyboardInterrupt as error:
        kept = f", and {json_file} holds them" if json_file is not None and whole["architectures"] else ""
        raise StoppedError(f"stopped; the tables above stand{kept}") from error


def _write(file: Path | None, whole: Mapping[str, Any]) -> None:
    if file is not None:
        write_atomic(file, json.dumps(whole, indent=1) + "\n")


def _say_round(name: str, rounds: int, number: int) -> None:
    echo(f"{name}: round {number} of {rounds}", err=True)


def speeds_table(measured: Measurement) -> str:
    """Return a row an arm: its speed, and how many times as fast `resident` is."""
    rows = [
        {
            "arm": arm,
            "images/s": f"{statistics.median(values):,.0f}",
            "lowest..highest": f"{min(values):,.0f}..{max(values):,.0f}",
            "resident is": f"{measured.ratio(arm):.2f} x",
        }
        for arm, values in measured.speeds.items()
    ]
    return text_table(rows)
