"""What holds of every estimator whatever it is given: an answer in bounds, or a refusal by name."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import official_estimators
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import softmax

OFFICIAL = official_estimators()
SMOOTH = (
    "NoShift",
    "AC",
    "AC-TS",
    "DoC",
    "COT",
    "Entropy",
    "MutualInformation",
    "NuclearNorm",
    "SoftmaxCorr",
)
SIGNALS = ("depth", "learned_epoch", "views", "view_probability")
THRESHOLDED = ("ATC-MC", "ATC-NE", "COTT")


def made(random, n, classes, strength, dtype, ties, name, group="", empty=0, kind="logits"):
    """Predictions of a model that sees its classes with some strength; the last `empty` never occur."""
    labels = random.integers(0, classes - empty, n)

    def outputs():
        logits = random.normal(size=(n, classes)) + strength * np.eye(classes)[labels]
        logits += 3  # rounded to integers, a few rows of two classes may else be 0 and 1: probabilities
        return np.clip(np.round(logits, ties), -60_000, 60_000).astype(dtype)

    own = outputs()
    return Predictions(
        name,
        softmax(own) if kind == "probabilities" else own,
        kind=kind,
        group=group,
        labels=labels,
        reference=np.stack([softmax(outputs()) for _ in range(4)]),
        peers=np.stack([outputs().argmax(axis=1) for _ in range(5)]),
        siblings=np.stack([outputs().argmax(axis=1) for _ in range(2)]),
        features=np.tanh(own.astype(np.float64) @ random.normal(size=(classes, 4))),
        signals={key: random.integers(0, 9, n) / 8 for key in SIGNALS},
    )


@pytest.mark.parametrize("name", OFFICIAL)
@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**20),
    n=st.sampled_from([2, 25, 120]),
    m=st.sampled_from([1, 2, 60]),
    classes=st.sampled_from([2, 3, 10, 1000]),
    strength=st.sampled_from([0.0, 2.0, 300.0]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    ties=st.sampled_from([0, 1, 9]),
    empty=st.booleans(),
    kind=st.sampled_from(["logits", "probabilities"]),
)
def test_answers_lie_in_bounds_or_are_refused_by_name(
    name, seed, n, m, classes, strength, dtype, ties, empty, kind
):
    random = np.random.default_rng(seed)
    form = {"dtype": dtype, "ties": ties, "empty": min(int(empty), classes - 1), "kind": kind}
    source = made(random, n, classes, strength, name="source", **form)
    target = made(random, m, classes, strength / 2, name="target", **form).without_labels()
    others = [
        made(random, n, classes, strength * part, name=f"fog-{part}", group="fog", **form)
        for part in (0.3, 0.6, 0.9)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = OFFICIAL[name].fit(source, others).predict(target)
    except InvalidInputError as refusal:
        assert type(OFFICIAL[name]).__name__ in str(refusal)  # noqa: PT017  either outcome is right
        assert n == 2 or m <= 2 or OFFICIAL[name].track in ("T3", "T4"), refusal  # noqa: PT017
        return
    assert 0 <= answer.low <= answer.accuracy <= answer.high <= 1


def precisions(name, seed):
    """Return an estimator's answers with float32 and with float16 logits, with what they were given."""
    found = []
    for dtype in (np.float32, np.float16):
        random = np.random.default_rng(seed)
        source, target = (made(random, 1500, 10, s, dtype, 9, f"s{s}") for s in (3.0, 2.0))
        others = [made(random, 900, 10, s, dtype, 9, f"fog-{s}", "fog") for s in (1.0, 1.7, 2.4)]
        found.append((OFFICIAL[name].fit(source, others).predict(target).accuracy, source, target))
    return found


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("seed", range(3))
def test_half_precision_moves_smooth_estimators_by_little(name, seed):
    (full, *_), (half, *_) = precisions(name, seed)
    assert abs(full - half) <= 2e-3


@pytest.mark.parametrize("name", THRESHOLDED)
@pytest.mark.parametrize("seed", range(3))
def test_half_precision_moves_thresholded_estimators_by_the_images_that_change_places(name, seed):
    (full, *exact), (half, *rounded) = precisions(name, seed)
    ranks, rights = [], []
    for source, target in (exact, rounded):
        own, there = (score(name, predictions, source) for predictions in (source, target))
        ranks.append(np.searchsorted(np.sort(own), there))
        rights.append(int(source.correct.sum()))
    moved = np.abs(ranks[0] - ranks[1]) > 0
    assert abs(full - half) <= (moved.sum() + abs(rights[0] - rights[1])) / len(moved) + 1e-6


def score(name, predictions, source):
    """Return what the estimator orders images by (n,)."""
    if name == "COTT":
        from shiftcast.estimators import transport

        shares = np.bincount(source.labels, minlength=source.classes) / len(source)
        return transport(predictions.probabilities, shares).gains
    p = predictions.probabilities
    return p.max(axis=1) if name == "ATC-MC" else (p * np.log(p)).sum(axis=1)


@pytest.mark.parametrize("offset", [-0.01, 0.4, 2.0])
@given(seed=st.integers(0, 100), n=st.integers(1, 30), classes=st.integers(2, 20))
def test_rows_that_are_no_probabilities_are_refused_with_the_worst_and_its_sum(offset, seed, n, classes):
    random = np.random.default_rng(seed)
    rows = random.dirichlet(np.ones(classes), n)
    worst = int(random.integers(n))
    rows[worst] *= 1 + offset
    with pytest.raises(InvalidInputError, match=rf"row {worst} sums to {1 + offset:.3g}"):
        Predictions("p", rows, kind="probabilities")


def test_replacing_others_of_a_conforming_set_changes_no_source_only_estimator():
    random = np.random.default_rng(0)
    source, target = (made(random, 200, 5, 2.0, np.float64, 9, name) for name in ("a", "b"))
    plain = {name: one.fit(source).predict(target) for name, one in OFFICIAL.items() if one.track == "T1"}
    bare = replace(source, reference=None, peers=None, siblings=None, features=None)
    for name, answer in plain.items():
        assert OFFICIAL[name].fit(bare).predict(target) == answer
