"""Lines, ranks and effective robustness against numpy, scipy and constructed cases."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, linregress, norm, rankdata, spearmanr

from shiftcast.errors import InvalidInputError
from shiftcast.statistics import (
    effective_robustness,
    fit_line,
    inverse_probit,
    kendall_tau,
    probit,
    ranks,
    spearman,
)


def test_probit_clips_to_half_an_image() -> None:
    assert probit([0.0, 0.5, 1.0], 100) == pytest.approx(norm.ppf([0.005, 0.5, 0.995]))
    assert inverse_probit(probit(0.9, 1000)) == pytest.approx(0.9)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_probit_refuses_what_is_no_share(share: float) -> None:
    with pytest.raises(InvalidInputError, match="shares in"):
        probit(share, 10)
    with pytest.raises(InvalidInputError, match="n >= 1"):
        probit(0.5, 0)


def test_line_worked_by_hand() -> None:
    # means 2 and 3; sxy = (-1)(-2) + 0 + (1)(1) ... = 3.0, sxx = 2, syy = 6
    line = fit_line([1, 2, 3], [1, 4, 4])
    assert (line.slope, line.intercept, line.r2) == pytest.approx((1.5, 0.0, 0.75))
    assert line([0, 2]) == pytest.approx([0, 3])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 60))
def test_line_against_scipy_in_any_order(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, n))
    line, reference = fit_line(x, y), linregress(x, y)
    assert line.slope == pytest.approx(reference.slope, rel=1e-9, abs=1e-12)
    assert line.intercept == pytest.approx(reference.intercept, rel=1e-9, abs=1e-12)
    assert line.r2 == pytest.approx(reference.rvalue**2, abs=1e-9)
    order = random.permutation(n)
    assert fit_line(x[order], y[order]) == line


def test_flat_and_vertical_lines() -> None:
    flat = fit_line([1, 2, 3], [5, 5, 5])
    assert (flat.slope, flat.intercept, flat.r2) == (0, 5, 0)
    with pytest.raises(InvalidInputError, match=r"all 3 x values equal 0\.1"):
        fit_line([0.1, 0.1, 0.1], [1, 2, 3])


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([1, 2], [1]), ([1, np.nan], [1, 2]), ([[1, 2]], [[1, 2]])])
def test_lines_refuse_bad_points(x: list[float], y: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="fit_line"):
        fit_line(x, y)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 12))
def test_kendall_against_scipy_with_ties(seed: int, n: int, values: int) -> None:
    x, y = np.random.default_rng(seed).integers(0, values, (2, n))
    tau = kendall_tau(x, y)
    if len(set(x.tolist())) == 1 or len(set(y.tolist())) == 1:
        assert isnan(tau)
    else:
        assert tau == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)


def test_kendall_of_equal_and_opposite_orders() -> None:
    assert kendall_tau([1, 2, 3, 4], [2, 4, 6, 9]) == 1
    assert kendall_tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1


def robust_case() -> dict[str, object]:
    """Six plain runs exactly on probit(ood) = 0.8 probit(id) - 0.5, and one recipe run above it."""
    source = np.array([0.80, 0.82, 0.85, 0.88, 0.91, 0.93, 0.90])
    target = norm.cdf(0.8 * norm.ppf(source) - 0.5)
    target[6] += 0.03
    return {
        "id_accuracy": source,
        "ood_accuracy": target,
        "architectures": ["a", "a", "b", "b", "c", "c", "a"],
        "plain": [True] * 6 + [False],
        "n_id": 10_000,
        "n_ood": 2_000,
    }


def test_effective_robustness_is_the_distance_to_the_line_in_points() -> None:
    assert effective_robustness(**robust_case()) == pytest.approx([0] * 6 + [3.0], abs=1e-9)


def test_own_architecture_is_left_out_of_the_line() -> None:
    case = robust_case()
    case["ood_accuracy"] = np.array(case["ood_accuracy"])
    case["ood_accuracy"][:2] += 0.05  # both plain runs of "a" are better than the others' line
    robustness = effective_robustness(**case)
    # a's runs are judged by the untouched line of b and c
    assert robustness[[0, 1, 6]] == pytest.approx([5, 5, 3], abs=1e-9)
    assert abs(robustness[2]) > 0.5  # b's line does hold a's runs


def test_effective_robustness_refuses_thin_support() -> None:
    case = robust_case() | {"plain": [True, True, True, False, False, False, False]}
    with pytest.raises(InvalidInputError, match="1 plain runs of architectures other than 'a'"):
        effective_robustness(**case)
    with pytest.raises(InvalidInputError, match="one architecture and one plain flag for each of 7"):
        effective_robustness(**(robust_case() | {"plain": [True]}))


def test_ranks_and_spearman_are_those_of_scipy() -> None:
    random = np.random.RandomState(8)
    x, y = random.randint(0, 9, 60), random.normal(size=60)
    np.testing.assert_array_equal(ranks(x), rankdata(x))
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert spearman([1, 2, 3], [5, 7, 9]) == pytest.approx(1)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    with pytest.raises(InvalidInputError, match="spearman"):
        spearman([1, 2], [1, 2, 3])
