"""Scores of penultimate features, taken while a network is evaluated: features are too large to keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.cards.suite import Suite
from shiftcast.data.sampling import base_index, stratified_halves
from shiftcast.errors import RequirementError
from shiftcast.estimators.features import FrechetSample, dispersion
from shiftcast.training.evaluate import stored_classes
from shiftcast.util.types import Integers

DIGITS = 6


class FeatureScores:
    """Dispersion and Fréchet distance of each set, for every part that a protocol fits on or predicts.

    Sets are added one by one, the in-distribution test set first.

    Parameters
    ----------
    suite
        The suite, which says how the source is split and what is made from it.
    labels
        Labels of the in-distribution test set (n,).
    """

    def __init__(self, suite: Suite, labels: Integers) -> None:
        self.suite, self.labels = suite, labels
        first, second = stratified_halves(labels, suite.source.seed)
        self.halves = {"A": first, "B": second}
        self.targets = {target.id: target for target in suite.unfolded_targets()}
        self.source: dict[str, FrechetSample | None] = {}
        self.found: dict[str, dict[str, dict[str, float]]] = {}
        """By set, by "fitted part/predicted part", by estimator; what a part cannot have is absent."""

    def add(self, name: str, logits: NDArray[Any], features: NDArray[Any]) -> None:
        """Score one set from its logits (n, K) and features (n, d)."""
        predicted = stored_classes(logits)
        classes, by_part = logits.shape[1], self.found.setdefault(name, {})
        parts = dict(self._parts(name, len(logits)))
        samples = {part: _sample(features[rows]) for part, rows in parts.items()}
        if name == self.suite.source.test:
            self.source = samples
        for part, rows in parts.items():
            sample, alone = samples[part], _dispersion(features[rows], predicted[rows], classes)
            for fitted in ("all",) if part == "all" else ("A", "B"):
                source = self.source.get(fitted)
                scores = dict(alone)
                if sample is not None and source is not None:
                    scores["FrechetDistance"] = round(source.distance(sample), DIGITS)
                by_part[f"{fitted}/{part}"] = scores

    def _parts(self, name: str, count: int) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the parts of a set, by name, with the positions of their images."""
        yield "all", np.arange(count)
        if name == self.suite.source.test:
            base = np.arange(count)
        elif self.targets[name].derived:
            base = base_index(self.targets[name], self.labels, self.suite.source.seed)
        else:
            return
        for part, half in self.halves.items():
            yield part, np.flatnonzero(np.isin(base, half))


def _sample(features: NDArray[Any]) -> FrechetSample | None:
    try:
        return FrechetSample(features)
    except RequirementError:
        return None


def _dispersion(features: NDArray[Any], predicted: Integers, classes: int) -> dict[str, float]:
    try:
        return {"Dispersion": round(dispersion(features, predicted, classes), DIGITS)}
    except RequirementError:
        return {}
