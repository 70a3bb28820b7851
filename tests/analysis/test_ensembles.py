"""Other ensembles in the place of the reference: the same figures as when they are the reference."""

import pytest

from shiftcast.analysis.ensembles import ensemble_study
from shiftcast.analysis.sensitivity import sensitivity

MEMBERS = ("fasternet_t0", "edgenext_xx_small", "lcnet_050", "test_byobnet", "regnetx_002", "starnet_s050")
FIGURES = ["natural_mae", "natural_bias", "synthetic_mae", "synthetic_bias"]
SAME = {
    "name": "same",
    "title": "The reference ensemble itself",
    "members": [{"architectures": list(MEMBERS), "recipe": "smoke", "seeds": [100]}],
}
SEEDS = {
    "name": "seeds",
    "title": "Two of one network",
    "members": [{"architectures": ["test_vit"], "recipe": "smoke", "seeds": [0, 1]}],
}


@pytest.fixture(scope="module")
def same(make_world):
    return make_world(members=MEMBERS, ensembles=[SAME])


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_the_reference_ensemble_studied_gives_what_sensitivity_says(same, size):
    found = ensemble_study(same.pool).query("part == 'all'").set_index("size")
    expected = sensitivity(same.pool).set_index(["aspect", "variant"]).loc["members", str(size)]
    assert found.loc[size, FIGURES].tolist() == pytest.approx(expected[FIGURES].tolist(), abs=1e-9)
    assert found["judged"].unique().tolist() == [10]


def test_halves_are_parted_by_accuracy(same):
    found = ensemble_study(same.pool).set_index("part")
    accuracies = sorted(same.pool.reference[name].sets["cifar10-test"].accuracy for name in MEMBERS)
    assert found.loc["more accurate", "accuracy"] == pytest.approx(sum(accuracies[3:]) / 3)
    assert found.loc["less accurate", "accuracy"] == pytest.approx(sum(accuracies[:3]) / 3)
    assert found.loc[["more accurate", "less accurate"], "size"].tolist() == [3, 3]


def test_all_ensembles_judge_the_runs_of_families_in_none(make_world):
    pool = make_world(members=MEMBERS, ensembles=[SAME, SEEDS]).pool
    found = ensemble_study(pool)
    assert found["judged"].unique().tolist() == [2 * (5 - 1)]
    assert found.groupby("ensemble")["size"].max().to_dict() == {"same": 6, "seeds": 2}
    two = [run.predicted("cifar10-test") for run in pool.scored if run.key.architecture == "test_vit"]
    own = found[found["ensemble"] == "seeds"].iloc[0]
    assert own["disagreement"] == pytest.approx((two[0] != two[1]).mean())


def test_an_ensemble_without_all_members_has_no_rows(make_world):
    pool = make_world(members=MEMBERS, ensembles=[SAME, SEEDS]).pool
    pool.scored = [run for run in pool.scored if str(run.key) != "test_vit/smoke/seed-1"]
    assert ensemble_study(pool)["ensemble"].unique().tolist() == ["same"]


def test_a_suite_without_others_has_no_rows(world):
    assert ensemble_study(world.pool).empty
