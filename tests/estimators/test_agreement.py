"""GDE, ALine-S and ALine-D against slow loops and numpy's own line."""

from __future__ import annotations

from itertools import combinations
from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from shiftcast.errors import RequirementError
from shiftcast.estimators import GDE, ALineD, ALineS
from shiftcast.predictions import Predictions
from shiftcast.statistics.agreement import pairwise_agreement
from shiftcast.testing import make_predictions


def two_class(predicted: list[int], labels: list[int] | None = None, **models: object) -> Predictions:
    logits = 2 * np.eye(2)[predicted]
    arrays = {key: np.array(value) for key, value in models.items()}
    return Predictions("p", logits, labels=None if labels is None else np.array(labels), **arrays)


def test_gde_is_the_mean_agreement_with_siblings() -> None:
    source = two_class([0, 0, 1, 1], [0, 1, 1, 1], siblings=[[0, 0, 1, 0], [0, 1, 1, 1]])
    target = two_class([0, 1, 1, 0, 1], siblings=[[0, 1, 0, 0, 1], [0, 1, 1, 1, 0]])
    estimate = GDE().fit(source).predict(target)
    assert estimate.accuracy == pytest.approx((4 / 5 + 3 / 5) / 2)
    assert estimate.diagnostics["siblings"] == 2
    assert estimate.diagnostics["source_gap"] == pytest.approx(0.75 - 0.75)
    # right (1, 0, 1, 1) minus agreement (1, 1/2, 1, 1/2): residuals 0, -1/2, 0, 1/2
    assert estimate.accuracy - GDE(level=0.5).fit(source).predict(target).low == pytest.approx(
        0.674490 * sqrt(0.5 / 3 / 5), abs=1e-6
    )


@pytest.mark.parametrize(("models", "classes"), [(2, 2), (9, 10), (5, 1000)])
def test_pairwise_agreement_against_a_slow_loop(models: int, classes: int) -> None:
    predicted = np.random.default_rng(classes).integers(0, classes, (models, 70))
    slow = [
        sum(a == b for a, b in zip(x, y, strict=True)) / 70 for x, y in combinations(predicted.tolist(), 2)
    ]
    assert pairwise_agreement(predicted) == pytest.approx(slow)


def slow_aline(source: Predictions, target: Predictions) -> tuple[float, float]:
    """Return estimate and R2 by loops over pairs, scipy's normal and numpy's polyfit."""

    def agreements(p: Predictions) -> list[float]:
        n = len(p)
        everyone = [*p.peers.tolist(), p.predicted.tolist()]
        shares = [np.mean([a == b for a, b in zip(x, y, strict=True)]) for x, y in combinations(everyone, 2)]
        return [float(norm.ppf(min(max(share, 0.5 / n), 1 - 0.5 / n))) for share in shares]

    x, y = agreements(source), agreements(target)
    slope, intercept = np.polyfit(x, y, 1)
    estimate = norm.cdf(slope * norm.ppf(source.accuracy) + intercept)
    return float(estimate), float(np.corrcoef(x, y)[0, 1] ** 2)


@pytest.mark.parametrize("seed", range(3))
def test_aline_against_the_slow_version(seed: int) -> None:
    source = make_predictions(250, seed=seed)
    target = make_predictions(180, seed=seed + 50, shift=1.0)
    expected, r2 = slow_aline(source, target)
    estimate = ALineS().fit(source).predict(target)
    assert estimate.accuracy == pytest.approx(expected, abs=1e-6)
    assert estimate.diagnostics["r2"] == pytest.approx(r2, abs=1e-9)
    assert bool(estimate.flagged) is (r2 < 0.95)
    assert bool(estimate.abstains) is (r2 < 0.75)


def test_aline_interval_is_the_delta_method() -> None:
    """The derivative of the estimate by source accuracy is taken numerically here."""
    source, target = make_predictions(250, seed=1), make_predictions(180, seed=51, shift=1.0)
    estimate = ALineS().fit(source).predict(target)
    slope, intercept = estimate.diagnostics["slope"], estimate.diagnostics["intercept"]

    def read(accuracy: float) -> float:
        return float(norm.cdf(slope * norm.ppf(accuracy) + intercept))

    a, est = source.accuracy, estimate.accuracy
    derivative = (read(a + 1e-5) - read(a - 1e-5)) / 2e-5
    variance = derivative**2 * a * (1 - a) / 250 + est * (1 - est) / 180
    assert estimate.high - est == pytest.approx(1.959964 * sqrt(variance), abs=1e-5)


def test_aline_on_one_image_abstains() -> None:
    source, target = make_predictions(250, seed=1), make_predictions(10, seed=51).select(np.array([3]))
    estimate = ALineS().fit(source).predict(target)
    assert estimate.diagnostics["r2"] == 0.0
    assert "R2 of its line is 0.000, below 0.75" in estimate.abstains


def test_aline_needs_peers_that_differ() -> None:
    with pytest.raises(RequirementError, match="at least 2 peers for a line through pairs, got 1"):
        ALineS().fit(make_predictions(50, peers=1))
    same = two_class([0, 1, 0], [0, 1, 1], peers=[[0, 1, 0], [0, 1, 0]])
    with pytest.raises(RequirementError, match="all 3 pairs agree equally often"):
        ALineS().fit(same)


def test_aline_d_solves_the_least_squares_of_all_pairs() -> None:
    source, target = make_predictions(300, seed=1), make_predictions(200, seed=2, shift=0.8)

    def agreements(p: Predictions) -> dict[tuple[int, int], float]:
        everyone = [*p.peers, p.predicted]
        return {
            (j, k): float(
                norm.ppf(np.clip(np.mean(everyone[j] == everyone[k]), 0.5 / len(p), 1 - 0.5 / len(p)))
            )
            for j, k in combinations(range(len(everyone)), 2)
        }

    before, after = agreements(source), agreements(target)
    slope = np.polyfit(list(before.values()), list(after.values()), 1)[0]
    known = [norm.ppf(np.mean(one == source.labels)) for one in [*source.peers, source.predicted]]
    rows, answers = [], []
    for j, k in before:
        row = np.zeros(len(known))
        row[j] = row[k] = 0.5
        rows.append(row)
        answers.append(after[j, k] + slope * ((known[j] + known[k]) / 2 - before[j, k]))
    rows, answers = np.array(rows), np.array(answers)
    expected = norm.cdf(np.linalg.solve(rows.T @ rows, rows.T @ answers)[-1])
    assert ALineD().fit(source).predict(target).accuracy == pytest.approx(expected, abs=1e-6)


def test_aline_d_differs_from_aline_s() -> None:
    source, target = make_predictions(300, seed=1), make_predictions(200, seed=2, shift=0.8)
    first, second = (one.fit(source).predict(target).accuracy for one in (ALineS(), ALineD()))
    assert first != second
