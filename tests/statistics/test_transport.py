"""The search along a step of the smoothed transport."""

from __future__ import annotations

import numpy as np

from shiftcast.statistics.transport import SMOOTH, _Smoothed


def test_a_step_along_which_the_dual_rises_evenly_is_given_up():
    """All images are sure of the first class, so the slope is the same at both ends of the step."""
    problem = _Smoothed(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([0.5, 0.5]))
    problem.eps = SMOOTH
    value, masses = problem._passes(np.zeros(2))
    step = np.array([-0.01, 0.01])
    slope = float((problem.shares - masses) @ step)
    assert slope > 0
    assert problem._shorter(value, step, slope, 1.0) is None
