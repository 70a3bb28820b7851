"""Errors that networks share although they share no training image."""

import numpy as np
import pytest

from shiftcast.analysis.confusion import Confusion
from shiftcast.analysis.halves import shared_errors

HALVES = [
    {"architectures": ["mobilevit_xxs"], "recipe": recipe, "seeds": [0, 1]}
    for recipe in ("first-half-8", "second-half-8")
]


@pytest.fixture(scope="module")
def halves(make_world):
    return make_world(runs=HALVES)


def of(confusion, recipe):
    return [run for run in confusion.pool.scored if run.key.recipe == recipe]


def slow_share(confusion, name, chosen, pairs):
    wrong = same = 0
    for first, second in pairs:
        for image in np.flatnonzero(chosen):
            if first.sets[name].true_rank[image] != 0:
                wrong += 1
                same += first.predicted(name)[image] == second.predicted(name)[image]
    return wrong / len(pairs), same / wrong


@pytest.mark.parametrize("name", ["cifar10-test", "emoji"])
@pytest.mark.parametrize("level", ["low", "high"])
def test_shares_are_those_of_a_count(halves, name, level):
    confusion = Confusion(halves.pool)
    found = shared_errors(confusion).set_index(["set", "level", "pairs"])
    scores, home = confusion.scores(name), confusion.scores("cifar10-test")
    chosen = scores <= np.quantile(home, 0.5) if level == "low" else scores > np.quantile(home, 0.9)
    first, second = of(confusion, "first-half-8"), of(confusion, "second-half-8")
    plain = of(confusion, "smoke")
    same = [(a, b) for half in (first, second) for a in half for b in half if a is not b]
    other = [(a, b) for a in first for b in second] + [(a, b) for a in second for b in first]
    network = [(a, b) for a in first + second for b in plain]
    for kind, pairs in (("same half", same), ("other half", other), ("other network", network)):
        row = found.loc[name, level, kind]
        assert (row["errors"], row["share"]) == pytest.approx(slow_share(confusion, name, chosen, pairs))
        assert row["low"] <= row["share"] <= row["high"]
        if kind != "same half":
            difference = row["share"] - found.loc[name, level, "same half"]["share"]
            assert row["difference"] == pytest.approx(difference)


def test_errors_that_come_from_the_images_of_a_half_stay_in_it(halves, monkeypatch):
    """Wrong classes are made to depend on the half alone: shared within it, and by chance across."""
    pool = halves.pool
    truth = pool.labels
    shifts = {"first-half-8": 1, "second-half-8": 2, "smoke": 3}

    def predicted(self, name):
        wrong = self.sets[name].true_rank != 0
        labels = truth if name == "cifar10-test" else pool.labels_of(name)
        return np.where(wrong, (labels + shifts[self.key.recipe]) % 10, labels)

    monkeypatch.setattr(type(pool.scored[0]), "predicted", predicted)
    found = shared_errors(Confusion(pool)).set_index("pairs")
    found = found[found["errors"] > 10]
    assert len(found) >= 9
    assert (found.loc["same half", "share"] > 0.2).all()
    assert (found.loc["other half", "share"] == 0).all()
    assert (found.loc["other half", "difference_high"] < 0).all()


def test_a_suite_without_halves_has_no_rows(world):
    assert shared_errors(Confusion(world.pool)).empty
