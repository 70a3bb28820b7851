"""Sampling variances: what the floor is, where it matters and where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import ATC, GDE, DifferenceOfConfidences
from shiftcast.estimators.intervals import residual_variance
from shiftcast.testing import make_predictions


@pytest.mark.parametrize("n", [2, 10, 300])
def test_residuals_without_spread_have_the_variance_of_the_rule_of_succession(n: int) -> None:
    assert residual_variance("X", np.zeros(n)) == pytest.approx((1 / (n + 2)) * (1 - 1 / (n + 2)))


def test_the_floor_does_not_matter_for_ten_thousand_images_with_errors() -> None:
    residuals = np.zeros(10_000)
    residuals[:100] = 1  # one in a hundred is counted wrongly
    assert residual_variance("X", residuals) == residuals.var(ddof=1)


def test_one_residual_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 2 labelled source images"):
        residual_variance("X", [0.5])


@pytest.mark.parametrize("estimator", [ATC(), GDE(), DifferenceOfConfidences()])
@pytest.mark.parametrize("wrong", [0, 1])
def test_sources_without_an_error_or_a_hit_give_some_width(estimator: object, wrong: int) -> None:
    source, target = make_predictions(200, seed=1), make_predictions(200, seed=2)
    extreme = source.with_labels((source.predicted + wrong) % 10)
    answer = estimator.fit(extreme).predict(target)  # type: ignore[attr-defined]
    assert answer.high - answer.low > 0.005
