"""Estimators that read what a run recorded of each image: views, prediction depth, learned epoch.

`Predictions.signals` holds, by name and as shares in [0, 1]: `views`, of an image's eight views that get the
class that the image gets; `view_probability`, the mean probability of that class over views (both NaN where
no views were made); `depth`, the prediction depth over the number of probed blocks; `learned_epoch`, the
epoch in which the class was settled over the number of epochs.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from shiftcast.errors import RequirementError
from shiftcast.estimators.base import Track
from shiftcast.estimators.partition import PartitionEstimator
from shiftcast.estimators.scores import MappedScore
from shiftcast.predictions import Predictions
from shiftcast.util.types import Floats


def recorded(predictions: Predictions, name: str) -> Floats:
    """Return a recorded signal of each image (n,).

    Raises
    ------
    RequirementError
        If it was not recorded, or of no image.
    """
    values = (predictions.signals or {}).get(name)
    if values is None or np.isnan(values).all():
        raise RequirementError(f"{predictions.name!r} has no recorded {name} among its signals")
    return values


class NeighbourhoodInvariance(MappedScore):
    """Mean share of an image's views that keep its class, mapped to an accuracy by a line.

    Ng et al. take the largest share of views in one class; recorded is the share in the image's own, which is
    the same unless most views agree on another class. Images without views are left out. Views must lie
    outside what the network was trained with, or all keep their class.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"classes", "signals", "others"})
    citation: ClassVar[str] = (
        "Ng et al. (2023), Predicting Out-of-Domain Generalization with Neighborhood Invariance (TMLR)"
    )

    def score(self, predictions: Predictions) -> float:
        """Return the set's score, rounded to 1e-9."""
        return round(self._score(predictions), 9)  # not remembered: signals are no part of the logits

    def _score(self, predictions: Predictions) -> float:
        return float(np.nanmean(recorded(predictions, "views")))


class EffectiveInvariance(NeighbourhoodInvariance):
    """Mean over images and views of sqrt(p p') where a view keeps the class, else 0, mapped by a line.

    p is the confidence and p' the view's, of which only the mean over an image's views is recorded: an image
    counts the share of its views that keep the class times the square root of its confidence and that mean.

    Parameters
    ----------
    level
        Nominal level of the sampling interval.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"logits", "signals", "others"})
    citation: ClassVar[str] = (
        "Deng, Gould & Zheng (2022), On the Strong Correlation Between Model Invariance and Generalization"
    )

    def _score(self, predictions: Predictions) -> float:
        kept, confidence = (recorded(predictions, name) for name in ("views", "view_probability"))
        return float(np.nanmean(kept * np.sqrt(predictions.confidence * confidence)))


class _RecordedPartition(PartitionEstimator):
    """Base of partitions by a recorded signal of the scored model itself."""

    track: ClassVar[Track] = "T4"
    requires: ClassVar[frozenset[str]] = frozenset({"classes", "signals"})
    signal: ClassVar[str]

    def __init__(self, bins: int = 10, min_count: int = 20, level: float = 0.95) -> None:
        self.bins = bins
        self.min_count = min_count
        self.level = level

    def _scores(self, predictions: Predictions) -> Floats:
        values = recorded(predictions, self.signal)
        return np.where(np.isnan(values), 1.0, values)  # never settled


class LearnedEpochPartition(_RecordedPartition):
    """Source accuracy in bins of the epoch in which an image's class was settled, weighted by the target.

    Images that are settled late are more often wrong, in and out of distribution. Bins as in
    `ConfusionPartition`. Only sets that networks of earlier epochs have seen can be answered for.

    Parameters
    ----------
    bins, min_count, level
        As in `ConfusionPartition`.
    """

    signal: ClassVar[str] = "learned_epoch"
    citation: ClassVar[str] = (
        "Hacohen, Choshen & Weinshall (2020), Let's Agree to Agree: Neural Networks Share Classification "
        "Order on Real Datasets"
    )


class DepthPartition(_RecordedPartition):
    """Source accuracy in bins of prediction depth, weighted by the target.

    The block of the network from which on nearest-neighbour probes agree with its answer: deep images are
    more often wrong. Bins as in `ConfusionPartition`.

    Parameters
    ----------
    bins, min_count, level
        As in `ConfusionPartition`.
    """

    signal: ClassVar[str] = "depth"
    citation: ClassVar[str] = (
        "Baldock, Maennel & Neyshabur (2021), Deep Learning Through the Lens of Example Difficulty"
    )
