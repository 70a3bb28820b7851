"""Trained networks from the cache, as functions from images to classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from shiftcast.errors import TrainingError
from shiftcast.predictions import Integers
from shiftcast.training.evaluate import evaluate
from shiftcast.training.loop import seeded_model, train
from shiftcast.training.resident import ResidentImages
from shiftcast.training.work import Job, classes_of, has_final_checkpoint


def classifier(job: Job) -> Callable[[NDArray[np.uint8]], Integers]:
    """Return a function from images uint8 (n, 32, 32, 3) to predicted classes (n,) of a trained run.

    Raises
    ------
    TrainingError
        If the run's checkpoint is not in the cache.
    """
    if not has_final_checkpoint(job):
        raise TrainingError(
            f"{job.key}: its checkpoint is not in the cache ({job.checkpoint}); "
            f"train it again with: shiftcast run {job.suite.name} --only {job.key.architecture} --retrain"
        )
    images = job.data.train
    resident = ResidentImages(images.images, cast("Integers", images.labels), job.device)
    mean, std = resident.statistics
    model = seeded_model(job.card, classes_of(job), job.seeds.weights).to(job.device)
    train(model, job.card, resident, job.recipe, job.seeds, job.device, job.checkpoint)  # loads what is done
    del resident

    def predict(images: NDArray[np.uint8]) -> Integers:
        logits = evaluate(model, job.card, {"images": images}, mean, std, job.device)["images"]
        predicted: Integers = np.argmax(logits.astype(np.float16), axis=1)
        return predicted

    return predict
