"""Faults that users of other tools reported, as cases of our own: each with its right value."""

import io
import json
import signal
import sys
from contextlib import redirect_stdout
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from shiftcast.calibration import fit_temperature
from shiftcast.cli import main
from shiftcast.cli.add import _class_names, _pairs
from shiftcast.cli.app import app
from shiftcast.difficulty import difficulty, split_half_reliability, vote_shares
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.answer import choose_estimators, estimate_accuracy
from shiftcast.estimate.inputs import attach, in_order, read_ensemble, read_set
from shiftcast.estimate.parts import actual_so_far, slice_values
from shiftcast.estimate.warnings import warnings_about
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax

NAMES = ("ant", "bee", "cat", "dog", "eel")
OWN = make_predictions(400, 5, seed=1, name="val")
OTHER = make_predictions(300, 5, seed=2, shift=0.5, name="prod")


def table(path, own=OWN, label=True, order=NAMES, prefix="logit_", outputs=None, **columns):
    frame = pd.DataFrame(own.logits if outputs is None else outputs, columns=[prefix + n for n in NAMES])
    frame = frame[[prefix + name for name in order]].assign(**columns)
    if label:
        frame["label"] = [NAMES[k] for k in own.labels]
    frame.to_csv(path, index=False)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# Memory that the caller still writes to


def test_a_table_that_is_filled_again_changes_no_earlier_predictions():
    frame = pd.DataFrame(np.zeros((3, 2)))
    made = []
    for outputs in ([[2.0, 1], [2, 1], [2, 1]], [[2.0, 1], [1, 2], [2, 1]], [[1.0, 2], [1, 2], [2, 1]]):
        frame.iloc[:, :] = outputs
        made.append(Predictions("loop", frame, labels=np.zeros(3, dtype=int)))
    assert [one.accuracy for one in made] == pytest.approx([1, 2 / 3, 1 / 3])


@pytest.mark.parametrize(
    "shown",
    [
        lambda array: array,
        lambda array: array[:],
        lambda array: np.broadcast_to(array, array.shape),
        lambda array: np.lib.stride_tricks.as_strided(array, writeable=False),
        lambda array: np.frombuffer(memoryview(array).toreadonly(), array.dtype).reshape(array.shape),
    ],
)
@pytest.mark.parametrize("key", ["logits", "reference", "peers", "siblings", "features", "labels"])
def test_predictions_share_nothing_that_can_still_be_written(shown, key):
    values = {
        "logits": OWN.logits.copy(),
        "reference": OWN.reference.copy(),
        "peers": OWN.peers.astype(np.int32),
        "siblings": OWN.siblings.astype(np.int32),
        "features": np.zeros((400, 3)),
        "labels": OWN.labels.copy(),
    }
    array = values[key]
    view = shown(array)
    if view is not array:
        view.flags.writeable = False
    made = Predictions("x", **(values | {key: view}))
    before = np.array(getattr(made, key))
    array[...] = 0
    assert np.array_equal(getattr(made, key), before)


def test_scores_of_features_are_copied():
    scores = {"a": 1.0}
    made = Predictions("x", OWN.logits, feature_scores=scores)
    scores["a"] = 2.0
    assert made.feature_scores == {"a": 1.0}


def test_a_file_that_is_written_again_changes_no_predictions(tmp_path):
    np.save(tmp_path / "a.npy", OWN.logits)
    read = read_set(tmp_path / "a.npy", labelled=False).predictions
    with (tmp_path / "a.npy").open("r+b") as stream:
        stream.seek(-OWN.logits.nbytes, 2)
        stream.write(bytes(OWN.logits.nbytes))
    assert np.array_equal(read.logits, OWN.logits)


# Probabilities or logits

SHARES = softmax(OWN.logits)


@pytest.mark.parametrize(
    ("outputs", "test"),
    [
        (SHARES.round(2), r"rows do not sum to one within 0.001: row .*If they were rounded"),
        (1 / (1 + np.exp(-OWN.logits)), "rows do not sum to one .*Outputs of a sigmoid"),
        (
            np.vstack([SHARES[:200], OWN.logits[200:]]),
            "200 of 400 rows are probabilities.*but not the others",
        ),
        (np.vstack([SHARES[:-1], 2 * SHARES[-1:]]), "399 of 400 rows are probabilities.*row 399 sums to 2"),
        (100 * SHARES, "percentages: divide them by 100"),
        (SHARES[:5].T / SHARES[:5].T.sum(axis=0), "The columns sum to one: .*transpose"),
    ],
)
def test_outputs_that_are_clearly_neither_are_a_question(tmp_path, outputs, test):
    np.save(tmp_path / "a.npy", outputs)
    np.savez(tmp_path / "a.npz", logits=outputs)
    columns = [f"logit_{k}" for k in range(outputs.shape[1])]
    pd.DataFrame(outputs, columns=columns).to_csv(tmp_path / "a.csv", index=False)
    for name in ("a.npy", "a.npz", "a.csv"):
        with pytest.raises(InvalidInputError, match=test) as refusal:
            read_set(tmp_path / name, labelled=False)
        assert "call them" in str(refusal.value)
        assert "subtract 1 from every value" in str(refusal.value)
    with pytest.raises(InvalidInputError, match=rf"{test}.*Say which they are: kind='probabilities' or"):
        Predictions("x", outputs)
    assert Predictions("x", outputs, kind="logits").kind == "logits"


def test_rounded_probabilities_are_read_where_they_are_called_so(tmp_path):
    np.savez(tmp_path / "a.npz", probs=SHARES.round(3), labels=OWN.labels)
    read = read_set(tmp_path / "a.npz", labelled=True).predictions
    assert read.confidence.mean() == pytest.approx(SHARES.max(axis=1).mean(), abs=5e-4)
    with pytest.raises(InvalidInputError, match=r"sums to 1\.2"):  # more than rounding to two decimals can do
        Predictions("x", np.array([[0.5, 0.5], [0.6, 0.6]]), kind="probabilities")


def test_noise_below_zero_is_zero(tmp_path):
    shares = np.array([[1 + 1e-13, -1e-13], [0.25, 0.75]])
    assert Predictions("x", shares, kind="probabilities").probabilities.min() == 0
    np.save(tmp_path / "a.npy", shares)
    assert read_set(tmp_path / "a.npy", labelled=False).predictions.kind == "probabilities"


def test_an_ensemble_called_logits_holds_none_of_probabilities(tmp_path):
    np.savez(tmp_path / "a.npz", logits=OWN.reference)
    with pytest.raises(InvalidInputError, match="member 0: what is called logits holds probabilities"):
        read_ensemble(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", probs=OWN.reference.round(3))
    assert np.allclose(read_ensemble(tmp_path / "a.npz"), OWN.reference, atol=2e-3)


def test_logits_between_zero_and_one_have_a_way_in(tmp_path):
    logits = np.random.default_rng(0).random((50, 4))
    np.savez(tmp_path / "a.npz", logits=logits - 1)
    read = read_set(tmp_path / "a.npz", labelled=False).predictions
    assert np.allclose(read.probabilities, softmax(logits))


# The order of parallel inputs


def reordered(order):
    columns = [NAMES.index(name) for name in order]
    return OTHER.reference[:, :, columns], np.argsort(columns)[OTHER.peers]


def test_other_models_follow_their_own_class_names(tmp_path):
    order = NAMES[::-1]
    reference, peers = reordered(order)
    np.savez(tmp_path / "e.npz", source=reference, target=reference, class_names=np.array(order))
    np.savez(tmp_path / "p.npz", source=peers, target=peers, class_names=np.array(order))
    read, _ = attach(OTHER, OTHER, "reference", tmp_path / "e.npz", NAMES)
    assert np.allclose(read.reference, OTHER.reference)
    read, _ = attach(OTHER, OTHER, "peers", tmp_path / "p.npz", NAMES)
    assert np.array_equal(read.peers, OTHER.peers)
    with pytest.raises(InvalidInputError, match="class_names: other classes than those of prod"):
        attach(OTHER, OTHER, "peers", tmp_path / "p.npz", ("x", *NAMES[1:]))


def test_archives_may_name_their_classes(tmp_path):
    order = np.array([3, 1, 4, 0, 2])
    names = np.array(NAMES)[order]
    np.savez(tmp_path / "a.npz", logits=OTHER.logits[:, order], class_names=names)
    own = in_order(read_set(tmp_path / "a.npz", labelled=False), NAMES)
    assert np.array_equal(own.predictions.logits, OTHER.logits)
    np.savez(tmp_path / "a.npz", logits=OTHER.logits, class_names=names[:3])
    with pytest.raises(InvalidInputError, match="class_names: expected 5 different texts"):
        read_set(tmp_path / "a.npz", labelled=False)


@pytest.mark.parametrize(
    ("key", "option"), [("reference", "--ensemble"), ("peers", "--peers"), ("siblings", "--siblings")]
)
def test_members_that_agree_by_chance_are_told_of(tmp_path, key, option):
    order = ("dog", "cat", "eel", "ant", "bee")
    reference, peers = reordered(order)
    there = reference if key == "reference" else peers
    here = OWN.reference if key == "reference" else OWN.peers
    np.savez(tmp_path / "o.npz", source=here, target=there)
    found = [w for w in warnings_about(*attach(OWN, OTHER, key, tmp_path / "o.npz")) if "by chance" in w]
    assert len(found) == 1
    assert found[0].startswith(f"{option}: {len(there)} of {len(there)} models agree with prod no more than")
    np.savez(tmp_path / "o.npz", source=here, target=OTHER.reference if key == "reference" else OTHER.peers)
    assert not [w for w in warnings_about(*attach(OWN, OTHER, key, tmp_path / "o.npz")) if "by chance" in w]


def test_a_member_of_an_ensemble_with_other_classes_is_told_of(tmp_path):
    members = OWN.reference.copy()
    members[1] = members[1][:, [3, 4, 0, 1, 2]]
    np.save(tmp_path / "e.npy", members)
    result = run("difficulty", "--ensemble", tmp_path / "e.npy", "--out", tmp_path / "o.csv")
    assert "members 1 (from 0) agree with the ensemble's mean no more than by chance" in result.stderr


# Text stays text


@pytest.mark.parametrize("name", ["NA", "null", "None", "nan", "N/A", "NULL", "True", "1e5"])
def test_names_that_pandas_reads_otherwise_are_names(tmp_path, name):
    labels = [name, "b"] * 10
    frame = pd.DataFrame(np.tile([[2.0, 0], [0, 2]], (10, 1)), columns=[f"logit_{name}", "logit_b"])
    frame.assign(label=labels).to_csv(tmp_path / "a.csv", index=False)
    frame.assign(label=labels).to_parquet(tmp_path / "a.parquet")
    for suffix in ("csv", "parquet"):
        own = read_set(tmp_path / f"a.{suffix}", labelled=True)
        assert own.predictions.labels.tolist() == [0, 1] * 10
        assert own.classes == (name, "b")


def test_a_slice_that_is_called_na_is_not_empty(tmp_path):
    place = np.array(["NA", ""], dtype=object)[np.arange(300) % 2]
    own = read_set(table(tmp_path / "t.csv", OTHER, label=False, place=place), labelled=False)
    names, counts = np.unique(slice_values(own, "place"), return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"NA": 150, "(empty)": 150}
    whole = read_set(table(tmp_path / "t.csv", OTHER, False, place=["007"] * 300), labelled=False)
    assert set(slice_values(whole, "place")) == {"007"}


# Searches that end at their bound


@pytest.mark.parametrize("factor", [1e-6, 1e-2, 1e3, 1e8])
def test_a_temperature_follows_the_scale_of_the_logits(factor):
    plain = fit_temperature(OWN.logits, OWN.labels)
    assert fit_temperature(OWN.logits * factor, OWN.labels) == pytest.approx(plain * factor, rel=1e-4)
    answers = [
        estimate_accuracy(
            Predictions("s", OWN.logits * scale, "logits", labels=OWN.labels),
            Predictions("t", OTHER.logits * scale, "logits"),
            choose_estimators("AC-TS"),
        )[0]["accuracy"]
        for scale in (1, factor)
    ]
    assert answers[0] == pytest.approx(answers[1], abs=1e-5)


def test_an_interval_without_width_is_not_shown(tmp_path):
    logits = 1000 * np.eye(4)[np.arange(200) % 4] - 1
    np.savez(tmp_path / "a.npz", logits=logits, labels=np.arange(200) % 4)
    np.savez(tmp_path / "b.npz", logits=logits)
    files = ["estimate", "--source", tmp_path / "a.npz", "--target", tmp_path / "b.npz"]
    result = run(*files, "--estimators", "AC", "--html", tmp_path / "a.html")
    assert "100.00 to 100.00" not in result.output
    assert "100.00 to 100.00" not in (tmp_path / "a.html").read_text()


# Nothing to tell


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (np.tile([3.0, 1, 0], (200, 1)), "every image has the same outputs"),
        (np.random.default_rng(0).normal(size=(200, 1)) * np.ones(3), "equal outputs for all classes"),
        (
            np.random.default_rng(0).normal(size=(200, 3)) + np.array([9, 0, 0]),
            "every image is predicted as one class",
        ),
        (
            np.where(np.arange(600).reshape(200, 3) < 6, 9.0, [8, 1, -2]) * [1, 1.1, 1],
            "no better than always predicting the most frequent class",
        ),
    ],
)
def test_a_model_without_information_is_told_of(logits, words):
    labels = np.repeat([0, 1, 2], [116, 42, 42])
    source = Predictions("val", logits, labels=labels)
    assert [text for text in warnings_about(source, OTHER) if words in text]


def test_scores_that_are_all_alike_are_told_of(tmp_path):
    np.save(tmp_path / "e.npy", np.full((6, 20, 4), 0.25))
    result = run("difficulty", "--ensemble", tmp_path / "e.npy", "--out", tmp_path / "o.csv")
    assert "split-half reliability: none, as half of the members give every image the same" in result.output
    assert "every image has the same score" in result.stderr
    assert "nan" not in result.output


# Dropped or passed on


@pytest.mark.parametrize("key", ["logits", "labels", "reference", "peers", "features"])
def test_masked_values_are_refused(key):
    values = {"logits": OWN.logits, "labels": OWN.labels, "reference": OWN.reference, "peers": OWN.peers}
    masked = np.ma.masked_equal(values.get(key, np.ones((400, 2))), values.get(key, np.ones((1, 1))).flat[0])
    with pytest.raises(InvalidInputError, match=r"values are masked.* array.filled"):
        Predictions("x", **(values | {key: masked}))
    for function in (difficulty, vote_shares, split_half_reliability):
        with pytest.raises(InvalidInputError, match=r"reference ensemble: 1 of .* values are masked"):
            function(np.ma.masked_equal(OWN.reference, OWN.reference[0, 0, 0]))
    with pytest.raises(InvalidInputError, match="1 of 2 values are masked"):
        Predictions.from_classes("x", np.ma.MaskedArray([0, 1], [True, False]), 2)
    assert Predictions("x", np.ma.MaskedArray(OWN.logits)).kind == "logits"


def test_names_of_files_are_shown_as_they_are(tmp_path):
    source = table(tmp_path / "v\x1b[31m.csv")
    target = table(tmp_path / "t[bold].csv", OTHER, site=["a[red]\x1b[2J"] * 300)
    result = run("estimate", "--source", source, "--target", target, "--slice", "site")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "on t[bold].csv (300 images)" in result.output
    assert "a[red]\\x1b[2J" in result.output
    assert "Source v\\x1b[31m.csv" in result.output


# Outputs of other encodings, narrow ones


def printed(tmp_path, names, encoding):
    """Return what `estimate` prints where outputs are of an encoding."""
    frame = pd.DataFrame(OWN.logits, columns=[f"logit_{name}" for name in names])
    frame.to_csv(tmp_path / "b.csv", index=False)
    frame.assign(label=OWN.labels).to_csv(tmp_path / "a.csv", index=False)
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    files = ("--source", tmp_path / "a.csv", "--target", tmp_path / "b.csv")
    argv = ["shiftcast", "estimate", *map(str, files), "--classes", "--estimators", "AC,MeanShift,ATC,COT"]
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with patch.object(sys, "argv", argv), redirect_stdout(stream), pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    finally:
        signal.signal(signal.SIGTERM, handler)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["cp932", "latin-1", "cp437", "cp1252", "ascii"])
def test_every_encoding_of_outputs_will_do(tmp_path, encoding):
    text = printed(tmp_path, ("größe", "猫", "naïve", "dog", "🦊"), encoding)
    assert "By predicted class" in text
    for name in ("größe", "猫", "naïve", "dog", "🦊"):
        shown = name.encode(encoding, "backslashreplace").decode(encoding)
        assert shown in text


def test_narrow_terminals_lose_no_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = printed(tmp_path, NAMES, "utf-8")
    assert "…" not in text
    for name in ("ATC-MC", "ATC-NE", "AC", "COT"):
        assert [line for line in text.splitlines() if line.split()[:1] == [name] and " to " in line]
    for name in NAMES:
        assert [line for line in text.splitlines() if name in line and line.count(".") == 6]


# Tensors, memory, enormous numbers


class Tensor:
    """Answers as a tensor does that numpy cannot look into."""

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def test_tensors_that_numpy_cannot_read_are_refused_with_what_to_give():
    for key in ("logits", "labels", "reference", "peers", "features"):
        with pytest.raises(InvalidInputError, match=rf"x: {key}: .*requires grad.*detach\(\).cpu\(\).float"):
            Predictions("x", **({"logits": OWN.logits} | {key: Tensor()}))


@pytest.mark.parametrize("value", [1e308, -1e308, 1e200])
def test_enormous_logits_are_refused(value):
    logits = OWN.logits.copy()
    logits[3, 1] = value
    with pytest.raises(InvalidInputError, match=r"1 values are beyond 1e\+100 in size, .* \[3, 1\]"):
        Predictions("x", logits)
    logits[3, 1] = np.finfo(np.float32).min  # what masks a class
    assert np.isfinite(Predictions("x", logits).probabilities).all()


def test_no_memory_is_told_of(monkeypatch, capsys):
    def fail(*_):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr("shiftcast.cli.app.app", fail)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "there is not enough memory: Unable to allocate" in capsys.readouterr().err


def test_a_header_that_claims_too_much_memory_is_refused(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 100000), }"
    content = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_set(tmp_path / "a.npy", labelled=False)


# Targets of which some rows are labelled


def partly(tmp_path, kind):
    """Return a target whose first 60 of 300 images are labelled, as files have it."""
    known = np.arange(300) < 60
    plain = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES])
    names = np.array(NAMES)[OTHER.labels]
    if kind == "npz":
        np.savez(tmp_path / "t.npz", logits=OTHER.logits, labels=np.where(known, OTHER.labels, -1))
    elif kind == "nan":
        np.savez(tmp_path / "t.npz", logits=OTHER.logits, labels=np.where(known, OTHER.labels, np.nan))
    else:
        labels = {
            "empty": np.where(known, names, ""),
            "unknown": np.where(known, names, "unknown"),
            "minus": np.where(known, names, "-1"),
            "numbers": np.where(known, OTHER.labels, -1),
            "floats": np.where(known, OTHER.labels, np.nan),
            "missing": pd.Series(OTHER.labels).where(known).astype("Int64"),
        }[kind]
        frame = plain.assign(label=labels, half=np.arange(300) // 150)
        frame.to_parquet(tmp_path / "t.parquet") if kind == "missing" else None
        frame.to_csv(tmp_path / "t.csv", index=False) if kind != "missing" else None
    return next(tmp_path.glob("t.*"))


KINDS = ("npz", "nan", "empty", "unknown", "minus", "numbers", "floats", "missing")


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_some_rows_are_counted_and_used_for_those_alone(tmp_path, kind):
    own = read_set(partly(tmp_path, kind), labelled=False)
    right = (OTHER.predicted == OTHER.labels)[:60].mean()
    assert own.predictions.labels is None
    assert actual_so_far(own) == {"labelled": 60, "actual_so_far": pytest.approx(right, abs=1e-6)}
    with pytest.raises(InvalidInputError):
        read_set(partly(tmp_path, kind), labelled=True)


def test_the_answer_says_what_is_known_so_far(tmp_path):
    source, target = table(tmp_path / "val.csv"), partly(tmp_path, "empty")
    files = ["estimate", "--source", source, "--target", target, "--slice", "half"]
    result = run(*files, "--html", tmp_path / "a.html", "--out", tmp_path / "a.json")
    right = (OTHER.predicted == OTHER.labels)[:60].mean()
    said = f"Actual accuracy so far, on 60 labelled rows of 300 in t.csv: {100 * right:.2f} %"
    assert said in " ".join(result.output.split())
    assert said in (tmp_path / "a.html").read_text()
    answer = json.loads((tmp_path / "a.json").read_text())
    assert answer["target"]["labelled"] == 60
    assert "accuracy" not in answer["target"]
    first, second = sorted(answer["by_slice"], key=lambda row: row["slice"])
    assert (first["labelled"], first["actual_so_far"]) == (60, pytest.approx(right, abs=1e-6))
    assert second["labelled"] == 0
    assert "actual_so_far" not in second


def test_some_labels_follow_the_order_of_the_classes(tmp_path):
    target = pd.read_csv(partly(tmp_path, "empty"), keep_default_na=False)
    target[target.columns[::-1]].to_csv(tmp_path / "u.csv", index=False)
    own = in_order(read_set(tmp_path / "u.csv", labelled=False), NAMES)
    assert actual_so_far(own) == actual_so_far(read_set(tmp_path / "t.csv", labelled=False))


def test_a_class_that_is_called_unknown_is_a_class(tmp_path):
    frame = pd.DataFrame([[2.0, 0], [0, 2]], columns=["logit_unknown", "logit_b"])
    frame.assign(label=["unknown", "b"]).to_csv(tmp_path / "a.csv", index=False)
    assert read_set(tmp_path / "a.csv", labelled=False).predictions.labels.tolist() == [0, 1]


def test_a_target_without_any_label_is_one_without_labels(tmp_path):
    frame = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES])
    frame.assign(label="").to_csv(tmp_path / "a.csv", index=False)
    own = read_set(tmp_path / "a.csv", labelled=False)
    assert own.predictions.labels is None
    assert actual_so_far(own) == {}


# Sentences that name cause and remedy


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"logits": np.full(4, 0.3)},
            r"of one probability p an image give both.*column_stack\(\[1 - p, p\]\)",
        ),
        ({"logits": np.full((4, 1), 0.3)}, r"of one probability p an image give both"),
        ({"logits": np.array([0, 1, 1])}, "look like class indices: give the outputs before argmax"),
        (
            {"logits": SHARES.T, "kind": "probabilities"},
            "If they|The columns sum to one|expected probabilities",
        ),
        (
            {"logits": SHARES[:5].T / SHARES[:5].T.sum(axis=0), "kind": "probabilities"},
            "The columns sum to one",
        ),
        ({"logits": OWN.logits.astype(object)}, "make it one array of numbers"),
        ({"logits": OWN.logits, "labels": OWN.labels + 1}, "if they count from 1, subtract 1"),
        ({"logits": OWN.logits, "labels": np.where(OWN.labels, OWN.labels, -1)}, "leave those images out"),
    ],
)
def test_refusals_name_cause_and_remedy(values, words):
    with pytest.raises(InvalidInputError, match=words):
        Predictions("x", **values)


def test_labels_that_count_from_one_without_the_last_class_are_told_of():
    kept = np.flatnonzero(OWN.labels < 4)
    source = Predictions("val", OWN.logits[kept], labels=OWN.labels[kept] + 1)
    assert [text for text in warnings_about(source, OTHER) if "do these count from 1?" in text]


def test_transposed_outputs_beside_labels_are_told_of(tmp_path):
    np.savez(tmp_path / "a.npz", logits=OWN.logits.T, labels=OWN.labels)
    with pytest.raises(InvalidInputError, match=r"fit if rows are images: give the transpose, array.T"):
        read_set(tmp_path / "a.npz", labelled=True)


def test_images_and_models_that_are_swapped_are_told_of(tmp_path):
    swapped = OWN.reference.swapaxes(0, 1)
    np.savez(tmp_path / "o.npz", source=swapped, target=swapped)
    with pytest.raises(InvalidInputError, match=r"swap its first two axes: numpy.swapaxes"):
        attach(OWN, OWN, "reference", tmp_path / "o.npz")
    np.savez(tmp_path / "o.npz", source=OWN.peers.T, target=OWN.peers.T)
    with pytest.raises(InvalidInputError, match=r"swap its first two axes: numpy.swapaxes"):
        attach(OWN, OWN, "peers", tmp_path / "o.npz")
    np.save(tmp_path / "e.npy", swapped[:30])
    result = run("difficulty", "--ensemble", tmp_path / "e.npy", "--out", tmp_path / "o.csv")
    assert "30 members on" in result.stderr
    assert "are the first two axes swapped?" in result.stderr


def test_names_of_classes_are_given_once():
    assert _class_names("cat, dog") == ["cat", "dog"]
    for given in ("cat,dog,cat", "cat,,dog"):
        with pytest.raises(InvalidInputError, match="--names: expected different names"):
            _class_names(given)
    with pytest.raises(InvalidInputError, match="'car' is mapped twice"):
        _pairs(["car=automobile", "car=truck"])


def test_bfloat16_is_refused_with_what_to_write(tmp_path):
    content = b'{"logits":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    (tmp_path / "a.safetensors").write_bytes(len(content).to_bytes(8, "little") + content + bytes(8))
    with pytest.raises(InvalidInputError, match=r"logits cannot be read .*as plain numbers .float32."):
        read_set(tmp_path / "a.safetensors", labelled=False)
