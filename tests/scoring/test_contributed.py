"""Suites in which nothing is trained: their runs are outputs that people contribute, scored like others."""

import numpy as np
import pandas as pd
import pytest

from shiftcast.board.assemble import score_results, score_suite
from shiftcast.board.build import build_board
from shiftcast.data.loading import load_suite
from shiftcast.errors import CardError, InvalidInputError, RunError
from shiftcast.leaderboard.generate import generate
from shiftcast.leaderboard.suite_page import render_suite
from shiftcast.runs.ledger import read_ledger


def scores_of(zoo):
    return score_suite(zoo.workspace, zoo.workspace.suite("zoo"), zoo.results)


def status_of(scores):
    return {row["architecture"]: row["status"] for row in scores.runs.to_dict("records")}


def test_contributed_runs_are_scored_and_ranked(zoo):
    for number, skill in enumerate((1.0, 2.0, 3.0)):
        zoo.submit(f"net-{number}", zoo.logits(number, skill), family=f"family-{number}")
    scores = scores_of(zoo)
    assert status_of(scores) == {f"net-{number}": "ok" for number in range(3)}
    assert set(scores.table["target"]) == {"zoo-street", "zoo-night"}
    assert {"NoShift", "ATC-MC", "COT", "DoC", "MeanShift", "ALine-S"} <= set(
        scores.table["estimator"]
    ) | set(scores.skipped["estimator"])
    actual = scores.table.query("architecture == 'net-2' and estimator == 'NoShift'").set_index("target")[
        "actual"
    ]
    for name in ("zoo-street", "zoo-night"):
        right = (zoo.logits(2, 3.0)[name].astype(np.float16).argmax(axis=1) == zoo.labels[name]).mean()
        assert actual[name] == pytest.approx(right, abs=1e-6)
    why = dict(zip(scores.skipped["estimator"], scores.skipped["reason"], strict=True))
    assert why["ConfusionPartition"] == "the suite has no reference ensemble"
    page = render_suite(build_board(scores), {})
    section = page[page.index("\n## Models") : page.index("## What is missing")]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ") and "net-" in line]
    assert [(rank.strip(), name.strip()) for rank, name in rows[:3]] == [
        ("1", "net-2"),
        ("2", "net-1"),
        ("3", "net-0"),
    ]
    assert "a logits-only suite" in page
    assert "3 runs self-reported (as the authors report them)" in page
    assert "## Self-reported models" not in page
    assert "shiftcast run zoo" not in page


def test_the_whole_board_is_made_of_such_a_suite(zoo):
    zoo.submit("net", zoo.logits(0))
    files = generate(score_results(zoo.workspace, zoo.results), zoo.results, zoo.root)
    assert any(str(path) == "leaderboard.md" for path in files)


def test_a_reference_ensemble_may_be_contributed(zoo):
    members = [f"ref-{number}" for number in range(3)]
    zoo.write(f"\n[reference]\nmembers = {members!r}\nreserves = ['ref-3']\nseed = 0\n".replace("'", '"'))
    for number in range(4):
        zoo.submit(f"ref-{number}", zoo.logits(10 + number, 2.0), family=f"family-{number}")
    zoo.submit("net", zoo.logits(0), family="family-1")
    scores = scores_of(zoo)
    assert status_of(scores)["ref-0"] == "ok"
    assert set(scores.table["architecture"]) == {"net"}
    assert "ConfusionPartition" in set(scores.table["estimator"])
    roles = {row["architecture"]: (row["family"], row["role"]) for row in scores.ensemble.to_dict("records")}
    assert roles["ref-3"] == ("family-3", "reserve")
    assert scores.confusion is not None


def test_class_indices_are_no_reference(zoo):
    zoo.write('\n[reference]\nmembers = ["a", "b", "c"]\nseed = 0\n')
    for number, name in enumerate("abc"):
        zoo.submit(name, zoo.classes(number) if name == "b" else zoo.logits(number), family=name)
    zoo.submit("net", zoo.logits(9))
    scores = scores_of(zoo)
    assert status_of(scores)["b"].startswith("holds class indices alone; a member of the reference ensemble")
    why = dict(zip(scores.skipped["estimator"], scores.skipped["reason"], strict=True))
    assert why["ConfusionPartition"] == "the reference ensemble is incomplete"


def test_class_indices_are_enough_for_some_estimators(zoo):
    for number in range(3):
        zoo.submit(f"net-{number}", zoo.classes(number, 1.0 + number))
    zoo.submit("net-0", zoo.classes(7, 1.0), seed=1)
    scores = scores_of(zoo)
    assert set(status_of(scores).values()) == {"ok"}
    assert (
        {"NoShift", "GDE"}
        <= set(scores.table["estimator"])
        <= {
            *("NoShift", "MeanShift", "GDE", "ALine-S", "ALine-D"),
        }
    )
    skipped = scores.skipped.groupby("estimator")["reason"].agg(set)
    for name in ("AC", "AC-TS", "DoC", "IM", "ATC-MC", "ATC-NE", "COT", "COTT", "MDE", "MaNo", "Entropy"):
        assert skipped[name] == {"the run holds class indices alone (hard labels), and it needs logits"}
    assert not set(skipped.index) & {"NoShift"}
    right = {name: (zoo.classes(1, 2.0)[name] == labels).mean() for name, labels in zoo.labels.items()}
    own = scores.accuracies.query("architecture == 'net-1'")
    assert {row["set"]: row["right"] / row["n"] for row in own.to_dict("records")} == pytest.approx(right)
    page = render_suite(build_board(scores), {})
    assert (
        "AC skipped on 8 rows: the run holds class indices alone (hard labels), and it needs logits" in page
    )


def test_class_indices_give_what_logits_give_where_they_suffice(zoo):
    zoo.submit("soft", zoo.logits(1))
    soft = scores_of(zoo).table.query("estimator == 'NoShift'").set_index("target")["predicted"].to_dict()
    zoo.submit("hard", {name: one.astype(np.float16).argmax(axis=1) for name, one in zoo.logits(1).items()})
    rows = scores_of(zoo).table.query("estimator == 'NoShift' and architecture == 'hard'")
    assert rows.set_index("target")["predicted"].to_dict() == soft


def test_partial_and_missing_runs_are_listed_and_unranked(zoo):
    runs = '[[runs]]\narchitectures = ["whole", "partial", "absent"]\nseeds = [0]\n'
    zoo.write("\n" + runs)
    zoo.submit("whole", zoo.logits(0))
    zoo.submit("partial", {"zoo-test": zoo.logits(1)["zoo-test"]})
    zoo.submit("stranger", zoo.logits(2))
    scores = scores_of(zoo)
    assert status_of(scores) == {
        "whole": "ok",
        "partial": "lacks target zoo-street",
        "absent": "missing",
        "stranger": "not listed in the suite",
    }
    page = render_suite(build_board(scores), {})
    assert "1 scored run, lacks target zoo-street: partial/self-reported/seed-0" in page
    assert "1 scored run, missing: absent/self-reported/seed-0" in page
    assert set(scores.table["architecture"]) == {"whole"}


def test_a_duplicate_is_listed_and_the_one_that_is_vouched_for_stays(zoo):
    first = zoo.submit("a-copy", zoo.logits(0))
    second = zoo.submit("b-original", zoo.logits(0))
    zoo.submit("c-part", {"zoo-test": zoo.logits(5)["zoo-test"], "zoo-street": zoo.logits(0)["zoo-street"]})
    expected = "duplicate: its outputs are those of "
    assert status_of(scores_of(zoo)) == {
        "a-copy": "ok",
        "b-original": f"{expected}a-copy/self-reported/seed-0",
        "c-part": "ok",
    }
    read_ledger(zoo.results).with_runs([second.path], "recomputed").write()
    assert status_of(scores_of(zoo))["a-copy"] == f"{expected}b-original/self-reported/seed-0"
    page = render_suite(build_board(scores_of(zoo)), {})
    assert "1 run recomputed (accuracies recomputed from logits and dataset): b-original" in page
    assert first.path.exists()


def test_a_suite_of_another_version_makes_runs_stale(zoo):
    zoo.submit("net", zoo.logits(0))
    path = zoo.root / "benchmark" / "suites" / "zoo.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 2"))
    assert status_of(scores_of(zoo)) == {"net": "stale: its suite has another version now"}


def test_runs_that_imply_other_labels_are_refused(zoo, monkeypatch, tmp_path):
    zoo.submit("net", zoo.logits(0))
    elsewhere = zoo.results / "zoo" / "other"
    (zoo.results / "zoo" / "net").rename(tmp_path / "kept")
    labels = zoo.labels["zoo-test"].copy()
    labels[0] = (labels[0] + 1) % 4
    np.save(zoo.data / "zoo" / "zoo-test.npy", labels)
    card = zoo.root / "datasets" / "zoo-test.toml"
    text = card.read_text()
    card.write_text(text[: text.index("fingerprint")])
    path = zoo.root / "benchmark" / "suites" / "zoo.toml"
    from shiftcast.data import fingerprint

    digest = fingerprint(np.zeros((240, 0, 0, 3), np.uint8), labels)
    card.write_text(text[: text.index("fingerprint")] + f'fingerprint = "{digest}"\n')
    assert path.exists()
    zoo.submit("other", zoo.logits(3))
    (tmp_path / "kept").rename(zoo.results / "zoo" / "net")
    assert elsewhere.exists()
    with pytest.raises(RunError, match=r"fingerprint: expected .* as net/self-reported/seed-0 says"):
        scores_of(zoo)


def test_nothing_can_be_trained_in_it(zoo):
    with pytest.raises(
        InvalidInputError, match=r"is a logits-only suite: nothing is trained in it, .*submit zoo"
    ):
        load_suite(zoo.workspace, zoo.workspace.suite("zoo"), zoo.data)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            '[[runs]]\narchitectures = ["a"]\nrecipe = "tiny"\nseeds = [0]',
            "nothing is trained without source.train",
        ),
        ('[reference]\nmembers = ["a", "b"]', "expected no members, or at least 3"),
        ('[[views]]\nname = "v"\nscale = 2', "views, ensembles and expectations belong to suites that train"),
    ],
)
def test_what_belongs_to_training_is_refused(zoo, extra, message):
    zoo.write("\n" + extra)
    with pytest.raises(CardError, match=message):
        _ = zoo.workspace.suites


def test_source_keys_of_training_need_a_training_set(zoo):
    path = zoo.root / "benchmark" / "suites" / "zoo.toml"
    path.write_text(path.read_text().replace('test = "zoo-test"', 'test = "zoo-test"\ntrain_images = 9'))
    with pytest.raises(CardError, match="train_images belongs to suites that train"):
        _ = zoo.workspace.suites
    suite = zoo.root / "benchmark" / "suites" / "tiny.toml"
    suite.write_text(suite.read_text().split("[reference]")[0])
    zoo.write()
    with pytest.raises(CardError, match=r"tiny.toml: .*expected \[\[runs\]\], and \[reference\]"):
        _ = zoo.workspace.suites


def test_labels_alone_are_a_dataset(zoo):
    from shiftcast.data.loading import load_natural

    images, used = load_natural(zoo.workspace, zoo.workspace.suite("zoo"), "zoo-street", zoo.data)
    assert images.images.shape == (160, 0, 0, 3)
    assert np.array_equal(images.labels, zoo.labels["zoo-street"])
    assert used.edition == "publisher"
    assert pd.notna(used.fingerprint)
