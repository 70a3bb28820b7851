import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.own import by_predicted_class, by_slice, choose_estimators, estimate_accuracy, summary
from shiftcast.own_files import attach, read_set


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


def read_predictions(path, labelled):
    return read_set(path, labelled).predictions


def test_estimates_come_from_a_models_own_outputs_alone(tmp_path):
    source = read_predictions(saved(tmp_path, "val.npz", **arrays()), labelled=True)
    shifted = arrays(seed=1, signal=1.0)
    target = read_predictions(saved(tmp_path, "prod.npz", logits=shifted["logits"]), labelled=False)
    rows = {row["estimator"]: row for row in estimate_accuracy(source, target)}
    answered = [name for name, row in rows.items() if "accuracy" in row]
    assert answered == ["NoShift", "AC", "AC-TS", "DoC", "IM", "ATC-MC", "ATC-NE", "COT", "COTT"]
    assert rows["GDE"]["skipped"] == "needs siblings: give them with --siblings FILE.npz"
    assert rows["MeanShift"]["skipped"].startswith("needs labelled sets under other shifts")
    assert rows["NoShift"]["accuracy"] == pytest.approx(source.accuracy, abs=1e-6)
    assert rows["DoC"]["accuracy"] < source.accuracy
    assert all(rows[name]["low"] <= rows[name]["accuracy"] <= rows[name]["high"] for name in answered)
    assert all(rows[name]["interval"] == "sampling" for name in answered)


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


NAMES = ("cat", "dog", "eel", "fox", "ant")
"""In an order of their own: classes are never sorted."""


def table(path, values, labelled=True, **columns):
    frame = pd.DataFrame(values["logits"], columns=[f"logit_{name}" for name in NAMES])
    if labelled:
        frame["label"] = [NAMES[k] for k in values["labels"]]
    for name, column in columns.items():
        frame[name] = column
    frame.to_csv(path, index=False)
    return path


def test_a_table_gives_what_the_arrays_give_with_classes_in_the_order_of_its_columns(tmp_path):
    values = arrays()
    plain = read_set(saved(tmp_path, "a.npz", **values), labelled=True)
    named = read_set(table(tmp_path / "a.csv", values), labelled=True)
    assert named.classes == NAMES
    assert np.array_equal(named.predictions.labels, plain.predictions.labels)
    assert np.allclose(named.predictions.logits, plain.predictions.logits)
    by_position = pd.read_csv(tmp_path / "a.csv").assign(label=values["labels"])
    by_position.to_csv(tmp_path / "b.csv", index=False)
    assert np.array_equal(read_set(tmp_path / "b.csv", labelled=True).predictions.labels, values["labels"])


def test_classes_called_by_numbers_are_names_and_not_positions(tmp_path):
    frame = pd.DataFrame(2 * np.eye(3), columns=["logit_13", "logit_11", "logit_12"]).assign(
        label=[13, 11, 12]
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert read_set(tmp_path / "a.csv", labelled=True).predictions.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(label="cow"), "row 0 holds 'cow', which is none of the classes.*cat, dog"),
        (lambda f: f.assign(label=[None, *f["label"][1:]]), "column label: row 0 is empty"),
        (lambda f: f.drop(columns="label"), "a column 'label' in tables"),
        (lambda f: f.rename(columns=lambda c: c.replace("logit_", "")), "a column logit_CLASS or prob_CLASS"),
        (lambda f: f.assign(prob_cat=0.5), "not both kinds"),
        (lambda f: f.assign(logit_cat="a"), "expected numbers"),
        (lambda f: f.rename(columns=lambda c: c.replace("logit_", "prob_")), "expected probabilities"),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path, change, message):
    path = table(tmp_path / "a.csv", arrays())
    change(pd.read_csv(path)).to_csv(path, index=False)
    with pytest.raises(InvalidInputError, match=message):
        read_set(path, labelled=True)


def test_plain_arrays_take_their_labels_from_another_file(tmp_path):
    values = arrays()
    np.save(tmp_path / "z.npy", values["logits"])
    np.save(tmp_path / "y.npy", values["labels"])
    read = read_set(tmp_path / "z.npy", labelled=True, labels=tmp_path / "y.npy").predictions
    assert read.kind == "logits"
    assert np.array_equal(read.labels, values["labels"])
    np.save(tmp_path / "p.npy", np.full((4, 5), 0.2))
    assert read_set(tmp_path / "p.npy", labelled=False).predictions.kind == "probabilities"
    with pytest.raises(InvalidInputError, match="--labels"):
        read_set(tmp_path / "z.npy", labelled=True)
    with pytest.raises(InvalidInputError, match="holds labels already"):
        read_set(saved(tmp_path, **values), labelled=True, labels=tmp_path / "y.npy")


def test_probabilities_called_logits_are_told_apart(tmp_path):
    with pytest.raises(InvalidInputError, match="what is called logits holds probabilities"):
        read_set(saved(tmp_path, logits=np.full((4, 5), 0.2)), labelled=False)


def test_other_models_open_other_estimators(tmp_path):
    source, target = (read_predictions(saved(tmp_path, f"{s}.npz", **arrays(seed=s)), True) for s in (0, 1))
    random = np.random.default_rng(0)
    shares = {k: random.dirichlet(np.ones(5), (3, 400)) for k in ("source", "target")}
    np.savez(tmp_path / "e.npz", **shares)
    np.savez(tmp_path / "p.npz", **{k: random.integers(0, 5, (4, 400)) for k in ("source", "target")})
    for key, file in (("reference", "e.npz"), ("peers", "p.npz"), ("siblings", "p.npz")):
        source, target = attach(source, target, key, tmp_path / file)
    rows = {row["estimator"]: row for row in estimate_accuracy(source, target)}
    for name in ("ConfusionPartition", "AgreementShift", "GDE", "ALine-S", "ALine-D"):
        assert "accuracy" in rows[name], rows[name]
    np.savez(tmp_path / "short.npz", source=shares["source"][:, :9], target=shares["target"])
    with pytest.raises(InvalidInputError, match=r"short.npz: 0.npz: reference holds 9 images"):
        attach(source, target, "reference", tmp_path / "short.npz")
    with pytest.raises(InvalidInputError, match="it holds logits, labels"):
        attach(source, target, "peers", tmp_path / "0.npz")


def test_estimators_are_chosen_by_name():
    assert list(choose_estimators("COT, NoShift")) == ["COT", "NoShift"]
    with pytest.raises(UnknownNameError, match="did you mean NoShift"):
        choose_estimators("NoShfit")
    with pytest.raises(InvalidInputError, match="names with commas"):
        choose_estimators(" , ")


def test_classes_and_slices_are_estimated_apart(tmp_path):
    source = read_predictions(saved(tmp_path, "a.npz", **arrays()), labelled=True)
    values = arrays(seed=1)
    place = np.repeat(["north", "south"], [300, 100])
    target = read_set(table(tmp_path / "t.csv", values, labelled=False, place=place), labelled=False)
    chosen = choose_estimators("NoShift,ATC-NE")
    classes = by_predicted_class(source, target.predictions, NAMES, chosen)
    assert [row["class"] for row in classes] == list(NAMES)
    assert sum(row["images"] for row in classes) == 400
    for k, row in enumerate(classes):
        precision = source.correct[source.predicted == k].mean()
        assert row["estimates"][0]["accuracy"] == pytest.approx(precision, abs=1e-6)
    slices = by_slice(source, target, "place", chosen)
    assert [(row["slice"], row["images"]) for row in slices] == [("north", 300), ("south", 100)]
    north = target.predictions.select(np.arange(300))
    assert slices[0]["estimates"] == estimate_accuracy(source, north, chosen)
    with pytest.raises(InvalidInputError, match="has no column 'town'; it has place"):
        by_slice(source, target, "town", chosen)
    few = by_predicted_class(source.select(np.arange(30)), target.predictions, NAMES, chosen)
    assert "needs 20 source images" in few[0]["skipped"]


def test_empty_cells_are_a_slice_of_their_own_and_labels_give_its_actual_accuracy(tmp_path):
    source = read_predictions(saved(tmp_path, "a.npz", **arrays()), labelled=True)
    place = np.array(["x", None], dtype=object)[np.arange(400) % 2]
    target = read_set(table(tmp_path / "t.csv", arrays(seed=1), place=place), labelled=False)
    rows = by_slice(source, target, "place", choose_estimators("NoShift"))
    assert {row["slice"] for row in rows} == {"(empty)", "x"}
    for row in rows:
        chosen = np.arange(row["slice"] == "(empty)", 400, 2)
        assert row["actual"] == pytest.approx(target.predictions.correct[chosen].mean(), abs=1e-6)


def test_numbers_that_could_be_names_or_positions_are_refused(tmp_path):
    for labels in ([0, 1, 2], [1, 2, 2]):  # whatever values occur, the answer is the same
        frame = pd.DataFrame(2 * np.eye(3), columns=["logit_1", "logit_2", "logit_3"]).assign(label=labels)
        frame.to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(InvalidInputError, match=r"could be class names .1, 2, 3, ….* or positions"):
            read_set(tmp_path / "a.csv", labelled=True)


def test_nothing_estimated_is_an_error_and_names_may_be_in_any_case(tmp_path):
    source = saved(tmp_path, "a.npz", **arrays())
    target = saved(tmp_path, "b.npz", logits=arrays(seed=1)["logits"])
    files = ["estimate", "--source", str(source), "--target", str(target), "--estimators"]
    result = CliRunner().invoke(app, [*files, "gde"])
    assert "no estimator could answer: GDE: needs siblings" in str(result.exception)
    assert CliRunner().invoke(app, [*files, "atc-ne,Noshift"]).exit_code == 0


def test_the_command_writes_everything_to_a_file(tmp_path):
    source = table(tmp_path / "val.csv", arrays())
    target = table(tmp_path / "prod.csv", arrays(seed=1), labelled=False, site=np.arange(400) % 3)
    out = tmp_path / "answer.json"
    arguments = [
        "estimate",
        "--source",
        source,
        "--target",
        target,
        "--slice",
        "site",
        "--classes",
        "--out",
        out,
    ]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "By predicted class" in result.output
    answer = json.loads(out.read_text())
    assert answer["class_names"] == list(NAMES)
    assert len(answer["by_slice"]) == 3
    assert {row["estimator"] for row in answer["estimates"]} >= {"COT", "GDE", "NuclearNorm"}


def test_classes_in_another_order_are_refused(tmp_path):
    source = table(tmp_path / "val.csv", arrays())
    other = pd.read_csv(table(tmp_path / "prod.csv", arrays(seed=1), labelled=False))
    other[other.columns[::-1]].to_csv(tmp_path / "prod.csv", index=False)
    result = CliRunner().invoke(
        app, ["estimate", "--source", str(source), "--target", str(tmp_path / "prod.csv")]
    )
    assert isinstance(result.exception, InvalidInputError)
    assert "give both alike" in str(result.exception)
