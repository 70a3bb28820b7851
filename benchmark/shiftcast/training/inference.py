"""Trained networks from the cache, ready to classify: without training, and without training data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import nn

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.errors import TrainingError
from shiftcast.training.augment import training_set
from shiftcast.training.evaluate import Network, evaluate
from shiftcast.training.job import Job, classes_of
from shiftcast.training.network import build_model
from shiftcast.training.resident import ResidentImages
from shiftcast.training.run import final_checkpoint
from shiftcast.training.saved import load_checkpoint
from shiftcast.util.types import Integers


def load_network(
    card: ArchitectureCard, classes: int, checkpoint: Path, device: str | torch.device
) -> nn.Module:
    """Return a trained network in evaluation mode: its averaged weights where the training kept them.

    Parameters
    ----------
    card
        The card that it was trained from, with the precision of the training.
    classes
        Number of classes K.
    checkpoint
        The `.pt` file.
    device
        Where it is to run.

    Raises
    ------
    TrainingError
        If the file cannot be read, or its weights are not those of the network that the card describes.
    """
    state = load_checkpoint(checkpoint)
    if state is None:
        raise TrainingError(f"{checkpoint}: is not there or cannot be read; train the network again")
    average = state.get("ema")
    model = build_model(card, classes)
    try:
        model.load_state_dict(state["model"] if average is None else average)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(
            f"{checkpoint}: its weights do not fit {card.timm!r} with {classes} classes as timm "
            f"{timm.__version__} builds it from architectures/{card.name}.toml: {reason}; use the version of "
            "timm that it was trained with, or train it again"
        ) from error
    return model.to(device).eval()


def classifier(job: Job) -> Callable[[NDArray[np.uint8]], Integers]:
    """Return a function from images uint8 (n, 32, 32, 3) to predicted classes (n,) of a trained run.

    Raises
    ------
    TrainingError
        If the run's checkpoint is not in the cache.
    """
    if not job.is_network:
        raise TrainingError(f"{job.key}: is a classifier of scikit-learn, of which no checkpoint is kept")
    checkpoint = final_checkpoint(job)
    if checkpoint is None:
        raise TrainingError(
            f"{job.key}: its checkpoint is not in the cache ({job.checkpoint}); make it with: shiftcast run "
            f"{job.suite.name} --only {job.key.architecture} --seed {job.key.seed} --checkpoints"
        )
    train = ResidentImages(job.data.train.images, cast("Integers", job.data.train.labels))
    mean, std = training_set(train, job.recipe, job.seeds).statistics
    model = load_network(job.fitted, classes_of(job), checkpoint, job.device)
    network = Network(model, job.fitted, mean, std, job.device)

    def predict(images: NDArray[np.uint8]) -> Integers:
        logits = evaluate(network, {"images": images})["images"]
        # Rounded as a run stores them, so that both name the same class.
        predicted: Integers = np.argmax(logits.astype(np.float16), axis=1)
        return predicted

    return predict
