"""The board of models against slow loops over single runs."""

import dataclasses
from statistics import fmean, stdev

import pandas as pd
import pytest
from scipy.stats import linregress, norm

from shiftcast.board.build import build_board
from support.scores import without_runs


def shares(scores):
    """Accuracy by (architecture, seed, set)."""
    return {
        (r["architecture"], r["seed"], r["set"]): r["right"] / r["n"]
        for r in scores.accuracies.to_dict("records")
        if not pd.isna(r["right"])
    }


def wilson_loop(share, n):
    """The ends of Wilson's interval: the two roots of (share - p)^2 = z^2 p (1 - p) / n."""
    z2 = norm.ppf(0.975) ** 2
    share = round(share * n) / n
    a, b, c = 1 + z2 / n, -(2 * share + z2 / n), share**2
    root = (b * b - 4 * a * c) ** 0.5
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def without_run(scores, architecture, seed, status):
    """The scores with one run that is not ok."""
    gone = lambda frame: frame[~((frame["architecture"] == architecture) & (frame["seed"] == seed))]  # noqa: E731
    runs = scores.runs.copy()
    runs.loc[(runs["architecture"] == architecture) & (runs["seed"] == seed), "status"] = status
    return dataclasses.replace(
        scores, runs=runs, accuracies=gone(scores.accuracies), table=gone(scores.table)
    )


def without_set(scores, architecture, seed, name):
    """The scores with one run that was not evaluated on one set."""
    frames = {}
    for field, column in (("accuracies", "set"), ("table", "target")):
        frame = getattr(scores, field)
        gone = (frame["architecture"] == architecture) & (frame["seed"] == seed) & (frame[column] == name)
        frames[field] = frame[~gone]
    return dataclasses.replace(scores, **frames)


def model(board, architecture):
    return board.set_index("architecture").loc[architecture]


def test_id_accuracy_its_interval_and_the_seeds_spread(scores):
    row, share = model(build_board(scores).models.overall, "net-c"), shares(scores)
    seeds = [share["net-c", seed, "test-set"] for seed in (0, 1)]
    assert row["id_accuracy"] == pytest.approx(fmean(seeds))
    assert (row["id_low"], row["id_high"]) == pytest.approx(wilson_loop(fmean(seeds), 4000))
    assert row["id_sd"] == pytest.approx(100 * stdev(seeds))
    assert (row["parameters"], row["runs"], row["all_runs"], row["family"]) == (30_000, 2, 2, "NET-C")


def test_group_accuracy_is_the_mean_over_severities(scores):
    groups, share = build_board(scores).models.by_group.set_index(["architecture", "group"]), shares(scores)
    row = groups.loc[("net-d", "fog")]
    seeds = [fmean(share["net-d", seed, f"corrupted/fog-{s}"] for s in (1, 5)) for seed in (0, 1)]
    assert row["accuracy"] == pytest.approx(fmean(seeds))
    assert row["sd"] == pytest.approx(100 * stdev(seeds))
    # The severities show the same 1,000 images: they are no 2,000.
    assert row["n"] == 1000
    assert (row["low"], row["high"]) == pytest.approx(wilson_loop(fmean(seeds), 1000))


def test_effective_robustness_leaves_the_architecture_out(scores):
    groups, share = build_board(scores).models.by_group.set_index(["architecture", "group"]), shares(scores)
    names = [f"net-{letter}" for letter in "abcde"]
    for own in names:
        points = {
            (name, seed): (
                share[name, seed, "test-set"],
                fmean(share[name, seed, f"corrupted/noise-{s}"] for s in (1, 5)),
            )
            for name in names
            for seed in (0, 1)
        }
        others = [pair for (name, _), pair in points.items() if name != own]
        line = linregress([norm.ppf(x) for x, _ in others], [norm.ppf(y) for _, y in others])
        above = [
            100 * (y - norm.cdf(line.slope * norm.ppf(x) + line.intercept))
            for (name, _), (x, y) in points.items()
            if name == own
        ]
        assert groups.loc[(own, "noise"), "robustness"] == pytest.approx(fmean(above))


def bend(scores, architecture):
    """The scores with one architecture of a recipe that is not plain."""
    runs = scores.runs.assign(plain=scores.runs["architecture"] != architecture)
    return dataclasses.replace(scores, runs=runs)


def test_lines_leave_out_recipes_that_are_not_plain(scores):
    before = build_board(scores).models.by_group.set_index(["architecture", "group"])["robustness"]
    after = build_board(bend(scores, "net-e")).models.by_group.set_index(["architecture", "group"])[
        "robustness"
    ]
    own = before.index.get_level_values("architecture") == "net-e"
    assert after[own].to_list() == before[own].to_list()  # its own line never held it
    assert after["net-a", "noise"] != before["net-a", "noise"]
    accuracies = scores.accuracies.copy()
    accuracies.loc[accuracies["architecture"] == "net-e", "right"] //= 2
    fallen = dataclasses.replace(bend(scores, "net-e"), accuracies=accuracies)
    moved = build_board(fallen).models.by_group.set_index(["architecture", "group"])["robustness"]
    assert moved[~own].to_list() == after[~own].to_list()


@pytest.mark.parametrize(("architectures", "blank"), [("abc", True), ("abcd", False)])
def test_effective_robustness_needs_three_other_architectures(make_scores, architectures, blank):
    scores = make_scores(architectures=[f"net-{letter}" for letter in architectures])
    assert build_board(scores).models.by_group["robustness"].isna().all() == blank


def test_prediction_is_the_headlines_mean_over_seeds_and_severities(scores):
    table = scores.table.query(
        "estimator == 'ConfusionPartition' and protocol == 'official'"
        " and architecture == 'net-a' and group == 'fog'"
    )
    row = build_board(scores).models.by_group.set_index(["architecture", "group"]).loc[("net-a", "fog")]
    assert row["predicted"] == pytest.approx(table["predicted"].mean())


def test_a_prediction_that_lacks_a_row_is_blank(scores):
    table = scores.table.copy()
    silent = (table["estimator"] == "ConfusionPartition") & (table["architecture"] == "net-a")
    table.loc[silent & (table["seed"] == 1) & (table["target"] == "corrupted/fog-5"), "abstains"] = True
    groups = build_board(dataclasses.replace(scores, table=table)).models.by_group.set_index(
        ["architecture", "group"]
    )
    assert pd.isna(groups.loc[("net-a", "fog"), "predicted"])
    assert groups.loc[("net-a", "noise"), "predicted"] > 0


def test_models_rank_by_their_mean_over_required_natural_groups(scores):
    board, share = build_board(scores).models.overall, shares(scores)
    expected = {
        name: fmean(share[name, seed, group] for group in ("photos", "sketches") for seed in (0, 1))
        for name in board["architecture"]
    }
    assert board["architecture"].tolist() == sorted(expected, key=expected.get, reverse=True)
    assert board["rank"].tolist() == [1, 2, 3, 4, 5]
    assert board["score"].tolist() == pytest.approx(sorted(expected.values(), reverse=True))
    assert board["low"].isna().all()
    seeds = [fmean(share["net-e", seed, group] for group in ("photos", "sketches")) for seed in (0, 1)]
    assert model(board, "net-e")["sd"] == pytest.approx(100 * stdev(seeds))


def test_one_ranking_group_keeps_its_interval(make_scores):
    scores = make_scores(natural=("photos",), withheld=())
    row, group = (
        model(build_board(scores).models.overall, "net-a"),
        build_board(scores).models.by_group.iloc[0],
    )
    assert (group["architecture"], group["group"]) == ("net-a", "photos")
    assert (row["low"], row["high"]) == (group["low"], group["high"])


def test_without_natural_groups_models_rank_by_synthetic_ones(make_scores):
    board = build_board(make_scores(natural=(), withheld=())).models.overall
    assert board["score"].tolist() == pytest.approx(board["synthetic"].tolist())
    assert board["rank"].tolist() == [1, 2, 3, 4, 5]


def test_equal_scores_share_a_rank_in_order_of_name(scores):
    accuracies = scores.accuracies.copy()
    accuracies.loc[accuracies["set"].isin(["photos", "sketches"]), "right"] = 1500
    board = build_board(dataclasses.replace(scores, accuracies=accuracies)).models.overall
    assert board["rank"].tolist() == [1] * 5
    assert board["architecture"].is_monotonic_increasing


@pytest.mark.parametrize("status", ["missing", "stale: its recipe has changed", "lacks target photos"])
def test_a_model_with_a_run_that_is_not_ok_is_listed_unranked(scores, status):
    board = build_board(without_run(scores, "net-e", 1, status)).models.overall
    row = board.iloc[-1]
    assert row["architecture"] == "net-e"
    assert pd.isna(row["rank"])
    assert row["reason"] == f"seed 1: {status}"
    assert (row["runs"], row["all_runs"]) == (1, 2)
    assert board["rank"].dropna().tolist() == [1, 2, 3, 4]


def test_a_model_without_any_run_is_listed(scores):
    both = without_run(without_run(scores, "net-b", 0, "missing"), "net-b", 1, "missing")
    row = model(build_board(both).models.overall, "net-b")
    assert row["reason"] == "seeds 0, 1: missing"
    assert pd.isna(row["id_accuracy"])


def test_nothing_is_averaged_over_a_target_that_a_run_lacks(scores):
    less = without_set(scores, "net-c", 1, "photos")
    groups = build_board(less).models.by_group.set_index(["architecture", "group"]).index
    assert ("net-c", "photos") not in groups
    assert ("net-c", "sketches") in groups
    row = model(build_board(less).models.overall, "net-c")
    assert pd.isna(row["score"])
    assert pd.isna(row["rank"])
    assert row["reason"] == "lacks required photos"


def test_a_leftover_run_does_not_unrank_a_complete_model(scores):
    extra = scores.runs.iloc[[0]].assign(seed=7, status="not listed in the suite")
    stranger = extra.assign(architecture="other", seed=0)
    board = build_board(
        dataclasses.replace(scores, runs=pd.concat([scores.runs, extra, stranger]))
    ).models.overall
    assert model(board, "net-a")["rank"] == 5
    assert model(board, "other")["reason"] == "seed 0: not listed in the suite"


def test_withheld_targets_show_predictions_only(scores):
    frame = build_board(scores).models.withheld
    assert set(frame["target"]) == {"unseen"}
    assert len(frame) == 5
    row = model(frame, "net-b")
    own = scores.table.query("target == 'unseen' and architecture == 'net-b'")
    mine = own[own["estimator"] == "ConfusionPartition"]
    assert row["predicted"] == pytest.approx(mine["predicted"].mean())
    assert row["low"] == pytest.approx(mine["low"].mean())
    means = own[own["estimator"] != "ConfusionPartition"].groupby("estimator")["predicted"].mean()
    assert (row["lowest"], row["highest"], row["others"]) == pytest.approx((means.min(), means.max(), 5))
    assert "unseen" not in set(build_board(scores).models.by_group["group"])


def test_an_empty_suite_lists_its_models(scores):
    empty = without_runs(scores)
    board = build_board(empty).models.overall
    assert board["rank"].isna().all()
    assert set(board["reason"]) == {"seeds 0, 1: missing"}
    assert build_board(empty).models.withheld.empty
