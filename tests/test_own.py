import numpy as np
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.own import estimate_accuracy, read_predictions, summary


def arrays(n=400, classes=5, seed=0, signal=2.0):
    random = np.random.RandomState(seed)
    labels = random.randint(classes, size=n)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), labels] += signal
    return {"logits": logits, "labels": labels}


def saved(tmp_path, name="a.npz", **values):
    path = tmp_path / name
    np.savez(path, **values)
    return path


def test_estimates_come_from_a_models_own_outputs_alone(tmp_path):
    source = read_predictions(saved(tmp_path, "val.npz", **arrays()), labelled=True)
    shifted = arrays(seed=1, signal=1.0)
    target = read_predictions(saved(tmp_path, "prod.npz", logits=shifted["logits"]), labelled=False)
    rows = {row["estimator"]: row for row in estimate_accuracy(source, target)}
    assert list(rows) == ["NoShift", "AC", "AC-TS", "DoC", "IM", "ATC-MC", "ATC-NE", "COT", "COTT"]
    assert rows["NoShift"]["accuracy"] == pytest.approx(source.accuracy, abs=1e-6)
    assert rows["DoC"]["accuracy"] < source.accuracy
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows.values())
    assert all(row["interval"] == "sampling" for row in rows.values())


def test_labels_of_the_target_are_reported_and_never_used(tmp_path):
    source = read_predictions(saved(tmp_path, "val.npz", **arrays()), labelled=True)
    values = arrays(seed=1)
    wrong = read_predictions(
        saved(tmp_path, "b.npz", logits=values["logits"], labels=(values["labels"] + 1) % 5), labelled=False
    )
    bare = read_predictions(saved(tmp_path, "c.npz", logits=values["logits"]), labelled=False)
    assert estimate_accuracy(source, wrong) == estimate_accuracy(source, bare)
    assert summary(source, wrong, [])["target"]["accuracy"] == round(wrong.accuracy, 6)
    assert "accuracy" not in summary(source, bare, [])["target"]


def test_probabilities_are_accepted_under_their_own_name(tmp_path):
    values = arrays()
    exps = np.exp(values["logits"])
    path = saved(tmp_path, probs=exps / exps.sum(axis=1, keepdims=True), labels=values["labels"])
    assert read_predictions(path, labelled=True).kind == "probabilities"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": None}, "expected one array named 'logits' or 'probs'"),
        ({"labels": None}, "the source needs 'labels'"),
        ({"logits": np.full((400, 5), np.nan)}, "NaN or infinite"),
        ({"logits": np.zeros((400, 1))}, "at least 2 classes"),
        ({"logits": np.zeros((0, 5)), "labels": np.zeros(0, int)}, "is empty"),
        ({"labels": np.zeros(399, int)}, r"labels: expected shape \(400,\), got \(399,\)"),
        ({"labels": np.full(400, 5)}, "expected values in 0..4"),
        ({"labels": np.zeros(400)}, "expected integers"),
        ({"logits": None, "probs": np.full((400, 5), 0.3)}, "row 0 sums to 1.5"),
        ({"probs": np.full((400, 5), 0.2)}, "expected one array"),
        ({"logits": np.array([["a"] * 5] * 400)}, "expected numbers"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path, change, message):
    values = {key: value for key, value in (arrays() | change).items() if value is not None}
    path = saved(tmp_path, "val.npz", **values)
    with pytest.raises(InvalidInputError, match=message):
        read_predictions(path, labelled=True)


def test_pickled_arrays_are_never_opened(tmp_path):
    path = saved(tmp_path, logits=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, int))
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_predictions(path, labelled=True)


def test_missing_foreign_and_truncated_files_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="there is no such file"):
        read_predictions(tmp_path / "none.npz", labelled=True)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InvalidInputError, match=r"is not an \.npz file"):
        read_predictions(tmp_path / "text.npz", labelled=True)
    whole = saved(tmp_path, **arrays()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:2000])
    with pytest.raises(InvalidInputError, match=r"npz file"):
        read_predictions(tmp_path / "cut.npz", labelled=True)


def test_a_folder_is_named_as_one(tmp_path):
    with pytest.raises(InvalidInputError, match="is a folder"):
        read_predictions(tmp_path, labelled=False)


def test_an_estimator_that_refuses_is_skipped_with_its_reason(tmp_path):
    source = read_predictions(saved(tmp_path, "one.npz", **arrays(n=1)), labelled=True)
    target = read_predictions(saved(tmp_path, "b.npz", logits=arrays(seed=1)["logits"]), labelled=False)
    rows = {row["estimator"]: row for row in estimate_accuracy(source, target)}
    assert "at least 2 labelled source images" in rows["DoC"]["skipped"]
    assert "accuracy" in rows["NoShift"]


def test_source_and_target_must_be_alike(tmp_path):
    source = read_predictions(saved(tmp_path, "a.npz", **arrays()), labelled=True)
    other = read_predictions(saved(tmp_path, "b.npz", logits=np.zeros((3, 4))), labelled=False)
    with pytest.raises(InvalidInputError, match=r"has 5 classes, but target 'b\.npz' has 4"):
        estimate_accuracy(source, other)
    probabilities = read_predictions(saved(tmp_path, "c.npz", probs=np.full((3, 5), 0.2)), labelled=False)
    with pytest.raises(InvalidInputError, match="in the same form"):
        estimate_accuracy(source, probabilities)
