"""Estimators of recorded signals against slow loops, and worlds in which signals tell and mislead."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators import (
    DepthPartition,
    EffectiveInvariance,
    LearnedEpochPartition,
    NeighbourhoodInvariance,
)
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions

SOURCE = make_predictions(900, seed=1, name="source")
TARGET = make_predictions(700, seed=2, shift=0.8, name="target")
OTHERS = [
    make_predictions(500, seed=3 + i, shift=i / 3, name=f"set-{i}", group=("fog", "snow")[i % 2])
    for i in range(6)
]


def seen(predictions, **signals):
    return predictions.with_signals({**predictions.signals, **signals})


def slow_invariance(predictions, effective):
    """The published sums, a view at a time: views that keep the class have its mean probability."""
    total, viewed = 0.0, 0
    for row, kept, chance in zip(
        predictions.probabilities,
        predictions.signals["views"],
        predictions.signals["view_probability"],
        strict=True,
    ):
        if np.isnan(kept):
            continue
        viewed += 1
        for view in range(8):
            if view < round(8 * kept):
                total += (sqrt(max(row) * chance) if effective else 1) / 8
    return total / viewed


@pytest.mark.parametrize("estimator", [EffectiveInvariance(), NeighbourhoodInvariance()])
def test_scores_are_those_of_slow_loops_and_leave_out_images_without_views(estimator):
    views = TARGET.signals["views"].copy()
    views[::3] = np.nan
    part = seen(TARGET, views=views)
    effective = isinstance(estimator, EffectiveInvariance)
    assert estimator.score(part) == pytest.approx(slow_invariance(part, effective), abs=1e-8)
    answer = estimator.fit(SOURCE, OTHERS).predict(part)
    assert answer.diagnostics["score"] == estimator.score(part)
    assert answer.accuracy == pytest.approx(TARGET.accuracy, abs=0.06)  # unsteady where it errs


@pytest.mark.parametrize("estimator", [EffectiveInvariance(), NeighbourhoodInvariance()])
def test_views_that_move_with_no_error_mislead(estimator):
    unsteady = seen(TARGET, views=np.round(4 * TARGET.signals["views"]) / 8)
    assert estimator.fit(SOURCE, OTHERS).predict(unsteady).accuracy < TARGET.accuracy - 0.2


@pytest.mark.parametrize(
    ("estimator", "signal"), [(LearnedEpochPartition(), "learned_epoch"), (DepthPartition(), "depth")]
)
def test_partitions_are_those_of_slow_loops(estimator, signal):
    bins = [[[], 0] for _ in range(10)]
    for value, right in zip(SOURCE.signals[signal], SOURCE.correct, strict=True):
        bins[min(int(value * 10), 9)][0].append(right)
    for value in TARGET.signals[signal]:
        bins[min(int(value * 10), 9)][1] += 1
    for place in range(9, 0, -1):  # from the most confused bin downwards, few images join the next
        if len(bins[place][0]) < 20:
            bins[place - 1][0] += bins[place][0]
            bins[place - 1][1] += bins[place][1]
            bins[place] = [[], 0]
    expected = sum(m * np.mean(rights) for rights, m in bins if rights) / len(TARGET)
    assert estimator.fit(SOURCE).predict(TARGET).accuracy == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("estimator", "signal"), [(LearnedEpochPartition(), "learned_epoch"), (DepthPartition(), "depth")]
)
def test_a_signal_that_tells_right_from_wrong_solves_and_one_that_is_noise_gives_no_shift(estimator, signal):
    random = np.random.default_rng(0)
    told = [seen(one, **{signal: np.where(one.correct, 0.2, 0.8)}) for one in (SOURCE, TARGET)]
    assert estimator.fit(told[0]).predict(told[1]).accuracy == pytest.approx(TARGET.accuracy, abs=1e-6)
    noise = [seen(one, **{signal: random.random(len(one))}) for one in (SOURCE, TARGET)]
    answer = estimator.fit(noise[0]).predict(noise[1])
    assert answer.accuracy == pytest.approx(SOURCE.accuracy, abs=0.02)
    assert answer.accuracy > TARGET.accuracy + 0.1


def test_what_was_not_recorded_is_refused_by_name():
    lacking = TARGET.with_signals({"depth": TARGET.signals["depth"]})
    with pytest.raises(RequirementError, match="'target' has no recorded learned_epoch"):
        LearnedEpochPartition().fit(SOURCE).predict(lacking)
    nothing = seen(TARGET, views=np.full(len(TARGET), np.nan))
    with pytest.raises(RequirementError, match="no recorded views"):
        NeighbourhoodInvariance().fit(SOURCE, OTHERS).predict(nothing)


def test_signals_go_with_their_images_and_are_checked():
    part = TARGET.select(np.array([5, 3, 5]))
    assert list(part.signals["depth"]) == [TARGET.signals["depth"][i] for i in (5, 3, 5)]
    with pytest.raises(InvalidInputError, match=r"expected depth \(700,\), shares in \[0, 1\] or NaN"):
        TARGET.with_signals({"depth": np.full(700, 2.0)})
    with pytest.raises(InvalidInputError, match="expected views"):
        replace(TARGET, signals={"views": np.zeros(3)})
    assert Predictions("bare", TARGET.logits).signals is None
