import contextlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.estimate.answer import choose_estimators, estimate_accuracy, summary
from shiftcast.estimate.board_errors import BoardErrors, board_errors
from shiftcast.estimate.drop import predicted_drop
from shiftcast.estimate.inputs import attach, read_set
from shiftcast.estimate.wording import interval_notes
from shiftcast.estimators import ConfusionPartition, ImportanceReweighting, official_estimators
from shiftcast.statistics import conformal_interval
from shiftcast.testing import make_predictions


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
    alone = [name for name, one in official_estimators().items() if one.track == "T1"]
    assert answered == [*(name for name in alone if name != "NoShift"), "NoShift"]  # baselines apart
    assert rows["GDE"]["skipped"] == (
        "needs the predicted classes of your architecture with other seeds: give them with --siblings "
        "FILE.npz"
    )
    assert rows["MeanShift"]["skipped"].startswith("needs labelled sets under other shifts")
    assert rows["NoShift"]["accuracy"] == pytest.approx(source.accuracy, abs=1e-6)
    assert rows["DoC"]["accuracy"] < source.accuracy
    assert all(rows[name]["low"] <= rows[name]["accuracy"] <= rows[name]["high"] for name in answered)
    assert {name for name in answered if rows[name]["interval"] != "sampling"} == {"LargestDrop-T1"}


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
    with pytest.raises(InvalidInputError, match=r"cannot be read as a \.npz file"):
        read_predictions(tmp_path / "text.npz", labelled=True)
    whole = saved(tmp_path, **arrays()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:2000])
    with pytest.raises(InvalidInputError, match=r"npz file"):
        read_predictions(tmp_path / "cut.npz", labelled=True)
    random = np.random.RandomState(0)
    for _ in range(200):  # some of these raise what no list of exceptions would hold
        spoilt = bytearray(whole)
        for place in random.randint(0, 300, 3):
            spoilt[place] = random.randint(256)
        (tmp_path / "spoilt.npz").write_bytes(spoilt)
        with contextlib.suppress(InvalidInputError):
            read_predictions(tmp_path / "spoilt.npz", labelled=True)


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
        (lambda f: f.assign(label="cow"), "column label: row 0 .*: expected one of cat, dog, .*got 'cow'"),
        (lambda f: f.assign(label=[None, *f["label"][1:]]), "column label: row 0 .from 0. is blank"),
        (lambda f: f.drop(columns="label"), "a column 'label' in tables"),
        (lambda f: f.rename(columns=lambda c: c.replace("logit_", "")), "a column logit_CLASS or prob_CLASS"),
        (lambda f: f.assign(prob_cat=0.5), "not both kinds"),
        (lambda f: f.assign(logit_cat="a"), "column logit_cat: row 0 .*: expected a number, got 'a'"),
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
        assert "accuracy" in rows[name].get("abstained", rows[name]), rows[name]
    np.savez(tmp_path / "short.npz", source=shares["source"][:, :9], target=shares["target"])
    with pytest.raises(
        InvalidInputError, match=r"short.npz: source: expected probabilities .*here \(models, 400, 5\)"
    ):
        attach(source, target, "reference", tmp_path / "short.npz")
    with pytest.raises(InvalidInputError, match="it holds logits, labels"):
        attach(source, target, "peers", tmp_path / "0.npz")


def test_estimators_are_chosen_by_name():
    assert list(choose_estimators("COT, NoShift")) == ["COT", "NoShift"]
    with pytest.raises(UnknownNameError, match="did you mean NoShift"):
        choose_estimators("NoShfit")
    with pytest.raises(InvalidInputError, match="names with commas"):
        choose_estimators(" , ")


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
    assert "no estimator could answer: GDE: needs the predicted classes" in str(result.exception)
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


def test_classes_in_another_order_are_put_in_order_by_their_names(tmp_path):
    source = table(tmp_path / "val.csv", arrays())
    plain = pd.read_csv(table(tmp_path / "prod.csv", arrays(seed=1)))
    plain[plain.columns[::-1]].to_csv(tmp_path / "other.csv", index=False)

    def answer(name):
        files = ["--source", str(source), "--target", str(tmp_path / name), "--json"]
        found = json.loads(CliRunner().invoke(app, ["estimate", *files]).stdout)
        return found["estimates"], found["target"]["accuracy"]

    assert answer("other.csv") == answer("prod.csv")
    plain.rename(columns={"logit_cat": "logit_mouse"}).drop(columns="label").to_csv(
        tmp_path / "foreign.csv", index=False
    )
    files = ["--source", str(source), "--target", str(tmp_path / "foreign.csv")]
    result = CliRunner().invoke(app, ["estimate", *files])
    assert isinstance(result.exception, InvalidInputError)
    assert "source and target name other classes" in str(result.exception)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": np.arange(400) % 5 + 1}, "if they count from 1, subtract 1"),
        ({"labels": np.zeros(400)}, r"convert them with \.astype\(int\)"),
        ({"labels": np.full(400, "cat")}, "positions in a stated order of the classes, not their names"),
        ({"logits": None, "probs": np.full((400, 5), 0.205)}, "If they were rounded, give more digits"),
    ],
)
def test_refusals_of_arrays_say_what_to_do(tmp_path, values, message):
    path = saved(tmp_path, **{k: v for k, v in (arrays() | values).items() if v is not None})
    with pytest.raises(InvalidInputError, match=message):
        read_set(path, labelled=True)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f.rename(columns={"label": "labels"}), {}, "its column 'labels' is another one: call it"),
        (lambda f: f, {"sep": ";"}, "its columns are separated by ';'; write it with commas"),
        (
            lambda f: f.assign(logit_cat=[*f["logit_cat"][:7], None, *f["logit_cat"][8:]]),
            {},
            "column logit_cat: row 7 .from 0. is blank",
        ),
        (lambda f: f[:0], {}, "holds no rows"),
    ],
)
def test_refusals_of_tables_say_what_to_do(tmp_path, change, options, message):
    path = table(tmp_path / "a.csv", arrays())
    change(pd.read_csv(path)).to_csv(path, index=False, **options)
    with pytest.raises(InvalidInputError, match=message):
        read_set(path, labelled=True)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("reference", np.full((3, 400, 5), -1.0), "These look like logits: give their softmax"),
        ("reference", np.full((3, 400, 5), 0.3), "those of model 0 for image 0 sum to 1.5"),
        ("peers", np.zeros((3, 400, 5)), "source: expected predicted classes"),
        ("peers", np.full((3, 400), 5), "source: expected values in 0..4"),
        ("siblings", np.zeros((0, 400), int), "source: expected predicted classes"),
    ],
)
def test_refusals_of_other_models_name_file_array_and_shape(tmp_path, key, values, message):
    source, target = (read_predictions(saved(tmp_path, f"{s}.npz", **arrays(seed=s)), True) for s in (0, 1))
    np.savez(tmp_path / "o.npz", source=values, target=values)
    with pytest.raises(InvalidInputError, match=f"o.npz: {message}" if "source" in message else message):
        attach(source, target, key, tmp_path / "o.npz")
    fine = np.zeros((2, 400), int)
    np.savez(tmp_path / "o.npz", source=fine, target=fine[:1])
    with pytest.raises(InvalidInputError, match="source holds 2 models and target 1"):
        attach(source, target, "peers", tmp_path / "o.npz")


def test_a_class_stands_for_its_estimators():
    assert list(choose_estimators("ATC")) == ["ATC-MC", "ATC-NE", "ATC-MC-TS", "ATC-NE-TS"]
    assert list(choose_estimators("averageconfidence,doc")) == ["AC", "AC-TS", "DoC"]
    assert list(choose_estimators("COT")) == ["COT"]


def test_errors_on_the_board_make_wider_intervals(tmp_path):
    source = read_predictions(saved(tmp_path, "a.npz", **arrays()), labelled=True)
    target = read_predictions(saved(tmp_path, "b.npz", **arrays(seed=1, signal=1.0)), labelled=False)
    shifts = {f"shift-{i}": [-0.1 * i, 0.05] for i in range(4)}
    errors = {
        "NoShift": BoardErrors(shifts, 0.25, 0.95, 0.1, "a board", 7),
        "AC": BoardErrors(dict(list(shifts.items())[:3]), 0.5, 0.95, 0.05, "a board", 7),
    }
    rows = {row["estimator"]: row for row in estimate_accuracy(source, target, None, errors)}
    low, high, extended = conformal_interval(rows["NoShift"]["accuracy"], 400, 0.3)
    assert rows["NoShift"]["conformal"] == {
        "low": low,
        "high": high,
        "extended": extended,
        "level": 0.8,
        "learned_on": "a board",
    }
    assert rows["NoShift"]["board"] == {
        "mae": 0.1,
        "coverage": 0.25,
        "shifts": 4,
        "architectures": 7,
        "learned_on": "a board",
    }
    assert rows["AC"]["conformal"] is None  # three shifts support no level
    assert "conformal" not in rows["DoC"]
    assert "Without model error, which is not known: AC, DoC" in " ".join(
        interval_notes([rows["NoShift"], rows["AC"], rows["DoC"]])
    )


def test_the_committed_errors_cover_every_estimator_that_others_can_run():
    errors = board_errors()
    unknown = {"others", "signals"}  # no run of the board that is scored has signals yet
    runnable = {name for name, one in official_estimators().items() if not unknown & one.requires}
    assert runnable <= set(errors)
    assert all(errors[name].level in (0.8, 0.9, 0.95) for name in runnable)
    assert "CIFAR-10" in errors["NoShift"].learned_on


def test_errors_come_from_the_suite_of_most_architectures_where_shifts_are_as_many(tmp_path):
    def suite(title, architectures, rows):
        shifts = {"photos": [0.1] * rows, "sketches": [0.2] * rows}
        own = {"coverage": None, "mae": 0.1, "nominal": None, "residuals": shifts}
        return {"learned_on": title, "architectures": architectures, "natural": {"NoShift": own}}

    path = tmp_path / "residuals.json"
    content = {"a": suite("one network trained in many ways", 2, 50), "b": suite("a zoo", 30, 30)}
    path.write_text(json.dumps({"schema": 2, "suites": content}))
    assert board_errors(path)["NoShift"].learned_on == "a zoo"


def test_damaged_errors_are_refused(tmp_path):
    path = tmp_path / "residuals.json"
    for text in ("{", "{}", '{"schema": 1, "suites": {}}', '{"schema": 2, "suites": {"a": {}}}'):
        path.write_text(text)
        with pytest.raises(InvalidInputError, match=r"residuals\.json: "):
            board_errors(path)


def test_a_predicted_drop_is_that_of_the_partition(tmp_path):
    source = read_predictions(saved(tmp_path, "a.npz", **arrays()), labelled=True)
    target = read_predictions(saved(tmp_path, "b.npz", **arrays(seed=1, signal=0.5)), labelled=False)
    drop = predicted_drop(source, target)
    wanted = ImportanceReweighting().fit(source).predict(target).accuracy
    assert drop["predicted"] == pytest.approx(wanted, abs=1e-6)
    assert sum(one["drop"] for one in drop["bins"]) == pytest.approx(source.accuracy - wanted, abs=1e-5)
    assert sum(one["target_share"] for one in drop["bins"]) == pytest.approx(1, abs=1e-5)
    edges = [one["from"] for one in drop["bins"]] + [drop["bins"][-1]["to"]]
    assert edges == sorted(set(edges))
    assert (edges[0], edges[-1]) == (0, 1)
    for one in drop["bins"]:
        inside = (1 - target.confidence >= one["from"]) & (1 - target.confidence < one["to"])
        assert one["target_share"] == pytest.approx(inside.mean(), abs=1e-6)
    hardest = target.confidence[drop["images"]]
    assert (np.diff(hardest) >= 0).all()
    assert drop["images_carrying"] == len(drop["images"]) > 0
    assert predicted_drop(source, source)["images"] == []


def test_with_an_ensemble_the_drop_is_that_of_confusion(tmp_path):
    source, target = make_predictions(600, seed=1), make_predictions(500, seed=2, shift=1.0)
    drop = predicted_drop(source, target)
    assert drop["estimator"] == "ConfusionPartition"
    assert drop["score"] == "confusion"
    assert drop["predicted"] == ConfusionPartition().fit(source).predict(target).accuracy


def test_the_page_needs_nothing_else_and_holds_the_answer(tmp_path):
    source = table(tmp_path / "val.csv", arrays())
    name = "<b>prod & co.csv"
    target = table(tmp_path / name, arrays(seed=1, signal=1.0), labelled=False, site=np.arange(400) % 3)
    files = ["--source", str(source), "--target", str(target)]
    options = [
        "--html",
        str(tmp_path / "a.html"),
        "--out",
        str(tmp_path / "a.json"),
        "--slice",
        "site",
        "--classes",
    ]
    result = CliRunner().invoke(app, ["estimate", *files, *options])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "a.html").read_text()
    answer = json.loads((tmp_path / "a.json").read_text())
    links = [value for key, value in re.findall(r'(src|href)="([^"]*)"', text) if not value.startswith("#")]
    assert not links
    assert "<script" not in text
    assert "<b>prod" not in text
    assert "&lt;b&gt;prod &amp; co.csv" in text
    assert text.count('<svg class="chart"') == 3
    for row in answer["estimates"]:
        if "accuracy" in row:
            assert f"<td>{row['estimator']}</td><td>{100 * row['accuracy']:.2f}</td>" in text
    carrying = [one for one in answer["drop"]["bins"] if one["carries"]]
    assert carrying
    for one in carrying:
        assert ", ".join(map(str, one["images"][:50])) in text
    assert "By slice" in text
    assert "By predicted class" in text


def test_parquet_gives_what_csv_gives(tmp_path):
    frame = pd.read_csv(table(tmp_path / "a.csv", arrays()))
    frame.to_parquet(tmp_path / "a.parquet")
    read, plain = (read_set(tmp_path / f"a.{kind}", labelled=True) for kind in ("parquet", "csv"))
    assert read.classes == plain.classes
    np.testing.assert_array_equal(read.predictions.logits, plain.predictions.logits)
    np.testing.assert_array_equal(read.predictions.labels, plain.predictions.labels)
