"""Controls: twins, resampled targets, expectations and how they are shown."""

import dataclasses
import re

import numpy as np
import pytest

from shiftcast.board.assemble import score_suite
from shiftcast.board.build import build_board
from shiftcast.cards.base import read_card
from shiftcast.cards.suite import Suite, SuiteView
from shiftcast.errors import CardError, UnknownNameError
from shiftcast.estimators import AverageConfidence
from shiftcast.leaderboard.suite_page import expectations
from shiftcast.runs.reading import read_pool
from shiftcast.scoring.controls import check_names, resampled, scaled
from shiftcast.workspace import Workspace
from support.tiny import copy_runs
from support.workspaces import make_workspace

UNMOVED = ["NoShift", "GDE", "ConfusionPartition", "AgreementShift", "AC-TS", "DoC-TS"]
CONTROLS = f"""
[[views]]
name = "loud"
scale = 4.0

[[views]]
name = "frequent"
resample = "class"
ratio = 50.0

[[views]]
name = "hard"
resample = "confusion"
ratio = 50.0

[[expectations]]
text = "Twins move nothing"
quantity = "change"
view = "loud"
estimators = {UNMOVED}
high = 0.001

[[expectations]]
text = "But | raw confidence"
quantity = "change"
view = "loud"
estimators = ["AC"]
low = 1.0

[[expectations]]
text = "Nothing is that good"
quantity = "accuracy"
targets = ["digits-test"]
architectures = ["test_vit"]
low = 99.99

[[expectations]]
text = "NoShift is too high on hard images"
quantity = "bias"
view = "hard"
estimators = ["NoShift", "ConfusionPartition"]
low = 2.0
""".replace("'", '"')


@pytest.fixture
def controlled(workspace):
    path = workspace.root / "benchmark/suites/tiny.toml"
    path.write_text(path.read_text() + CONTROLS)
    return Workspace(workspace.root, workspace.root)


@pytest.fixture(scope="module")
def scores(tiny_template, tmp_path_factory):
    root = make_workspace(tmp_path_factory.mktemp("controls") / "workspace").root
    path = root / "benchmark/suites/tiny.toml"
    path.write_text(path.read_text() + CONTROLS)
    workspace = Workspace(root, root)
    copy_runs(tiny_template, workspace.results(), ())
    return score_suite(workspace, workspace.suite("tiny"), workspace.results())


def test_every_expectation_is_judged_for_every_estimator(scores):
    seen = {(row["text"], row["estimator"]): row for row in scores.controls.to_dict("records")}
    assert len(seen) == len(UNMOVED) + 1 + 1 + 2
    for name in UNMOVED:
        row = seen["Twins move nothing", name]
        assert row["holds"], name
        assert row["rows"] == 6 * 6  # runs x targets
    assert seen["But | raw confidence", "AC"]["holds"]
    accurate = seen["Nothing is that good", ""]
    rows = scores.accuracies.query("architecture == 'test_vit' and set == 'digits-test' and role == 'scored'")
    assert accurate["seen"] == pytest.approx(100 * (rows["right"] / rows["n"]).mean())
    assert not accurate["holds"]


def test_a_hard_target_is_known_to_be_hard_and_nothing_else(scores):
    seen = scores.controls[scores.controls["text"] == "NoShift is too high on hard images"]
    no_shift, partition = seen["seen"]
    assert no_shift > 2
    assert abs(partition) < no_shift


def test_the_section_says_what_was_expected_and_seen(scores):
    heading, text, table = expectations(build_board(scores))
    assert heading == "## What was expected of the controls"
    held = int(scores.controls["holds"].sum())
    assert f"{held} of {len(scores.controls)} figures came out as expected" in text
    cells = r" +\| ".join(["Twins move nothing", "NoShift", "mean change, pp"])
    assert re.search(cells + r" +\| +at most 0\.00 \| +0\.00 \| yes", table)
    assert "| **no**" in table
    assert r"But \| raw confidence" in table
    assert "at least 99.99" in table


def test_without_runs_nothing_is_claimed(controlled, make_results):
    gone = [f"test_vit/tiny/seed-{seed}" for seed in (0, 1)]
    scores = score_suite(controlled, controlled.suite("tiny"), make_results(skip=tuple(gone)))
    row = scores.controls[scores.controls["text"] == "Nothing is that good"].iloc[0]
    assert np.isnan(row["seen"])
    assert not row["holds"]
    assert "1 figure cannot be told: runs are missing" in expectations(build_board(scores))[1]


@pytest.mark.usefixtures("few_estimators")
def test_a_suite_without_expectations_has_no_section(workspace, make_results):
    scores = score_suite(workspace, workspace.suite("tiny"), make_results())
    assert expectations(build_board(scores)) == []


def test_a_twin_says_the_same_classes_louder(controlled, make_results):
    pool, _ = read_pool(controlled, controlled.suite("tiny"), make_results() / "tiny")
    run = pool.scored[0]
    twin = scaled(run, 4.0)
    assert np.array_equal(twin.predicted("digits-test"), run.predicted("digits-test"))
    loud, plain = (one.probabilities("digits-test").max(axis=1) for one in (twin, run))
    assert (loud >= plain).all()
    assert loud.mean() > plain.mean() + 0.1


def test_resampled_targets_come_from_half_b(controlled, make_results):
    pool, _ = read_pool(controlled, controlled.suite("tiny"), make_results() / "tiny")
    suite = controlled.suite("tiny")
    frequent, hard = (resampled(pool, view) for view in suite.views[1:])
    for found in (frequent, hard):
        assert len(found) == len(set(found.tolist())) == round(len(pool.halves["B"]) / 2)
        assert set(found.tolist()) <= set(pool.halves["B"].tolist())
    counts = np.bincount(pool.labels[frequent], minlength=10)
    assert counts[-3:].sum() > 3 * counts[:3].sum()
    shares = np.bincount(pool.labels[hard], minlength=10) / len(hard)
    assert np.abs(shares - 0.1).max() < 0.06
    even = SuiteView(name="even", resample="class", share=1.0)
    assert sorted(resampled(pool, even)) == sorted(pool.halves["B"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("scale = 4.0\n", ""), r"views\.0: expected one of scale and resample"),
        (('name = "hard"', 'name = "loud"'), "views: the same name is listed twice"),
        (('view = "hard"', 'view = "soft"'), r"expectations\.3\.view: 'soft' is none of \[\[views\]\]"),
        (
            ('["digits-test"]', '["digits"]'),
            r"expectations\.2\.targets: 'digits' is not a set that this entry is about",
        ),
        (('["test_vit"]\nlow', '["test_nfnet"]\nlow'), r"expectations\.2: no scored run has these"),
        (("low = 99.99", ""), r"expectations\.2: expected a bound"),
        (("low = 99.99", "low = -1000.0"), r"expectations\.2\.low: .*greater than or equal to -100"),
        (("low = 99.99", "low = nan"), r"expectations\.2\.low: "),
        (
            ('architectures = ["test_vit"]\nlow', 'view = "loud"\nlow'),
            "a scaled view has the accuracy of the",
        ),
        (('estimators = ["AC"]\n', ""), r"expectations\.1: estimators belong to every quantity but accuracy"),
        (
            ('quantity = "bias"', 'quantity = "change"'),
            r"expectations\.3: a resampled view has no counterpart",
        ),
    ],
)
def test_controls_that_make_no_sense_are_refused(controlled, change, message):
    path = controlled.root / "benchmark/suites/tiny.toml"
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(CardError, match=rf"tiny\.toml: is not a valid Suite: .*{message}"):
        read_card(Suite, path)


def test_estimators_that_nobody_knows_are_refused(controlled, make_results):
    path = controlled.root / "benchmark/suites/tiny.toml"
    path.write_text(path.read_text().replace('estimators = ["AC"]', 'estimators = ["ACE"]'))
    workspace = Workspace(controlled.root, controlled.root)
    suite, results = workspace.suite("tiny"), make_results()
    with pytest.raises(UnknownNameError, match=r"tiny.toml: unknown estimator of .*'ACE'; did you mean AC"):
        score_suite(workspace, suite, results)
    assert score_suite(workspace, suite, results, estimators={"AC": AverageConfidence()}).controls.empty


def test_without_the_whole_ensemble_difficulty_cannot_be_told(controlled, make_results):
    scores = score_suite(
        controlled, controlled.suite("tiny"), make_results(skip=("test_byobnet/tiny/seed-100",))
    )
    hard = scores.controls[scores.controls["text"] == "NoShift is too high on hard images"]
    assert hard["seen"].isna().all()
    assert scores.controls.set_index("estimator").loc["AC", "holds"]  # the others are told


def test_the_accuracy_of_a_resampled_target_is_known_whatever_estimators_do(controlled, make_results):
    path = controlled.root / "benchmark/suites/tiny.toml"
    more = '[[expectations]]\ntext = "Hard"\nquantity = "accuracy"\nview = "hard"\nhigh = 95.0\n'
    path.write_text(path.read_text() + more)
    workspace = Workspace(controlled.root, controlled.root)
    suite, results = workspace.suite("tiny"), make_results()
    scores = score_suite(workspace, suite, results)
    row = scores.controls[scores.controls["text"] == "Hard"].iloc[0]
    pool, _ = read_pool(workspace, suite, results / "tiny")
    positions = resampled(pool, suite.views[2])
    right = [(run.sets["digits-test"].true_rank[positions] == 0).mean() for run in pool.scored]
    assert row["seen"] == pytest.approx(100 * np.mean(right))
    assert row["rows"] == len(pool.scored)


def test_names_are_checked_before_anything_is_trained(controlled):
    check_names(controlled.suite("tiny"))
    path = controlled.root / "benchmark/suites/tiny.toml"
    path.write_text(path.read_text().replace('estimators = ["AC"]', 'estimators = ["ACE"]'))
    workspace = Workspace(controlled.root, controlled.root)
    with pytest.raises(UnknownNameError, match="'ACE'; did you mean AC"):
        check_names(workspace.suite("tiny"))


def test_nothing_is_learned_from_controls(scores):
    assert build_board(scores).residuals is None
    plain = dataclasses.replace(scores, suite=scores.suite.model_copy(update={"expectations": []}))
    assert build_board(plain).residuals is not None
