"""Parts of the target agree with the whole: predicted classes, slices, their intervals, their labels."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.chances import Chances, calibrate, shifted
from shiftcast.estimate.inputs import OwnSet
from shiftcast.estimate.parts import by_predicted_class, by_slice, class_spread, sizes_note
from shiftcast.predictions import Predictions
from shiftcast.statistics import wilson
from shiftcast.util.arrays import softmax

NAMES = ("cat", "dog", "eel", "fox", "ant")


def draw(n, seed, shares=None, signal=2.0, classes=5, factor=1.0):
    """Images of classes in given shares whose posterior, under even shares, is softmax(logits / factor)."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, size=n, p=shares)
    values = signal * np.eye(classes)[labels] + random.normal(size=(n, classes))
    return Predictions(f"draw {seed}", factor * signal * values, kind="logits", labels=labels)


def answer(accuracy, low=None, high=None):
    low, high = (accuracy if end is None else end for end in (low, high))
    return {"accuracy": accuracy, "low": low, "high": high, "level": 0.8}


def chances(source, target, *whole):
    return Chances(calibrate(source), target, answer(*whole))


SOURCE, TARGET = draw(2000, 1), draw(1500, 2, signal=1.4)


def weighted(rows):
    told = [row for row in rows if "accuracy" in row]
    return sum(row["images"] * row["accuracy"] for row in told) / sum(row["images"] for row in told)


@pytest.mark.parametrize("whole", [0.05, 0.35, 0.62, 0.8, 0.97])
def test_parts_of_any_kind_have_the_whole_as_their_mean(whole):
    moved = chances(SOURCE, TARGET, whole)
    site = OwnSet(TARGET, columns=pd.DataFrame({"site": np.arange(1500) % 7 // 2}))
    for rows in (
        by_predicted_class(SOURCE, OwnSet(TARGET), NAMES, moved),
        by_slice(OwnSet(SOURCE), site, "site", moved),
    ):
        assert weighted(rows) == pytest.approx(whole, abs=2e-6)
        assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-5)
        assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_a_class_that_is_predicted_too_often_carries_the_drop():
    """A third of all images are put into class 0 whatever they show, as under some blur; shares stay even."""
    source, target = draw(3000, 3), draw(3000, 4)
    logits, random = target.logits.copy(), np.random.default_rng(0)
    lost = random.random(3000) < 0.35
    logits[lost] = 2 * random.normal(size=(lost.sum(), 5))
    logits[lost, 0] += 7
    target = Predictions("blurred", logits, kind="logits", labels=target.labels)
    rows = by_predicted_class(source, OwnSet(target), (), chances(source, target, target.accuracy))
    assert rows[0]["actual"] < 0.55 < min(row["actual"] for row in rows[1:])
    assert rows[0]["accuracy"] == pytest.approx(rows[0]["actual"], abs=0.1)
    assert rows[0]["share"] > rows[0]["source_share"] + 0.15
    for row in rows[1:]:
        assert row["accuracy"] == pytest.approx(row["actual"], abs=0.1)


def test_other_class_shares_raise_the_classes_that_became_common():
    """Label shift alone: what is right of each predicted class follows from Bayes' theorem."""
    source = draw(4000, 5, signal=1.2)
    target = draw(4000, 6, shares=[0.7, 0.1, 0.1, 0.05, 0.05], signal=1.2)
    moved = chances(source, target, target.accuracy)
    rows = by_predicted_class(source, OwnSet(target), NAMES, moved)
    assert moved.class_mix_distance == pytest.approx(0.5, abs=0.05)
    assert rows[0]["actual"] > rows[0]["source_accuracy"] + 0.15
    for row in rows:
        assert row["accuracy"] == pytest.approx(row["actual"], abs=0.1)
        assert row["low"] <= row["actual"] <= row["high"]


def test_calibration_finds_factor_and_shares():
    source = draw(6000, 7, shares=[0.4, 0.3, 0.1, 0.1, 0.1], factor=3.0)
    found = calibrate(source)
    fresh = draw(6000, 8, shares=[0.4, 0.3, 0.1, 0.1, 0.1], factor=3.0)
    probabilities = found.probabilities(fresh)
    assert found.temperature == pytest.approx(3.0, abs=0.2)
    assert found.bias[0] - found.bias[4] == pytest.approx(np.log(4), abs=0.2)
    assert np.abs(probabilities.mean(axis=0) - [0.4, 0.3, 0.1, 0.1, 0.1]).max() < 0.02
    truth = softmax(fresh.logits / 3 + np.log([0.4, 0.3, 0.1, 0.1, 0.1]))
    assert np.abs(probabilities - truth).mean() < 0.01
    assert probabilities.min() > 0


def test_a_source_without_errors_gives_no_certainty():
    source = Predictions(
        "right", 50 * np.eye(4)[np.arange(200) % 4], kind="logits", labels=np.arange(200) % 4
    )
    assert calibrate(source).probabilities(source).max() <= 1 - 0.7 / 202
    rows = by_predicted_class(source, OwnSet(source), (), chances(source, source, 0.88, 0.7, 0.95))
    assert all(row["accuracy"] == pytest.approx(0.88, abs=1e-5) for row in rows)


def test_shifted_chances_keep_their_order_and_reach_the_mean():
    start = np.array([0.2, 0.5, 0.9, 1.0])
    moved = shifted(start, 0.4)
    assert moved.mean() == pytest.approx(0.4)
    assert (np.diff(moved) > 0).all()
    assert np.ptp(logit(moved[:3]) - logit(start[:3])) < 1e-9


def test_the_interval_joins_the_wholes_the_parts_and_sampling():
    """By hand: arms on log-odds in quadrature, spread shrinking with the share of the whole."""
    moved = chances(SOURCE, TARGET, 0.6, 0.5, 0.75)
    (row,) = by_slice(
        OwnSet(SOURCE), OwnSet(TARGET, columns=pd.DataFrame({"all": ["x"] * 1500})), "all", moved
    )
    noise = 1.2815516 / np.sqrt(1500 * 901 / 1502 * (1 - 901 / 1502))
    low = expit(logit(0.6) - np.hypot(noise, logit(0.6) - logit(0.5)))
    high = expit(logit(0.6) + np.hypot(noise, logit(0.75) - logit(0.6)))
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-5)
    half = OwnSet(TARGET, columns=pd.DataFrame({"half": np.arange(1500) % 2}))
    wider = by_slice(OwnSet(SOURCE), half, "half", moved)
    assert all(one["high"] - one["low"] > high - low + 0.03 for one in wider)


def test_intervals_are_never_narrower_than_sampling():
    for size in (25, 40, 400):
        part = TARGET.select(np.arange(size))
        cells = pd.DataFrame({"all": ["x"] * size})
        (row,) = by_slice(OwnSet(SOURCE), OwnSet(part, columns=cells), "all", chances(SOURCE, part, 0.6))
        low, high = wilson(round(0.6 * size), size, 0.8)
        assert row["low"] <= low + 1e-6
        assert row["high"] >= high - 1e-6


def test_slices_hold_their_accuracy_in_four_of_five_cases():
    """Slices differ by their difficulty, which their outputs show in part."""
    random, held = np.random.default_rng(3), []
    for seed in range(40):
        parts = [draw(200, 100 + 5 * seed + k, signal=2 * np.exp(0.2 * random.normal())) for k in range(5)]
        logits = np.concatenate([one.logits for one in parts])
        labels = np.concatenate([one.labels for one in parts])
        target = Predictions("mixed", logits, kind="logits", labels=labels)
        cells = pd.DataFrame({"site": np.repeat(np.arange(5), 200)})
        moved = chances(SOURCE, target, target.accuracy)
        rows = by_slice(OwnSet(SOURCE), OwnSet(target, columns=cells), "site", moved)
        held += [row["low"] <= row["actual"] <= row["high"] for row in rows]
    assert 0.78 <= np.mean(held) <= 1.0


def test_small_parts_have_an_interval_alone_and_one_row_together():
    cells = np.array(["big"] * 1460 + ["a"] * 19 + ["b"] * 15 + ["c"] * 6)
    site = OwnSet(TARGET, columns=pd.DataFrame({"site": cells}))
    rows = by_slice(OwnSet(SOURCE), site, "site", chances(SOURCE, TARGET, 0.55, 0.5, 0.6))
    assert [row["slice"] for row in rows] == ["big", "a", "b", "c", "(3 small slices together)"]
    assert ["accuracy" in row for row in rows] == [True, False, False, False, True]
    assert all(row["low"] < row["high"] for row in rows)
    assert (rows[-1]["images"], rows[-1]["pooled"]) == (40, True)
    assert rows[-1]["actual"] == pytest.approx(TARGET.correct[1460:].mean(), abs=1e-6)
    assert weighted(rows) == pytest.approx(0.55, abs=2e-6)
    assert "3 parts with fewer than 20 images have an interval alone" in sizes_note(rows)
    assert "alone" not in sizes_note(rows[:1])


def test_a_class_without_source_images_has_an_interval_alone_and_one_without_target_images_none():
    source, target = draw(300, 9), draw(300, 10)
    few = source.select(np.flatnonzero(source.predicted != 2))
    none = target.select(np.flatnonzero(target.predicted != 4))
    rows = by_predicted_class(few, OwnSet(none), NAMES, chances(few, none, 0.7))
    assert "source_accuracy" not in rows[2]
    assert "accuracy" not in rows[2]
    assert rows[2]["low"] < rows[2]["high"]
    assert rows[4]["skipped"] == "no target image is in this class"
    assert rows[-1]["class"] == "(1 small class together)"
    assert weighted(rows) == pytest.approx(0.7, abs=2e-6)


def test_an_answer_that_is_an_interval_alone_gives_parts_intervals_alone():
    whole = {"accuracy": None, "low": 0.7, "high": 1.0, "level": 0.8}
    rows = by_predicted_class(SOURCE, OwnSet(TARGET), (), Chances(calibrate(SOURCE), TARGET, whole))
    assert not any("accuracy" in row for row in rows)
    assert all(row["low"] < 0.95 <= row["high"] for row in rows)


def test_labels_of_some_images_are_counted_in_each_part():
    labels = np.where(np.arange(1500) < 600, TARGET.labels, -1)
    bare = OwnSet(TARGET.without_labels(), some_labels=labels)
    rows = by_predicted_class(SOURCE, bare, NAMES, chances(SOURCE, TARGET, 0.6))
    assert sum(row["labelled"] for row in rows) == 600
    for k, row in enumerate(rows):
        index = np.flatnonzero((TARGET.predicted == k) & (np.arange(1500) < 600))
        assert row["actual_so_far"] == pytest.approx(TARGET.correct[index].mean(), abs=1e-6)


def test_the_sources_share_of_each_part_is_shown():
    rows = by_predicted_class(SOURCE, OwnSet(TARGET), NAMES, chances(SOURCE, TARGET, 0.6))
    for k, row in enumerate(rows):
        own = SOURCE.predicted == k
        assert row["source_share"] == pytest.approx(own.mean(), abs=1e-6)
        assert row["source_accuracy"] == pytest.approx(SOURCE.correct[own].mean(), abs=1e-6)
    known = OwnSet(SOURCE, columns=pd.DataFrame({"site": ["a", "b", "b", "b"] * 500}))
    there = OwnSet(TARGET, columns=pd.DataFrame({"site": ["a", "b", "c"] * 500}))
    rows = by_slice(known, there, "site", chances(SOURCE, TARGET, 0.6))
    assert {row["slice"]: row["source_share"] for row in rows} == {"a": 0.25, "b": 0.75, "c": 0.0}


def test_more_distant_class_shares_widen_the_intervals_of_classes():
    near, far = draw(1500, 11), draw(1500, 12, shares=[0.6, 0.1, 0.1, 0.1, 0.1])
    spreads = [class_spread(chances(SOURCE, target, 0.7)) for target in (near, far)]
    assert spreads[0] < 0.35
    assert spreads[1] == pytest.approx(0.25 + 1.6 * 0.4, abs=0.1)


def test_columns_of_too_many_values_make_no_slices():
    moved = chances(SOURCE, TARGET, 0.6)
    table = OwnSet(TARGET, columns=pd.DataFrame({"id": np.arange(1500), "hundred": np.arange(1500) % 100}))
    rows = by_slice(OwnSet(SOURCE), table, "hundred", moved)
    assert len(rows) == 101
    with pytest.raises(InvalidInputError, match=r"column 'id' has 1,500 different values, .* bins first"):
        by_slice(OwnSet(SOURCE), table, "id", moved)
    with pytest.raises(InvalidInputError, match="has no column 'hundert'; it has id, hundred; did you mean"):
        by_slice(OwnSet(SOURCE), table, "hundert", moved)


def test_the_command_shows_parts_with_the_sources_share_and_what_labels_say(tmp_path):
    for name, own in (("val", SOURCE), ("prod", TARGET)):
        frame = pd.DataFrame(own.logits, columns=[f"logit_{name}" for name in NAMES])
        frame["label"] = [NAMES[k] for k in own.labels]
        frame["site"] = np.array(["x", None], dtype=object)[np.arange(len(own)) % 2]
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    files = ["--source", tmp_path / "val.csv", "--target", tmp_path / "prod.csv"]
    options = ["--classes", "--slice", "site", "--out", tmp_path / "a.json", "--html", tmp_path / "a.html"]
    said = CliRunner().invoke(app, list(map(str, ["estimate", *files, *options]))).output
    found = json.loads((tmp_path / "a.json").read_text())
    for key in ("by_class", "by_slice"):
        assert weighted(found[key]) == pytest.approx(found["answer"]["accuracy"], abs=1e-5)
        assert all("actual" in row and "source_share" in row for row in found[key])
    assert {row["slice"] for row in found["by_slice"]} == {"x", "(empty)"}
    for place in (said, (tmp_path / "a.html").read_text()):
        assert "actual" in place
        assert f"{100 * found['by_class'][0]['source_share']:.2f}" in place
        assert "weighted by images" in " ".join(place.split())
