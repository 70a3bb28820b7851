"""Estimators' errors in the bootstrap: against slow loops, and what must and must not be told apart."""

import numpy as np
import pytest

from shiftcast.analysis.claims import Resampled
from shiftcast.analysis.confusion import Confusion
from shiftcast.analysis.ranking import board_draws, ranking

GROUPS = {"cinic10-imagenet": ["cinic10-imagenet"], "emoji": ["emoji"]}


@pytest.fixture(scope="module")
def resampled(world):
    return Resampled(Confusion(world.pool), 600)


def actual(world, name):
    return np.array([run.sets[name].accuracy for run in world.pool.scored])


def test_observed_errors_are_those_of_the_board(world, resampled, predicted):
    names = ["NoShift", "IM", "ConfusionPartition"]
    found = board_draws(resampled, GROUPS, predicted, names)
    assert found.shape == (601, 3)
    for place, name in enumerate(names):
        errors = [np.abs(predicted[name, target] - actual(world, target)).mean() for target in GROUPS]
        assert found[-1, place] == pytest.approx(100 * np.mean(errors))
        assert found[:-1, place].mean() == pytest.approx(found[-1, place])


def test_a_draw_by_hand(world, resampled, predicted):
    found = board_draws(resampled, GROUPS, predicted, ["IM"])
    raw = []
    for draw in range(resampled.draws):
        weights = resampled.weights[draw]
        errors = [
            (weights * np.abs(predicted["IM", target] - resampled.accuracies(target)[draw])).sum()
            / weights.sum()
            for target in GROUPS
        ]
        raw.append(100 * np.mean(errors))
    moved = np.array(raw) - np.mean(raw) + found[-1, 0]
    np.testing.assert_allclose(found[:-1, 0], moved)


def test_shifts_are_drawn_anew_where_there_are_enough(world, resampled, predicted):
    many = {f"group {k}": ["emoji"] for k in range(6)}
    same = board_draws(resampled, {"one": ["emoji"]}, predicted, ["IM"])
    np.testing.assert_allclose(
        board_draws(resampled, many, predicted, ["IM"]), same
    )  # all alike: nothing moves
    mixed = {**{f"a{k}": ["emoji"] for k in range(3)}, **{f"b{k}": ["cinic10-imagenet"] for k in range(3)}}
    few = {"a": ["emoji"], "b": ["cinic10-imagenet"]}
    wide, narrow = (board_draws(resampled, groups, predicted, ["NoShift"]) for groups in (mixed, few))
    assert wide[-1] == pytest.approx(narrow[-1])
    assert wide[:-1].std() > 1.2 * narrow[:-1].std()


def test_what_is_far_better_is_told_apart_and_a_copy_is_not(world, resampled, predicted):
    made = dict(predicted)
    for target in GROUPS:
        made["Oracle", target] = actual(world, target)
        made["Twin", target] = predicted["NoShift", target]
    tracks = {"Oracle": "T1", "NoShift": "T1", "Twin": "T1", "ConfusionPartition": "T2", "Absent": "T2"}
    frame = ranking(resampled, GROUPS, made, tracks, "ConfusionPartition").set_index("estimator")
    assert list(frame.index) == ["Oracle", "NoShift", "Twin", "ConfusionPartition"]
    assert frame.loc["Oracle", ["rank_low", "rank_high"]].tolist() == [1, 1]
    for name in ("NoShift", "Twin"):
        assert frame.loc[name, ["rank_low", "rank_high"]].tolist() == [2, 3]
    assert frame.loc["ConfusionPartition", ["rank_low", "rank_high"]].tolist() == [1, 1]
    assert np.isnan(frame.loc["ConfusionPartition", "p"])
    assert frame.loc["Oracle", "difference"] > 0
    assert frame.loc["Oracle", "low"] > 0
    assert frame.loc["Oracle", "p"] < 0.05
    assert frame.loc["NoShift", "difference"] == pytest.approx(frame.loc["Twin", "difference"])


def test_without_shifts_nothing_is_ranked(resampled, predicted):
    assert ranking(resampled, {}, predicted, {"IM": "T1"}, "IM").empty
