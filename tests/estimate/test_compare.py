"""Models on the same images: predicted accuracies, paired differences, and what cannot be told."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

import shiftcast
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.compare import LEVEL, REACH, arm_of, best_line, compare_models, mixed_up
from shiftcast.estimate.inputs import OwnSet
from shiftcast.predictions import Predictions
from support import REPOSITORY
from support.command_line import typed

N, M, K = 600, 400, 4


def model(name, noise, seed=0):
    """A model on images that all models see; more noise makes a worse one."""
    images, own = np.random.default_rng(1), np.random.default_rng([2, seed])
    sets = []
    for kind, count, apart in (("val", N, 1.0), ("new", M, 0.7)):
        labels = images.integers(K, size=count)
        seen = 2.5 * apart * np.eye(K)[labels] + images.normal(size=(count, K))
        logits = seen + noise * own.normal(size=seen.shape)
        sets.append(Predictions(f"{name} {kind}", logits, "logits", labels=labels))
    return name, *(OwnSet(one) for one in sets)


GOOD, LIKE, POOR = model("good", 0.3), model("like", 0.3, 1), model("poor", 3.0)
RESULT = compare_models([POOR, GOOD, LIKE])


def test_each_model_is_answered_as_by_estimate():
    for row in RESULT["models"]:
        _, source, target = next(one for one in (GOOD, LIKE, POOR) if one[0] == row["name"])
        answer = shiftcast.estimate(source.predictions, target.predictions)
        assert (row["accuracy"], row["low"], row["high"]) == (answer.accuracy, answer.low, answer.high)
        assert row["validation"] == pytest.approx(source.predictions.accuracy, abs=1e-6)
    shown = [row["accuracy"] for row in RESULT["models"]]
    assert shown == sorted(shown, reverse=True)


def test_the_better_model_is_named_and_two_alike_are_not_told_apart():
    told = {frozenset((pair["a"], pair["b"])): pair["better"] for pair in RESULT["pairs"]}
    assert told[frozenset(("good", "poor"))] == "good"
    assert told[frozenset(("good", "like"))] is None
    assert set(RESULT["best"]) == {"good", "like"}
    assert best_line(RESULT).startswith("Cannot tell which is best: ")
    assert best_line(compare_models([POOR, GOOD])).startswith("good is best: about ")


def test_a_difference_is_bounded_by_how_often_classes_differ():
    accuracies = {row["name"]: row["accuracy"] for row in RESULT["models"]}
    targets = {name: target.predictions.predicted for name, _, target in (GOOD, LIKE, POOR)}
    for pair in RESULT["pairs"]:
        differ = float((targets[pair["a"]] != targets[pair["b"]]).mean())
        assert pair["differ"] == pytest.approx(differ, abs=1e-6)
        wanted = accuracies[pair["a"]] - accuracies[pair["b"]]
        assert pair["difference"] == pytest.approx(np.clip(wanted, -differ, differ), abs=2e-6)
        assert -differ - 1e-6 <= pair["low"] <= pair["difference"] <= pair["high"] <= differ + 1e-6
    same = compare_models([GOOD, ("copy", *GOOD[1:])])["pairs"][0]
    assert (same["low"], same["difference"], same["high"], same["better"]) == (0, 0, 0, None)


def test_the_arm_joins_model_error_and_sampling():
    assert arm_of(0.5, 1e12, 0.0) == pytest.approx(0.5 * REACH)
    assert arm_of(0.25, 100, 0.0, reach=0.0) == pytest.approx(1.2816 * 0.05, rel=1e-4)
    assert arm_of(0.25, 100, 0.05**2, reach=0.0) == pytest.approx(1.2816 * 0.05 * np.sqrt(2), rel=1e-4)


def test_a_source_without_errors_cannot_be_compared():
    _, source, target = GOOD
    labels = source.predictions.predicted
    right, other = (OwnSet(one[1].predictions.with_labels(labels)) for one in (GOOD, LIKE))
    pair = compare_models([("right", right, target), ("other", other, LIKE[2])])["pairs"][0]
    assert (pair["difference"], pair["better"]) == (None, None)
    assert pair["high"] == -pair["low"] == pair["differ"]


def changed(number, **changes):
    """The model "like" with other predictions in its source (1) or target (2)."""
    parts = list(LIKE)
    own = parts[number].predictions
    logits, labels = changes.get("logits", own.logits), changes.get("labels", own.labels)
    parts[number] = OwnSet(Predictions("other", logits, "logits", labels=labels))
    return tuple(parts)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            changed(1, labels=np.roll(LIKE[1].predictions.labels, 1)),
            "like: the labels in .* differ in",
        ),
        (changed(2, labels=np.roll(LIKE[2].predictions.labels, 1)), "good and like: the labels"),
        (changed(2, logits=LIKE[2].predictions.logits[:-1], labels=None), "400 images .* 399"),
        (
            changed(2, logits=LIKE[2].predictions.logits[:, :3], labels=None),
            "of 4 classes and other 400 of 3",
        ),
    ],
)
def test_other_images_are_refused(other, said):
    with pytest.raises(InvalidInputError, match=said):
        compare_models([GOOD, other])


def test_targets_without_labels_that_have_nothing_in_common_are_doubted():
    order = np.random.default_rng(0).permutation(M)
    other = changed(2, logits=LIKE[2].predictions.logits[order], labels=None)
    assert "good and like agree on their targets no more than by chance" in mixed_up([GOOD, other])[0]
    assert mixed_up([GOOD, LIKE, POOR]) == []


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, source, target in (GOOD, POOR):
        known = source.predictions
        np.savez(f"{name}.npz", logits=known.logits, labels=known.labels, class_names=list("abcd"))
        np.savez(f"{name}-new.npz", logits=target.predictions.logits, class_names=list("abcd"))
    own = POOR[1].predictions
    order = np.array([2, 0, 1, 3])
    logits, labels = own.logits[:, order], np.argsort(order)[own.labels]
    np.savez("poor.npz", logits=logits, labels=labels, class_names=list("cabd"))


def test_the_command_says_the_answer_first_whatever_the_order_of_classes(files):
    command = ["compare", "--source", "good.npz", "--target", "good-new.npz"]
    command += ["--source", "poor.npz", "--target", "poor-new.npz"]
    done, told = typed(*command), json.loads(typed(*command, "--json").stdout)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("good is best: about ")
    assert told["pairs"] == compare_models([GOOD, POOR])["pairs"]
    assert told["warnings"] == []
    assert told["units"].startswith("shares")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--source", "good.npz", "--target", "good-new.npz"], "two models or more"),
        (["--source", "good.npz", "--source", "poor.npz", "--target", "good-new.npz"], "got 2 and 1"),
        (2 * ["--source", "good.npz", "--target", "good-new.npz"], "given twice"),
    ],
)
def test_files_that_do_not_pair_up(files, given, said):
    done = typed("compare", *given)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "docs" / "scripts"))
    import compare_models as module

    yield module
    sys.modules.pop("compare_models")


def test_the_reach_and_the_page_are_what_the_script_makes_of_its_table(script):
    frame = pd.read_csv(script.TABLE)
    assert script.learn(frame) == pytest.approx(REACH, abs=5e-4)
    assert script.LEVEL == LEVEL
    assert not frame["set"].str.contains("blind-[fgh]").any()
    assert script.report(frame) in script.PAGE.read_text()


@pytest.mark.parametrize("again", ["good-new.npz", "./good-new.npz"])
def test_one_target_for_two_models_is_refused(files, again):
    done = typed(
        "compare",
        *("--source", "good.npz", "--target", "good-new.npz"),
        *("--source", "poor.npz", "--target", again),
    )
    assert done.returncode == 2
    assert "good-new.npz: is given twice as a target" in done.stderr
