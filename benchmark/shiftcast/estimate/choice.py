"""Which estimate leads, by the task and not by the board alone, and how wide its interval is.

The rule, in the order in which it is applied:

1. A source without errors has nothing to learn from: a lower bound alone is given.
2. Two answers are made. The first takes it that the class mix changed and nothing else: the mean of ATC-NE
   with the source weighted to the target's class mix by EM, and of ClassATC. The second takes it that
   images became harder under the same mix: BalancedAgreement with an ensemble; without, the mean of COTT
   and LargestDrop-T1, or of COTT and calibrated confidence for a model that is less sure on the source than
   it is right (forests, smoothed labels), for its threshold estimates fall too far. Harder images do not
   make a model better: the second is at most the source's accuracy.
3. Which is believed follows from r = score_change / (score_change + mix_change): how much of what changed
   is left once the source is weighted to the target's mix (`signals`). Below a first bound it is the first,
   above a second bound the second, and in between a weighted mean. A model that is not too sure of itself
   has higher bounds.

The interval's arms join sampling, sqrt(a (1 - a) / m + a_S (1 - a_S) / n_eff), and model error, a linear
function of the size of the shift for each side. Its coefficients (`widths.json`) are quantile regressions
on the half of the validation tasks on which the rule was chosen; `docs/scripts/answer_validation.py` makes
them, docs/estimate.md says how they held on the other half.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.chances import Calibration
from shiftcast.estimate.lead import Answer
from shiftcast.estimate.signals import Signals, signals_of
from shiftcast.predictions import Predictions
from shiftcast.statistics import normal_quantile

LEVEL = 0.8
BOUND_LEVEL = 0.9
"""Level of the lower bound where the source has no errors: the part above an interval's lower end."""
UNDERCONFIDENT = -0.01
"""Mean confidence minus accuracy on the source below which a model is not sure enough of itself."""
BOUNDS, BOUNDS_UNDERCONFIDENT = (0.1, 0.3), (0.6, 0.8)
"""Bounds of r between which belief passes from a changed mix to harder images."""
MOST_IMAGES = 100_000
"""Images of a larger set that signals are computed from: by chance they move a share by 0.2 pp at most."""
WIDTHS = Path(__file__).with_name("widths.json")
BASE = 0.01
"""The first feature of model error, which is there without any shift."""
MIX, HARDER = "ATC-NE at the target's class mix (EM) and ClassATC", "COTT and LargestDrop-T1"
UNSURE, ENSEMBLE = "COTT and calibrated confidence", "BalancedAgreement"


@dataclass(frozen=True)
class Centre:
    """The estimate before its interval.

    Parameters
    ----------
    accuracy
        In [0, 1].
    harder
        How much the second answer is believed, in [0, 1].
    apart
        Difference between both answers.
    """

    accuracy: float
    harder: float
    apart: float


def centre_of(signals: Signals) -> Centre:
    """Return the weighted mean of both answers; the source's accuracy where the source has no errors."""
    if not signals.source_errors:
        return Centre(1.0, 0.0, 0.0)
    mix = (signals.mix_atc + signals.class_atc) / 2
    other = signals.calibrated if _is_unsure(signals) else signals.largest_drop
    harder = (signals.cott + other) / 2
    if signals.balanced_agreement is not None:
        harder = signals.balanced_agreement
    harder = min(harder, signals.source_accuracy)
    first, last = BOUNDS_UNDERCONFIDENT if _is_unsure(signals) else BOUNDS
    changed = signals.score_change + signals.mix_change
    left = signals.score_change / changed if changed > 0 else 0.0
    weight = min(max((left - first) / (last - first), 0.0), 1.0)
    return Centre((1 - weight) * mix + weight * harder, weight, abs(mix - harder))


def sampling_deviation(signals: Signals, accuracy: float) -> float:
    """Return the standard deviation of the estimate minus the actual accuracy by chance alone.

    Shares are moved to (a n + 1) / (n + 2), so that 0 and 1 have a spread too.
    """
    n, m = signals.source_images, signals.target_images
    there, known = (accuracy * m + 1) / (m + 2), (signals.source_accuracy * n + 1) / (n + 2)
    return sqrt(there * (1 - there) / m + known * (1 - known) / min(signals.effective_images, n))


def shift_features(signals: Signals, centre: Centre) -> list[float]:
    """Return what model error is a linear function of, at least 0 each."""
    if not signals.source_errors:
        return [BASE, max(signals.confidence_drop, 0.0), 0.0, signals.score_change, signals.mix_change, 0.0]
    return [
        BASE,
        abs(centre.accuracy - signals.source_accuracy),
        centre.apart,
        signals.score_change,
        signals.mix_change,
        abs(signals.overconfidence),
    ]


def arms(signals: Signals, centre: Centre, widths: Mapping[str, Any]) -> tuple[float, float]:
    """Return how far the interval reaches below and above, in shares, before it is cut to [0, 1]."""
    chance = normal_quantile(LEVEL) * sampling_deviation(signals, centre.accuracy)
    features = shift_features(signals, centre)
    sides = ("low", "high") if signals.source_errors else ("bound", "bound")
    low, high = (
        hypot(chance, sum(c * x for c, x in zip(widths[side], features, strict=True))) for side in sides
    )
    return low, high


@cache
def known_widths() -> dict[str, Any]:
    """Return what was learned on the chosen half.

    Coefficients of model error, `low`, `high` and `bound` (six each); `too_high`, of each `kind_of` answer
    the number of shifted tasks and how many answers were too high; and where they are from.
    """
    found: dict[str, Any] = json.loads(WIDTHS.read_text())
    return found


def at_most(own: Predictions) -> Predictions:
    """Return predictions of at most `MOST_IMAGES` images, drawn at random with a fixed seed from more."""
    if len(own) <= MOST_IMAGES:
        return own
    return own.select(np.sort(np.random.default_rng(0).choice(len(own), MOST_IMAGES, replace=False)))


def choose_answer(
    source: Predictions,
    target: Predictions,
    whole: Mapping[str, Any],
    warnings: Sequence[str],
    calibration: Calibration | None = None,
) -> Answer:
    """Return the answer that leads.

    Parameters
    ----------
    source, target
        Labelled predictions, and those that are asked about; `reference` of both is used where they carry it.
    whole
        `source` and `target` as `shiftcast.estimate.answer.summary` gives them.
    warnings
        What is known against the answer.
    calibration
        Of the source, if it is known already.

    Raises
    ------
    InvalidInputError
        If nothing but predicted classes is known.
    """
    return answer_from(read_signals(source, target, calibration), whole, warnings)


def read_signals(source: Predictions, target: Predictions, calibration: Calibration | None = None) -> Signals:
    """Return the signals of at most 100,000 images of each set, and the errors of the whole source.

    Raises
    ------
    InvalidInputError
        If nothing but predicted classes is known.
    """
    if "classes" in (source.kind, target.kind):
        raise InvalidInputError(
            "the leading answer needs logits or probabilities, not predicted classes alone (hard labels); "
            "shiftcast.estimators has estimators for these"
        )
    # A few errors among a million images may all be missing in a sample: what is known of the whole counts.
    return replace(
        signals_of(at_most(source), at_most(target), calibration),
        source_images=len(source),
        source_accuracy=source.accuracy,
        source_errors=int((~source.correct).sum()),
    )


def answer_from(signals: Signals, whole: Mapping[str, Any], warnings: Sequence[str]) -> Answer:
    """Return the answer that signals lead to; `whole` and `warnings` as in `choose_answer`."""
    centre = centre_of(signals)
    widths = known_widths()
    below, above = arms(signals, centre, widths)
    low, high = max(centre.accuracy - below, 0.0), min(centre.accuracy + above, 1.0)
    alone = not signals.source_errors
    return Answer(
        accuracy=None if alone else round(centre.accuracy, 6),
        low=round(low, 6),
        high=round(high, 6),
        level=BOUND_LEVEL if alone else LEVEL,
        estimator="a lower bound" if alone else _name(signals, centre),
        reason=_reason(signals, centre),
        direction=_direction(signals, centre, widths) if not alone else "The bound is no estimate.",
        warnings=tuple(warnings),
        source=whole["source"],
        target=whole["target"],
    )


def _is_unsure(signals: Signals) -> bool:
    return signals.overconfidence < UNDERCONFIDENT


def _second(signals: Signals) -> str:
    if signals.balanced_agreement is not None:
        return ENSEMBLE
    return UNSURE if _is_unsure(signals) else HARDER


def _name(signals: Signals, centre: Centre) -> str:
    if centre.harder in (0.0, 1.0):
        return _second(signals) if centre.harder else MIX
    parts = ((1 - centre.harder, MIX), (centre.harder, _second(signals)))
    return ", ".join(f"{100 * weight:.0f} % {name}" for weight, name in parts)


def _reason(signals: Signals, centre: Centre) -> str:
    """Return why the answer is what it is, from the two changes that were measured."""
    if not signals.source_errors:
        return (
            f"All {signals.source_images:,} source images are right, so that nothing shows what errors look "
            "like; a bound is all that can be given."
        )
    mix, scores = 100 * signals.mix_change, signals.score_change
    if mix == 0 and scores == 0:
        return "Class mix and confidence changed by no more than chance makes of such sets."
    seen = (
        f"class mix changed by {mix:.1f} pp more than is usual by chance, the distribution of confidence "
        f"within classes by {scores:.2f} (0: not at all, 1: no overlap)"
    )
    if centre.harder == 0:
        return f"The {seen}: mostly another mix, so the source is weighted to it."
    if centre.harder < 1:
        return f"The {seen}: another mix or harder images, and outputs do not tell which, so both count."
    if signals.balanced_agreement is not None:
        return f"The {seen}: images are harder, and agreement with other models shows it best."
    if _is_unsure(signals):
        return (
            f"The {seen}: images are harder, and the model is underconfident, so that threshold estimators "
            "would be too low."
        )
    return f"The {seen}: images are harder, not only of other classes."


def kind_of(signals: Signals, centre: Centre) -> str:
    """Return which answers an estimate is made of: "mix", "harder", "unsure", "ensemble" or "both"."""
    if 0 < centre.harder < 1:
        return "both"
    if centre.harder == 0:
        return "mix"
    if signals.balanced_agreement is not None:
        return "ensemble"
    return "unsure" if _is_unsure(signals) else "harder"


def _direction(signals: Signals, centre: Centre, widths: Mapping[str, Any]) -> str:
    """Return in which direction such answers err most on the validation tasks."""
    tasks, high = widths["too_high"][kind_of(signals, centre)]
    text = f"Such answers were too high in {high} and too low in {tasks - high} of {tasks} shifted tasks."
    return text if tasks else "In which direction such answers err is not known."
