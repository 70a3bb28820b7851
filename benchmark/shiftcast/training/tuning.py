"""Choosing a learning rate on held-out training images: short trainings, no test image.

A part of the training images is held out, stratified; each rate trains a network on another part
for a few epochs of the recipe and is judged on the held-out part. The table goes into the
architecture card as the evidence for its `[train.RECIPE]`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.recipe import Recipe
from shiftcast.data.readers.layouts import Images
from shiftcast.data.sampling import stratified_subset
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.training.augment import training_set
from shiftcast.training.evaluate import Network, evaluate
from shiftcast.training.loop import derive_seeds, seeded_model, train
from shiftcast.training.network import fit_card
from shiftcast.training.resident import ResidentImages
from shiftcast.util.types import Integers

HELD_OUT = "held out"


@dataclass(frozen=True)
class Trial:
    """What one learning rate came to.

    Parameters
    ----------
    architecture, recipe
        What was trained.
    learning_rate
        Peak learning rate of the trial.
    accuracy
        Share of the held-out training images that are classified rightly; NaN where the training
        diverged.
    loss
        Mean training loss of the last epoch.
    seconds
        Duration of the training.
    """

    architecture: str
    recipe: str
    learning_rate: float
    accuracy: float
    loss: float
    seconds: float


class HeldOut(NamedTuple):
    """Training images in two parts without a common image: what trials are trained and judged on."""

    fitting: Images
    held_out: Images


def hold_out(train_set: Images, held_out: int, fitting: int | None, seed: int) -> HeldOut:
    """Split training images, stratified by class.

    Parameters
    ----------
    train_set
        Labelled training images.
    held_out
        How many images to judge on.
    fitting
        How many of the others to train on; all of them when None.
    seed
        Of the choice.

    Raises
    ------
    InvalidInputError
        If there are not that many images.
    """
    labels = cast("Integers", train_set.labels)
    if not 1 <= held_out < len(labels):
        raise InvalidInputError(
            f"held-out: expected 1 to {len(labels) - 1} of the {len(labels)} training images, got {held_out}"
        )
    judged = stratified_subset(labels, held_out, seed)
    # No trial sees what it is judged on, and no test image is looked at.
    rest = np.setdiff1d(np.arange(len(labels)), judged)
    if fitting is not None:
        if not 1 <= fitting <= len(rest):
            raise InvalidInputError(
                f"images: expected 1 to {len(rest)} (the training images not held out), got {fitting}"
            )
        rest = rest[stratified_subset(labels[rest], fitting, seed)]
    return HeldOut(
        Images(train_set.images[rest], labels[rest]), Images(train_set.images[judged], labels[judged])
    )


def try_rates(
    card: ArchitectureCard, recipe: Recipe, rates: Sequence[float], data: HeldOut, device: str, seed: int
) -> Iterator[Trial]:
    """Train a network at each learning rate and yield how it does on the held-out images.

    Parameters
    ----------
    card
        The architecture card.
    recipe
        The recipe, with the number of epochs that a trial takes; its learning rate is replaced.
    rates
        Peak learning rates.
    data
        The two parts of the training images.
    device
        Where to train.
    seed
        Seed of the trials, the same for every rate.
    """
    card = fit_card(card, recipe, device)
    fitting, judged = data.fitting, data.held_out
    resident = ResidentImages(fitting.images, cast("Integers", fitting.labels), device)
    classes = int(cast("Integers", fitting.labels).max()) + 1
    seeds = derive_seeds(card.name, f"tune|{recipe.name}", seed)
    mean, std = training_set(resident, recipe, seeds).statistics
    for rate in rates:
        model = seeded_model(card, classes, seeds.weights).to(device)
        start = time.perf_counter()
        try:
            epochs = train(
                model, card, resident, recipe.model_copy(update={"learning_rate": rate}), seeds, device
            )
        # A rate at which the training diverges is a result like any other.
        except TrainingError:
            accuracy = loss = math.nan
        else:
            logits = evaluate(Network(model, card, mean, std, device), {HELD_OUT: judged.images})[HELD_OUT]
            accuracy = float((logits.argmax(axis=1) == judged.labels).mean())
            loss = epochs[-1].loss
        yield Trial(card.name, recipe.name, rate, accuracy, loss, time.perf_counter() - start)
