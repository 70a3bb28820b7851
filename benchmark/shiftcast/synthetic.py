"""Synthetic predictions of models that see the same images, to try estimators on."""

from __future__ import annotations

import numpy as np

from shiftcast.predictions import Predictions
from shiftcast.util.arrays import softmax
from shiftcast.util.types import Floats, Integers

_GRID = 2.0**20
"""Synthetic logits are multiples of 2^-20, so adding an integer to them is exact."""


def make_predictions(
    n: int = 300,
    classes: int = 10,
    *,
    seed: int = 0,
    shift: float = 0.0,
    name: str = "synthetic",
    group: str = "",
    members: int = 5,
    peers: int = 6,
    siblings: int = 2,
    skill: float = 1.0,
) -> Predictions:
    """Return labelled synthetic predictions with a reference ensemble, peers, siblings and features.

    All models see the same images: each image speaks for its own class, with strength
    2.5 - `shift`, and to a random degree for one other class. Each model adds noise of its own;
    peers differ in their skill.

    Parameters
    ----------
    n, classes
        Images and classes.
    seed
        Seed of everything random.
    shift
        How much less the images speak for their class; 0 for a source.
    name, group
        As in `Predictions`.
    members, peers, siblings
        Number of models of each sort; 0 leaves the input out.
    skill
        Factor on what the scored model sees of the images.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    rival = (labels + random.integers(1, classes, n)) % classes
    evidence = np.zeros((n, classes))
    evidence[np.arange(n), labels] += 2.5 - shift
    evidence[np.arange(n), rival] += random.exponential(1.5, n)

    def logits(count: int, skills: Floats | float = 1.0) -> Floats:
        noise = random.normal(size=(count, n, classes))
        outputs = np.reshape(skills, (-1, 1, 1)) * 2 * evidence + noise
        return np.asarray(np.round(outputs * _GRID) / _GRID, dtype=np.float64)

    def predicted(count: int, skills: Floats | float = 1.0) -> Integers | None:
        return np.argmax(logits(count, skills), axis=2).astype(np.int64) if count else None

    own = logits(1, skill)[0]
    return Predictions(
        name,
        own,
        group=group,
        labels=labels,
        reference=softmax(logits(members)) if members else None,
        peers=predicted(peers, np.linspace(0.3, 1.5, peers)) if peers else None,
        siblings=predicted(siblings, skill),
        features=np.tanh(own @ random.normal(size=(classes, 8)) / 4),
    )
