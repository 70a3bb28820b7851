"""Few labels, from files: `shiftcast plan`, `sample` and `estimate --labelled`, and their functions."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import shiftcast
from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.labels import COLUMNS, chances_of, draw_sample, plan_labels, read_labels
from shiftcast.estimate.lead import Answer
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.arrays import softmax

SOURCE = make_predictions(400, 5, seed=1, name="val")
TRUTH = make_predictions(300, 5, seed=2, shift=1.0, name="prod")
TARGET = TRUTH.without_labels()
CHANCES = np.linspace(0.2, 0.99, len(TARGET))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    np.savez(folder / "val.npz", logits=SOURCE.logits, labels=SOURCE.labels)
    np.savez(folder / "prod.npz", logits=TARGET.logits)
    return folder


def given(folder):
    return ["--source", folder / "val.npz", "--target", folder / "prod.npz"]


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def filled(tmp_path, images=60, change=None):
    """Return a sample's file with all labels, changed by a function of its table."""
    table = draw_sample(TARGET, CHANCES, images)
    table["label"] = TRUTH.labels[table["row"]].astype(str)
    table = table if change is None else change(table)
    path = tmp_path / "labelled.csv"
    table.to_csv(path, index=False)
    return path


def test_a_sample_is_the_same_bytes_for_a_seed_and_its_probabilities_are_those_of_its_strata(files, tmp_path):
    for name in ("a.csv", "b.csv"):
        done = run("sample", *given(files), "--images", 60, "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    table = pd.read_csv(tmp_path / "a.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["row"].is_unique
    by = table.groupby("stratum")
    sizes = by.size() / by["inclusion"].first()
    assert sizes.to_numpy() == pytest.approx(np.full(10, 30))
    assert by.size().min() >= 2
    other = shiftcast.sample(SOURCE, TARGET, 60, seed=1)
    assert set(other["row"]) != set(table["row"])


def test_first_rows_of_a_sample_are_a_sample_of_all_strata():
    table = draw_sample(TARGET, CHANCES, 100)
    whole, half = (part["stratum"].value_counts() for part in (table, table[:50]))
    assert (half - whole / 2).abs().max() <= 1


def test_each_image_is_drawn_as_often_as_its_probability_says():
    drawn = np.zeros(len(TARGET))
    for seed in range(40):
        table = draw_sample(TARGET, CHANCES, 40, seed)
        drawn[table["row"]] += 1 / table["inclusion"] / 40
    assert drawn.mean() == pytest.approx(1)
    assert (
        drawn.std() < 0.6
    )  # sqrt((1 - p) / 40 p) is 0.41 at p = 0.13; 2.6 if the same images came each time


def test_labels_lead_the_answer_in_text_json_and_html(files, tmp_path):
    path = filled(tmp_path)
    options = ["--labelled", path, "--estimators", "AC", "--html", tmp_path / "a.html", "--classes"]
    done = run("estimate", *given(files), *options, "--out", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    answer = json.loads((tmp_path / "a.json").read_text())
    lead, before = answer["answer"], answer["answer_without_labels"]
    assert set(lead) == set(before)
    assert (lead["estimator"], lead["level"], before["level"]) == ("60 labels", 0.95, 0.8)
    assert lead["low"] < TRUTH.accuracy < lead["high"]
    assert answer["labelled"]["labels"] == answer["labelled"]["drawn"] == 60
    table = pd.read_csv(path)
    right = TARGET.predicted[table["row"]] == table["label"]
    if answer["labelled"]["weight"] == 0:
        weighted = (right / table["inclusion"]).sum() / len(TARGET)
        assert lead["accuracy"] == pytest.approx(weighted, abs=1e-6)
    parts = answer["by_class"]
    mean = sum(one["images"] * one["accuracy"] for one in parts if "accuracy" in one)
    assert mean / sum(one["images"] for one in parts if "accuracy" in one) == pytest.approx(
        lead["accuracy"], abs=0.05
    )
    for text in (" ".join(done.output.split()), (tmp_path / "a.html").read_text()):
        assert "From 60 labels. Drawn in 10 strata, as precise as" in text
        assert f"Without labels: about {100 * before['accuracy']:.0f} % on prod.npz" in text
    found = shiftcast.estimate(files / "val.npz", files / "prod.npz", labelled=path)
    assert found.accuracy == lead["accuracy"]


def test_the_order_of_a_files_rows_plays_no_part(tmp_path):
    one = shiftcast.estimate(SOURCE, TARGET, labelled=filled(tmp_path))
    other = filled(tmp_path, change=lambda table: table.sort_values("row"))
    assert shiftcast.estimate(SOURCE, TARGET, labelled=other) == one


def test_an_empty_label_counts_as_not_drawn_and_is_told(tmp_path):
    def only_first(table):
        return table.assign(label=table["label"].where(table.index < 40, ""))

    answer = shiftcast.estimate(SOURCE, TARGET, labelled=filled(tmp_path, change=only_first))
    assert answer.estimator == "40 labels"
    assert any("20 of the 60 drawn images have no label" in text for text in answer.warnings)


def test_labels_that_contradict_the_answer_are_told(tmp_path):
    wrong = filled(
        tmp_path, change=lambda t: t.assign(label=((TARGET.predicted[t["row"]] + 1) % 5).astype(str))
    )
    answer = shiftcast.estimate(SOURCE, TARGET, labelled=wrong)
    assert (answer.accuracy, answer.low) == (0, 0)
    assert any("contradict" in text for text in answer.warnings)
    right = filled(tmp_path, change=lambda t: t.assign(label=TARGET.predicted[t["row"]].astype(str)))
    answer = shiftcast.estimate(SOURCE, TARGET, labelled=right)
    assert (answer.accuracy, answer.high) == (1, 1)
    assert answer.low < 0.96


def test_one_label_of_one_image_is_an_answer(tmp_path):
    answer = shiftcast.estimate(SOURCE, TARGET, labelled=filled(tmp_path, images=1))
    assert answer.high - answer.low > 0.7
    assert answer.estimator == "1 label"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="inclusion"), "lacks the column 'inclusion'"),
        (lambda t: t.assign(target="0123456789abcdef"), "drawn from another target"),
        (lambda t: t.assign(row=t["row"] + 300), "is not in the target"),
        (lambda t: t.assign(row=t["row"] + 0.5), "expected a whole number"),
        (lambda t: t.assign(row=t["row"].mask(t.index == 1, t["row"][0])), "stands twice"),
        (lambda t: t.assign(label="cat"), "column label: row 0"),
        (lambda t: t.assign(label="7"), "expected one of 0, 1, 2, 3, 4"),
        (lambda t: t.assign(label=""), "no row has a label"),
        (lambda t: t.assign(inclusion=t["inclusion"].mask(t.index == 3)), "row 3 (from 0) is blank"),
        (lambda t: t.assign(inclusion=0.0), "above 0 and at most 1, got 0"),
        (lambda t: t.assign(inclusion=1.5), "above 0 and at most 1, got 1.5"),
        (lambda t: t.assign(inclusion=t["inclusion"].mask(t.index == 3, 0.9)), "do not fit"),
        (lambda t: t[:30], "do not fit the 300 images"),
        (
            lambda t: t.assign(label=t["label"].where(t["stratum"] == 4, "")),
            "no image of stratum 0 has a label",
        ),
    ],
)
def test_files_that_are_no_sample_of_the_target_are_refused(tmp_path, change, words):
    with pytest.raises(InvalidInputError) as refused:
        read_labels(filled(tmp_path, change=change), TARGET)
    assert words in str(refused.value)


def test_class_names_are_labels_and_the_order_of_classes_does_not_change_a_fingerprint(tmp_path):
    names = ["ant", "bee", "cat", "dog", "eel"]
    path = filled(tmp_path, change=lambda t: t.assign(label=np.array(names)[t["label"].astype(int)]))
    other = Predictions("prod", TARGET.logits[:, ::-1])
    found = read_labels(path, other, names[::-1])
    assert (found.classes == 4 - TRUTH.labels[found.rows]).all()


def test_what_cannot_be_drawn_or_planned_is_refused(files, tmp_path):
    with pytest.raises(InvalidInputError, match="expected from 1 to 300, as many as prod holds, got 301"):
        draw_sample(TARGET, CHANCES, 301)
    with pytest.raises(InvalidInputError, match="between 0 and 50"):
        shiftcast.plan(SOURCE, TARGET, half_widths=[0.7])
    (tmp_path / "old.csv").write_text("labels of a day\n")
    refused = run("sample", *given(files), "--images", 5, "--out", tmp_path / "old.csv")
    assert "may hold labels" in str(refused.exception)
    assert (tmp_path / "old.csv").read_text() == "labels of a day\n"
    both = run("estimate", *given(files), "--labelled", tmp_path / "x", "--out", tmp_path / "x")
    assert "would be written over" in str(both.exception)


def test_the_plan_says_what_it_rests_on_and_an_ensemble_changes_it(files, tmp_path):
    arrays = {}
    random = np.random.default_rng(3)
    for key, own in (("source", SOURCE), ("target", TRUTH)):
        clean = 3 * np.eye(5)[own.labels]
        arrays[key] = np.stack([softmax(clean + random.normal(size=clean.shape)) for _ in range(5)])
    np.savez(tmp_path / "others.npz", **arrays)
    plain = run("plan", *given(files))
    assert "Savings rest on estimated error rates" in plain.output
    assert "--ensemble" in plain.output
    options = ["--ensemble", tmp_path / "others.npz", "--half-width", "8", "--json"]
    found = json.loads(run("plan", *given(files), *options).output)
    assert [row["half_width"] for row in found["plan"]] == [0.08]
    assert found["plan"][0]["stratified"] < shiftcast.plan(SOURCE, TARGET, half_widths=[0.08])[0].stratified


def test_a_source_without_errors_is_sorted_by_confidence():
    source = SOURCE.with_labels(SOURCE.predicted)
    whole = {"source": {"accuracy": 1.0}, "target": {}}
    answer = Answer(None, 0.8, 1.0, 0.9, "a bound", "", "", (), **whole)
    chances = chances_of(source, TARGET, answer)
    assert (np.argsort(chances, kind="stable") == np.argsort(TARGET.confidence, kind="stable")).all()
    assert 0.8 < chances.mean() < 1


def test_a_blank_line_below_a_table_is_named(tmp_path):
    path = filled(tmp_path)
    path.write_text(path.read_text() + ",,,,\n")
    with pytest.raises(InvalidInputError, match=r"1 row blank, the first 60 \(from 0\); delete such lines"):
        read_labels(path, TARGET)


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        (lambda text: ("\ufeff" + text.replace("\n", "\r\n")).encode(), 60),
        (lambda text: "\n".join(f'"{line}"'.replace(",", '","') for line in text.splitlines()).encode(), 60),
        (lambda text: (text + "\n\n").encode(), 60),
    ],
)
def test_what_spreadsheets_make_of_a_file_changes_nothing(tmp_path, change, labels):
    path = filled(tmp_path)
    known = read_labels(path, TARGET)
    path.write_bytes(change(path.read_text()))
    found = read_labels(path, TARGET)
    assert (found.classes >= 0).sum() == labels
    for one, other in ((found.rows, known.rows), (found.classes, known.classes), (found.sizes, known.sizes)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images": 2.5}, "images: expected a whole number, got 2.5"),
        ({"images": "5"}, "images: expected a whole number"),
        ({"images": 5, "seed": -1}, "seed: expected a whole number from 0"),
        ({"images": 5, "seed": 1.5}, "seed: expected a whole number from 0"),
    ],
)
def test_arguments_that_draw_nothing(arguments, words):
    with pytest.raises(InvalidInputError, match=words):
        draw_sample(TARGET, CHANCES, **arguments)


@pytest.mark.parametrize("widths", [0.02, None, ["a"], [float("nan")]])
def test_half_widths_that_are_none(widths):
    with pytest.raises(InvalidInputError, match="half-width"):
        plan_labels(CHANCES, widths)


def test_a_sample_goes_to_a_table_that_can_be_read_again(files, tmp_path):
    refused = run("sample", *given(files), "--images", 5, "--out", tmp_path / "k.xlsx")
    assert "ends in .csv" in str(refused.exception)
    assert (
        "1 image in 1 stratum"
        in run("sample", *given(files), "--images", 1, "--out", tmp_path / "k.csv").output
    )
