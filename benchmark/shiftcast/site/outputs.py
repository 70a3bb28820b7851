"""What stored logits say beyond accuracies: calibration, confusion matrices and images that stand out.

Read from the runs, seeds of a model added up; no dataset is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shiftcast.analysis.confusion import Confusion
from shiftcast.runs.suite_runs import Pool, StoredRun
from shiftcast.util.arrays import softmax
from shiftcast.util.types import Floats, Integers

RELIABILITY_BINS = 10
SHOWN_IMAGES = 20
"""Images of each kind that one set shows."""

Model = tuple[str, str]
"""Architecture and recipe."""


@dataclass(frozen=True, eq=False)
class SetOutputs:
    """What all seeds of one model answered on one labelled set.

    Parameters
    ----------
    images
        Images (B,) in each bin of confidence, bins of equal width on [0, 1]; none where only classes are
        known.
    confidence, right
        Sums (B,) of the confidence and of right answers.
    matrix
        Answers (K, K): rows are true classes, columns predicted ones.
    """

    images: Integers
    confidence: Floats
    right: Integers
    matrix: Integers

    def __add__(self, other: SetOutputs) -> SetOutputs:
        """Add up two seeds."""
        return SetOutputs(
            self.images + other.images,
            self.confidence + other.confidence,
            self.right + other.right,
            self.matrix + other.matrix,
        )

    @property
    def calibration_error(self) -> float:
        """Mean gap between confidence and accuracy over the bins, in [0, 1] (ECE); NaN without any."""
        total = int(self.images.sum())
        return float(np.abs(self.confidence - self.right).sum() / total) if total else float("nan")


@dataclass(frozen=True)
class NotableImage:
    """An image that stands out.

    Parameters
    ----------
    position
        Its place among the stored outputs of its set, from 0.
    image
        Its number at the publisher, from 0; of a derived set, that of the test image it is made from.
    score
        Confusion; NaN where no ensemble says.
    true
        Name of its class; empty where labels are withheld.
    answer
        Class that the ensemble (of hard images), or most models (of agreed ones), give.
    share
        Share of runs that are right (hard images; NaN without labels), or that give `answer`.
    """

    position: int
    image: int
    score: float
    true: str
    answer: str
    share: float


@dataclass(frozen=True)
class SetImages:
    """Images of one set: the most confusing ones, and those that most models get wrong alike."""

    hardest: list[NotableImage] = field(default_factory=list)
    agreed: list[NotableImage] = field(default_factory=list)

    @property
    def positions(self) -> list[int]:
        """Places of all of them, sorted."""
        return sorted({one.position for one in (*self.hardest, *self.agreed)})


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a suite's stored logits say.

    Parameters
    ----------
    classes
        Names of the classes (K,).
    models
        For each model, its answers on every labelled set that all its runs hold.
    images
        For each target, the images that stand out.
    """

    classes: Sequence[str]
    models: dict[Model, dict[str, SetOutputs]]
    images: dict[str, SetImages]


def read_outputs(pool: Pool) -> Outputs:
    """Return what the stored logits of a suite's complete runs say."""
    classes = pool.workspace.dataset(pool.suite.source.test).classes
    runs: dict[Model, list[StoredRun]] = {}
    for run in pool.scored:
        runs.setdefault((run.key.architecture, run.key.recipe), []).append(run)
    models = {model: _model(own, pool) for model, own in runs.items()}
    confusion = _confusion(pool)
    images = {target.id: _images(pool, confusion, target.id, classes) for target in pool.targets}
    return Outputs(classes, models, images)


def _confusion(pool: Pool) -> Confusion | None:
    members = pool.suite.reference.members
    complete = bool(members) and all(name in pool.reference for name in members)
    return Confusion(pool) if complete and pool.scored else None


def _model(runs: Sequence[StoredRun], pool: Pool) -> dict[str, SetOutputs]:
    shared = [name for name in runs[0].sets if all(name in run.sets for run in runs)]
    found = {}
    for name in shared:
        labels = pool.labels_of(name)
        if labels is not None:
            parts = [answers(run.sets[name].logits, labels, hard=run.sets[name].hard) for run in runs]
            found[name] = sum(parts[1:], parts[0])
    return found


def answers(
    logits: NDArray[np.floating], labels: Integers, bins: int = RELIABILITY_BINS, *, hard: bool = False
) -> SetOutputs:
    """Return what one run answers on one set.

    Parameters
    ----------
    logits
        (n, K).
    labels
        True classes (n,).
    bins
        Bins of confidence.
    hard
        Whether the logits only say which class is predicted: nothing is in the bins then.
    """
    # ties go to the lower class, as everywhere: a softmax in float64 keeps the order of float16 logits
    predicted = np.argmax(logits.astype(np.float32), axis=1)
    classes = logits.shape[1]
    counted = np.bincount(labels * classes + predicted, minlength=classes * classes)
    confidence = np.empty(0) if hard else softmax(logits).max(axis=1)
    right = np.empty(0, dtype=bool) if hard else predicted == labels
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return SetOutputs(
        np.bincount(place, minlength=bins).astype(np.int64),
        np.bincount(place, weights=confidence, minlength=bins).astype(np.float64),
        np.bincount(place[right], minlength=bins),
        counted.reshape(classes, classes),
    )


def _images(pool: Pool, confusion: Confusion | None, name: str, classes: Sequence[str]) -> SetImages:
    runs = [run for run in pool.scored if name in run.sets]
    labels = pool.labels_of(name)
    n = runs[0].sets[name].n
    scores = confusion.scores(name) if confusion is not None and name in confusion.sets else None
    base = confusion.base(name) if confusion is not None else None
    numbers = np.arange(n) if base is None else base
    votes = np.zeros((n, len(classes)), dtype=np.int64)
    for run in runs:
        votes[np.arange(n), run.predicted(name)] += 1
    known = np.full(n, np.nan) if scores is None else scores

    def notable(position: int, answer: int, share: float) -> NotableImage:
        true = "" if labels is None else classes[labels[position]]
        return NotableImage(
            position, int(numbers[position]), float(known[position]), true, classes[answer], share
        )

    hardest: list[NotableImage] = []
    if scores is not None and confusion is not None:
        given = confusion.ensemble(name).mean(axis=0).argmax(axis=1)
        for place in np.argsort(-scores, kind="stable")[:SHOWN_IMAGES].tolist():
            right = float("nan") if labels is None else votes[place, labels[place]] / len(runs)
            hardest.append(notable(place, int(given[place]), float(right)))
    if labels is None:
        return SetImages(hardest)
    votes[np.arange(n), labels] = 0
    wrong, most = votes.argmax(axis=1), votes.max(axis=1)
    order = np.argsort(-most, kind="stable")[:SHOWN_IMAGES].tolist()
    agreed = [notable(place, int(wrong[place]), float(most[place] / len(runs))) for place in order]
    return SetImages(hardest, [one for one in agreed if one.share > 0])
