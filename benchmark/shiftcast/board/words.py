"""Words and marks that tables, figures and pages share."""

from __future__ import annotations

BASELINES = ("NoShift", "MeanShift")
"""Estimators that skill is measured against: the better of them."""


MARK = "†"
"""Stands by an estimator that was chosen on data of the table."""
