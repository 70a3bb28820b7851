"""ConfusionPartition, OwnLabelPartition and AgreementShift against slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from shiftcast.difficulty import KINDS, difficulty
from shiftcast.errors import InvalidInputError
from shiftcast.estimators import AgreementShift, ConfusionPartition, NoShift, OwnLabelPartition
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions

SOURCE = make_predictions(2000, seed=1, name="source")
TARGET = make_predictions(1500, seed=2, shift=0.8, name="target")


def slow_partition(
    source: list[float], right: list[bool], target: list[float], top: float, min_count: int = 20
) -> tuple[float, float]:
    """Return the estimate and the moved mass by loops: ten bins, merged from the top."""

    def bin_of(score: float) -> int:
        return sum(score >= round(top * b / 10, 9) for b in range(1, 10))

    bins = [[b] for b in range(10)]
    held = [sum(bin_of(s) == b for s in source) for b in range(10)]
    for b in range(9, 0, -1):
        if held[b] < min_count:
            bins[b - 1] += bins.pop(b)
            held[b - 1] += held.pop(b)
    while held[0] < min_count and len(bins) > 1:
        bins[1] += bins.pop(0)
        held[1] += held.pop(0)
    estimate = 0.0
    for members in bins:
        inside = [r for s, r in zip(source, right, strict=True) if bin_of(s) in members]
        share = sum(bin_of(s) in members for s in target) / len(target)
        estimate += share * sum(inside) / len(inside)
    stays = {min(members) for members in bins}
    return estimate, sum(bin_of(s) not in stays for s in target) / len(target)


@pytest.mark.parametrize("kind", KINDS)
def test_confusion_partition_against_a_slow_loop(kind: str) -> None:
    top = {"entropy": 1.0, "vote_entropy": 1.0, "mutual_information": float(np.log(10))}.get(kind, 0.9)
    scores = [difficulty(p.reference, kind).tolist() for p in (SOURCE, TARGET)]
    expected, moved = slow_partition(scores[0], SOURCE.correct.tolist(), scores[1], top)
    estimate = ConfusionPartition(kind=kind).fit(SOURCE).predict(TARGET)
    assert estimate.accuracy == pytest.approx(expected, abs=1e-6)
    assert estimate.diagnostics["mass_moved"] == pytest.approx(moved)


@pytest.mark.parametrize("score", ["votes", "mean"])
def test_own_label_partition_against_a_slow_loop(score: str) -> None:
    def doubts(p: Predictions) -> list[float]:
        if score == "votes":
            support = [np.mean(p.reference[:, i].argmax(axis=1) == p.predicted[i]) for i in range(len(p))]
        else:
            support = [p.reference[:, i, p.predicted[i]].mean() for i in range(len(p))]
        return [round(1 - float(s), 9) for s in support]

    expected, _ = slow_partition(doubts(SOURCE), SOURCE.correct.tolist(), doubts(TARGET), 1.0)
    assert OwnLabelPartition(score=score).fit(SOURCE).predict(TARGET).accuracy == pytest.approx(
        expected, abs=1e-6
    )


def test_agreement_shift_takes_the_mean_over_members_not_the_majority() -> None:
    def members(votes: list[list[int]]) -> np.ndarray:
        return np.eye(2)[np.array(votes)]

    source = Predictions(
        "s",
        2 * np.eye(2)[[0, 0, 1, 1]],
        labels=np.array([0, 1, 1, 1]),
        reference=members([[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1]]),  # agreement 1, 1/3, 2/3, 1
    )
    target = Predictions(
        "t",
        2 * np.eye(2)[[0, 1]],
        reference=members([[0, 0], [0, 0], [1, 1]]),  # agreement 2/3, 1/3; majority would say 1, 0
    )
    estimate = AgreementShift().fit(source).predict(target)
    assert estimate.accuracy == pytest.approx(0.75 + 0.5 - 0.75)
    # residuals 0, -1/3, 1/3 and 0 vary less than the floor for four images, 1/6 (1 - 1/6)
    half = 0.674490 * np.sqrt(1 / 6 * 5 / 6 * (1 / 4 + 1 / 2))
    narrow = AgreementShift(level=0.5).fit(source).predict(target)
    assert narrow.high - narrow.accuracy == pytest.approx(half, abs=1e-6)


def test_one_bin_or_a_constant_score_is_no_shift() -> None:
    plain = NoShift().fit(SOURCE).predict(TARGET)
    constant = {"reference": np.full((3, 2000, 10), 0.1)}
    flat_source = Predictions("s", SOURCE.logits, labels=SOURCE.labels, **constant)
    flat_target = Predictions("t", TARGET.logits, reference=np.full((3, 1500, 10), 0.1))
    for estimate in (
        ConfusionPartition(bins=1).fit(SOURCE).predict(TARGET),
        ConfusionPartition(min_count=2001).fit(SOURCE).predict(TARGET),
        OwnLabelPartition(bins=1).fit(SOURCE).predict(TARGET),
        ConfusionPartition().fit(flat_source).predict(flat_target),
    ):
        assert (estimate.accuracy, estimate.low, estimate.high) == (plain.accuracy, plain.low, plain.high)


def test_mass_beyond_the_source_is_reported_on_either_side() -> None:
    def binary(support: list[float], labels: list[int] | None = None) -> Predictions:
        p = np.array(support)
        reference = np.stack([np.stack([p, 1 - p], axis=1)] * 3)
        return Predictions(
            "p",
            np.tile([2.0, 0.0], (len(p), 1)),
            labels=None if labels is None else np.array(labels),
            reference=reference,
        )

    source = binary([0.9] * 20 + [0.7] * 20, [0] * 30 + [1] * 10)
    estimate = ConfusionPartition().fit(source).predict(binary([1.0, 0.9, 0.8, 0.7, 0.5]))
    assert estimate.diagnostics["mass_beyond_source"] == pytest.approx(2 / 5)
    assert estimate.flagged == "40.0 % of the images have scores that no source image reaches"


def test_merging_looks_at_source_counts_alone() -> None:
    fitted = ConfusionPartition().fit(SOURCE)
    before = fitted.home_.copy()
    fitted.predict(TARGET.select(np.array([0])))
    assert np.array_equal(fitted.home_, before)
    assert fitted.bins_of(TARGET).shape == (1500,)
    assert set(fitted.bins_of(TARGET)) <= set(np.flatnonzero(fitted.source_counts_).tolist())


def test_bins_of_needs_a_fit() -> None:
    with pytest.raises(InvalidInputError, match="bins_of: not fitted"):
        ConfusionPartition().bins_of(TARGET)


def test_population_interval_differs_in_its_last_term_alone() -> None:
    images = ConfusionPartition().fit(SOURCE).predict(TARGET)
    population = ConfusionPartition(estimand="population").fit(SOURCE).predict(TARGET)
    assert population.accuracy == images.accuracy
    assert population.high != images.high
    assert population.diagnostics["estimand"] == "population"
