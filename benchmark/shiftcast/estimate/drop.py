"""Where the accuracy that a partition predicts is lost: bin by bin, down to the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.difficulty import difficulty, largest_score
from shiftcast.estimators import ConfusionPartition, ImportanceReweighting
from shiftcast.estimators.partition import PartitionEstimator
from shiftcast.predictions import Predictions
from shiftcast.util.types import Floats

MOST_IMAGES = 1000
"""Images that are named at most."""
MOST_IMAGES_OF_A_BIN = 100
ROUNDING = 1e-9
CARRIED = 0.8
"""The bins that carry a drop are the fewest that hold this share of the errors added."""
LEAST_CHANGE = 0.001
"""A predicted change of accuracy below this is none that could be explained."""


def image_difficulty(predictions: Predictions) -> tuple[str, Floats, float]:
    """Return a difficulty score of each image (n,), its name before and its largest value after it.

    The confusion of the ensemble where there is one, else one minus the model's own confidence.
    """
    if predictions.reference is not None:
        return "confusion", difficulty(predictions.reference), largest_score("entropy", predictions.classes)
    return "1 - confidence", np.round(1 - predictions.confidence, 9), 1.0


def predicted_drop(source: Predictions, target: Predictions) -> dict[str, Any]:
    """Take the drop that a partition predicts apart over its bins, and name the images that carry it.

    The partition is that of `ConfusionPartition` where both carry an ensemble, else that of
    `ImportanceReweighting`. Bin b adds (w'_b - w_b)(1 - a_b) errors, as a share of images: w_b and w'_b are
    the shares of source and target in it, a_b the source accuracy. These sum to the predicted drop, for
    shares sum to one. So a bin adds to the drop where the target has more images that go wrong there, and an
    easy bin that shrinks takes little away. The fewest bins that hold 80 % of all errors added carry the
    drop.

    Parameters
    ----------
    source
        Labelled predictions (n images).
    target
        Predictions on m other images; labels are not read.

    Returns
    -------
    dict
        `estimator` (its name on the board), `score`, `predicted` (accuracy), `drop` (source accuracy minus
        that), `bins` (a list of `from`, `to`, `source_share`, `target_share`, `source_accuracy`, `drop`,
        `carries`, and of one that carries `images`, at most 100 positions in the target), `images_carrying`
        (how many lie in these bins) and `images` (at most 1,000 of their positions). The most difficult come
        first.
    """
    both = source.reference is not None and target.reference is not None
    partition: PartitionEstimator = ConfusionPartition() if both else ImportanceReweighting()
    partition.fit(source)
    count, (score, values, largest) = partition.bins, image_difficulty(target)
    own, there = partition.bins_of(source), partition.bins_of(target.without_labels())
    n, m, right = (np.bincount(bins, minlength=count) for bins in (own, there, own[source.correct]))
    w, w_target, accuracy = n / n.sum(), m / m.sum(), right / np.maximum(n, 1)
    added = (w_target - w) * (1 - accuracy)
    carrying = _carrying(added)
    images = np.flatnonzero(carrying[there])
    order = images[np.argsort(-values[images], kind="stable")]
    bins = []
    for home, first, last in _standing(partition):
        one = {
            "from": round(first * largest / count, 9),
            "to": round((last + 1) * largest / count, 9),
            "source_share": round(float(w[home]), 6),
            "target_share": round(float(w_target[home]), 6),
            "source_accuracy": round(float(accuracy[home]), 6),
            "drop": round(float(added[home]), 6) + 0.0,
            "carries": bool(carrying[home]),
        }
        if carrying[home]:
            one["images"] = order[there[order] == home][:MOST_IMAGES_OF_A_BIN].tolist()
        bins.append(one)
    return {
        "estimator": "ConfusionPartition" if both else "IM",
        "score": score,
        "predicted": round(float(w_target @ accuracy), 6),
        "drop": round(source.accuracy - float(w_target @ accuracy), 6),
        "bins": bins,
        "images_carrying": len(images),
        "images": order[:MOST_IMAGES].tolist(),
    }


def _carrying(added: Floats) -> NDArray[np.bool_]:
    """Return the fewest bins (B,) that hold 80 % of the errors added (B,)."""
    order = np.argsort(-added, kind="stable")
    gained = np.maximum(added[order], 0)
    before = np.cumsum(gained) - gained
    carrying = np.zeros(len(added), dtype=bool)
    carrying[order] = (gained > ROUNDING) & (before < CARRIED * gained.sum())
    return carrying


def explained(drop: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], accuracy: float) -> dict[str, Any]:
    """Return how much of the change that the best estimator predicts the partition accounts for.

    Parameters
    ----------
    drop
        From `predicted_drop`.
    rows
        From `estimate_accuracy`: the first is that with the smallest error on the board.
    accuracy
        Source accuracy.

    Returns
    -------
    dict
        `by` (the estimator whose change it is), `change` (of accuracy, from source to target) and
        `share`: the partition's change divided by that; None where that is below 0.1 pp.
    """
    change = rows[0]["accuracy"] - accuracy
    share = round(-drop["drop"] / change, 4) + 0.0 if abs(change) >= LEAST_CHANGE else None
    return {"by": rows[0]["estimator"], "change": round(change, 6), "share": share}


def _standing(partition: PartitionEstimator) -> list[tuple[int, int, int]]:
    """Return the index, first and last of the bins that make up each bin that stands, easiest first."""
    homes = partition.home_.tolist()
    return [
        (home, homes.index(home), len(homes) - 1 - homes[::-1].index(home)) for home in dict.fromkeys(homes)
    ]
