"""What outputs say about how far to trust an estimate, and whether anything shifted at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import pi, sqrt
from typing import Any

import numpy as np

from shiftcast.predictions import Predictions
from shiftcast.statistics import normal_quantile
from shiftcast.util.blocks import in_blocks
from shiftcast.util.text import count
from shiftcast.util.types import Floats, Integers

LEVEL = 0.975
"""Of each of two comparisons, so that without a shift both stay within it in 95 % of cases."""
MIX_APART = 0.08
"""Total variation between predicted class shares, beyond what chance makes of it, that is worth a warning."""
MANY_CLASSES, FEW_A_CLASS = 10, 0.1
"""From so many classes on, and from K / n + K / m on, chance moves class shares far."""
GAP = 0.05
"""Difference between mean confidence and accuracy on the source that is worth a warning."""
CLEAR = 3.0
"""Standard errors from which on a difference is no accident."""
UNSEEN, BEYOND = 0.05, 0.1
"""Share of target images with outputs beyond the source's that is worth a warning; beyond by this part of
their range, for the ends of a range are known roughly."""
SATURATED, MOSTLY = 1 - 1e-9, 0.5
TIED = 0.01
COARSE = 0.2
"""Different values among all values, below which outputs are counts of votes or rounded: equal rows are
common."""
MOST_VOTES, VOTE = 1000, 1e-9
"""Shares of so many votes at most, to this error, are votes: trees of a forest."""
NEARLY = 1e-6
FEWEST_REPEATS, REPEATED = 5, 0.01
FEWEST_IMAGES = 100
BLOCKS = 10
LOST = 0.25
"""How far above chance the rest must be, that a stretch of rows at chance is out of order."""
ROLLED = 0.1
"""How much more often labels must fit another row's outputs."""


def diagnoses(source: Predictions, target: Predictions, names: Sequence[str] = ()) -> list[str]:
    """Return a sentence on each reason for doubt that the outputs themselves hold.

    Parameters
    ----------
    source
        Labelled predictions.
    target
        Predictions; labels are not read.
    names
        Of the classes, where they are known.
    """
    both = (source, target)
    return [
        *_disorder(source),
        *(text for own in both for text in _repeats(own)),
        *_common_rows(source, target),
        *_mix(source, target, names),
        *_many_classes(source, target),
        *([] if source.kind == "classes" else _of_probabilities(source, target)),
    ]


def _of_probabilities(source: Predictions, target: Predictions) -> Iterator[str]:
    yield from _miscalibrated(source)
    yield from _beyond_support(source, target)
    for own in (source, target):
        yield from _ties(own)


def shift_statement(source: Predictions, target: Predictions) -> dict[str, Any]:
    """Return whether the target's outputs differ from the source's by more than chance, in shares.

    Compared are mean confidence and predicted class shares (total variation). Both are set beside what chance
    alone makes of them in 95 % of pairs of sets of these sizes without any shift: normal theory for the
    confidence; for class shares the mean of sum_k |d_k| / 2 and its standard deviation at the pooled shares
    p_k, with d_k normal of variance p_k (1 - p_k) (1/n + 1/m).

    Returns
    -------
    dict
        `different`, `confidence_change`, `confidence_by_chance` (None for predicted classes alone),
        `class_change`, `class_change_by_chance` and `text`.
    """
    n, m, z = len(source), len(target), normal_quantile(LEVEL)
    apart, expected, spread = _class_change(source, target)
    by_chance = expected + z * spread
    different, parts = apart > by_chance, []
    change = limit = None
    if source.kind != "classes":
        change = float(target.confidence.mean() - source.confidence.mean())
        limit = z * sqrt(float(source.confidence.var()) / n + float(target.confidence.var()) / m)
        different |= abs(change) > limit
        parts.append(
            f"mean confidence changed by {100 * change:+.2f} pp, by chance alone up to {100 * limit:.2f} pp"
        )
    parts.append(
        f"predicted class shares changed by {100 * apart:.2f} pp, by chance alone up to "
        f"{100 * by_chance:.2f} pp"
    )
    verdict = "more than" if different else "no more than"
    return {
        "different": bool(different),
        "confidence_change": None if change is None else round(change, 6),
        "confidence_by_chance": None if limit is None else round(limit, 6),
        "class_change": round(apart, 6),
        "class_change_by_chance": round(by_chance, 6),
        "text": f"{target.name} differs from {source.name} by {verdict} chance: {'; '.join(parts)}."
        + ("" if different else " A smaller shift, or one that outputs do not show, is not excluded."),
    }


def _class_change(source: Predictions, target: Predictions) -> tuple[float, float, float]:
    """Return the total variation of predicted class shares, and its mean and deviation by chance alone."""
    n, m = len(source), len(target)
    first, second = (np.bincount(own.predicted, minlength=own.classes) / len(own) for own in (source, target))
    pooled = (n * first + m * second) / (n + m)
    variance = pooled * (1 - pooled) * (1 / n + 1 / m)
    expected = float(np.sqrt(2 * variance / pi).sum() / 2)
    return (
        float(np.abs(first - second).sum() / 2),
        expected,
        float(np.sqrt((1 - 2 / pi) * variance.sum()) / 2),
    )


def _mix(source: Predictions, target: Predictions, names: Sequence[str]) -> Iterator[str]:
    apart, expected, spread = _class_change(source, target)
    if apart - expected < MIX_APART or apart < expected + CLEAR * spread:
        return
    first, second = (np.bincount(own.predicted, minlength=own.classes) / len(own) for own in (source, target))
    most = int(np.abs(second - first).argmax())
    yield (
        f"the class mix changed: {100 * apart:.2f} pp of {target.name}'s images are put into other classes "
        f"than in {source.name} (by chance about {100 * expected:.2f} pp), most of all "
        f"{names[most] if names else f'class {most}'} with {100 * second[most]:.2f} % of images instead of "
        f"{100 * first[most]:.2f} %. Either classes occur in other shares, or the model errs into these; "
        "estimators that assume the source's shares (COT, COTT) take the first for the second"
    )


def _many_classes(source: Predictions, target: Predictions) -> Iterator[str]:
    classes, n, m = source.classes, len(source), len(target)
    if classes < MANY_CLASSES or classes / n + classes / m < FEW_A_CLASS or min(n, m) < FEWEST_IMAGES:
        return
    bias = chance_distance(np.bincount(np.asarray(source.labels), minlength=classes) / n, n, m)
    yield (
        f"{classes:,} classes are many for {count(n, 'image')} of {source.name} (K/n = {classes / n:.2f}) "
        f"and {count(m, 'image')} of {target.name} (K/m = {classes / m:.2f}): chance alone moves class "
        f"shares by {100 * bias:.2f} pp. Transport estimators (COT, COTT) would be too low by up to that; "
        "their correction leaves about 1 pp where the shares did not change"
    )


def chance_distance(shares: Floats, n: int, m: int) -> float:
    """Return the mean total variation between class shares (K,) counted in n and in m images of one kind."""
    return min(float(np.sqrt(2 * shares * (1 - shares) * (1 / n + 1 / m) / pi).sum() / 2), 1.0)


def _miscalibrated(source: Predictions) -> Iterator[str]:
    gaps = source.confidence - source.correct
    gap, error = float(gaps.mean()), float(gaps.std()) / sqrt(len(source))
    if abs(gap) < GAP or abs(gap) < CLEAR * error:
        return
    yield (
        f"probabilities are {'too sure' if gap > 0 else 'not sure enough'} on {source.name} itself: mean "
        f"confidence is {100 * float(source.confidence.mean()):.2f} % where {100 * source.accuracy:.2f} % is "
        f"right. Estimators that take them as they are (AC, COT) err by {100 * gap:+.2f} pp without any shift"
    )


def _beyond_support(source: Predictions, target: Predictions) -> Iterator[str]:
    inside = np.ones(len(target), dtype=bool)
    for known, values in zip(_statistics(source), _statistics(target), strict=True):
        margin = BEYOND * float(np.ptp(known))
        inside &= (values >= known.min() - margin) & (values <= known.max() + margin)
    share = 1 - float(inside.mean())
    if share < UNSEEN:
        return
    yield (
        f"{int((~inside).sum()):,} of {count(len(target), 'image')} of {target.name} ({100 * share:.2f} %) "
        f"have outputs well beyond all of {source.name}'s in confidence or size: no source image "
        "shows how often such are right, and an estimate for them is an extrapolation"
    )


def _statistics(own: Predictions) -> tuple[Floats, ...]:
    """Return what is compared with the source's range: confidence, and the largest logit of each image."""
    confidence = np.round(own.confidence, 6)
    return (confidence, own.of_predicted(own.logits)) if own.kind == "logits" else (confidence,)


def _ties(own: Predictions) -> Iterator[str]:
    if len(own) < FEWEST_IMAGES:
        return
    saturated = float((own.confidence >= SATURATED).mean())
    if saturated >= MOSTLY:
        yield (
            f"{own.name}: {100 * saturated:.2f} % of images have a confidence of 1: nothing tells these "
            "apart, and thresholds and calibration rest on the others. Give logits, or probabilities in "
            "float64"
        )
    tied = float(in_blocks(_is_tied, own.logits).mean())
    if tied >= TIED:
        yield (
            f"{own.name}: {100 * tied:.2f} % of images have two classes with the same largest output; each "
            "is put into the first of them"
        )


def _is_tied(logits: Floats) -> Floats:
    """Return 1 for each image of which two outputs are the largest, else 0 (n,)."""
    tied: Floats = ((logits == logits.max(axis=1, keepdims=True)).sum(axis=1) > 1).astype(np.float64)
    return tied


def _is_coarse(own: Predictions) -> bool:
    """Whether outputs take so few values, as votes and trees do, that equal rows say nothing."""
    values = own.logits[:: max(1, len(own) // 1000)]
    if len(np.unique(values)) < COARSE * values.size:
        return True
    counts = values[:200, 0, None] * np.arange(2, MOST_VOTES + 1)
    return bool((np.abs(counts - np.round(counts)) < VOTE).all(axis=0).any())


def _telling_keys(own: Predictions, scale: float) -> Floats:
    """Return `row_keys`, without those of probabilities that are all but 1: these are much alike anyway."""
    keys = row_keys(own, scale)
    return keys[own.confidence < 1 - NEARLY] if own.kind == "probabilities" else keys


def row_keys(own: Predictions, scale: float) -> Floats:
    """Return a number for each image that is the same for the same outputs, and hardly ever else."""
    weights = np.random.default_rng(0).normal(size=own.classes)
    return np.round(in_blocks(lambda rows: rows @ weights, own.logits) / scale, 11)


def largest_output(own: Predictions) -> float:
    """Return the largest output in size times the classes, which `row_keys` are rounded by."""
    return max(float(own.logits.max()), -float(own.logits.min()), 1e-300) * own.classes


def _repeats(own: Predictions) -> Iterator[str]:
    if own.kind == "classes" or _is_coarse(own):
        return
    keys = _telling_keys(own, largest_output(own))
    repeats = len(keys) - len(np.unique(keys))
    if repeats < max(FEWEST_REPEATS, REPEATED * len(own)):
        return
    yield (
        f"{own.name}: {repeats:,} of {len(own):,} rows repeat the outputs of another one: were images given "
        "twice? Intervals take each row for an image of its own and are then too narrow"
    )


def _common_rows(source: Predictions, target: Predictions) -> Iterator[str]:
    if source.kind == "classes" or _is_coarse(source):
        return
    first, second = (_telling_keys(own, largest_output(source)) for own in (source, target))
    common = int(np.isin(second, first).sum())
    if common < max(FEWEST_REPEATS, REPEATED * len(target)) or common == len(target) == len(source):
        return  # whole files that are the same are warned of elsewhere
    yield (
        f"{common:,} of {len(target):,} rows of {target.name} are rows of {source.name}: their labels are "
        "known, and nothing shifted there"
    )


def _disorder(source: Predictions) -> Iterator[str]:
    """Warn where labels fit outputs one row on, or stop fitting for a stretch of rows."""
    labels, predicted, n = np.asarray(source.labels), source.predicted, len(source)
    if n < FEWEST_IMAGES:
        return
    for by in (1, -1):
        rolled = float((np.roll(labels, by) == predicted).mean())
        if rolled > source.accuracy + ROLLED and not _sorted(labels):
            where = "previous" if by == 1 else "next"
            yield (
                f"{source.name}: outputs fit the label of the {where} row more often ({100 * rolled:.2f} %) "
                f"than their own ({100 * source.accuracy:.2f} %): are labels and outputs one row apart?"
            )
            return
    yield from _lost_stretch(source, labels)


def _sorted(labels: Integers) -> bool:
    """Whether most rows have the label of the row before, as in files sorted by class."""
    return bool((labels[1:] == labels[:-1]).mean() > 0.9)


def _lost_stretch(source: Predictions, labels: Integers) -> Iterator[str]:
    lost, chances = [], []
    edges = np.linspace(0, len(source), BLOCKS + 1).astype(int)
    for first, last in pairwise(edges):
        shares = [
            np.bincount(each[first:last], minlength=source.classes) / (last - first)
            for each in (labels, source.predicted)
        ]
        chance = float(shares[0] @ shares[1])
        right = float(source.correct[first:last].mean())
        near = right <= chance + 2 * sqrt(chance * (1 - chance) / (last - first))
        lost.append(near and shares[0].max() < MOSTLY + 1 / source.classes)
        chances.append(chance)
    bad = np.flatnonzero(lost)
    rest = np.repeat(~np.array(lost), np.diff(edges))
    if not len(bad) or not rest.any():
        return
    above = float(source.correct[rest].mean()) - float(np.mean(chances))
    if above < LOST or len(bad) < 2 or (np.diff(bad) > 1).any():
        return
    first, last = int(edges[bad[0]]), int(edges[bad[-1] + 1])
    yield (
        f"{source.name}: rows {first:,} to {last - 1:,} (from 0) are right no more often than by chance, the "
        f"others {100 * float(source.correct[rest].mean()):.2f} % of the time: are labels and outputs in the "
        "same order there?"
    )
