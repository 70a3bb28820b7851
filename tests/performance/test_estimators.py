"""How long estimators take, on one core. Each bound is of the whole call, the best of a few."""

import time

import numpy as np
import pytest

from shiftcast.difficulty import difficulty
from shiftcast.estimators import Estimator, official_estimators, transport
from shiftcast.estimators.agreement import pairwise_agreement
from shiftcast.predictions import Predictions, softmax

QUICK = (
    *("NoShift", "AC", "DoC", "IM", "ATC-MC", "ATC-NE", "GDE", "ALine-S"),
    *("AgreementShift", "ConfusionPartition", "OwnLabelPartition", "OwnLabelPartition-mean"),
)


def best(call, times=3):
    found = float("inf")
    for _ in range(times):  # other work on the machine can only slow it down
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found


def predictions(seed, n=10_000, classes=10, members=20, peers=40):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    seen = np.eye(classes)[labels] * 3

    def logits():
        return seen + random.normal(size=(n, classes)) * 1.5

    return Predictions(
        f"p{seed}",
        logits(),
        labels=labels,
        reference=np.stack([softmax(logits()) for _ in range(members)]),
        peers=np.stack([logits().argmax(axis=1) for _ in range(peers)]),
        siblings=np.stack([logits().argmax(axis=1) for _ in range(2)]),
    )


def test_quick_estimators_together_take_half_a_second():
    source, target = predictions(0), predictions(1).without_labels()
    chosen: list[Estimator] = [official_estimators()[name] for name in QUICK]

    def everything():
        for estimator in chosen:
            estimator.fit(source).predict(target)

    seconds = best(everything)
    assert seconds < 0.5, f"{seconds:.3f} s"


def test_all_agreements_of_200_models_take_a_second():
    classes = np.random.default_rng(0).integers(0, 10, (200, 10_000))
    seconds = best(lambda: pairwise_agreement(classes))
    assert seconds < 1.0, f"{seconds:.3f} s"


def test_exact_transport_of_ten_thousand_images_takes_50_ms():
    probabilities = softmax(np.random.default_rng(0).normal(size=(10_000, 10)) * 3)
    seconds = best(lambda: transport(probabilities, np.full(10, 0.1)), 7)
    assert seconds < 0.05, f"{1000 * seconds:.1f} ms"


def pot():
    """Return a call that solves the same problem with POT, and ours."""
    ot = pytest.importorskip("ot", reason="POT is not installed: pip install pot")
    probabilities = softmax(np.random.default_rng(0).normal(size=(10_000, 10)) * 3)
    shares, images = np.full(10, 0.1), np.full(10_000, 1e-4)
    return (
        lambda: ot.emd2(images, shares, 1 - probabilities, numItermax=10**7),
        lambda: transport(probabilities, shares),
    )


def test_transport_equals_that_of_pot():
    theirs, ours = pot()
    assert ours().value == pytest.approx(1 - theirs(), abs=1e-9)


@pytest.mark.xfail(reason="not reached: both take about 20 ms", strict=False)
def test_transport_is_three_times_as_fast_as_pot():
    theirs, ours = pot()
    ratio = best(theirs) / best(ours)
    assert ratio >= 3, f"{ratio:.2f}"


def test_difficulty_grows_with_the_number_of_images_and_no_faster():
    members = softmax(np.random.default_rng(0).normal(size=(8, 40_000, 10)))
    small, large = best(lambda: difficulty(members[:, :10_000].copy())), best(lambda: difficulty(members))
    assert large < 12 * small, f"{large / small:.1f} times as long for four times the images"
