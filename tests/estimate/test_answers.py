"""What `shiftcast estimate` says around its numbers: order, warnings, what is explained, plug-ins."""

import json
import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.calibration import Temperature
from shiftcast.cli.app import app
from shiftcast.errors import BrokenEstimatorError, InvalidInputError
from shiftcast.estimate.answer import choose_estimators, estimate_accuracy
from shiftcast.estimate.board_errors import BoardErrors, board_errors
from shiftcast.estimate.choice import choose_answer
from shiftcast.estimate.diagnoses import shift_statement
from shiftcast.estimate.drop import explained, predicted_drop
from shiftcast.estimate.html import page
from shiftcast.estimate.signals import score_change
from shiftcast.estimate.warnings import warnings_about
from shiftcast.estimate.wording import board_error, interval_notes, order_note
from shiftcast.estimators import Calibrated, NoShift, registry
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions
from shiftcast.util.text import count
from support import REPOSITORY

RESULTS = REPOSITORY / "results" / "cifar10-cpu"

SOURCE = make_predictions(300, 10, seed=1, name="val")
TARGET = make_predictions(200, 10, seed=2, shift=1.0, name="prod").without_labels()
SHIFTS = {f"shift-{i}": [0.1] for i in range(5)}


def errors(**mae):
    return {name: BoardErrors(SHIFTS, 0.1, 0.95, value, "a board", 7) for name, value in mae.items()}


def files(tmp_path, source=SOURCE, target=TARGET):
    np.savez(tmp_path / "val.npz", logits=source.logits, labels=source.labels)
    np.savez(tmp_path / "prod.npz", logits=target.logits)
    return ["estimate", "--source", str(tmp_path / "val.npz"), "--target", str(tmp_path / "prod.npz")]


def run(arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_rows_come_by_their_error_on_the_board_with_unknown_ones_and_skipped_ones_last():
    chosen = choose_estimators("NoShift,MeanShift,AC,DoC,COTT")
    rows = estimate_accuracy(SOURCE, TARGET, chosen, errors(NoShift=0.3, COTT=0.08, AC=0.2, MeanShift=0.01))
    assert [row["estimator"] for row in rows] == ["COTT", "AC", "DoC", "NoShift", "MeanShift"]
    assert [board_error(row) for row in rows] == ["8.00", "20.00", "–", "30.00", "–"]
    assert "(a board, 7 architectures, 5 shifts)" in order_note(rows)
    assert "no promise" in order_note(rows)
    assert order_note(estimate_accuracy(SOURCE, TARGET, chosen)) == ""


def test_the_committed_errors_are_those_of_the_board():
    found = board_errors()
    assert found["COTT"].mae < found["NoShift"].mae
    assert all(0 < one.mae < 1 for one in found.values())
    scored = {path.parts[-4] for path in RESULTS.glob("*/*/seed-0/run.json")}
    assert {one.architectures for one in found.values()} == {len(scored)}


def test_the_command_prints_json_and_html_in_one_order(tmp_path):
    options = [
        "--estimators",
        "NoShift,ATC,COTT",
        "--html",
        tmp_path / "a.html",
        "--out",
        tmp_path / "a.json",
    ]
    said = run([*files(tmp_path), *options]).output
    order = [row["estimator"] for row in json.loads((tmp_path / "a.json").read_text())["estimates"]]
    text = (tmp_path / "a.html").read_text()
    for place in (said, text):
        assert "Sorted by MAE" in place
        assert "no promise" in place
        where = [place.index(name) for name in order]
        assert where == sorted(where)


def test_a_number_that_is_everybodys_is_said_once():
    row = {"estimator": "A", "board": {"coverage": 0.0429, "mae": 0.1}, "conformal": None}
    assert "covered the actual accuracy of 4.29 % of the models" in interval_notes([row, row])[0]
    other = {"estimator": "B", "board": {"coverage": 0.1, "mae": 0.1}, "conformal": None}
    assert "covered the actual accuracy of 4.29 to 10.00 % of the models" in interval_notes([other, row])[0]
    assert (count(1, "image"), count(1200, "image")) == ("1 image", "1,200 images")


def test_few_images_and_an_accuracy_below_chance_are_warned_of():
    assert warnings_about(SOURCE, TARGET) == []
    few = warnings_about(SOURCE.select(np.arange(99)), TARGET.select(np.arange(1)))
    assert [text.split(";")[0] for text in few] == ["val has 99 images", "prod has 1 image"]
    wrong, order = warnings_about(SOURCE.with_labels((SOURCE.predicted + 1) % 10), TARGET)
    assert (
        "0.00 % right is below chance (10.00 %): the columns and the labels probably have different orders"
        in wrong
    )
    assert "classes look interchanged" in order
    random = np.random.default_rng(0)
    (chance,) = [
        text
        for text in warnings_about(SOURCE.with_labels(random.integers(0, 10, 300)), TARGET)
        if "most frequent" in text
    ]
    assert chance.startswith("val: 8.00 % right is no better than always predicting the most frequent class")


@pytest.mark.parametrize(
    ("key", "option"), [("peers", "--peers"), ("siblings", "--siblings"), ("reference", "--ensemble")]
)
def test_models_that_are_the_scored_one_are_named(key, option):
    def with_own(own):
        stack = getattr(own, key).copy()
        stack[1] = own.probabilities if key == "reference" else own.predicted
        return Predictions(own.name, own.logits, labels=own.labels, **{key: stack})

    (text,) = warnings_about(with_own(SOURCE), with_own(TARGET))
    assert text.startswith(f"{option}: model 1 (from 0) is identical to val on every image")
    bare = Predictions("prod", TARGET.logits, **{key: getattr(TARGET, key)})
    assert warnings_about(with_own(SOURCE), bare) == []


def test_warnings_are_printed_and_on_the_page(tmp_path):
    few = SOURCE.select(np.arange(60))
    out = ["--html", tmp_path / "a.html", "--out", tmp_path / "a.json"]
    said = run([*files(tmp_path, few), *out]).output
    assert "warning: val.npz has 60 images" in said
    assert json.loads((tmp_path / "a.json").read_text())["warnings"][0].startswith("val.npz has 60 images")
    assert "Warning: val.npz has 60 images" in (tmp_path / "a.html").read_text()


def test_the_partitions_share_of_the_predicted_change():
    drop = predicted_drop(SOURCE, TARGET)
    half = [{"estimator": "X", "accuracy": SOURCE.accuracy - 2 * drop["drop"]}]
    found = explained(drop, half, SOURCE.accuracy)
    assert found["by"] == "X"
    assert found["share"] == pytest.approx(0.5, abs=1e-3)
    none = [{"estimator": "X", "accuracy": SOURCE.accuracy}]
    assert explained(drop, none, SOURCE.accuracy)["share"] is None


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (0.84, "That is 84 % of the -5.00 pp that COTT predicts.</p>"),
        (0.3, "Less than half: most of the change is within bins"),
        (-0.2, "the opposite sign of the -5.00 pp"),
        (None, "almost nothing to explain"),
    ],
)
def test_the_page_says_how_much_is_explained(share, sentence):
    drop = predicted_drop(SOURCE, TARGET) | {"explains": {"by": "COTT", "change": -0.05, "share": share}}
    assert sentence in text_of(drop)


def text_of(drop):
    rows = estimate_accuracy(SOURCE, TARGET, choose_estimators("NoShift"))
    answer = {
        "source": {"name": "val", "images": 300, "accuracy": SOURCE.accuracy},
        "target": {"name": "prod", "images": 1},
        "estimates": rows,
        "warnings": [],
        "skipped_plugins": ["Gone of package elsewhere"],
        "drop": drop,
        "answer": choose_answer(
            SOURCE, TARGET, {"source": {"name": "val", "images": 300, "accuracy": 0.8}, "target": {}}, []
        ).to_dict(),
        "shift": shift_statement(SOURCE, TARGET),
    }
    return page(answer, SOURCE, TARGET)


def test_one_image_and_one_estimator_are_spoken_of_in_the_singular():
    plain = predicted_drop(SOURCE, TARGET) | {"explains": {"by": "COTT", "change": 0.0, "share": None}}
    text = text_of(plain)
    assert "1 image in prod" in text
    assert "1 images" not in text
    assert "<li>Gone of package elsewhere</li>" in text


def test_tables_of_many_columns_say_that_they_scroll(tmp_path):
    run([*files(tmp_path), "--classes", "--html", tmp_path / "a.html"])
    text = (tmp_path / "a.html").read_text()
    assert re.search(r"\d+ columns: scroll the table sideways", text)
    assert text.count('<div class="wide many"') == 2  # of classes, and the confusion of ten
    few = [make_predictions(200, 3, seed=seed) for seed in (1, 2)]
    run([*files(tmp_path, *few), "--html", tmp_path / "b.html"])
    assert "scroll the table" not in (tmp_path / "b.html").read_text()


def test_all_stands_alone():
    with pytest.raises(InvalidInputError, match="'all' stands alone, got 'all,ATC-MC'"):
        choose_estimators("all,ATC-MC")


class ReturnsFloat(NoShift):
    def _predict(self, target):
        return 0.5


class Raises(NoShift):
    def _fit(self, source, others):
        raise KeyError("nobody thought of this")


def wrapped():
    return Calibrated(Raises(), Temperature())


@pytest.fixture
def plugins(monkeypatch):
    group = registry.ENTRY_POINT_GROUP
    found = [
        EntryPoint("Number", f"{__name__}:ReturnsFloat", group),
        EntryPoint("Crash", f"{__name__}:Raises", group),
        EntryPoint("Wrapped", f"{__name__}:wrapped", group),
        EntryPoint("Gone", f"{__name__}:NoSuchThing", group),
        EntryPoint("Good", "shiftcast.estimators:NoShift", group),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: found)


@pytest.mark.usefixtures("plugins")
def test_broken_plugins_are_skipped_by_name_and_stop_nobody(tmp_path):
    said = " ".join(run(files(tmp_path)).output.split())
    assert "skipped Number of package an unknown package: ReturnsFloat: _predict must return an Est" in said
    assert "skipped Crash of package an unknown package: its code failed: KeyError" in said
    assert "(test_answers.py, line" in said
    assert "skipped Wrapped of package an unknown package: its code failed: KeyError" in said
    assert "skipped Gone of package an unknown package (" in said
    rows = json.loads(run([*files(tmp_path), "--json"]).stdout)["estimates"]
    assert {"Good", "ATC-MC"} <= {row["estimator"] for row in rows if "accuracy" in row}
    alone = run([*files(tmp_path), "--estimators", "ATC-MC"])
    assert alone.exit_code == 0
    assert "skipped" not in alone.output


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("name", ["Number", "Crash", "Wrapped", "Gone"])
def test_a_broken_plugin_that_is_asked_for_is_an_error(tmp_path, name):
    result = run([*files(tmp_path), "--estimators", f"ATC-MC,{name}"])
    assert isinstance(result.exception, BrokenEstimatorError)
    assert f"estimator {name} of package" in str(result.exception)


@pytest.mark.usefixtures("plugins")
def test_broken_plugins_are_not_listed_but_named():
    result = run(["list", "estimators"])
    assert result.exit_code == 0
    assert "Good" in result.stdout
    assert "Gone" not in result.stdout
    assert "skipped Gone of package" in result.stderr


def test_our_own_mistakes_are_not_hidden(monkeypatch):
    def fail(self, source, others):
        raise KeyError("ours")

    monkeypatch.setattr(NoShift, "_fit", fail)
    with pytest.raises(KeyError, match="ours"):
        estimate_accuracy(SOURCE, TARGET, choose_estimators("NoShift"))


def test_images_of_tiny_weight_change_no_score_and_divide_nothing_by_zero():
    scores, same = SOURCE.probabilities.max(axis=1), np.ones(len(SOURCE))
    tiny = np.full(len(SOURCE), 1e-200)
    there = TARGET.probabilities.max(axis=1)
    plain, found = (score_change(SOURCE, TARGET, (scores, there), own) for own in (same, tiny))
    assert found == pytest.approx(plain, abs=1e-12)


OWN_UNITS = {"diagnostics", "confusion"}
"""Of each estimator, as its documentation says; and numbers of images."""
COUNTS = {"classes", "images", "source_images", "images_carrying", "shifts", "architectures", "class"}


def numbers(value, *path):
    """Yield each number of a JSON value with the keys that lead to it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from numbers(one, *path, key)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one, *path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def test_all_figures_of_the_json_are_shares_and_it_says_so(tmp_path):
    answer = json.loads(run([*files(tmp_path), "--classes", "--json"]).stdout)
    assert answer["units"].startswith("shares: 1 is 100 %")
    told = {path: value for path, value in numbers(answer) if not OWN_UNITS & {*path}}
    shares = {path: value for path, value in told.items() if path[-1] not in COUNTS}
    assert {"mae", "coverage", "low", "accuracy", "recall", "drop", "change"} <= {
        key for path in shares for key in path
    }
    ratio = ("drop", "explains", "share")  # of two changes, which may have the same size or not
    assert not {path: value for path, value in shares.items() if abs(value) > 1 and path != ratio}
    board = next(row["board"] for row in answer["estimates"] if "board" in row)
    assert board["mae"] == pytest.approx(board_errors()[answer["estimates"][0]["estimator"]].mae)
