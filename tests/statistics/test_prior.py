"""Class shares by expectation maximisation, against the plain iteration and a general optimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize

from shiftcast.statistics import prior_by_em


def slow(probabilities, source, steps=100_000):
    """Saerens et al. (2002), equation (2.9), as it is printed."""
    shares = source.copy()
    for _ in range(steps):
        sums = np.zeros_like(shares)
        weighted = probabilities * shares / source
        for row in weighted:
            sums += row / row.sum()
        moved = sums / len(probabilities)
        if np.abs(moved - shares).max() < 1e-13:
            break
        shares = moved
    return shares


def mixture(rng, shares, n, spread=1.5):
    """True posteriors under even shares of Gaussian classes at the corners, and the labels."""
    classes = len(shares)
    labels = rng.choice(classes, size=n, p=shares)
    values = spread * np.eye(classes)[labels] + rng.normal(size=(n, classes))
    odds = np.exp(spread * values)
    return odds / odds.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_shares_are_those_of_the_slow_iteration_and_of_an_optimiser(classes):
    rng = np.random.default_rng(classes)
    source = rng.dirichlet(np.full(classes, 5.0))
    probabilities = rng.dirichlet(np.ones(classes), size=60)
    found = prior_by_em(probabilities, source)
    assert found == pytest.approx(slow(probabilities, source), abs=1e-5)

    def loss(free):
        q = np.exp(free - free.max())
        return -np.log(probabilities / source @ (q / q.sum())).mean()

    best = minimize(loss, np.zeros(classes), method="BFGS", options={"gtol": 1e-9})
    assert -np.log(probabilities / source @ found).mean() <= best.fun + 1e-9


def test_true_posteriors_give_the_shares_of_the_labels():
    rng = np.random.default_rng(0)
    shares = np.array([0.55, 0.25, 0.1, 0.1, 0.0])
    probabilities, _ = mixture(rng, shares, 40_000)
    assert prior_by_em(probabilities, np.full(5, 0.2)) == pytest.approx(shares, abs=0.015)
    assert np.abs(probabilities.mean(axis=0) - shares).max() > 0.1  # the plain mean does not


def test_a_set_whose_mean_is_the_source_shares_keeps_them():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(4, 0.3), size=500)
    mean = probabilities.mean(axis=0)
    assert prior_by_em(probabilities, mean) == pytest.approx(mean, abs=1e-7)


def test_sure_answers_give_their_shares_and_a_class_that_the_source_lacks_keeps_none():
    probabilities = np.repeat(np.eye(4)[:3], [1, 2, 5], axis=0)
    assert prior_by_em(probabilities, np.array([0.4, 0.3, 0.3, 0.0])) == pytest.approx(
        [1 / 8, 2 / 8, 5 / 8, 0]
    )
    probabilities = np.full((3, 4), 0.25)
    assert prior_by_em(probabilities, np.array([0.4, 0.3, 0.3, 0.0]))[3] == 0


def test_one_image_and_many_classes_work():
    one = prior_by_em(np.array([[0.6, 0.4]]), np.array([0.5, 0.5]))
    assert one == pytest.approx([1, 0], abs=1e-4)
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(1000))
    probabilities, labels = mixture(rng, shares, 5000, spread=4.0)
    found = prior_by_em(probabilities, np.full(1000, 1e-3))
    assert found.sum() == pytest.approx(1)
    assert np.abs(found - np.bincount(labels, minlength=1000) / 5000).max() < 2e-3
