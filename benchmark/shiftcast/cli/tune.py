"""`shiftcast tune`: short trainings at several learning rates, judged on held-out training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import (
    BENCHMARK,
    Device,
    OnDevice,
    Only,
    SuiteName,
    Threads,
    echo,
    example,
    workspace_of,
)
from shiftcast.errors import InvalidInputError, StoppedError, needs_extra
from shiftcast.util.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from shiftcast.cards.suite import Suite
    from shiftcast.workspace import Workspace

TRIAL = ("architecture", "recipe", "learning_rate", "epochs", "images", "held_out", "seed")
"""Columns that identify a trial: a repeated trial replaces the earlier row."""
RATES = (1e-3, 3e-3, 1e-2)

app = typer.Typer()


@app.command(rich_help_panel=BENCHMARK, epilog=example("tune cifar10 --only resnet18_s2 --rate 0.003"))
def tune(
    context: typer.Context,
    suite: SuiteName,
    only: Only = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="Try this peak learning rate (repeatable) [default: 1e-3 3e-3 1e-2]."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Train each trial for this many epochs.")] = 2,
    images: Annotated[int, typer.Option(min=1, help="Train each trial on this many images.")] = 15_000,
    held_out: Annotated[int, typer.Option(min=1, help="Judge on this many other training images.")] = 5_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed the choice of images and the trials.")] = 0,
    device: OnDevice = Device.auto,
    threads: Threads = None,
) -> None:
    """Try learning rates on held-out training images.

    No test image is read. The results are printed, and kept in outputs/SUITE/tuning.csv; put the best rate
    into the architecture's card, under [train.RECIPE].
    """
    from shiftcast.data.loading import load_dataset, with_shortcut
    from shiftcast.workspace import data_folder

    with needs_extra("train"):
        from shiftcast.training import tuning
        from shiftcast.training.job import choose_device, set_threads
    workspace = workspace_of(context)
    chosen = workspace.suite(suite)
    rates, pairs = _checked(rate or RATES), _pairs(workspace, chosen, only or ())
    path = workspace.outputs(chosen) / "tuning.csv"
    settings = {"epochs": epochs, "images": images, "held_out": held_out, "seed": seed}
    try:
        stored = load_dataset(workspace.dataset(chosen.training_set), data_folder())
        data = tuning.hold_out(with_shortcut(chosen, stored, "train"), held_out, images, seed)
        where, _ = choose_device(device.value), set_threads(threads)
        for architecture, recipe in pairs:
            card = workspace.network(architecture)
            resolved = workspace.training(architecture, recipe).model_copy(update={"epochs": epochs})
            for trial in tuning.try_rates(card, resolved, rates, data, where, seed):
                echo(
                    f"{architecture:<24} {recipe:<12} learning rate {trial.learning_rate:<8g} "
                    f"held out {100 * trial.accuracy:6.2f} %  loss {trial.loss:.3f}  {trial.seconds:6.1f} s"
                )
                _store(path, {**asdict(trial), **settings})
    except KeyboardInterrupt as error:
        raise StoppedError(f"stopped; the trials above are stored in {path}") from error
    echo(f"wrote {path}")


def _checked(rates: Sequence[float]) -> Sequence[float]:
    for rate in rates:
        if not 0 < rate < math.inf:
            raise InvalidInputError(f"--rate {rate}: expected a finite learning rate above 0")
    return rates


def _pairs(workspace: Workspace, suite: Suite, only: Sequence[str]) -> list[tuple[str, str]]:
    """Return the architectures and recipes of a suite's runs; those without a learning rate only by name."""
    from shiftcast.cards.architecture import ArchitectureCard
    from shiftcast.engines.contract import choose_runs

    pairs = {
        (key.architecture, key.recipe): None
        for _, key in choose_runs(suite, only)
        if only or isinstance(workspace.architecture(key.architecture), ArchitectureCard)
    }
    return list(pairs)


def _store(path: Path, row: Mapping[str, Any]) -> None:
    """Add a trial to the table; one that was tried before is replaced."""
    import pandas as pd

    table = pd.concat([_earlier(path), pd.DataFrame([row])], ignore_index=True)
    write_atomic(path, table.drop_duplicates(list(TRIAL), keep="last").to_csv(index=False))


def _earlier(path: Path) -> pd.DataFrame:
    """Return the trials of earlier calls; none if the file is not such a table."""
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (OSError, ValueError):
        return pd.DataFrame()
    return table if set(TRIAL) <= set(table.columns) else pd.DataFrame()
