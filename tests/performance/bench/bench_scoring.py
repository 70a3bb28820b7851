"""From predictions to the board and the site, and how long a command takes to start."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shiftcast.board.assemble import score_suite
from shiftcast.difficulty import difficulty
from shiftcast.estimators import official_estimators, transport
from shiftcast.leaderboard.cache import board_pages
from shiftcast.leaderboard.generate import generate
from shiftcast.leaderboard.pages import assemble
from shiftcast.predictions import Predictions
from shiftcast.site.build import read_sections, site
from shiftcast.statistics.agreement import pairwise_agreement
from shiftcast.util.arrays import softmax

QUICK = (
    *("NoShift", "AC", "ATC-MC", "ConfusionPartition", "AgreementShift"),
    *("GDE", "ALine-S", "Entropy", "MeanShift"),
)
TRACKS = sorted({one.track for one in official_estimators().values()})


def predictions(seed, name, group="", n=5000, classes=10, labelled=True):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    seen = np.eye(classes)[labels] * (3 - 0.3 * seed)

    def logits():
        return seen + random.normal(size=(n, classes)) * 1.5

    return Predictions(
        name,
        logits(),
        group=group,
        labels=labels if labelled else None,
        reference=np.stack([softmax(logits()) for _ in range(10)]),
        peers=np.stack([logits().argmax(axis=1) for _ in range(20)]),
        siblings=np.stack([logits().argmax(axis=1) for _ in range(2)]),
    )


@pytest.mark.parametrize("track", TRACKS)
def test_estimators(timed, track):
    chosen = {
        name: one
        for name, one in official_estimators().items()
        if one.track == track and "features" not in one.requires
    }
    assert chosen

    def fresh():  # what has been computed from arrays is remembered with them
        others = [predictions(k, f"other-{k}", f"g{k}", 2000) for k in range(2, 7)]
        return (predictions(0, "source"), predictions(1, "target", "t", labelled=False), others), {}

    def answer(source, target, others):
        for one in chosen.values():
            yield one.fit(source, others if "others" in one.requires else ()).predict(target).accuracy

    assert all(0 <= one <= 1 for one in timed(lambda *given: list(answer(*given)), rounds=3, setup=fresh))


def test_transport(timed):
    probabilities = softmax(np.random.default_rng(0).normal(size=(10_000, 10)) * 3)
    assert 0 < timed(lambda: transport(probabilities, np.full(10, 0.1))).value < 1


def test_agreements(timed):
    classes = np.random.default_rng(0).integers(0, 10, (200, 10_000))
    assert len(timed(lambda: pairwise_agreement(classes))) == 200 * 199 // 2


def test_difficulty(timed):
    members = softmax(np.random.default_rng(0).normal(size=(8, 40_000, 10)))
    assert timed(lambda: difficulty(members), rounds=5).shape == (40_000,)


@pytest.fixture(scope="module")
def chosen():
    return {name: one for name, one in official_estimators().items() if name in QUICK}


@pytest.fixture(scope="module")
def scores(small, chosen):
    return score_suite(small, small.suite("large"), small.results(), estimators=chosen)


def test_scoring(timed, small, chosen):
    work = lambda: score_suite(small, small.suite("large"), small.results(), estimators=chosen)  # noqa: E731
    assert len(timed(work, rounds=3).table)


def test_board(timed, small, scores):
    assert timed(lambda: generate([scores], small.results(), small.home), rounds=3)


def test_unchanged_board(timed, small, scores, monkeypatch):
    from shiftcast.board import assemble as scoring

    monkeypatch.setattr(scoring, "score_suite", lambda *_, **__: scores)

    def made():
        pages = board_pages(small, small.results(), small.home, cached=True)
        return assemble(pages, small.results(), small.home)

    assert timed(made)


def test_site(timed, small, monkeypatch):
    from shiftcast.board import assemble as suite

    quick = {name: one for name, one in official_estimators().items() if name in QUICK}
    monkeypatch.setattr(suite, "official_estimators", lambda: quick)
    sections = read_sections(small, small.results(), [], images=False)
    assert timed(lambda: site(sections, "bundle"), rounds=3)


def test_start(timed):
    command = [Path(sys.executable).parent / "shiftcast", "--help"]
    assert timed(lambda: subprocess.run(command, check=True, capture_output=True))
