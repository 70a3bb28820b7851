"""Estimates that are none, and doubtful ones: what text, page and JSON say of them."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.estimate.answer import estimate_accuracy
from shiftcast.estimators import ALineS
from shiftcast.predictions import Predictions


def sets(scatter):
    """A model and five peers that err ever more often, on the target `scatter` more or less in turn."""
    random = np.random.default_rng(0)

    def answers(labels, errs):
        return np.where(random.random(len(labels)) < errs, random.integers(0, 5, len(labels)), labels)

    made = []
    for images, shift in ((3000, 0.0), (3000, 0.15)):
        labels = random.integers(0, 5, images)
        errors = 0.1 + 0.08 * np.arange(5) + shift + (scatter * np.array([1, -1, 1, -1, 1]) if shift else 0)
        peers = np.stack([answers(labels, error) for error in errors])
        made.append((np.log(np.eye(5)[answers(labels, 0.2 + shift)] + 0.05), labels, peers))
    return made


def command(tmp_path, scatter, *options):
    (source, labels, peers), (target, _, there) = sets(scatter)
    np.savez(tmp_path / "val.npz", logits=source, labels=labels)
    np.savez(tmp_path / "prod.npz", logits=target)
    np.savez(tmp_path / "peers.npz", source=peers, target=there)
    files = [f"--{key}={tmp_path / name}.npz" for key, name in FILES]
    return CliRunner().invoke(app, ["estimate", *files, "--estimators", "NoShift,ALine-S,ALine-D", *options])


DOUBTFUL, ABSTAINING = 0.05, 0.12
FILES = (("source", "val"), ("target", "prod"), ("peers", "peers"))


def test_an_estimator_that_abstains_shows_no_accuracy_but_why(tmp_path):
    page, out = tmp_path / "page.html", tmp_path / "answer.json"
    text = command(tmp_path, ABSTAINING, "--html", str(page), "--out", str(out)).output
    rows = {row["estimator"]: row for row in json.loads(out.read_text())["estimates"]}
    reason = re.search(r"abstains: R2 of its line is (0\.\d+), below 0\.75", rows["ALine-S"]["skipped"])
    assert float(reason[1]) < 0.75
    for name in ("ALine-S", "ALine-D"):
        assert "accuracy" not in rows[name]
        assert rows[name]["abstained"]["low"] < rows[name]["abstained"]["accuracy"]
    assert f"skipped ALine-S, ALine-D: {reason[0]}" in " ".join(text.split())
    assert f"<li>ALine-S, ALine-D: {reason[0]}</li>" in page.read_text()


def test_a_doubtful_estimate_is_marked_and_its_reason_told(tmp_path):
    page, out = tmp_path / "page.html", tmp_path / "answer.json"
    text = command(tmp_path, DOUBTFUL, "--html", str(page), "--out", str(out)).output
    rows = {row["estimator"]: row for row in json.loads(out.read_text())["estimates"]}
    assert re.fullmatch(r"R2 of its line is 0\.\d+, below 0\.95", rows["ALine-S"]["flagged"])
    assert "flagged" not in rows["NoShift"]
    note = f"* doubtful, ALine-D, ALine-S: {rows['ALine-S']['flagged']}"
    assert "ALine-S*" in text
    assert note in " ".join(text.split())
    assert "<td>ALine-S*</td>" in page.read_text()
    assert note in page.read_text()


def test_an_abstention_alone_is_no_answer(tmp_path):
    (source, labels, peers), (target, _, there) = sets(ABSTAINING)
    own, other = (
        Predictions("val", source, labels=labels, peers=peers),
        Predictions("prod", target, peers=there),
    )
    (row,) = estimate_accuracy(own, other, {"ALine-S": ALineS()})
    assert row["skipped"].startswith("abstains")
    assert row["abstained"]["accuracy"] == pytest.approx(ALineS().fit(own).predict(other).accuracy)
