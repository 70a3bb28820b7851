"""Scores of features are taken of the parts that protocols fit on and predict."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from shiftcast.cards.suite import Suite
from shiftcast.data.sampling import base_index, stratified_halves
from shiftcast.estimators.features import dispersion, frechet_distance
from shiftcast.training.features import FeatureScores
from shiftcast.training.job import set_threads

LABELS = np.arange(1200) % 10
SUITE = Suite.model_validate(
    {
        "name": "s",
        "version": 1,
        "title": "t",
        "description": "d",
        "headline": "NoShift",
        "source": {"train": "train", "test": "test", "seed": 0},
        "targets": [
            {"dataset": "natural"},
            {"dataset": "derived", "transforms": ["fog"], "severities": [1], "images": 1000},
        ],
        "runs": [{"architectures": ["a"], "recipe": "r", "seeds": [0]}],
        "reference": {"members": ["b", "c", "d"], "reserves": [], "recipe": "r", "seed": 100},
    }
)


def outputs(n, seed):
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 6)).astype(np.float32)
    return (features @ random.normal(size=(6, 10))).astype(np.float32), features


@pytest.fixture(scope="module")
def scored():
    sets = {"test": outputs(1200, 0), "natural": outputs(500, 1), "derived/fog-1": outputs(1000, 2)}
    scores = FeatureScores(SUITE, LABELS)
    for name, (logits, features) in sets.items():
        scores.add(name, logits, features)
    return scores.found, sets


def test_parts(scored):
    found, _ = scored
    every = {"all/all", "A/A", "A/B", "B/A", "B/B"}
    assert {name: set(parts) for name, parts in found.items()} == {
        "test": every,
        "natural": {"all/all"},
        "derived/fog-1": every,
    }


def test_scores_are_of_the_part_they_name(scored):
    found, sets = scored
    halves = dict(zip("AB", stratified_halves(LABELS, 0), strict=True))
    target = SUITE.unfolded_targets()[1]
    base = base_index(target, LABELS, 0)
    logits, features = sets["derived/fog-1"]
    rows = np.flatnonzero(np.isin(base, halves["B"]))
    own = found["derived/fog-1"]["A/B"]
    predicted = logits[rows].argmax(axis=1)
    assert own["Dispersion"] == pytest.approx(dispersion(features[rows], predicted, 10), abs=1e-6)
    wanted = frechet_distance(sets["test"][1][halves["A"]], features[rows])
    assert own["FrechetDistance"] == pytest.approx(wanted, abs=1e-6)
    assert found["test"]["all/all"]["FrechetDistance"] == 0


def test_what_a_small_or_flat_set_cannot_have_is_absent():
    scores = FeatureScores(SUITE, LABELS)
    scores.add("test", *outputs(1200, 0))
    logits, features = outputs(300, 1)
    scores.add("natural", np.zeros_like(logits), features)
    assert scores.found["natural"] == {"all/all": {}}


def test_linear_algebra_has_as_many_threads_as_training():
    """The Frechet distance of a set is a singular value decomposition: beside other work, threads that wait
    for each other make it many times slower."""

    def threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    before, count = threads(), set_threads(None)
    try:
        assert set_threads(1) == 1
        assert threads() == {1}
    finally:
        set_threads(count)
        threadpool_limits(max(before), user_api="blas")
