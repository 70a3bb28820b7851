"""Further reports of users of other tools, as cases of our own; and what readers leave out."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from shiftcast.calibration import negative_log_likelihood
from shiftcast.cli import _expanded
from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.inputs import read_set
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions

NAMES = ("ant", "bee", "cat", "dog", "eel")
OWN = make_predictions(400, 5, seed=1, name="val")
OTHER = make_predictions(300, 5, seed=2, shift=0.5, name="prod")


def table(path, own):
    frame = pd.DataFrame(own.logits, columns=[f"logit_{name}" for name in NAMES])
    frame.assign(label=own.labels).to_csv(path, index=False)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# What is not looked at


def test_arrays_that_nobody_reads_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", logits=OWN.logits, labels=OWN.labels, features=np.zeros((400, 2)))
    np.savez(tmp_path / "b.npz", logits=OTHER.logits, ids=np.arange(300), label=OTHER.labels)
    np.savez(tmp_path / "p.npz", source=OWN.peers, target=OTHER.peers, names=np.array(["x"]))
    files = ["--source", tmp_path / "a.npz", "--target", tmp_path / "b.npz", "--peers", tmp_path / "p.npz"]
    warnings = json.loads(run("estimate", *files, "--estimators", "AC", "--json").stdout)["warnings"]
    told = "what is read is called"
    assert [text for text in warnings if told in text] == [
        f"a.npz: 1 array not read: features; {told} logits, probs, labels, class_names",
        f"b.npz: 2 arrays not read: ids, label; {told} logits, probs, labels, class_names",
        f"p.npz: 1 array not read: names; {told} source, target, class_names",
    ]
    with pytest.raises(InvalidInputError, match=r"its array 'label' is another one: call it 'labels'"):
        read_set(tmp_path / "b.npz", labelled=True)
    np.savez(tmp_path / "e.npz", probs=OWN.reference, weights=np.ones(len(OWN.reference)))
    result = run("difficulty", "--ensemble", tmp_path / "e.npz", "--out", tmp_path / "o.csv")
    assert "warning: e.npz: 1 array not read: weights; what is read is called logits, probs" in result.stderr


# Reports of neighbouring tools, tried here


@pytest.mark.parametrize("row", [[0.9, 0.1], [1, 0], [0.3, 0.9]])
def test_a_single_image_is_no_reason_to_guess(row):
    with pytest.raises(InvalidInputError, match=r"look like probabilities|all values lie in"):
        Predictions("x", [row])
    assert Predictions("x", [row], "logits").kind == "logits"


@pytest.mark.parametrize("names", [["label"], ["site"], ["label", "site"], [None]])
def test_an_index_with_a_name_is_a_column_of_a_parquet_file(tmp_path, names):
    frame = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES])
    frame = frame.assign(label=[NAMES[k] for k in OTHER.labels], site=["a", "b", "c"] * 100)
    if names != [None]:
        frame = frame.set_index(names)
    frame.to_parquet(tmp_path / "a.parquet")
    own = read_set(tmp_path / "a.parquet", labelled=True)
    assert np.array_equal(own.predictions.labels, OTHER.labels)
    assert own.columns["site"].tolist() == ["a", "b", "c"] * 100


def test_an_index_that_is_called_like_a_column_is_refused(tmp_path):
    frame = pd.DataFrame([[2.0, 0], [0, 3]], columns=["logit_a", "logit_b"], index=pd.Index([1, 0], name="x"))
    table = pa.Table.from_pandas(frame).append_column("x", pa.array([5, 6]))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match=r"two columns are called 'x'|cannot be read as a table"):
        read_set(tmp_path / "a.parquet", labelled=False)


def test_texts_that_are_stored_as_bytes_are_texts(tmp_path):
    frame = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES])
    frame = frame.assign(label=[NAMES[k].encode() for k in OTHER.labels], site=["é".encode()] * 300)
    frame.to_parquet(tmp_path / "a.parquet")
    own = read_set(tmp_path / "a.parquet", labelled=True)
    assert own.predictions.accuracy == OTHER.accuracy
    assert set(own.columns["site"]) == {"é"}
    frame.assign(site=[b"\xff"] * 300).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match="not in UTF-8"):
        read_set(tmp_path / "a.parquet", labelled=True)


def test_names_between_colons_are_no_emoji(tmp_path):
    names = (":bee:", "x:cat:y", ":key:", ":dog:", "eel")
    for path, own in ((tmp_path / ":house:.csv", OWN), (tmp_path / ":fox:.csv", OTHER)):
        frame = pd.DataFrame(own.logits, columns=[f"logit_{name}" for name in names])
        frame.assign(label=own.labels, site=":tree:").to_csv(path, index=False)
    files = ["--source", tmp_path / ":house:.csv", "--target", tmp_path / ":fox:.csv"]
    said = run("estimate", *files, "--slice", "site", "--classes", "--estimators", "AC").output
    for name in (*names, ":house:.csv", ":fox:.csv", ":tree:"):
        assert name in said


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("--out=~/a.json", "--out=HOME/a.json"),
        ("cifar10-test=~/a.npz", "cifar10-test=HOME/a.npz"),
        ("~/a.json", "~/a.json"),
        ("--note=see ~/a", "--note=see ~/a"),
        ("--names=a,b", "--names=a,b"),
    ],
)
def test_the_users_folder_is_found_behind_an_option(given, path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("USERPROFILE", "/home/x")
    assert _expanded(given) == path.replace("HOME", "/home/x")


def test_a_file_that_is_read_is_not_written_over(tmp_path):
    source, target = table(tmp_path / "s.csv", OWN), table(tmp_path / "t.csv", OTHER)
    np.save(tmp_path / "e.npy", OWN.reference)
    files = ["estimate", "--source", source, "--target", target]
    before = source.read_bytes()
    for options in (
        [*files, "--out", source],
        [*files, "--html", tmp_path / "sub" / ".." / "t.csv"],
        [*files, "--out", tmp_path / "a", "--html", tmp_path / "a"],
        ["difficulty", "--ensemble", tmp_path / "e.npy", "--out", tmp_path / "e.npy"],
    ):
        failure = run(*options).exception
        assert isinstance(failure, InvalidInputError)
        assert "would be written over what another option names" in str(failure)
    assert source.read_bytes() == before
    assert not (tmp_path / "a").exists()


def test_the_least_loss_is_no_negative_zero():
    sure = Predictions("x", np.eye(3), "probabilities", labels=[0, 1, 2])
    assert str(negative_log_likelihood(sure)) == "0.0"


def test_what_one_estimator_does_to_predictions_reaches_no_other():
    made = Predictions("x", OWN.logits, labels=OWN.labels, reference=OWN.reference, peers=OWN.peers)
    for own in (made, made.select(np.arange(50)), made.without_labels().with_labels(OWN.labels)):
        for key in ("logits", "labels", "reference", "peers", "probabilities", "confidence", "predicted"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(own, key)[...] = 0
    assert OWN.logits.copy().flags.writeable


def test_a_target_that_is_the_source_is_told_of(tmp_path):
    source = table(tmp_path / "s.csv", OWN)
    turned = table(tmp_path / "t.csv", OWN.select(np.arange(len(OWN))[::-1]))
    for target in (source, turned):
        said = run("estimate", "--source", source, "--target", target, "--estimators", "AC").output
        assert f"{target.name} holds the same outputs as s.csv" in " ".join(said.split())
    table(tmp_path / "t.csv", make_predictions(400, 5, seed=2))
    said = run("estimate", "--source", source, "--target", turned, "--estimators", "AC").output
    assert "holds the same outputs" not in " ".join(said.split())


def test_logarithms_of_zero_are_refused_with_what_to_give():
    logits = OWN.logits.copy()
    logits[3, 1] = -np.inf
    with pytest.raises(InvalidInputError, match=r"\[3, 1\]; give logarithms of 0 a lower end such as -100"):
        Predictions("x", logits)
