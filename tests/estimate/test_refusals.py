"""What people's files and arguments are refused for, and what the refusal says to do."""

import numpy as np
import pandas as pd
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.estimate.inputs import attach, read_ensemble, read_set
from shiftcast.estimators import ATC, AverageConfidence, Calibrated, NoShift
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax

OWN = make_predictions(120, 5, seed=1)
SHARES = softmax(OWN.logits)


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_are_not_taken_for_logits(dtype):
    shares = SHARES.astype(dtype)
    with pytest.raises(InvalidInputError, match=r"v: logits: these look like probabilities .*kind='prob"):
        Predictions("v", shares, labels=OWN.labels)
    assert Predictions("v", shares, kind="probabilities", labels=OWN.labels).accuracy == OWN.accuracy
    changed = SHARES.copy()
    changed[-1] *= 2
    with pytest.raises(InvalidInputError, match=r"119 of 120 rows are probabilities, .*: row 119 sums to 2"):
        Predictions("v", changed)
    assert Predictions("v", changed, kind="logits").kind == "logits"


def test_single_logits_that_sum_to_one_are_logits():
    some = Predictions("v", np.array([[0.25, 0.75], [3.0, -1.0], [0.5, 0.5]]), labels=np.array([0, 1, 1]))
    assert some.select(np.array([0, 2])).logits.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert len(Predictions("v", np.array([[0.25, 0.75]]), kind="logits")) == 1


def test_selected_images_are_what_new_predictions_of_them_would_be():
    part = OWN.select(np.array([5, 5, 2]))
    fresh = Predictions("v", OWN.logits[[5, 5, 2]], labels=OWN.labels[[5, 5, 2]])
    _ = OWN.correct, OWN.probabilities  # what is known of all images must not be told of some
    again = OWN.select(np.array([5, 5, 2]))
    for one in (part, again):
        assert np.array_equal(one.probabilities, fresh.probabilities)
        assert np.array_equal(one.correct, fresh.correct)
        assert np.array_equal(one.reference, OWN.reference[:, [5, 5, 2]])
        assert one.peers.shape == (6, 3)
    with pytest.raises(InvalidInputError, match="at least one image"):
        OWN.select(np.array([], dtype=int))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Predictions("v", OWN.logits, OWN.labels), "v: the third argument is kind .*labels=…"),
        (
            lambda: Predictions(OWN.logits, OWN.labels),
            r"first argument is the set's name \(str\), got ndarray",
        ),
        (lambda: ATC().fit(OWN.logits, OWN.labels), r"ATC.fit: expected Predictions, got ndarray; wrap"),
        (lambda: ATC().fit(OWN, OWN.labels), r"ATC.fit: others: expected Predictions, got int64"),
        (lambda: ATC().fit(OWN).predict(OWN.logits), "ATC.predict: expected Predictions, got ndarray"),
        (
            lambda: Calibrated(AverageConfidence(), "temperature").fit(OWN),
            "calibrator must be an instance of shiftcast.calibration.Calibrator, got 'temperature'; for",
        ),
        (
            lambda: Calibrated(AverageConfidence, "temperature").fit(OWN),
            "estimator must be an instance of .*Estimator, got the class AverageConfidence",
        ),
        (lambda: Calibrated("AC", None).fit(OWN), "estimator must be an instance of .*Estimator, got 'AC'"),
    ],
)
def test_slips_in_python_are_answered_with_the_right_call(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


@pytest.mark.parametrize("dtype", [int, float, bool])
def test_one_hot_labels_are_recognised(dtype):
    with pytest.raises(InvalidInputError, match=r"these look one-hot: give labels.argmax\(axis=1\)"):
        Predictions("v", OWN.logits, labels=np.eye(5)[OWN.labels].astype(dtype))
    with pytest.raises(InvalidInputError, match=r"got \(120, 5\)$"):
        Predictions("v", OWN.logits, labels=np.full((120, 5), 2))


def test_percentages_are_recognised(tmp_path):
    with pytest.raises(InvalidInputError, match="percentages: divide them by 100"):
        Predictions("v", 100 * SHARES, kind="probabilities")
    members = 100 * OWN.reference
    with pytest.raises(InvalidInputError, match="percentages: divide them by 100"):
        attach(OWN, OWN, "reference", saved(tmp_path, source=members, target=members))
    np.save(tmp_path / "e.npy", members)
    with pytest.raises(InvalidInputError, match="percentages: divide them by 100"):
        read_ensemble(tmp_path / "e.npy")


def test_swapped_axes_of_an_ensemble_are_asked_about(tmp_path):
    np.save(tmp_path / "e.npy", OWN.reference.swapaxes(0, 1))
    with pytest.raises(InvalidInputError, match="120 members on 5 images; are the first two axes swapped"):
        read_ensemble(tmp_path / "e.npy")
    np.save(tmp_path / "e.npy", OWN.reference[:, :3].repeat(5, axis=0))  # 25 members, 3 images
    assert read_ensemble(tmp_path / "e.npy").shape == (25, 3, 5)


def test_what_a_file_holds_is_said(tmp_path):
    with pytest.raises(InvalidInputError, match="it holds outputs, y"):
        read_set(saved(tmp_path, outputs=OWN.logits, y=OWN.labels), labelled=True)
    with pytest.raises(InvalidInputError, match="it holds probs"):
        attach(OWN, OWN, "reference", saved(tmp_path, probs=OWN.reference))


def test_other_models_files_that_are_not_there_are_said_not_to_be(tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.npz: there is no such file"):
        attach(OWN, OWN, "reference", tmp_path / "none.npz")
    with pytest.raises(InvalidInputError, match=r"is a folder; name a \.npz file"):
        attach(OWN, OWN, "reference", tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_whole_numbers_written_as_decimals_are_no_labels(tmp_path, suffix):
    frame = pd.DataFrame(OWN.logits, columns=[f"logit_{name}" for name in "abcde"])
    frame["label"] = OWN.labels.astype(float)
    path = tmp_path / f"a.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with pytest.raises(
        InvalidInputError, match=r"whole number written as a decimal.*astype\(int\)"
    ) as refusal:
        read_set(path, labelled=True)
    assert f"got '{float(OWN.labels[0])}'; " in str(refusal.value)
    assert "np.float64" not in str(refusal.value)


def test_calibrated_estimators_tell_of_one_temperature_a_step():
    from shiftcast.calibration import Isotonic, Temperature

    told = Calibrated(AverageConfidence(), Temperature()).fit(OWN).predict(OWN).diagnostics
    assert set(told) == {"interval", "calibrator", "calibrator_temperature"}
    assert told["calibrator_temperature"] != 1.0
    assert Calibrated(NoShift(), Isotonic()).fit(OWN).predict(OWN).diagnostics["calibrator"] == "Isotonic"
