"""What `signals.safetensors` holds of a run: taken while its network is evaluated, and after that."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcast.cards.suite import Suite
from shiftcast.data.sampling import stratified_subset
from shiftcast.errors import InvalidInputError, RunError, TrainingError
from shiftcast.runs.signals import (
    LARGEST_SIGNALS,
    VIEWS,
    WITHOUT_VIEWS,
    ImageSignals,
    Signals,
    classes_digest,
    decode_signals,
)
from shiftcast.training.evaluate import Network, stored_classes
from shiftcast.training.network import logits_of
from shiftcast.training.probes import BATCH, Probes
from shiftcast.training.resident import Images, ResidentImages
from shiftcast.training.snapshots import Snapshots, learned_epochs
from shiftcast.training.views import views_of
from shiftcast.util.files import read_regular

logger = logging.getLogger(__name__)

REFERENCES = 10_000
"""Training images that neighbours are looked for among."""
LEARNED_EVERY = 3
"""Of the test set and natural sets, each third image's learned epoch is determined: all would take a fifth of
the seconds of a training of sixteen epochs."""
VIEWS_EVERY = 3
"""Of these sets, views are made of each third image: of all, they would take as much."""
DERIVED_VIEWS_EVERY = 12
"""The same of sets that are made from the test set: there are many of them."""


@dataclass(frozen=True)
class _Views:
    agreeing: NDArray[np.uint8]
    probability: NDArray[np.float32]


class Recording:
    """Takes the signals of one run.

    Parameters
    ----------
    suite
        The suite, which says what is made from the test set.
    network
        The trained network.
    training
        The images that it was trained on.

    Attributes
    ----------
    seconds
        How long everything took so far, beside the plain evaluation.
    """

    def __init__(self, suite: Suite, network: Network, training: ResidentImages) -> None:
        self.suite, self.network = suite, network
        self.derived = {target.id for target in suite.unfolded_targets() if target.derived}
        labels = training.labels.cpu().numpy()
        rows = stratified_subset(labels, min(REFERENCES, len(labels)), suite.source.seed)
        self.probes = Probes(network, training.source[rows], labels[rows])
        self.more = 0.0

    @property
    def seconds(self) -> float:
        """How long everything took so far, beside the plain evaluation."""
        return self.probes.seconds + self.more

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what the network's blocks give for the sets that it is evaluated on meanwhile."""
        with self.probes.watching():
            yield

    def finish(
        self,
        images: Mapping[str, Images],
        predicted: Mapping[str, NDArray[np.int64]],
        snapshots: Snapshots,
        earlier: Signals | None,
    ) -> Signals:
        """Return the signals of all sets, after the network was evaluated on them in this order.

        Parameters
        ----------
        images
            uint8 (n, H, W, 3) by set.
        predicted
            Predicted classes (n,) by set, as they are stored.
        snapshots
            Networks of earlier epochs; where they are gone, learned epochs are those of `earlier`.
        earlier
            What the run's folder held before; of sets with the same predictions, learned epochs are kept.

        Raises
        ------
        TrainingError
            If the network gives values that are not finite, or a snapshot is damaged.
        """
        start = time.perf_counter()
        learned = self._learned(images, predicted, snapshots, earlier)
        depth, distance = self.probes.result()
        sets, start_row = {}, 0
        for name, classes in predicted.items():
            views = self._views(name, images[name], classes)
            rows = slice(start_row, start_row := start_row + len(classes))
            sets[name] = ImageSignals(
                depth[rows], views.agreeing, views.probability, distance[rows], learned.get(name)
            )
        digests = {name: classes_digest(classes) for name, classes in predicted.items()}
        # Told apart in the record: with signals, a run is not slower to evaluate.
        self.more += time.perf_counter() - start
        return Signals(tuple(self.probes.blocks), sets, digests)

    def _learned(
        self,
        images: Mapping[str, Images],
        predicted: Mapping[str, NDArray[np.int64]],
        snapshots: Snapshots,
        earlier: Signals | None,
    ) -> Mapping[str, NDArray[np.uint8]]:
        """Return the learned epochs of the sets that have any."""
        asked = {name: classes for name, classes in predicted.items() if name not in self.derived}
        # Of a run that is only evaluated again, the networks of earlier epochs are gone.
        if snapshots.complete:
            return learned_epochs(snapshots, self.network, images, asked, LEARNED_EVERY)
        kept = {}
        for name, classes in asked.items():
            before = None if earlier is None else earlier.learned(name, classes)
            if before is not None:
                kept[name] = before
        if lost := sorted(set(asked) - set(kept)):
            logger.warning(
                "%s: learned epochs of %s are not recorded, because the networks of earlier epochs are gone; "
                "to have them, delete %s and the run's folder, and run it again",
                self.network.card.name,
                ", ".join(lost),
                snapshots.checkpoint,
            )
        return kept

    def _views(self, name: str, images: Images, predicted: NDArray[np.int64]) -> _Views:
        """Return how many views of each image get its class, and the mean probability of that class."""
        every = DERIVED_VIEWS_EVERY if name in self.derived else VIEWS_EVERY
        rows = np.arange(0, len(images), every)
        agreeing = np.full(len(images), WITHOUT_VIEWS, np.uint8)
        probability = np.full(len(images), np.nan, np.float32)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            views = self._views_of_batch(name, images[batch], predicted[batch])
            agreeing[batch], probability[batch] = views.agreeing, views.probability
        return _Views(agreeing, probability)

    def _views_of_batch(self, name: str, images: Images, predicted: NDArray[np.int64]) -> _Views:
        device = self.network.device
        agreeing = np.zeros(len(images), np.uint8)
        total = np.zeros(len(images), np.float64)
        column = torch.from_numpy(predicted).to(device)[:, None]
        with torch.inference_mode():
            for view in views_of(torch.from_numpy(images).to(device)):
                logits = logits_of(self.network.model, self.network.card, self.network.images(view))
                agreeing += stored_classes(logits.cpu().numpy()) == predicted
                total += logits.softmax(dim=1).gather(1, column)[:, 0].cpu().numpy()
        if not np.isfinite(total).all():
            raise TrainingError(f"{name}: views of its images give NaN or infinite values")
        return _Views(agreeing, (total / VIEWS).astype(np.float32))


def earlier_signals(path: Path) -> Signals | None:
    """Return what a signals file holds; None where there is none that can be read."""
    try:
        return decode_signals(read_regular(path, LARGEST_SIGNALS), str(path))
    except (FileNotFoundError, InvalidInputError, RunError):
        return None
