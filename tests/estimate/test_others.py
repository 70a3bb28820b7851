"""`read_others`: labelled outputs of one model under other shifts."""

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.answer import estimate_accuracy
from shiftcast.estimate.inputs import OwnSet, read_others
from shiftcast.testing import make_predictions

SOURCE = make_predictions(60, classes=3, seed=1)
OTHER = make_predictions(60, classes=3, seed=2, shift=1.0)
SETS = {"logits/fog-1": OTHER.logits, "logits/fog-3": OTHER.logits / 2, "logits/lamp": OTHER.logits[:20]}
LABELS = {"labels": OTHER.labels, "labels/lamp": OTHER.labels[:20]}


def read(tmp_path, arrays, names=()):
    np.savez(tmp_path / "others.npz", **arrays)
    return read_others(tmp_path / "others.npz", OwnSet(SOURCE, tuple(names)))


def test_sets_have_groups_and_labels_of_their_own_or_shared_ones(tmp_path):
    found = read(tmp_path, {**SETS, **LABELS})
    assert [(one.name, one.group, len(one)) for one in found] == [
        ("others.npz: fog-1", "fog", 60),
        ("others.npz: fog-3", "fog", 60),
        ("others.npz: lamp", "lamp", 20),
    ]
    np.testing.assert_array_equal(found[2].labels, OTHER.labels[:20])


def test_classes_are_brought_into_the_sources_order(tmp_path):
    names = {"class_names": np.array(["c", "a", "b"])}
    found = read(tmp_path, {"logits/fog": OTHER.logits, **LABELS, **names}, ["a", "b", "c"])[0]
    np.testing.assert_array_equal(found.logits, OTHER.logits[:, [1, 2, 0]])
    assert found.accuracy == OTHER.accuracy


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": OTHER.logits, **LABELS}, "expected arrays 'logits/SET' .* it holds logits, labels"),
        ({"logits/fog": OTHER.logits}, "needs 'labels/fog' or 'labels'"),
        ({"logits/fog": OTHER.logits[:7], **LABELS}, r"fog: labels: expected shape \(7,\), got \(60,\)"),
        ({"logits/fog": OTHER.probabilities, **LABELS}, "fog: what is called logits holds probabilities"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, arrays, message):
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path, arrays)


def test_sets_are_of_the_sources_kind_and_classes(tmp_path):
    probabilities = read(tmp_path, {"probs/fog": OTHER.probabilities, **LABELS})
    fewer = read(tmp_path, {"logits/fog": OTHER.logits[:, :2], "labels": OTHER.labels % 2})
    with pytest.raises(InvalidInputError, match=r"holds logits, but .*fog' holds probabilities"):
        estimate_accuracy(SOURCE, OTHER, {}, others=probabilities)
    with pytest.raises(InvalidInputError, match=r"has 3 classes, but .*fog' has 2"):
        estimate_accuracy(SOURCE, OTHER, {}, others=fewer)
