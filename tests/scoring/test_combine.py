"""One estimate from those of two halves."""

import pytest

from shiftcast.predictions import Estimate
from shiftcast.scoring.harness import combine


@pytest.mark.parametrize(("interval", "half"), [("sampling", 0.1 / 2**0.5), ("model error", 0.1)])
def test_sampling_errors_of_two_halves_are_independent_and_model_errors_are_not(interval, half):
    halves = [
        Estimate(centre, centre - 0.1, centre + 0.1, 0.9, diagnostics={"interval": interval})
        for centre in (0.5, 0.7)
    ]
    both = combine(halves, [50, 50])
    assert (both.accuracy, both.low, both.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half), abs=1e-6)
