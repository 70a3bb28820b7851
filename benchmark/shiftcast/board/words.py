"""Words and marks that tables, figures and pages share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

KINDS: Mapping[bool, str] = MappingProxyType({True: "natural", False: "synthetic"})
"""What a shift is called by whether it is natural."""
BASELINES = ("NoShift", "MeanShift")
"""Estimators that skill is measured against: the better of them."""
FEWEST_NATURAL = 6
"""Independent natural shifts below which nothing is claimed about natural shifts in general."""
FEWEST_CELLS = 0.5
"""Share of a table's cells below which an estimator has no figures there: it abstained."""
ABSTAINED = "abstained"
"""Stands in the place of an error that rests on too few cells."""

MARK = "†"
"""Stands by an estimator that could depend on labels of the table, see the legend."""
HARD = "‡"
"""Stands by a self-reported model of which only class indices are known."""

TRACKS: Mapping[str, str] = MappingProxyType(
    {
        "T1": "the model's own logits",
        "T2": "also a reference ensemble",
        "T3": "also other models' predictions",
        "T4": "labelled corrupted copies of the source images; some also features",
        "T5": "labels of other shifts",
    }
)
"""What the estimators of each track need."""


def what_it_is(name: str) -> str:
    """Return the first line of what an official estimator says of itself; empty for another."""
    from shiftcast.estimators import official_estimators  # an unchanged board does without

    estimator = official_estimators().get(name)
    return "" if estimator is None else (type(estimator).__doc__ or "").strip().splitlines()[0]


def citation(name: str) -> str:
    """Return where an official estimator comes from; empty for another."""
    from shiftcast.estimators import official_estimators

    estimator = official_estimators().get(name)
    return "" if estimator is None else estimator.citation
