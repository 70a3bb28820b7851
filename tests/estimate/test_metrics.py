"""Other metrics from calibrated probabilities: against counts by hand, scikit-learn and labels that were
drawn."""

import json
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.estimate.chances import Chances, calibrate
from shiftcast.estimate.metrics import auroc, other_metrics
from shiftcast.estimate.wording import figure_text, metric_notes
from shiftcast.predictions import Predictions


def draw(n, seed, classes=3, signal=1.5, shares=None):
    """Images whose posterior under even shares is softmax(logits)."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, size=n, p=shares)
    values = signal * np.eye(classes)[labels] + random.normal(size=(n, classes))
    return Predictions("val", signal * values, kind="logits", labels=labels)


def whole(accuracy, arm=0.0):
    return {"accuracy": accuracy, "low": accuracy - arm, "high": accuracy + arm, "level": 0.8}


def metrics(source, target, answer, names=()):
    return other_metrics(source, Chances(calibrate(source), target, answer), names)


def test_expected_auroc_is_that_of_all_pairs():
    random = np.random.default_rng(0)
    scores, positive = np.round(random.normal(size=14), 1), random.random(14)
    won = pairs = 0.0
    for i, j in combinations(range(14), 2):
        for up, down in ((i, j), (j, i)):
            weight = positive[up] * (1 - positive[down])
            pairs += weight
            won += weight * ((scores[up] > scores[down]) + (scores[up] == scores[down]) / 2)
    assert auroc(scores, positive) == pytest.approx(won / pairs)


def test_auroc_of_labels_is_scikit_learns():
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 300)
    scores = np.round(labels + random.normal(size=300), 1)
    assert auroc(scores, labels.astype(float)) == pytest.approx(roc_auc_score(labels, scores))
    assert np.isnan(auroc(scores, np.ones(300)))


@pytest.mark.parametrize("classes", [2, 3])
def test_figures_are_those_of_labels_that_were_never_seen(classes):
    source, target = draw(8000, 1, classes), draw(8000, 2, classes, signal=1.1)
    found = metrics(source, target, whole(target.accuracy))
    labels, predicted = target.labels, target.predicted
    recalls, f1s = (score(labels, predicted, average=None) for score in (recall_score, f1_score))
    for k, one in enumerate(found["classes"]):
        assert one["recall"]["value"] == pytest.approx(recalls[k], abs=0.02)
        assert one["f1"]["value"] == pytest.approx(f1s[k], abs=0.02)
        assert one["recall"]["low"] <= recalls[k] <= one["recall"]["high"]
    assert found["macro_f1"]["value"] == pytest.approx(f1s.mean(), abs=0.01)
    assert np.abs(np.array(found["confusion"]) - confusion_matrix(labels, predicted)).max() < 0.02 * 8000
    if classes == 2:
        actual = roc_auc_score(labels, target.logits[:, 1] - target.logits[:, 0])
        assert found["auroc"]["value"] == pytest.approx(actual, abs=0.015)
        assert found["auroc"]["low"] <= actual <= found["auroc"]["high"]
    else:
        assert "auroc" not in found


def test_the_source_stands_beside_it_as_its_labels_say():
    source, target = draw(900, 3, 2), draw(700, 4, 2)
    found = metrics(source, target, whole(0.8))
    assert found["classes"][1]["recall"]["source"] == pytest.approx(
        recall_score(source.labels, source.predicted), abs=1e-6
    )
    assert found["auroc"]["source"] == pytest.approx(
        roc_auc_score(source.labels, source.logits[:, 1] - source.logits[:, 0]), abs=1e-6
    )


def test_the_matrix_agrees_with_the_answer_and_its_columns_with_what_is_predicted():
    source, target = draw(2000, 5), draw(1500, 6)
    matrix = np.array(metrics(source, target, whole(0.55))["confusion"])
    assert np.trace(matrix) == pytest.approx(0.55 * 1500, abs=0.1)
    assert matrix.sum(axis=0) == pytest.approx(np.bincount(target.predicted, minlength=3), abs=0.1)


def test_the_matrix_is_of_the_whole_target_where_chances_are_of_a_part():
    source, target = draw(600, 1), draw(400, 2)
    chances = Chances(calibrate(source), target, whole(0.6))
    part, all_images = (other_metrics(source, chances, images=images) for images in (None, 4000))
    assert np.sum(all_images["confusion"]) == pytest.approx(4000, abs=0.1)
    assert np.array(all_images["confusion"]) == pytest.approx(10 * np.array(part["confusion"]), abs=0.06)
    assert part["classes"] == all_images["classes"]


def test_intervals_widen_with_that_of_the_answer_and_hold():
    source, held = draw(4000, 7, 2), []
    target = draw(3000, 8, 2)
    narrow, wide = (metrics(source, target, whole(target.accuracy, arm))["auroc"] for arm in (0.001, 0.08))
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"] + 0.05
    for seed in range(12):
        target = draw(500, 100 + seed, 2, signal=1.2)
        found = metrics(source, target, whole(target.accuracy, 0.001))
        actual = {"auroc": roc_auc_score(target.labels, target.logits[:, 1] - target.logits[:, 0])}
        actual["macro_f1"] = f1_score(target.labels, target.predicted, average="macro")
        held += [found[name]["low"] <= value <= found[name]["high"] for name, value in actual.items()]
    assert np.mean(held) >= 0.6


def test_more_images_than_labels_are_drawn_for_give_the_same_figures():
    source, target = draw(3000, 9), draw(12_000, 10)
    found = metrics(source, target, whole(target.accuracy, 0.03))
    actual = f1_score(target.labels, target.predicted, average="macro")
    assert found["macro_f1"]["low"] < actual < found["macro_f1"]["high"]
    assert found["macro_f1"]["high"] - found["macro_f1"]["low"] < 0.12


def test_classes_beyond_fifty_have_no_interval_and_say_so():
    source, target = draw(1500, 11, 60, signal=3), draw(1500, 12, 60, signal=3)
    found = metrics(source, target, whole(0.7))
    assert "confusion" not in found
    assert found["macro_f1"]["interval"] == "none"
    assert figure_text(found["macro_f1"]).endswith("(no interval)")
    assert all("low" not in one["recall"] for one in found["classes"])


def test_without_an_accuracy_or_probabilities_there_are_none():
    source, target = draw(300, 13), draw(300, 14)
    alone = {"accuracy": None, "low": 0.8, "high": 1.0, "level": 0.8}
    assert metrics(source, target, alone) == {"skipped": "the answer is an interval alone"}


def test_an_absent_class_has_no_figure():
    source, target = draw(3000, 15, signal=6), draw(800, 16, signal=6, shares=[0.5, 0.5, 0.0])
    absent = metrics(source, target, whole(0.9999))["classes"][2]
    assert absent["recall"] == {"value": None, "source": absent["recall"]["source"], "interval": "none"}


def test_text_json_and_page_show_them(tmp_path):
    source, target = draw(600, 17, 2), draw(500, 18, 2)
    np.savez(tmp_path / "val.npz", logits=source.logits, labels=source.labels, class_names=["no", "yes"])
    np.savez(tmp_path / "prod.npz", logits=target.logits)
    files = ["--source", tmp_path / "val.npz", "--target", tmp_path / "prod.npz"]
    options = ["--estimators", "NoShift", "--out", tmp_path / "a.json", "--html", tmp_path / "a.html"]
    said = CliRunner().invoke(app, list(map(str, ["estimate", *files, *options]))).output
    found = json.loads((tmp_path / "a.json").read_text())
    text, page = " ".join(said.split()), (tmp_path / "a.html").read_text()
    assert metric_notes(found)[0] in text
    assert figure_text(found["metrics"]["auroc"]) in page
    assert f"<td>yes</td><td>{figure_text(found['metrics']['classes'][1]['recall'])}</td>" in page
    assert f"<td>{found['metrics']['confusion'][1][1]:,.1f}</td>" in page
    assert "only val.npz names its classes" in text
