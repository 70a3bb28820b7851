"""Wilson intervals against published numbers, the defining equation and a count of coverage."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import normal_quantile, wilson


@pytest.mark.parametrize(
    ("level", "z"), [(0.8, 1.2815515655), (0.9, 1.6448536270), (0.95, 1.9599639845), (0.99, 2.5758293035)]
)
def test_normal_quantile_against_tables(level: float, z: float) -> None:
    assert normal_quantile(level) == pytest.approx(z, abs=1e-9)


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, float("nan")])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(InvalidInputError, match="level"):
        normal_quantile(level)


def test_newcombe_1998_example() -> None:
    # Newcombe (1998), table I, score method without continuity correction: 81/263 and 15/148
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_nothing_and_all_right_reach_the_ends_exactly() -> None:
    assert wilson(0, 20)[0] == 0.0
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 20)[1] == pytest.approx(0.1611, abs=5e-5)  # Newcombe (1998): 0/20


@given(st.integers(1, 5000), st.data())
def test_ends_solve_the_score_equation(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    z, share = normal_quantile(0.9), right / n
    for end in wilson(right, n, 0.9):
        assert (share - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-9)


def test_coverage_is_near_nominal() -> None:
    n, accuracy = 200, 0.9
    covered = sum(
        comb(n, k) * accuracy**k * (1 - accuracy) ** (n - k)
        for k in range(n + 1)
        if wilson(k, n)[0] <= accuracy <= wilson(k, n)[1]
    )
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize(("right", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(right: int, n: int) -> None:
    with pytest.raises(InvalidInputError, match=f"right={right}, n={n}"):
        wilson(right, n)
