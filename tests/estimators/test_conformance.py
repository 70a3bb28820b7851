"""Every official estimator, and every variant of it that its arguments allow, keeps the contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from shiftcast.difficulty import KINDS
from shiftcast.errors import InvalidInputError, RequirementError, UnknownNameError
from shiftcast.estimators import (
    ATC,
    AverageConfidence,
    ConfusionPartition,
    Estimator,
    ImportanceReweighting,
    OwnLabelPartition,
    official_estimators,
    unranked_estimators,
)
from shiftcast.predictions import Predictions
from shiftcast.testing import check_estimator, make_predictions

OFFICIAL = official_estimators()
VARIANTS: dict[str, Estimator] = {
    **{f"ConfusionPartition-{kind}": ConfusionPartition(kind=kind) for kind in KINDS if kind != "entropy"},
    "ConfusionPartition-population": ConfusionPartition(estimand="population", level=0.8),
    "ConfusionPartition-5": ConfusionPartition(bins=5, min_count=1),
    "ImportanceReweighting-1": ImportanceReweighting(bins=1),
}

SOURCE = make_predictions(300, seed=1, name="source")
TARGET = make_predictions(240, seed=2, shift=0.8, name="target")
OTHERS = [
    make_predictions(200, seed=3, shift=0.5, name="fog-3", group="fog"),
    make_predictions(200, seed=4, shift=1.2, name="fog-5", group="fog"),
]

NATURAL = ("cinic10-imagenet", "photo-web", "emoji", "style-transfer", "cifar10-g")

# what the estimators page says of each: name -> (track, requirements beside logits, exact, selected on)
CONTRACT = {
    "NoShift": ("T1", set(), True, ()),
    "MeanShift": ("T5", {"others"}, False, ()),
    "AC": ("T1", set(), False, ()),
    "AC-TS": ("T1", set(), False, ()),
    "DoC": ("T1", set(), True, ()),
    "IM": ("T1", set(), True, ()),
    "ATC-MC": ("T1", set(), True, ()),
    "ATC-NE": ("T1", set(), True, ()),
    "ATC-MC-TS": ("T1", set(), True, ()),
    "ATC-NE-TS": ("T1", set(), True, ()),
    "ClassATC": ("T1", set(), False, ()),
    "COT": ("T1", set(), False, ()),
    "COTT": ("T1", set(), True, ()),
    "COT-TS": ("T1", set(), False, ()),
    "COTT-TS": ("T1", set(), True, ()),
    "CorrectnessRegression": ("T1", set(), False, ()),
    "DensityRatioAC": ("T1", set(), True, ()),
    "ImportanceWeighted": ("T1", set(), True, ()),
    "GDE": ("T3", {"siblings"}, False, ()),
    "ALine-S": ("T3", {"peers"}, True, ()),
    "ALine-D": ("T3", {"peers"}, True, ()),
    "ConfusionPartition": ("T2", {"reference"}, True, ()),
    "AgreementShift": ("T2", {"reference"}, True, ("cifar10.1",)),
    "OwnLabelPartition": ("T2", {"reference"}, True, ("cifar10.1",)),
    "OwnLabelPartition-mean": ("T2", {"reference"}, True, ("cifar10.1",)),
    "BalancedAgreement": ("T2", {"reference"}, True, NATURAL),
    "LargestDrop": ("T2", {"reference"}, True, NATURAL),
    "LargestDrop-T1": ("T1", set(), True, NATURAL),
    "CorrectnessRegression-T2": ("T2", {"reference"}, False, ()),
    "DawidSkene": ("T2", {"reference"}, False, ()),
    "DoC-scaled": ("T4", {"others"}, True, ()),
    "AgreementShift-scaled": ("T4", {"reference", "others"}, True, ("cifar10.1",)),
    "NuclearNorm": ("T4", {"others"}, False, ()),
    "MaNo": ("T4", {"others"}, False, ()),
    "MDE": ("T4", {"others"}, False, ()),
    "SoftmaxCorr": ("T4", {"others"}, False, ()),
    "Entropy": ("T4", {"others"}, False, ()),
    "MutualInformation": ("T4", {"others"}, False, ()),
    "Dispersion": ("T4", {"features", "others"}, False, ()),
    "FrechetDistance": ("T4", {"features", "others"}, False, ()),
    "EffectiveInvariance": ("T4", {"signals", "others"}, False, ()),
    "NeighbourhoodInvariance": ("T4", {"signals", "others"}, False, ()),
    "LearnedEpochPartition": ("T4", {"signals"}, True, ()),
    "DepthPartition": ("T4", {"signals"}, True, ()),
}
ROLES = {"Dis2": "bound", "PriorTransfer": "diagnosis", "COTT-prior": "diagnosis"}
"""What is never ranked by error."""


FROM_CLASSES = {
    *("NoShift", "MeanShift", "GDE", "ALine-S", "ALine-D"),
    *("ConfusionPartition", "AgreementShift", "OwnLabelPartition", "OwnLabelPartition-mean"),
    *("BalancedAgreement", "AgreementShift-scaled", "DawidSkene"),
    *("NeighbourhoodInvariance", "LearnedEpochPartition", "DepthPartition"),
}
"""Estimators that answer from predicted classes alone (hard labels)."""


FIXED_LEVEL = {"BalancedAgreement", "LargestDrop", "LargestDrop-T1"}
"""Estimators whose interval holds model error, learned at one level."""
SAMPLED = [name for name in OFFICIAL if name not in FIXED_LEVEL]


def test_every_official_estimator_has_a_contract() -> None:
    assert list(CONTRACT) == list(OFFICIAL)


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_estimators_conform(name: str) -> None:
    check_estimator(OFFICIAL[name])


@pytest.mark.parametrize("name", ROLES)
def test_bounds_and_diagnoses_conform_and_are_no_estimates(name: str) -> None:
    estimator = unranked_estimators()[name]
    check_estimator(estimator)
    assert (estimator.role, estimator.track, bool(estimator.citation)) == (ROLES[name], "T1", True)


def test_what_is_ranked_is_an_estimate() -> None:
    assert list(ROLES) == list(unranked_estimators())
    assert {one.role for one in OFFICIAL.values()} == {"estimate"}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_conform(name: str) -> None:
    check_estimator(VARIANTS[name])


@pytest.mark.parametrize("name", CONTRACT)
def test_declarations(name: str) -> None:
    track, needs, exact, selected_on = CONTRACT[name]
    estimator = OFFICIAL[name]
    assert estimator.track == track
    assert estimator.requires == {"classes" if name in FROM_CLASSES else "logits"} | needs
    assert estimator.exact_on_source is exact
    assert estimator.selected_on == selected_on
    assert estimator.citation


@pytest.mark.parametrize("name", SAMPLED)
def test_intervals_are_named_sampling_and_widen_with_the_level(name: str) -> None:
    narrow, wide = (
        clone(OFFICIAL[name]).set_params(level=level).fit(SOURCE, OTHERS).predict(TARGET)
        for level in (0.5, 0.9)
    )
    assert narrow.diagnostics["interval"] == "sampling"
    assert (narrow.level, wide.level) == (0.5, 0.9)
    # half-widths go with the normal quantiles: 1.644854 / 0.674490
    assert wide.high - wide.accuracy == pytest.approx(
        (narrow.high - narrow.accuracy) * 1.644854 / 0.674490, abs=5e-6
    )


@pytest.mark.parametrize("name", SAMPLED)
def test_a_level_that_is_none_is_refused_in_fit(name: str) -> None:
    estimator = clone(OFFICIAL[name]).set_params(level=95)
    with pytest.raises(InvalidInputError, match="level: expected a number between 0 and 1"):
        estimator.fit(SOURCE, OTHERS)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (AverageConfidence(calibration="temprature"), "AverageConfidence: unknown calibration"),
        (ATC(score="max-confidence"), "ATC: unknown score 'max-confidence'; did you mean max_confidence"),
        (OwnLabelPartition(score="vote"), "OwnLabelPartition: unknown score 'vote'; did you mean votes"),
        (ConfusionPartition(kind="entropie"), "did you mean entropy"),
        (ConfusionPartition(estimand="image"), "unknown estimand 'image'; did you mean images"),
    ],
)
def test_unknown_choices_offer_the_nearest(estimator: Estimator, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        estimator.fit(SOURCE)


@pytest.mark.parametrize("change", [{"bins": 0}, {"bins": 2.5}, {"bins": True}, {"min_count": 0}])
def test_partitions_refuse_impossible_bins(change: dict[str, object]) -> None:
    for estimator in (ConfusionPartition(**change), ImportanceReweighting(**change)):
        with pytest.raises(InvalidInputError, match=f"{next(iter(change))} must be an integer of at least 1"):
            estimator.fit(SOURCE)


@pytest.mark.parametrize(
    ("name", "key"), [("ConfusionPartition", "reference"), ("GDE", "siblings"), ("ALine-S", "peers")]
)
def test_source_and_target_must_hold_the_same_models(name: str, key: str) -> None:
    target = Predictions("target", TARGET.logits, **{key: getattr(TARGET, key)[:-1]})
    with pytest.raises(InvalidInputError, match=f"{key} of target 'target' holds"):
        OFFICIAL[name].__class__().fit(SOURCE).predict(target)


@pytest.mark.parametrize("name", ["ConfusionPartition", "AgreementShift", "OwnLabelPartition"])
def test_small_ensembles_are_refused(name: str) -> None:
    source = make_predictions(100, members=2)
    with pytest.raises(InvalidInputError, match="at least 3 members, got 2"):
        OFFICIAL[name].__class__().fit(source)


def test_an_empty_stack_of_siblings_counts_as_none() -> None:
    empty = Predictions("s", SOURCE.logits, labels=SOURCE.labels, siblings=np.zeros((0, 300), dtype=int))
    with pytest.raises(RequirementError, match=r"GDE\.fit: needs siblings"):
        OFFICIAL["GDE"].fit(empty)


@pytest.mark.parametrize("name", ["AC", "AC-TS", "DoC", "IM", "GDE", "ConfusionPartition"])
def test_float16_logits_move_smooth_estimators_by_little(name: str) -> None:
    def stored(p: Predictions) -> Predictions:
        return Predictions(
            p.name, p.logits.astype(np.float16), labels=p.labels, reference=p.reference, siblings=p.siblings
        )

    estimator = OFFICIAL[name]
    full = estimator.fit(SOURCE).predict(TARGET).accuracy
    half = estimator.fit(stored(SOURCE)).predict(stored(TARGET)).accuracy
    # IM and GDE jump with single images: one in 240
    assert half == pytest.approx(full, abs=2e-3 if name not in ("IM", "GDE") else 1 / 240)


def test_probabilities_do_as_well_as_logits() -> None:
    def bare(p: Predictions) -> Predictions:
        return Predictions(
            p.name,
            p.probabilities,
            kind="probabilities",
            labels=p.labels,
            reference=p.reference,
            peers=p.peers,
            siblings=p.siblings,
            signals=p.signals,
        )

    for name in {name for name in CONTRACT if "others" not in OFFICIAL[name].requires}:
        plain = OFFICIAL[name].fit(SOURCE).predict(TARGET)
        given = OFFICIAL[name].fit(bare(SOURCE)).predict(bare(TARGET))
        assert given.accuracy == pytest.approx(plain.accuracy, abs=1e-5), name


@pytest.mark.parametrize("name", CONTRACT)
def test_classes_alone_give_the_same_answer_or_are_refused_by_name(name: str) -> None:
    def hard(one: Predictions) -> Predictions:
        alone = Predictions.from_classes(one.name, one.predicted, one.classes, one.labels)
        held = {
            key: getattr(one, key)
            for key in ("group", "reference", "peers", "siblings", "features", "signals")
        }
        return replace(alone, **held)

    fresh = clone(OFFICIAL[name])
    others = [hard(one) for one in OTHERS]
    if name in FROM_CLASSES:
        expected = clone(OFFICIAL[name]).fit(SOURCE, OTHERS).predict(TARGET)
        assert fresh.fit(hard(SOURCE), others).predict(hard(TARGET)) == expected
        return
    with pytest.raises(RequirementError, match="needs logits, but"):
        fresh.fit(hard(SOURCE), others)
