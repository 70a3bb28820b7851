"""Classifiers of scikit-learn fitted on pixels, in the contract of runs.

What ties the accuracies and agreements of networks to lines need not hold for models that learn in
another way (Baek et al. 2022, arXiv:2206.13089): these are a suite's test of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from shiftcast.cards.architecture import ClassicalCard
from shiftcast.errors import CardError
from shiftcast.training.resident import Channels

FLOOR = 2.0**-14
"""The least probability that a logit is made of, so that none is infinite: the smallest normal float16."""
AT_ONCE = 2000
"""Images that are classified together."""


class Classical:
    """A card's classifier, fitted.

    Parameters
    ----------
    card
        What it is.
    classes
        Number of classes K.
    mean, std
        The training images' channel statistics, in grey levels.
    seed
        What random features, trees and projections are drawn from.
    threads
        Threads of the linear algebra and of the forest.

    Raises
    ------
    CardError
        If scikit-learn refuses the card's arguments, with its message.
    """

    def __init__(
        self, card: ClassicalCard, classes: int, mean: Channels, std: Channels, seed: int, threads: int
    ) -> None:
        self.card, self.classes, self.threads = card, classes, threads
        self.mean, self.std = (np.asarray(values, dtype=np.float32) for values in (mean, std))
        self.model = self._in_words(lambda: _build(card, seed % 2**32, threads))

    def fit(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Classical:
        """Fit on images uint8 (n, H, W, 3) and class indices (n,)."""
        with threadpool_limits(self.threads):
            self._in_words(lambda: self.model.fit(self._pixels(images), labels))
        return self

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return ln max(p, 2^-14) (n, K) for images uint8 (n, H, W, 3); p is 0 for classes not fitted on."""
        probabilities = np.zeros((len(images), self.classes))
        with threadpool_limits(self.threads):
            for start in range(0, len(images), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                probabilities[part, self.model.classes_] = self.model.predict_proba(
                    self._pixels(images[part])
                )
        logits: NDArray[np.float64] = np.log(np.maximum(probabilities, FLOOR))
        return logits

    def _pixels(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return normalised pixels, float32 (n, H W 3)."""
        values: NDArray[np.float32] = (images.astype(np.float32) - self.mean) / self.std
        return values.reshape(len(images), -1)

    def _in_words(self, act: Any) -> Any:
        try:
            return act()
        except (TypeError, ValueError) as error:
            raise CardError(
                f"architectures/{self.card.name}.toml: scikit-learn's {self.card.sklearn} refuses it: {error}"
            ) from error


def _build(card: ClassicalCard, seed: int, threads: int) -> Pipeline:
    steps: list[Any] = []
    if card.components is not None:
        steps.append(PCA(card.components, svd_solver="covariance_eigh", random_state=seed))
    classifier: ClassifierMixin
    if card.sklearn == "k-nearest-neighbours":
        classifier = KNeighborsClassifier(algorithm="brute", **card.kwargs)
    elif card.sklearn == "random-forest":
        classifier = RandomForestClassifier(n_jobs=threads, random_state=seed, **card.kwargs)
    else:
        steps += [StandardScaler(), RBFSampler(gamma="scale", n_components=card.features, random_state=seed)]
        classifier = LogisticRegression(random_state=seed, **card.kwargs)
    return make_pipeline(*steps, classifier)
