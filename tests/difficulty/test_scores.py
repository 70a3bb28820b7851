"""Difficulty scores against hand-worked numbers, slow loops and their invariances."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.difficulty import KINDS, check_members, difficulty, largest_score, vote_gini, vote_shares
from shiftcast.errors import InvalidInputError, UnknownNameError

# three members, one image, two classes: pbar = (0.6, 0.4), votes (2/3, 1/3)
HAND = np.array([[[0.9, 0.1]], [[0.7, 0.3]], [[0.2, 0.8]]])


def binary_entropy(p: float) -> float:
    return -p * log(p) - (1 - p) * log(1 - p)


HAND_WORKED = {
    "entropy": binary_entropy(0.6) / log(2),
    "vote_entropy": binary_entropy(1 / 3) / log(2),
    "gini": 1 - 0.36 - 0.16,
    "vote_gini": 1 - 4 / 9 - 1 / 9,
    "mutual_information": binary_entropy(0.6)
    - (binary_entropy(0.9) + binary_entropy(0.7) + binary_entropy(0.2)) / 3,
    "least_confidence": 0.4,
    "variation_ratio": 1 / 3,
}


def ensemble(seed: int, members: int = 5, n: int = 40, classes: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), (members, n))


def slow_score(members: list[list[float]], kind: str) -> float:
    """One image, straight from the definitions."""
    count, classes = len(members), len(members[0])
    mean = [sum(p[k] for p in members) / count for k in range(classes)]
    ballots = Counter(max(range(classes), key=lambda k, p=p: p[k]) for p in members)
    votes = [ballots[k] / count for k in range(classes)]

    def nats(shares: list[float]) -> float:
        return -sum(s * log(s) for s in shares if s > 0)

    return {
        "entropy": nats(mean) / log(classes),
        "vote_entropy": nats(votes) / log(classes),
        "gini": 1 - sum(s * s for s in mean),
        "vote_gini": 1 - sum(s * s for s in votes),
        "mutual_information": nats(mean) - sum(nats(p) for p in members) / count,
        "least_confidence": 1 - max(mean),
        "variation_ratio": 1 - max(votes),
    }[kind]


def test_every_kind_of_the_design_is_there() -> None:
    assert set(KINDS) == set(HAND_WORKED)


@pytest.mark.parametrize("kind", KINDS)
def test_hand_worked_image(kind: str) -> None:
    assert difficulty(HAND, kind) == pytest.approx([HAND_WORKED[kind]], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_against_the_slow_definition(kind: str) -> None:
    P = ensemble(0)
    expected = [slow_score(P[:, i].tolist(), kind) for i in range(P.shape[1])]
    assert difficulty(P, kind) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_range_and_its_ends(kind: str, classes: int) -> None:
    top = largest_score(kind, classes)
    scores = difficulty(ensemble(1, n=20, classes=classes), kind)
    assert scores.min() >= 0
    assert scores.max() <= top + 1e-9
    agreeing = np.zeros((4, 1, classes))
    agreeing[..., 1] = 1
    assert difficulty(agreeing, kind).tolist() == [0.0]
    assert not np.signbit(difficulty(agreeing, kind)).any()
    # two members certain of each class: the most confused image there is
    torn = np.tile(np.eye(classes), (2, 1))[:, None, :]
    assert difficulty(torn, kind) == pytest.approx([top], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(KINDS)), st.integers(3, 9), st.integers(2, 12))
def test_order_of_members_and_classes_changes_no_bit(
    seed: int, kind: str, members: int, classes: int
) -> None:
    P = ensemble(seed, members, 30, classes)
    random = np.random.default_rng(seed + 1)
    plain = difficulty(P, kind)
    assert np.array_equal(plain, difficulty(P[random.permutation(members)], kind))
    assert np.array_equal(plain, difficulty(P[..., random.permutation(classes)], kind))
    images = random.permutation(30)
    assert np.array_equal(plain[images], difficulty(P[:, images], kind))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 9))
def test_unrounded_sums_are_exact_too(seed: int, members: int) -> None:
    """Rounding to 1e-9 would hide most last bits; the sums themselves must not depend on order."""
    P = ensemble(seed, members)
    order = np.random.default_rng(seed).permutation(members)
    for kind in ("gini", "mutual_information", "vote_gini"):
        assert np.array_equal(KINDS[kind](P), KINDS[kind](P[order]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 8))
def test_vote_gini_is_pairwise_disagreement(seed: int, members: int) -> None:
    P = ensemble(seed, members)
    votes = P.argmax(axis=2)
    disagreement = np.mean([(votes[a] != votes[b]).mean() for a, b in combinations(range(members), 2)])
    assert members / (members - 1) * vote_gini(P).mean() == pytest.approx(disagreement, abs=1e-12)


def test_vote_shares_count_members_with_ties_to_the_lower_class() -> None:
    P = np.array([[[0.5, 0.5, 0.0]], [[0.1, 0.2, 0.7]], [[0.4, 0.2, 0.4]], [[0.0, 1.0, 0.0]]])
    assert vote_shares(P).tolist() == [[0.5, 0.25, 0.25]]


def test_scores_are_multiples_of_a_billionth() -> None:
    scaled = difficulty(ensemble(2)) * 1e9
    assert scaled == pytest.approx(np.rint(scaled), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("excess", [1 + 1e-13, 1 + 5e-4])
def test_rows_that_sum_to_a_little_more_than_one_stay_in_range(kind: str, excess: float) -> None:
    certain = np.tile([excess, 0.0], (3, 1, 1))
    scores = difficulty(certain, kind)
    assert scores.tolist() == [0.0]
    assert not np.signbit(scores).any()


def test_default_is_the_entropy_of_the_mean_and_says_so() -> None:
    P = ensemble(3)
    assert np.array_equal(difficulty(P), difficulty(P, "entropy"))
    assert "inferred" in (difficulty.__doc__ or "")


@pytest.mark.parametrize("members", [0, 1, 2])
def test_fewer_than_three_members_are_refused(members: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"at least 3 members, got {members}"):
        difficulty(ensemble(0)[:members])


def test_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean entropy"):
        difficulty(HAND, "entropie")
    with pytest.raises(UnknownNameError, match="difficulty kind"):
        largest_score("nothing-like-it", 10)


@pytest.mark.parametrize("shape", [(3, 2), (3, 0, 2), (3, 4, 1), (3,)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match=r"expected probabilities of shape \(M, n, K\)"):
        check_members(np.zeros(shape))


@pytest.mark.parametrize("value", [0.4, np.nan, -0.1])
def test_what_is_no_probability_is_refused_with_its_place(value: float) -> None:
    P = ensemble(0)
    P[2, 7, 0] = value
    P[2, 7, 1:] = 0.1 if value > 0 else 1.1 / 5
    with pytest.raises(InvalidInputError, match=r"lowest value.*member \d, image \d+ sums to"):
        difficulty(P)


def test_refusal_names_the_worst_row_and_its_sum() -> None:
    P = ensemble(0)
    P[3, 11] *= 0.5
    with pytest.raises(InvalidInputError, match=r"member 3, image 11 sums to 0\.5"):
        difficulty(P)
