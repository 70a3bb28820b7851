"""Worlds whose true accuracy is known: which estimators must find it, and which must not.

Errors are in accuracy, on 20,000 images.
"""

from __future__ import annotations

import pytest

from shiftcast.estimators import official_estimators
from worlds import drawn_to_a_class, world

NAMES = ("NoShift", "AC", "AC-TS", "DoC", "IM", "ATC-MC", "ATC-NE", "COT", "COTT")
REFERENCE = ("ConfusionPartition", "AgreementShift", "OwnLabelPartition", "OwnLabelPartition-mean")
LARGEST_DROPS = ("BalancedAgreement", "LargestDrop", "LargestDrop-T1")


def errors(source, target, names=NAMES + REFERENCE + LARGEST_DROPS):
    """Return estimate minus accuracy by estimator."""
    chosen = official_estimators()
    return {name: chosen[name].fit(source).predict(target).accuracy - target.accuracy for name in names}


def test_without_a_shift_all_find_the_accuracy():
    found = errors(world(0), world(1))
    assert max(map(abs, found.values())) < 0.012, found


def test_difficulty_shift_is_solved_by_all_but_no_shift():
    found = errors(world(0, hard=0.3), world(1, hard=0.8))
    assert found.pop("NoShift") > 0.15
    assert max(abs(found[name]) for name in ("AC", "AC-TS", "DoC", "IM", "COT", "ConfusionPartition")) < 0.015
    assert max(abs(found[name]) for name in LARGEST_DROPS) < 0.09  # their factors are those of CIFAR-10
    assert max(abs(found[name]) for name in ("ATC-MC", "ATC-NE", "COTT")) < 0.08  # one threshold is coarser
    assert max(map(abs, found.values())) < 0.12, found


def test_an_overconfident_model_misleads_confidence_and_not_what_is_compared_with_the_source():
    found = errors(world(0, sharpness=3.0), world(1, sharpness=3.0))
    assert found["AC"] > 0.05
    assert found["COT"] > 0.02
    for name in ("NoShift", "AC-TS", "DoC", "IM", "ATC-MC", "COTT", *REFERENCE, *LARGEST_DROPS):
        assert abs(found[name]) < 0.015, name


def test_sharpness_moves_neither_partition_nor_agreement_nor_scaled_confidence():
    calm = errors(world(0, hard=0.3), world(1, hard=0.8))
    sharp = errors(world(0, hard=0.3, sharpness=3.0), world(1, hard=0.8, sharpness=3.0))
    for name in ("NoShift", "AC-TS", *REFERENCE, "BalancedAgreement"):
        assert calm[name] == pytest.approx(sharp[name], abs=2e-5), name
    assert abs(calm["AC"] - sharp["AC"]) > 0.05


def test_label_shift_misleads_transport_that_is_not_told():
    source, target = world(0, hard=0.8), world(1, hard=0.8, common=8.0)
    found = errors(source, target)
    assert found["COT"] < -0.03
    assert max(abs(found[name]) for name in LARGEST_DROPS) < 0.02  # balance is not believed, and they say so
    answer = official_estimators()["BalancedAgreement"].fit(source).predict(target)
    assert answer.flagged


def test_shared_errors_in_one_class_are_seen_by_balance_and_not_by_agreement():
    source, target = world(0, hard=0.3), drawn_to_a_class(world(1, hard=0.8), share=0.4, strength=3.0)
    found = errors(source, target)
    assert found["AgreementShift"] > 0.15
    assert found["ATC-NE"] > 0.15
    assert max(abs(found[name]) for name in LARGEST_DROPS) < 0.05
    assert not official_estimators()["BalancedAgreement"].fit(source).predict(target).flagged


def test_a_class_that_swallows_nearly_all_is_taken_for_label_shift_and_flagged():
    source, target = world(0, hard=0.3), drawn_to_a_class(world(1, hard=0.8), share=1.0, strength=3.0)
    found = errors(source, target)
    assert min(found[name] for name in LARGEST_DROPS) > 0.3
    assert official_estimators()["BalancedAgreement"].fit(source).predict(target).flagged


def test_wrong_labels_that_no_output_shows_are_seen_by_nobody():
    """Errors that are new under shift and leave no trace in any output: everybody is optimistic."""
    found = errors(world(0), world(1, own_errors=0.3))
    assert min(found.values()) > 0.15, found
