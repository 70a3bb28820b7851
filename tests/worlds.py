"""Worlds whose true accuracy is known: rules by which images are drawn."""

from __future__ import annotations

import numpy as np

from shiftcast.predictions import Predictions
from shiftcast.util.arrays import softmax

CLASSES = 5
N = 20_000


def world(seed, hard=0.5, sharpness=1.0, common=1.0, own_errors=0.0):
    """Draw images: a share `hard` of them is hard, the others are easy.

    The model knows p(y | image) and says it (logits times `sharpness`); members of the ensemble see
    the image with noise. Class 0 is `common` times as likely as others; a share `own_errors` of
    labels is replaced, which no output shows.
    """
    random = np.random.default_rng(seed)
    weights = np.r_[common, np.ones(CLASSES - 1)]
    classes = random.choice(CLASSES, N, p=weights / weights.sum())
    strength = np.where(random.random(N) < hard, 1.0, 4.0)
    # Gaussian evidence e ~ N(strength^2 [y], strength^2): then p(y | e) is softmax(e), by Bayes
    evidence = random.normal(size=(N, CLASSES)) * strength[:, None]
    evidence[np.arange(N), classes] += strength**2
    members = [softmax(evidence + random.normal(size=evidence.shape)) for _ in range(5)]
    replaced = random.random(N) < own_errors
    labels = np.where(replaced, random.integers(0, CLASSES, N), classes)
    return Predictions("world", sharpness * evidence, labels=labels, reference=np.stack(members))


def drawn_to_a_class(predictions, share, strength):
    """Return the world with every network's logit of class 0 raised on a share of the images."""
    drawn = np.random.default_rng(5).random(N) < share
    logits, members = predictions.logits.copy(), np.log(predictions.reference)
    logits[drawn, 0] += strength
    members[:, drawn, 0] += strength
    return Predictions("drawn", logits, labels=predictions.labels, reference=softmax(members))
