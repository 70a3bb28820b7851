"""The claims of the source's abstract: each figure against a slow loop, each interval against a case."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, norm

from shiftcast.analysis import claims
from shiftcast.analysis.claims import Resampled, _holds_zero, drop_shares, paired_errors, predicted_lines
from shiftcast.analysis.confusion import Confusion
from shiftcast.board.confusion import confusion_tables


@pytest.fixture(scope="module")
def resampled(world):
    return Resampled(Confusion(world.pool))


def accuracies(world, name):
    return np.array([run.sets[name].accuracy for run in world.pool.scored])


def test_official_predictions_come_in_the_order_of_runs(world, table, predicted):
    for position, run in enumerate(world.pool.scored):
        row = table[
            (table["estimator"] == "IM")
            & (table["target"] == "emoji")
            & (table["architecture"] == run.key.architecture)
            & (table["seed"] == run.key.seed)
        ]
        assert predicted["IM", "emoji"][position] == row["predicted"].item()
    assert ("IM", "nothing") not in predicted


def test_lines_are_those_of_scipy(world, resampled, predicted):
    table = predicted_lines(resampled, predicted).set_index("set")
    x = norm.ppf(accuracies(world, "cifar10-test"))
    actual = linregress(x, norm.ppf(accuracies(world, "emoji")))
    mine = linregress(x, norm.ppf(predicted["ConfusionPartition", "emoji"]))
    row = table.loc["emoji"]
    assert (row["slope"], row["slope_predicted"]) == pytest.approx((actual.slope, mine.slope))
    read = [norm.cdf(line.slope * x.mean() + line.intercept) for line in (actual, mine)]
    assert (row["middle"], row["middle_predicted"]) == pytest.approx(read)
    assert row["r2"] == pytest.approx(actual.rvalue**2)
    home = [run.sets["cifar10-test"].accuracy for run in world.pool.scored]
    assert (row["lowest"], row["highest"]) == pytest.approx((min(home), max(home)))
    assert row["slope_low"] < mine.slope - actual.slope < row["slope_high"]
    assert row["middle_low"] < read[1] - read[0] < row["middle_high"]
    assert (row["runs"], row["architectures"]) == (10, 5)


def test_lines_go_through_plain_recipes_alone(world, resampled, predicted, monkeypatch):
    last = world.pool.scored[-1]
    monkeypatch.setattr(world.pool, "is_plain", lambda run: run is not last)
    table = predicted_lines(Resampled(Confusion(world.pool)), predicted).set_index("set")
    keep = np.array([run is not last for run in world.pool.scored])
    x, y = (norm.ppf(accuracies(world, name)[keep]) for name in ("cifar10-test", "emoji"))
    row = table.loc["emoji"]
    slope, _ = np.polyfit(x, y, 1, w=np.sqrt(resampled.equal[keep]))
    assert (row["slope"], row["r2"]) == pytest.approx((slope, linregress(x, y).rvalue ** 2))
    assert (row["runs"], row["architectures"]) == (9, 5)


def test_perfect_predictions_agree_with_the_line_and_shifted_ones_do_not(world, resampled):
    truth = accuracies(world, "emoji")
    right = predicted_lines(resampled, {("ConfusionPartition", "emoji"): truth})
    wrong = predicted_lines(resampled, {("ConfusionPartition", "emoji"): truth + 0.15})
    assert bool(right["agrees"].item())
    assert not bool(wrong["agrees"].item())


def test_the_joint_region_covers_what_it_says():
    random = np.random.RandomState(0)
    covariance = np.array([[1.0, -0.9], [-0.9, 1.0]])
    held = 0
    for _ in range(400):
        difference = random.multivariate_normal([0, 0], covariance)
        held += _holds_zero(difference + random.multivariate_normal([0, 0], covariance, size=300), difference)
    assert 0.91 < held / 400 < 0.98


def test_four_architectures_draw_no_line_and_intervals_are_over_images(make_world):
    world = make_world(scored=("test_resnet", "test_vit", "test_convnext", "test_nfnet"))
    resampled = Resampled(Confusion(world.pool))
    assert predicted_lines(resampled, {("ConfusionPartition", "emoji"): accuracies(world, "emoji")}).empty
    assert (resampled.weights == 0.5).all()  # two seeds a model


def test_draws_of_one_or_two_plain_architectures_draw_no_line(world, resampled, predicted, monkeypatch):
    """Only where three or more of those that lines go through are drawn is there a slope to speak of."""
    seen = []

    def watched(drawn, difference):
        seen.append(np.isfinite(drawn).all(axis=1))
        return True

    monkeypatch.setattr(claims, "_holds_zero", watched)
    drawn = np.stack([resampled.weights[:, 2 * model] > 0 for model in range(5)], axis=1)
    predicted_lines(resampled, predicted)
    np.testing.assert_array_equal(seen[0], drawn.sum(axis=1) >= 3)
    bent = world.pool.scored[0].key.architecture
    monkeypatch.setattr(world.pool, "is_plain", lambda run: run.key.architecture != bent)
    monkeypatch.setattr(claims, "FEWEST_ARCHITECTURES", 4)
    fewer = Resampled(Confusion(world.pool))
    seen.clear()
    predicted_lines(fewer, predicted)
    drawn = np.stack([fewer.weights[:, 2 * model] > 0 for model in range(1, 5)], axis=1)
    np.testing.assert_array_equal(seen[0], drawn.sum(axis=1) >= 3)
    assert not seen[0].all()


def test_a_model_with_one_seed_counts_as_much_as_one_with_two(make_world):
    world = make_world()
    world.pool.scored.pop()
    resampled = Resampled(Confusion(world.pool))
    assert resampled.equal.tolist() == [0.5] * 8 + [1.0]


def test_where_accuracy_rises_there_is_no_drop_to_share_out(world, resampled, monkeypatch):
    confusion = Confusion(world.pool)
    right = confusion.right
    monkeypatch.setattr(confusion, "right", lambda name: np.maximum(right(name), name == "emoji"))
    row = drop_shares(Resampled(confusion)).set_index("set").loc["emoji"]
    assert row["drop"] < 0
    assert np.isnan([row["share"], row["low"], row["ratio"], row["centred"], row["uninformative"]]).all()
    assert not row["holds"]


def test_an_uninformative_score_gives_the_share_that_is_stated(world, resampled, monkeypatch):
    """Where accuracy is the same at every confusion, the share is the stated one and centred is the mass."""
    confusion = Confusion(world.pool)
    random = np.random.RandomState(0)
    answers = {
        name: np.repeat(random.permutation(np.arange(n) < share * n)[:, None], 10, axis=1).astype(float)
        for name, n, share in (
            ("cifar10-test", 1000, 0.8),
            ("emoji", 300, 0.5),
            ("cinic10-imagenet", 600, 0.7),
        )
    }
    for name, right in answers.items():  # as right inside the high part as outside
        high = confusion.high(name)
        for part in (high, ~high):
            count = part.sum()
            right[part] = (np.arange(count) < round(right.mean() * count))[:, None]
    monkeypatch.setattr(confusion, "right", answers.get)
    row = drop_shares(Resampled(confusion)).set_index("set").loc["emoji"]
    assert row["share"] == pytest.approx(row["uninformative"], abs=0.01)
    assert row["centred"] == pytest.approx(row["mass"], abs=0.01)


def test_pairs_are_differences_of_mean_absolute_errors(world, resampled, predicted):
    table = paired_errors(resampled, predicted)
    row = table[(table["set"] == "emoji") & (table["rival"] == "NoShift")].iloc[0]
    truth = accuracies(world, "emoji")
    mine = 100 * np.abs(predicted["ConfusionPartition", "emoji"] - truth).mean()
    theirs = 100 * np.abs(predicted["NoShift", "emoji"] - truth).mean()
    assert (row["mae"], row["rival_mae"], row["difference"]) == pytest.approx((mine, theirs, mine - theirs))
    assert row["low"] < row["difference"] < row["high"]


def test_a_rival_with_equal_predictions_differs_by_nothing(world, resampled, predicted):
    same = {
        ("ConfusionPartition", "emoji"): predicted["IM", "emoji"],
        ("IM", "emoji"): predicted["IM", "emoji"],
    }
    row = paired_errors(resampled, same).iloc[0]
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


def test_the_drop_is_shared_out_as_a_loop_does(world, resampled):
    confusion = resampled.confusion
    row = drop_shares(resampled).set_index("set").loc["emoji"]
    lost, drops, centred = [], [], []
    for run in world.pool.scored:
        right, right_ood = (run.sets[name].true_rank == 0 for name in ("cifar10-test", "emoji"))
        high, high_ood = confusion.high("cifar10-test"), confusion.high("emoji")
        lost.append((~right_ood & high_ood).mean() - (~right & high).mean())
        drops.append(right.mean() - right_ood.mean())
        w, w_ood, a, a_ood = high.mean(), high_ood.mean(), right[high].mean(), right_ood[high_ood].mean()
        centred.append((w - w_ood) * (a - right.mean()) + w_ood * (a - a_ood))
    assert row["drop"] == pytest.approx(np.mean(drops))
    assert row["share"] == pytest.approx(np.mean(lost) / np.mean(drops))
    assert row["mass"] == pytest.approx(confusion.high("emoji").mean())
    assert row["centred"] == pytest.approx(np.mean(centred) / np.mean(drops))
    assert row["low"] < row["share"] < row["high"]
    assert row["drop_low"] < row["drop"] < row["drop_high"]
    assert row["holds"] == (row["low"] > 0.5 and row["ratio"] > 1)


def test_the_report_needs_every_member(world, table, make_world, tmp_path):
    report = confusion_tables(world.pool, table, tmp_path)
    assert report is not None
    assert report.human is None
    assert report.human_note == "not computed for this suite"
    partial = make_world()
    del partial.pool.reference["lcnet_050"]
    assert confusion_tables(partial.pool, table, tmp_path) is None


def test_a_suite_without_natural_shifts_gives_empty_tables(make_world, tmp_path):
    world = make_world(targets=())
    nothing = pd.DataFrame(
        columns=[
            "protocol",
            "estimator",
            "target",
            "architecture",
            "recipe",
            "seed",
            "predicted",
            "track",
            "abstains",
        ]
    )
    report = confusion_tables(world.pool, nothing, tmp_path)
    assert report is not None
    assert report.lines.empty
    assert report.pairs.empty
    assert report.drop.empty
    assert report.sensitivity["natural_mae"].isna().all()
