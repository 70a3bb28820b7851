"""Scores of whole sets against loops written from their definitions, and the line that maps them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import theilslopes

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.estimators import (
    MDE,
    Entropy,
    MaNo,
    MappedScore,
    MutualInformation,
    NuclearNorm,
    SoftmaxCorr,
)
from shiftcast.predictions import Predictions
from shiftcast.testing import make_predictions

SOURCE = make_predictions(300, seed=1, name="source")
TARGET = make_predictions(240, seed=2, shift=0.8, name="target")
OTHERS = [
    make_predictions(200, seed=3 + i, shift=i / 4, name=f"fog-{i}", group="fog" if i % 2 else "snow")
    for i in range(7)
]
SCORES = (NuclearNorm, MaNo, MDE, SoftmaxCorr, Entropy, MutualInformation)


def nuclear_norm(p, z, q):
    return np.sqrt(np.maximum(np.linalg.eigvalsh(p.T @ p), 0)).sum() / np.sqrt(p.shape[1] * len(p))


def mano(p, z, q):
    total = 0.0
    for row in z:
        raised = [1 + v + v * v / 2 for v in row]
        total += sum((v / sum(raised)) ** 4 for v in raised)
    return (total / z.size) ** 0.25


def mde(p, z, q):
    energy = np.array([-np.log(np.exp(row).sum()) for row in z])
    shares = np.exp(energy) / np.exp(energy).sum()
    return -np.mean(np.log(shares)) - np.log(len(z))


def softmax_corr(p, z, q):
    together = sum(np.outer(row, row) for row in p) / len(p)
    return (together * np.diag(q)).sum() / np.sqrt((together**2).sum() * (np.diag(q) ** 2).sum())


def entropy(p, z, q):
    return -np.mean([sum(v * np.log(v) for v in row) for row in p])


def mutual_information(p, z, q):
    mean = p.mean(axis=0)
    return -(mean * np.log(mean)).sum() - entropy(p, z, q)


CALM = Predictions("calm", SOURCE.logits / 5, labels=SOURCE.labels)
"""A source whose mean uncertainty lies below MaNo's bound."""


@pytest.mark.parametrize(
    ("score", "slow"),
    list(zip(SCORES, (nuclear_norm, mano, mde, softmax_corr, entropy, mutual_information), strict=True)),
)
def test_scores_are_those_of_their_definitions(score, slow):
    q = np.bincount(SOURCE.labels, minlength=10) / len(SOURCE)
    fitted = score().fit(CALM, OTHERS)
    expected = slow(TARGET.probabilities, TARGET.logits, q)
    assert fitted.score(TARGET) == pytest.approx(expected, abs=1e-8)
    assert fitted.predict(TARGET).diagnostics["score"] == fitted.score(TARGET)


@pytest.mark.parametrize("score", SCORES)
def test_the_line_is_that_of_theil_and_sen(score):
    fitted = score().fit(SOURCE, OTHERS)
    x = [fitted.score(other) for other in OTHERS]
    y = [other.accuracy for other in OTHERS]
    slope = theilslopes(y, x)[0]
    answer = fitted.predict(TARGET)
    assert answer.diagnostics["slope"] == pytest.approx(slope)
    line = np.median(np.array(y) - slope * np.array(x)) + slope * fitted.score(TARGET)
    assert answer.accuracy == pytest.approx(min(max(line, 0), 1), abs=1e-6)
    assert bool(answer.flagged) == (not min(x) <= fitted.score(TARGET) <= max(x))


@pytest.mark.parametrize("score", SCORES)
def test_no_score_depends_on_the_number_of_images(score):
    fitted = score().fit(SOURCE, OTHERS)
    thrice = TARGET.select(np.tile(np.arange(len(TARGET)), 3))
    assert fitted.score(thrice) == pytest.approx(fitted.score(TARGET), abs=2e-9)


def test_nuclear_norm_of_few_images_stays_comparable():
    one = TARGET.select(np.array([0]))
    fitted = NuclearNorm().fit(SOURCE, OTHERS)
    assert fitted.score(one) == pytest.approx(np.linalg.norm(one.probabilities) / np.sqrt(10), abs=1e-9)


def test_mano_chooses_its_branch_on_the_source_alone():
    calm, wild = MaNo().fit(CALM, OTHERS), MaNo().fit(SOURCE, OTHERS)
    assert calm.taylor_
    assert not wild.taylor_
    p = TARGET.probabilities
    assert wild.score(TARGET) == pytest.approx((p**4).mean() ** 0.25, abs=1e-9)
    assert calm.score(TARGET) != wild.score(TARGET)


@pytest.mark.parametrize("score", [MaNo, MDE])
def test_probabilities_are_refused_where_the_size_of_logits_counts(score):
    def opened(p):
        return Predictions(p.name, p.probabilities, kind="probabilities", labels=p.labels, group=p.group)

    with pytest.raises(InvalidInputError, match=f"{score.__name__}: needs logits"):
        score().fit(opened(SOURCE), [opened(other) for other in OTHERS])


def test_sets_of_one_score_give_no_line():
    with pytest.raises(RequirementError, match="different scores"):
        Entropy().fit(SOURCE, [OTHERS[0], OTHERS[0]])


def test_the_target_s_own_group_is_refused():
    with pytest.raises(InvalidInputError, match="belongs to group 'fog'"):
        Entropy().fit(SOURCE, OTHERS).predict(OTHERS[1])


def test_a_score_is_computed_once_for_arrays_that_cannot_change():
    class Counted(MappedScore):
        calls = 0

        def _score(self, predictions):
            Counted.calls += 1
            return float(predictions.confidence.mean())

    logits = TARGET.logits.copy()
    logits.flags.writeable = False
    fixed = Predictions("fixed", logits)
    first, second = Counted(), Counted()
    assert first.score(fixed) == second.score(fixed)
    assert Counted.calls == 1
