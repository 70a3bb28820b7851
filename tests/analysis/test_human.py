"""Human labels against confusion: figures from small files that the test makes."""

import json

import numpy as np
import pytest
from scipy.stats import entropy, mannwhitneyu, spearmanr

from shiftcast.analysis.confusion import Confusion
from shiftcast.analysis.human import ensemble_identity, human_figures, read_figures
from shiftcast.errors import DataError, MissingDataError


@pytest.fixture
def confusion(world):
    return Confusion(world.pool)


@pytest.fixture
def people(world, confusion, tmp_path):
    """Label shares that follow confusion, and ten reviewed images of which the last five are errors."""
    scores = confusion.scores("cifar10-test")
    shares = np.full((len(scores), 10), 1e-6)
    unsure = np.clip(scores + np.random.RandomState(1).normal(0, 0.2, len(scores)), 0, 1) / 2
    shares[:, 0], shares[:, 1] = 1 - unsure, unsure
    shares /= shares.sum(axis=1, keepdims=True)
    np.save(tmp_path / "cifar10h-probs.npy", shares)
    order = np.argsort(scores)
    reviewed = [*order[100:105], *order[-5:]]
    entries = [
        {
            "id": int(i),
            "given_original_label": int(world.pool.labels[i]),
            "our_guessed_label": 0,
            "mturk": {"given": 5 if place < 5 else 1, "guessed": 0, "neither": 0, "both": 0},
        }
        for place, i in enumerate(reviewed)
    ]
    (tmp_path / "cifar10_mturk.json").write_text(json.dumps(entries))
    return tmp_path


def test_figures_are_those_of_scipy(confusion, people):
    figures = human_figures(confusion, people)
    shares = np.load(people / "cifar10h-probs.npy")
    scores = confusion.scores("cifar10-test")
    assert (figures["images"], figures["reviewed"], figures["errors"]) == (1000, 10, 5)
    own = figures["entropy"]["entropy"]
    assert own["spearman"] == pytest.approx(spearmanr(scores, entropy(shares, axis=1)).statistic, abs=1e-4)
    assert own["low"] < own["spearman"] < own["high"]
    errors = np.argsort(scores)[-5:]
    rest = np.delete(scores, errors)
    expected = mannwhitneyu(scores[errors], rest).statistic / (5 * len(rest))
    assert figures["label_errors"]["entropy"]["auc"] == pytest.approx(expected, abs=1e-4)
    assert figures["label_errors"]["entropy"]["median_percentile"] == pytest.approx(99.8)


def test_figures_belong_to_their_ensemble(confusion, people, tmp_path):
    path = tmp_path / "human.json"
    assert read_figures(path, confusion) == (None, "not computed for this suite")
    figures = human_figures(confusion, people)
    path.write_text(json.dumps(figures))
    assert read_figures(path, confusion) == (figures, "")
    path.write_text(json.dumps({**figures, "ensemble": "another"}))
    none, why = read_figures(path, confusion)
    assert none is None
    assert "another ensemble" in why
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_figures(path, confusion)
    assert ensemble_identity(confusion) == figures["ensemble"]


def test_missing_files_are_named(confusion, people):
    (people / "cifar10_mturk.json").unlink()
    with pytest.raises(MissingDataError, match=r"cifar10_mturk\.json: is missing"):
        human_figures(confusion, people)
    (people / "cifar10h-probs.npy").unlink()
    with pytest.raises(MissingDataError, match=r"cifar10h-probs\.npy: is missing"):
        human_figures(confusion, people)


def test_labels_in_another_order_are_refused(world, confusion, people):
    path = people / "cifar10_mturk.json"
    entries = json.loads(path.read_text())
    entries[0]["given_original_label"] = (entries[0]["given_original_label"] + 1) % 10
    path.write_text(json.dumps(entries))
    with pytest.raises(DataError, match="about another set or order"):
        human_figures(confusion, people)


@pytest.mark.parametrize(
    "shares", [np.ones((5, 10)) / 10, np.ones((1000, 10)), np.ones((1000, 10), dtype=int)]
)
def test_label_shares_of_another_shape_are_refused(confusion, people, shares):
    np.save(people / "cifar10h-probs.npy", shares)
    with pytest.raises(DataError, match="expected label shares"):
        human_figures(confusion, people)


def test_foreign_files_are_refused(confusion, people):
    (people / "cifar10_mturk.json").write_text('[{"id": "x"}]')
    with pytest.raises(DataError, match="not a list of reviewed labels"):
        human_figures(confusion, people)
    (people / "cifar10h-probs.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"expected a \.npy array"):
        human_figures(confusion, people)
