"""Difficulty of every image: what it is made from, and how sets compare."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from shiftcast.analysis.confusion import Confusion, image_table
from shiftcast.analysis.sets import accuracy_by_bin, describe_sets, histogram, reliability
from shiftcast.difficulty import difficulty


@pytest.fixture(scope="module")
def confusion(world):
    return Confusion(world.pool)


def test_scores_are_those_of_the_whole_ensemble(world, confusion):
    members = [world.pool.reference[name] for name in world.suite.reference.members]
    expected = difficulty(np.stack([run.probabilities("emoji") for run in members]))
    np.testing.assert_array_equal(confusion.scores("emoji"), expected)
    assert confusion.sets[:4] == ["cifar10-test", "cinic10-imagenet", "emoji", "blind-a"]
    assert confusion.natural == ["cinic10-imagenet", "emoji"]


def test_a_tenth_of_the_source_is_of_high_confusion(confusion):
    assert confusion.high("cifar10-test").mean() == pytest.approx(0.1, abs=1e-3)


def test_corrupted_images_are_resampled_with_their_base_image(confusion):
    name = "cifar10-c-regenerated/contrast-5"
    base = confusion.base(name)
    np.testing.assert_array_equal(confusion.groups(name), confusion.groups("cifar10-test")[base])
    assert confusion.base("emoji") is None


def test_clusters_are_resampled_as_one(confusion):
    groups = confusion.groups("emoji")
    assert len(np.unique(groups)) == 60
    np.testing.assert_array_equal(groups, np.arange(300) // 5)


def test_shifted_sets_are_described_as_more_confusing(confusion):
    table = describe_sets(confusion).set_index("set")
    assert table.loc["cifar10-test", "difference"] == 0
    for name in ("cinic10-imagenet", "emoji"):
        row = table.loc[name]
        assert row["difference"] == pytest.approx(
            confusion.scores(name).mean() - confusion.scores("cifar10-test").mean()
        )
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        assert row["above_low"] < row["above"] < row["above_high"]
        assert row["difference_low"] > 0
    assert table.loc["emoji", "clusters"] == 60
    assert table["natural"].to_dict()["cifar10-c-regenerated/contrast-5"] is False


def test_corrupted_sets_are_compared_with_their_own_base_images(confusion):
    name = "cifar10-c-regenerated/contrast-5"
    own = confusion.scores("cifar10-test")[confusion.base(name)]
    row = describe_sets(confusion).set_index("set").loc[name]
    assert row["difference"] == pytest.approx(confusion.scores(name).mean() - own.mean())


def test_pairing_makes_intervals_of_corruptions_narrower_than_independent_ones(confusion):
    name = "cifar10-c-regenerated/contrast-1"
    row = describe_sets(confusion).set_index("set").loc[name]
    scores = confusion.scores(name)
    alone = 2 * 1.96 * scores.std() / np.sqrt(len(scores)) * np.sqrt(2)
    assert row["difference_high"] - row["difference_low"] < alone


def test_histograms_hold_every_image(confusion):
    shares = histogram(confusion).groupby("set")["share"].sum()
    assert set(shares.index) == set(confusion.sets)
    np.testing.assert_allclose(shares, 1)


def test_accuracy_by_bin_sums_to_the_accuracy_of_all_seeds(world, confusion):
    table = accuracy_by_bin(confusion)
    assert "blind-a" not in set(table["set"])
    own = table[(table["set"] == "emoji") & (table["architecture"] == "test_vit")]
    runs = [run for run in world.pool.scored if run.key.architecture == "test_vit"]
    assert own["n"].sum() == 300 * len(runs)
    assert own["right"].sum() == sum(int((run.sets["emoji"].true_rank == 0).sum()) for run in runs)
    third = own[own["bin"] == 3].iloc[0]
    inside = (confusion.scores("emoji") >= 0.3) & (confusion.scores("emoji") < 0.4)
    assert third["n"] == inside.sum() * len(runs)


def test_reliability_is_the_mean_over_splits_in_which_each_member_takes_part(world, confusion):
    table = reliability(confusion).set_index("set")
    ensemble = confusion.ensemble("emoji")
    expected = [
        spearmanr(
            difficulty(ensemble[[(start + i) % 6 for i in range(3)]]),
            difficulty(ensemble[[(start + i) % 6 for i in range(3, 6)]]),
        ).statistic
        for start in range(3)
    ]
    assert table.loc["emoji", "spearman"] == pytest.approx(np.mean(expected))


def test_the_image_table_names_base_images_and_percentiles(confusion):
    table = image_table(confusion, ["entropy", "variation_ratio"])
    assert list(table.columns) == [
        "set",
        "image",
        "entropy",
        "variation_ratio",
        "percentile",
        "ensemble_class",
    ]
    own = table[table["set"] == "cifar10-c-regenerated/contrast-1"]
    np.testing.assert_array_equal(own["image"], confusion.base("cifar10-c-regenerated/contrast-1"))
    known = confusion.scores("cifar10-test")
    first = table[table["set"] == "emoji"].iloc[0]
    assert first["percentile"] == pytest.approx(100 * (known < first["entropy"]).mean(), abs=0.006)
