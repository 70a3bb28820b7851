"""Siblings of reported faults: the same kind in other readers, other inputs and other commands."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from shiftcast.calibration import ClassTemperature, expected_calibration_error
from shiftcast.cli import options
from shiftcast.cli.app import app
from shiftcast.data.add import read_own
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.answer import choose_estimators, estimate_accuracy
from shiftcast.estimate.class_order import about_class_order
from shiftcast.estimate.inputs import about_unread, read_set
from shiftcast.estimate.parts import actual_so_far
from shiftcast.estimators import AverageConfidence, Calibrated
from shiftcast.estimators.balance import BEYOND_SEARCH
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax

NAMES = ("ant", "bee", "cat", "dog", "eel")
OWN = make_predictions(400, 5, seed=1, name="val")
OTHER = make_predictions(300, 5, seed=2, shift=0.5, name="prod")
SHARES = softmax(OWN.logits)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# Memory


@pytest.mark.parametrize("key", ["logits", "labels", "reference", "peers", "siblings", "features"])
def test_a_read_only_array_that_its_owner_opens_again_is_copied(key):
    values = {"logits": OWN.logits, "labels": OWN.labels, "reference": OWN.reference, "features": SHARES}
    values |= {"peers": OWN.peers, "siblings": OWN.siblings}
    array = np.array(values[key], dtype=np.int32 if key in ("peers", "siblings") else None)
    array.flags.writeable = False
    made = Predictions("x", **({"logits": OWN.logits} | {key: array}))
    before = np.array(getattr(made, key))
    array.flags.writeable = True
    array[...] = 0
    assert np.array_equal(getattr(made, key), before)


def test_predictions_share_what_others_hold():
    first = Predictions("x", OWN.logits, reference=OWN.reference)
    second = Predictions("y", OWN.logits, reference=first.reference)
    assert second.reference is first.reference


def test_a_mask_chooses_no_images():
    with pytest.raises(InvalidInputError, match=r"select: .* of a mask give numpy.flatnonzero\(mask\)"):
        OWN.select(OWN.labels == 1)
    with pytest.raises(InvalidInputError, match="expected integers below 400, got int64 from 400 to 400"):
        OWN.select(np.array([400]))


# Probabilities, logits, counts

VOTES = np.random.default_rng(0).multinomial(10, [0.5, 0.2, 0.1, 0.1, 0.1], size=400)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (VOTES, "each row sums to about 10: these look like counts"),
        (1000 * SHARES, "each row sums to about 1000"),
        (np.rint(255 * SHARES).astype(np.uint8), "each row sums to about 25"),
        (np.vstack([SHARES[:40], OWN.logits[40:]]), "40 of 400 rows are probabilities"),
    ],
)
def test_counts_and_few_probabilities_are_a_question(tmp_path, outputs, words):
    np.save(tmp_path / "a.npy", outputs)
    np.savez(tmp_path / "a.npz", logits=outputs)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(InvalidInputError, match=words):
            read_set(tmp_path / name, labelled=False)
    with pytest.raises(InvalidInputError, match=words):
        Predictions("x", outputs)
    assert Predictions("x", outputs, "logits").kind == "logits"


def test_logits_of_one_sum_by_chance_are_logits():
    plain = (5 * np.eye(5)[OWN.labels], np.maximum(OWN.logits, 0), OWN.logits + 1e5)
    for logits in (np.tile([3.0, 1, 0], (200, 1)), *plain):
        assert Predictions("x", logits).kind == "logits"


# The order of classes


@pytest.mark.parametrize("what", ["labels", "reference", "peers", "siblings"])
def test_two_interchanged_classes_are_told_of(what):
    order = np.array([1, 0, 2, 3, 4])
    values = {key: getattr(OWN, key) for key in ("labels", "reference", "peers", "siblings")}
    values[what] = OWN.reference[:, :, order] if what == "reference" else order[values[what]]
    option = {"labels": "labels", "reference": "--ensemble"}.get(what, f"--{what}")
    found = about_class_order(Predictions("val", OWN.logits, **values), OTHER, NAMES)
    assert len(found) == 1
    assert found[0].startswith(f"{option}: classes look interchanged: what val puts into one")
    assert "(ant as bee, bee as ant)" in found[0]
    assert not about_class_order(OWN, OTHER, NAMES)


def test_few_images_of_many_classes_look_interchanged_to_nobody():
    many = make_predictions(600, 300, seed=0)
    random = np.random.default_rng(0).permutation(600)
    assert not about_class_order(many, many)
    assert not about_class_order(Predictions("x", many.logits, labels=many.labels[random]), many)


def test_a_member_with_interchanged_classes_is_told_of(tmp_path):
    members = OWN.reference.copy()
    members[1] = members[1][:, [1, 0, 2, 3, 4]]
    np.save(tmp_path / "e.npy", members)
    said = run("difficulty", "--ensemble", tmp_path / "e.npy", "--out", tmp_path / "o.csv").stderr
    assert "members 1 (from 0) have classes that look interchanged" in said


# The structure of tables


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("logit_a,logit_b,label,Label", r"two columns are called 'label', number 2 and 3 \(as 'Label'\)"),
        ("logit_a,logit_b,label,label.1", r"two columns are called 'label', number 2 and 3"),
        ("logit_a,logit_b,logit_b.1,label", r"two columns are called 'logit_b', number 1 and 2"),
        ("logit_é,logit_e\u0301,label,x", "two columns are called 'logit_é', number 0 and 1"),
        ("logit_a,logit_b,logit_,label", "column 'logit_' names no class"),
        ("1.5,2,3,a", "its columns are called 1.5, 2, 3, a; .*Does its first line hold them"),
        ("made by x", "Is there a line above the columns' names"),
    ],
)
def test_columns_that_are_no_names(tmp_path, head, words):
    (tmp_path / "a.csv").write_text(f"{head}\n1,2,0,0\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=words):
        read_set(tmp_path / "a.csv", labelled=False)
    if head.count(",") == 3:
        row = pd.DataFrame([[1.0, 2.0, 0, 0]], columns=head.split(","))
        row.to_parquet(tmp_path / "a.parquet")
        with pytest.raises(InvalidInputError, match=words):
            read_set(tmp_path / "a.parquet", labelled=False)


def test_names_that_end_in_numbers_are_names(tmp_path):
    (tmp_path / "a.csv").write_text("logit_v1,logit_v1.1,logit_A,logit_a\n1,2,3,4\n")
    assert read_set(tmp_path / "a.csv", labelled=False).classes == ("v1", "v1.1", "A", "a")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"\xfd7zXZ\x00", "compressed with xz"),
        (b"(\xb5/\xfd\x00", "compressed with Zstandard"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel sheet"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "npz", "npy", "parquet"])
def test_other_contents_are_named(tmp_path, content, words, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"is called \.{suffix}, but is {words}"):
        read_set(tmp_path / f"a.{suffix}", labelled=False)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('"1,5",2,a', "got '1,5'; write decimals with a point"),
        ("1,2, a", "got ' a'; take away the spaces around it"),
        ("1,2,N/A", "got 'N/A'; if it stands for an unknown class, leave the cell empty"),
    ],
)
def test_cells_that_are_refused_say_why(tmp_path, row, words):
    (tmp_path / "a.csv").write_text(f"logit_a,logit_b,label\n{row}\n")
    with pytest.raises(InvalidInputError, match=words):
        read_set(tmp_path / "a.csv", labelled=False)


def test_numpys_advice_to_unpickle_is_not_passed_on(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x80\x04nothing")
    with pytest.raises(InvalidInputError, match="holds Python objects, or is not what numpy writes"):
        read_set(tmp_path / "a.npy", labelled=False)
    np.savez(tmp_path / "a.npz", logits=OWN.logits, class_names=np.array(NAMES, dtype=object))
    with pytest.raises(InvalidInputError, match=r"class_names cannot be read .*texts \(dtype=str\)"):
        read_set(tmp_path / "a.npz", labelled=False)


# Searches at their bounds, ties


@pytest.mark.parametrize(("factor", "said"), [(0.01, BEYOND_SEARCH), (1, ""), (100, BEYOND_SEARCH)])
def test_an_ensembles_sharpness_at_its_bound_is_told_of(factor, said):
    own, other = (
        Predictions(
            each.name, each.logits, labels=each.labels, reference=softmax(factor * np.log(each.reference))
        )
        for each in (OWN, OTHER)
    )
    rows = estimate_accuracy(own, other, choose_estimators("BalancedAgreement,LargestDrop"))
    assert [row.get("flagged", "") for row in rows] == [said, said]


def test_a_class_without_errors_has_no_temperature_of_its_own():
    logits = np.vstack([OWN.logits, np.tile([9.0, 0, 0, 0, 0], (60, 1))])
    kept = np.concatenate([np.flatnonzero(OWN.predicted != 0), np.arange(400, 460)])
    labels = np.append(OWN.labels, np.zeros(60, dtype=int))
    source = Predictions("val", logits[kept], labels=labels[kept])
    answer = Calibrated(AverageConfidence(), ClassTemperature(50)).fit(source).predict(OTHER)
    assert "no most likely temperature" in answer.flagged
    answer = Calibrated(AverageConfidence(), ClassTemperature(50)).fit(OWN).predict(OTHER)
    assert answer.flagged == ""


def test_confidences_that_differ_in_their_last_bit_fall_into_one_bin():
    random = np.random.default_rng(0)
    shares = np.log([0.4, 0.15, 0.15, 0.15, 0.15])
    logits = np.stack([np.roll(shares, k) for k in random.integers(0, 5, 2000)]) + random.normal(
        size=(2000, 1)
    )
    constant = Predictions("x", logits, "logits", labels=random.integers(0, 5, 2000))
    assert len(set(constant.confidence)) > 1
    whole = abs(constant.confidence.mean() - constant.accuracy)
    for scheme in ("width", "mass"):
        assert expected_calibration_error(constant, scheme=scheme) == pytest.approx(whole, abs=1e-9)


# What is not looked at


def test_labels_by_another_name_are_told_of(tmp_path):
    frame = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES])
    frame.assign(y_true=OTHER.labels).to_csv(tmp_path / "t.csv", index=False)
    frame.assign(y_true=OTHER.labels).to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        found = about_unread(tmp_path / name, ())
        assert found == [
            f"{name}: no labels are read; its column 'y_true' is another one: call it 'label' if it is meant"
        ]
    frame.assign(y_true=OTHER.labels, label=OTHER.labels).to_csv(tmp_path / "t.csv", index=False)
    assert about_unread(tmp_path / "t.csv", ()) == []


def test_links_to_folders_are_counted(tmp_path):
    from PIL import Image

    for name in ("away/1.png", "mine/cat/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    (tmp_path / "away" / "notes.txt").write_text("a")
    (tmp_path / "mine" / "cat" / "more").symlink_to(tmp_path / "away")
    (tmp_path / "mine" / "dog").symlink_to(tmp_path / "away")
    own = read_own(tmp_path / "mine", ("cat", "dog"))
    assert own.names == ["cat", "dog"]
    assert own.skipped == {
        "links to folders, which are not followed": 1,
        "files whose names are not those of images (.txt)": 1,
    }


# Labels that say nothing, or wrongly


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet"])
def test_unknown_labels_that_were_filled_among_floats_are_unknown(tmp_path, kind):
    labels = np.where(np.arange(300) < 60, OTHER.labels, -1.0)
    frame = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES]).assign(label=labels)
    path = tmp_path / f"t.{kind}"
    if kind == "npz":
        np.savez(path, logits=OTHER.logits, labels=labels)
    else:
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    assert actual_so_far(read_set(path, labelled=False))["labelled"] == 60


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"labels": np.where(OWN.labels == 1, -100, OWN.labels)}, "if -100 stands for an unknown class"),
        ({"labels": np.where(OWN.labels == 1, 255, OWN.labels)}, "if 255 stands for an unknown class"),
        ({"labels": np.where(OWN.labels == 1, np.nan, OWN.labels)}, "if NaN stands for an unknown class"),
        ({"labels": OWN.labels.astype(object)}, r"convert them with .astype\(int\)"),
        ({"labels": OWN.labels[None]}, r"give array\[0\]"),
        ({"logits": OWN.logits.T}, r"fit if rows are images: give the transpose, array.T"),
        ({"logits": OWN.logits.astype(str)}, r"these are texts: array.astype\(float\)"),
        ({"logits": [[1, 2], [1, 2, 3]]}, "give each row as many values"),
        (
            {"reference": OWN.reference.swapaxes(0, 1)},
            r"swap its first two axes: numpy.swapaxes\(reference, 0, 1\)",
        ),
        ({"peers": OWN.peers.T}, "swap its axes: array.T"),
    ],
)
def test_refusals_of_arrays_name_the_remedy(values, words):
    with pytest.raises(InvalidInputError, match=words):
        Predictions("x", **({"logits": OWN.logits, "labels": OWN.labels} | values))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 2, 3], "labels reach 3, .*if they count from 1, subtract 1"),
        ([0, -1, 2], "if -1 stands for an unknown class"),
        ([0.0, 1, 2], r"convert them with .astype\(int\)"),
        (np.eye(3), "these look one-hot"),
    ],
)
def test_labels_of_own_images_name_the_remedy(tmp_path, labels, words):
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 32, 32, 3), dtype=np.uint8), labels=labels)
    with pytest.raises(InvalidInputError, match=words):
        read_own(tmp_path / "a.npz", ("cat", "dog", "emu"))


def test_names_of_classes_may_be_bytes(tmp_path):
    labels = np.array(["größe".encode(), b"dog", b"NA"])
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 32, 32, 3), dtype=np.uint8), labels=labels)
    assert read_own(tmp_path / "a.npz", ()).names == ["größe", "dog", "NA"]


# Codes in names


def test_codes_in_paths_are_shown(tmp_path):
    np.save(tmp_path / "e.npy", OWN.reference)
    out = tmp_path / "\x1b[31mo.csv"
    said = run("difficulty", "--ensemble", tmp_path / "e.npy", "--out", out).stdout
    assert "wrote" in said
    assert r"\x1b[31mo.csv" in said
    assert "\x1b" not in options.text_table([["a\x1b[2Jb", "c\u202ed"]], ("x", "y"))


# What a submission loses


@pytest.mark.parametrize(
    ("offset", "words"),
    [(30_000, "every image has the same outputs"), (2000, "fall into another class"), (0, "")],
)
def test_what_storing_a_submission_loses_is_told(zoo, tmp_path, offset, words):
    from shiftcast.submission.create import import_run, make_claim

    n = len(zoo.labels["zoo-test"])
    logits = np.random.default_rng(0).normal(size=(n, 4)) + offset
    frame = pd.DataFrame(logits, columns=[f"logit_{k}" for k in range(4)]).assign(camera="a")
    frame.to_csv(tmp_path / "a.csv", index=False)
    claim = make_claim(zoo.workspace, "net", 0, "net", None, "")
    suite = zoo.workspace.suite("zoo")
    made = import_run(zoo.workspace, suite, [("zoo-test", tmp_path / "a.csv")], claim, tmp_path / "r")
    assert "a.csv: 1 column not read: camera" in made.doubts
    assert any(words in text for text in made.doubts)
    assert len(made.doubts) == (2 if words else 1)


def test_the_answer_holds_what_was_found(tmp_path):
    frame = pd.DataFrame(OTHER.logits, columns=[f"logit_{name}" for name in NAMES])
    frame.assign(truth=OTHER.labels).to_csv(tmp_path / "t.csv", index=False)
    swapped = np.array([1, 0, 2, 3, 4])[OWN.labels]
    np.savez(tmp_path / "s.npz", logits=OWN.logits, labels=swapped)
    files = ["--source", tmp_path / "s.npz", "--target", tmp_path / "t.csv", "--estimators", "AC"]
    warnings = json.loads(run("estimate", *files, "--json").stdout)["warnings"]
    assert [text for text in warnings if text.startswith("labels: classes look interchanged")]
    assert [text for text in warnings if "its column 'truth' is another one" in text]
