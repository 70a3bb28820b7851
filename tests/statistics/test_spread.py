"""The spread of seeds against slow formulas, and its interval against simulation."""

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import seed_spread, signed_root


def test_variances_are_those_of_the_formulas():
    wrong = np.random.RandomState(0).rand(5, 40) < 0.3
    found = seed_spread(wrong)
    rates = [row.mean() for row in wrong]
    raw = sum((rate - np.mean(rates)) ** 2 for rate in rates) / 4
    single = sum(sum((value - column.mean()) ** 2 for value in column) / 4 for column in wrong.T)
    assert found.raw == pytest.approx(raw)
    assert found.wise == pytest.approx(40 / 39 * (raw - single / 40**2))


def simulated(between, draws=400, seeds=8, n=2000):
    """Seeds whose true error rates differ by `between`, on images of mixed difficulty."""
    random = np.random.RandomState(1)
    for _ in range(draws):
        rates = np.clip(random.beta(0.5, 2.0, n) + between * random.normal(size=(seeds, 1)), 0, 1)
        yield seed_spread(random.rand(seeds, n) < rates)


def test_the_estimate_is_unbiased_and_zero_where_seeds_differ_by_chance_alone():
    found = [spread.wise for spread in simulated(0.0)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert min(found) < 0  # so it must be allowed to be


@pytest.mark.parametrize("between", [0.0, 0.02])
def test_intervals_cover(between):
    """Clipping at 0 and 1 makes the true variance smaller: it is taken from the simulation."""
    random = np.random.RandomState(2)
    difficulty = random.beta(0.5, 2.0, 200_000)
    shifted = [np.clip(difficulty + between * z, 0, 1).mean() for z in random.normal(size=400)]
    truth = np.var(shifted)
    covered = [spread.wise_low <= truth <= spread.wise_high for spread in simulated(between)]
    assert 0.91 < np.mean(covered) < 0.99


def test_roots_keep_the_sign():
    assert (signed_root(4e-4), signed_root(-4e-4), signed_root(0.0)) == (0.02, -0.02, 0.0)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (5,)])
def test_one_of_anything_is_refused(shape):
    with pytest.raises(InvalidInputError, match="two of each at least"):
        seed_spread(np.zeros(shape, bool))
