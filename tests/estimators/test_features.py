"""Scores of features against formulas written out, and the estimators that map them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators.features import (
    Dispersion,
    FrechetDistance,
    FrechetSample,
    dispersion,
    frechet_distance,
)
from shiftcast.testing import make_predictions

RANDOM = np.random.default_rng(0)


def gaussian(n, d, shift=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def test_dispersion_is_the_formula():
    features, predicted = gaussian(60, 5), RANDOM.integers(0, 4, 60)
    total = 0.0
    for k in range(4):
        own = features[predicted == k]
        total += len(own) / 60 * ((own.mean(axis=0) - features.mean(axis=0)) ** 2).sum()
    assert dispersion(features, predicted, 4) == pytest.approx(np.log(total / 3), abs=1e-12)


def test_dispersion_counts_predicted_classes_alone_but_divides_by_all():
    features, predicted = gaussian(60, 5), RANDOM.integers(0, 4, 60)
    assert dispersion(features, predicted, 7) == pytest.approx(
        dispersion(features, predicted, 4) - np.log(2), abs=1e-12
    )


@pytest.mark.parametrize("predicted", [np.zeros(20, int), np.arange(20) % 2])
def test_dispersion_of_one_place_is_refused(predicted):
    features = gaussian(20, 3) if predicted.max() == 0 else np.ones((20, 3))
    with pytest.raises(RequirementError, match="Dispersion: needs images put into two classes"):
        dispersion(features, predicted, 10)


@pytest.mark.parametrize("d", [3, 40])
def test_frechet_distance_is_the_formula(d):
    source, target = gaussian(30, d), gaussian(30, d, 0.5, 1.5, seed=1)
    s, t = np.cov(source.T), np.cov(target.T)
    root = np.trace(np.real(sqrtm(s @ t)))
    wanted = ((source.mean(0) - target.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * root
    # every draw holds all the images
    assert frechet_distance(source, target, size=30, draws=2) == pytest.approx(wanted, rel=1e-5)


def test_frechet_distance_of_a_set_to_itself_is_nothing():
    source = gaussian(500, 8)
    assert frechet_distance(source, source, size=100) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_ignores_order_and_repetition():
    source, target = gaussian(300, 6), gaussian(250, 6, 0.3, seed=1)
    plain = frechet_distance(source, target, size=100)
    assert frechet_distance(source, target[::-1], size=100) == plain
    assert frechet_distance(source, np.tile(target, (3, 1)), size=100) == plain


def test_small_samples_lie_farther_apart_which_is_why_one_size_is_used():
    source, target = gaussian(2000, 20), gaussian(2000, 20, seed=1)
    assert frechet_distance(source, target, size=50) > 2 * frechet_distance(source, target, size=400)


def test_draws_are_averaged():
    source, target = gaussian(300, 4), gaussian(300, 4, 0.2, seed=1)
    single = [frechet_distance(source, target, 50, draws) for draws in (1, 10)]
    assert single[0] != single[1]
    assert FrechetSample(source, 50, 10).distance(FrechetSample(target, 50, 10)) == single[1]


def test_too_few_images_are_refused():
    with pytest.raises(RequirementError, match="at least 400 different images in each set, got 20"):
        FrechetSample(gaussian(20, 3))
    with pytest.raises(InvalidInputError, match="3 and 4 columns"):
        frechet_distance(gaussian(20, 3), gaussian(20, 4), 10)


@pytest.mark.parametrize("kind", [Dispersion, FrechetDistance])
def test_numbers_computed_elsewhere_give_the_same_answer(kind):
    source = make_predictions(600, seed=1, name="source")
    target = make_predictions(500, seed=2, shift=0.8, name="target")
    others = [
        make_predictions(500, seed=3 + i, shift=i / 4, name=f"fog-{i}", group="fog" if i % 2 else "snow")
        for i in range(5)
    ]
    given = kind().fit(source, others)
    wanted = given.predict(target)

    def numbers(predictions):
        from dataclasses import replace

        score = given.score(predictions)
        return replace(predictions, features=None).with_feature_scores({kind.__name__: score})

    fitted = kind().fit(numbers(source), [numbers(one) for one in others])
    assert fitted.predict(numbers(target)) == wanted
    lacking = numbers(target).with_feature_scores({"Other": 1.0})
    with pytest.raises(RequirementError, match=f"{kind.__name__}: needs features"):
        fitted.predict(lacking)


def test_a_part_of_a_set_does_not_keep_the_numbers_of_the_whole():
    whole = make_predictions(50).with_feature_scores({"Dispersion": 1.0})
    assert whole.select(np.arange(10)).feature_scores is None


def test_a_smaller_target_is_compared_with_samples_of_its_own_size():
    source = make_predictions(500, seed=1, name="source")
    others = [
        make_predictions(500, seed=3 + i, shift=i / 3, name=f"fog-{i}", group=f"g{i}") for i in range(5)
    ]
    target = make_predictions(60, seed=2, shift=0.5, name="target")
    small = FrechetDistance(sample=60).fit(source, others).predict(target)
    assert FrechetDistance().fit(source, others).predict(target) == small


@pytest.mark.parametrize("arguments", [{"sample": 1}, {"draws": 0}, {"sample": 2.5}])
def test_refused_arguments(arguments):
    source = make_predictions(50)
    other = make_predictions(50, seed=1, name="fog", group="fog")
    with pytest.raises(
        InvalidInputError, match=f"FrechetDistance: {next(iter(arguments))} must be an integer"
    ):
        FrechetDistance(**arguments).fit(source, [other])
