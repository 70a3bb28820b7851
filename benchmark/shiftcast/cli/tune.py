"""`shiftcast tune`: short trainings at several learning rates, judged on held-out training images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import typer

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.suite import Suite
from shiftcast.data.loading import load_dataset, with_shortcut
from shiftcast.engines.contract import choose_runs
from shiftcast.errors import InvalidInputError, needs_extra
from shiftcast.util.files import write_atomic
from shiftcast.workspace import Workspace, data_folder

TRIAL = ("architecture", "recipe", "learning_rate", "epochs", "images", "held_out", "seed")
"""What makes a trial the same one: a repeated trial replaces the earlier row."""


@dataclass(frozen=True)
class Plan:
    """What is tried: which architectures and rates, on how many images, for how many epochs."""

    only: tuple[str, ...]
    rates: tuple[float, ...]
    epochs: int
    images: int
    held_out: int
    seed: int


def tune_suite(workspace: Workspace, suite: Suite, plan: Plan, device: str, threads: int | None) -> Path:
    """Try the rates for every architecture and recipe of a suite and return the table's path.

    Raises
    ------
    InvalidInputError
        If a rate is not positive or the training images are too few.
    MissingExtraError
        If torch or timm is not installed.
    """
    with needs_extra("train"):
        from shiftcast.training import tuning
        from shiftcast.training.job import choose_device, set_threads
    training_set = workspace.dataset(suite.training_set)
    for rate in plan.rates:
        if not 0 < rate < math.inf:
            raise InvalidInputError(f"--rate {rate}: expected a finite learning rate above 0")
    pairs = {
        (key.architecture, key.recipe): None
        for _, key in choose_runs(suite, plan.only)
        if plan.only or isinstance(workspace.architecture(key.architecture), ArchitectureCard)
    }
    images = with_shortcut(suite, load_dataset(training_set, data_folder()), "train")
    data = tuning.hold_out(images, plan.held_out, plan.images, plan.seed)
    place, _ = choose_device(device), set_threads(threads)
    path = workspace.outputs(suite) / "tuning.csv"
    table = _earlier(path)
    settings = {"epochs": plan.epochs, "images": plan.images, "held_out": plan.held_out, "seed": plan.seed}
    for architecture, recipe in pairs:
        card = workspace.network(architecture)
        resolved = workspace.training(architecture, recipe).model_copy(update={"epochs": plan.epochs})
        for trial in tuning.try_rates(card, resolved, plan.rates, data, place, plan.seed):
            typer.echo(
                f"{architecture:<24} {recipe:<12} learning rate {trial.learning_rate:<8g} "
                f"held out {100 * trial.accuracy:6.2f} %  loss {trial.loss:.3f}  {trial.seconds:6.1f} s"
            )
            table = pd.concat([table, pd.DataFrame([{**asdict(trial), **settings}])], ignore_index=True)
            table = table.drop_duplicates(list(TRIAL), keep="last")
            write_atomic(path, table.to_csv(index=False))
    typer.echo(f"wrote {path}")
    return path


def _earlier(path: Path) -> pd.DataFrame:
    """Return the trials of earlier calls; none where the file is not such a table."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError):
        return pd.DataFrame()
    return table if set(TRIAL) <= set(table.columns) else pd.DataFrame()
