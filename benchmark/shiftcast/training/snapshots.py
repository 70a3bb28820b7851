"""Networks of earlier epochs, kept beside the checkpoint while a run is made, and what they tell.

A run whose recipe asks for signals keeps the weights of each epoch but the last, `CHECKPOINT-epochs/003.pt`,
until its folder is written. A checkpoint says nothing of an epoch whose weights are lost: then the
training starts anew, so that a resumed run has what an uninterrupted one has.
"""

from __future__ import annotations

import copy
import io
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shiftcast.errors import TrainingError
from shiftcast.runs.signals import MOST_EPOCHS
from shiftcast.training.evaluate import Network, evaluate, stored_classes
from shiftcast.training.network import out_of_memory
from shiftcast.training.probes import BATCH
from shiftcast.training.resident import Images
from shiftcast.training.saved import load_checkpoint, refuse_changed
from shiftcast.util.files import write_atomic

logger = logging.getLogger(__name__)


class Snapshots:
    """The weights after each epoch of one training but the last.

    Parameters
    ----------
    checkpoint
        The training's checkpoint.
    epochs
        Epochs of the whole training.

    Attributes
    ----------
    seconds
        How long writing them took so far.

    Raises
    ------
    TrainingError
        If there are more epochs than a signals file can name.
    """

    def __init__(self, checkpoint: Path, epochs: int) -> None:
        if epochs > MOST_EPOCHS:
            raise TrainingError(
                f"signals are kept for at most {MOST_EPOCHS} epochs, and the recipe has {epochs}: take "
                "signals out of it"
            )
        self.checkpoint, self.epochs = checkpoint, epochs
        self.folder = checkpoint.with_name(f"{checkpoint.stem}-epochs")
        self.seconds = 0.0

    def path(self, epoch: int) -> Path:
        """Return where the weights after an epoch, from 1, are kept."""
        return self.folder / f"{epoch:03d}.pt"

    def prepare(self) -> None:
        """Discard a checkpoint that snapshots of its epochs are missing for, with a warning.

        That of a finished training stays where none is left: its run was written before.
        """
        state = load_checkpoint(self.checkpoint)
        done = 0 if state is None else len(state["epochs"])
        if done >= self.epochs and not self.folder.exists():
            return
        for epoch in range(1, min(done, self.epochs - 1) + 1):
            if self._load(epoch) is None:
                logger.warning(
                    "%s: is discarded and training starts from the beginning, because %s, which the "
                    "signals need, is missing or damaged",
                    self.checkpoint,
                    self.path(epoch),
                )
                self.checkpoint.unlink(missing_ok=True)
                return

    def keep(self, epoch: int, model: nn.Module) -> None:
        """Write a network's weights after an epoch, from 1, atomically; those of the last are not needed."""
        if epoch >= self.epochs:
            return
        start = time.perf_counter()
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        write_atomic(self.path(epoch), buffer.getvalue())
        self.seconds += time.perf_counter() - start

    @property
    def complete(self) -> bool:
        """Whether there is one of every epoch but the last."""
        return all(self.path(epoch).exists() for epoch in range(1, self.epochs))

    def load(self, epoch: int) -> dict[str, Any]:
        """Return the weights after an epoch.

        Raises
        ------
        TrainingError
            If they are missing or damaged.
        """
        state = self._load(epoch)
        if state is None:
            raise TrainingError(f"{self.path(epoch)}: is missing or damaged; start the same again")
        return state

    def _load(self, epoch: int) -> dict[str, Any] | None:
        try:
            refuse_changed(self.path(epoch))
            state: dict[str, Any] = torch.load(self.path(epoch), map_location="cpu", weights_only=True)
        except Exception as error:  # PyTorch's reader meets foreign bytes with errors of every kind
            if out_of_memory(error):
                raise
            return None
        return state

    def forget(self) -> None:
        """Delete all: the run is written. Killed meanwhile, none of them is taken for what it was."""
        gone = self.folder.with_name(f"{self.folder.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        # Renamed first: half a folder of snapshots would be taken for a damaged one.
        with suppress(OSError):
            self.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def learned_epochs(
    snapshots: Snapshots,
    network: Network,
    images: Mapping[str, Images],
    final: Mapping[str, NDArray[np.int64]],
    every: int,
) -> dict[str, NDArray[np.uint8]]:
    """Return the first epoch from which each image's class is the final one and stays it.

    From the last epoch backwards, each network classifies only the images that all later ones agreed
    on: what is found is exact, and images that are learned late cost little. A learning order as in
    Hacohen, Choshen & Weinshall (2020), arXiv:1905.10854.

    Parameters
    ----------
    snapshots
        The networks after each epoch but the last.
    network
        The trained network, which stays as it is.
    images
        uint8 images (n, H, W, 3) by set.
    final
        The trained network's classes (n,) by set, of logits as they are stored.
    every
        Only each `every`-th image of a set is asked about, from the first on.

    Returns
    -------
    dict
        uint8 (n,) by set, from 1; 0 for images that are not asked about.

    Raises
    ------
    TrainingError
        If a snapshot is missing or damaged.
    """
    learned = {name: np.zeros(len(classes), np.uint8) for name, classes in final.items()}
    left = {name: np.arange(0, len(classes), every) for name, classes in final.items()}
    earlier = network._replace(model=copy.deepcopy(network.model))
    # Backwards: an image that the last epochs disagree on is settled at once.
    for epoch in range(snapshots.epochs - 1, 0, -1):
        earlier.model.load_state_dict(snapshots.load(epoch))
        for name, rows in left.items():
            if not len(rows):
                continue
            logits = evaluate(earlier, {name: images[name][rows]}, BATCH)[name]
            same = stored_classes(logits) == final[name][rows]
            learned[name][rows[~same]] = epoch + 1
            left[name] = rows[same]
    for name, rows in left.items():
        learned[name][rows] = 1
    return learned
