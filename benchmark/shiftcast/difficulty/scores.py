"""Difficulty scores: one number per image from the class probabilities of M ensemble members.

The seven functions are the formulas alone; `difficulty` checks its input and rounds. Labels play
no part here, and neither do bins (see `estimators.bins`).

Sums over members and classes are exact: every term is first rounded to a multiple of 2^-44 (an
error of 3e-14), and float64 adds such multiples without error up to a total of 512. The order of
members and of classes therefore changes no bit, without sorting anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError, UnknownNameError
from shiftcast.util.arrays import SUM_TOLERANCE, as_array, entropy_terms
from shiftcast.util.memory import remembered
from shiftcast.util.types import Floats

MINIMUM_MEMBERS = 3
"""Below three members a vote says next to nothing, so smaller ensembles are refused."""

DECIMALS = 9
"""Scores are rounded to 1e-9, so that bins and ties do not hang on a platform's last bit."""

KL_FLOOR = 1e-12

_GRID = 2.0**44


def entropy(P: ArrayLike) -> Floats:
    """Return the entropy of the mean member, -sum_k pbar_k ln pbar_k / ln K.

    Parameters
    ----------
    P
        Member probabilities (M, n, K), each row summing to one.

    Returns
    -------
    Floats
        One score per image (n,), in [0, 1].
    """
    return _entropy_of(_mean_probabilities(P))


def _entropy_of(mean: Floats) -> Floats:
    return _normalised(_entropies(mean), mean.shape[1])


def vote_entropy(P: ArrayLike) -> Floats:
    """Return the entropy of the members' votes, -sum_k v_k ln v_k / ln K, (n,) in [0, 1]."""
    shares = vote_shares(P)
    return _normalised(_entropies(shares), shares.shape[1])


def gini(P: ArrayLike) -> Floats:
    """Return the Gini impurity of the mean member, 1 - sum_k pbar_k^2, (n,) in [0, 1 - 1/K]."""
    return _gini_of(_mean_probabilities(P))


def _gini_of(mean: Floats) -> Floats:
    return 1 - _exact_sum(mean**2)


def vote_gini(P: ArrayLike) -> Floats:
    """Return the Gini impurity of the votes, 1 - sum_k v_k^2, (n,) in [0, 1 - 1/K].

    Times M/(M - 1) it is the share of member pairs that disagree on the image.
    """
    return 1 - _exact_sum(vote_shares(P) ** 2)


def mutual_information(P: ArrayLike) -> Floats:
    """Return H(pbar) - 1/M sum_m H(P_m) in nats, (n,) in [0, ln K].

    It is high where members are each sure and contradict each other, low where all hesitate alike.
    """
    members = np.asarray(P, dtype=np.float64)
    within = sum(on_grid(_entropies(member)) for member in members) / (_GRID * len(members))
    return np.maximum(_entropies(_mean_probabilities(members)) - within, 0.0)


def least_confidence(P: ArrayLike) -> Floats:
    """Return 1 - max_k pbar_k, (n,) in [0, 1 - 1/K]."""
    return _least_confidence_of(_mean_probabilities(P))


def _least_confidence_of(mean: Floats) -> Floats:
    score: Floats = 1 - mean.max(axis=1)
    return score


def variation_ratio(P: ArrayLike) -> Floats:
    """Return 1 - max_k v_k, the share of members outside the largest vote, (n,) in [0, 1 - 1/K]."""
    score: Floats = 1 - vote_shares(P).max(axis=1)
    return score


KINDS: Mapping[str, Callable[[ArrayLike], Floats]] = MappingProxyType(
    {
        "entropy": entropy,
        "vote_entropy": vote_entropy,
        "gini": gini,
        "vote_gini": vote_gini,
        "mutual_information": mutual_information,
        "least_confidence": least_confidence,
        "variation_ratio": variation_ratio,
    }
)
"""Every difficulty score by name."""


def member_entropy(P: ArrayLike) -> Floats:
    """Return the mean entropy of the members, 1/M sum_m H(P_m) / ln K, (n,) in [0, 1].

    What is left of the mean member's entropy when disagreement is taken away: with the mutual
    information it adds up to it (in units of ln K).
    """
    members = np.asarray(P, dtype=np.float64)
    total: Floats = np.sum([on_grid(_entropies(member)) for member in members], axis=0)
    return _normalised(total / (_GRID * len(members)), members.shape[2])


def pairwise_kl(P: ArrayLike) -> Floats:
    """Return the mean Kullback-Leibler divergence over ordered pairs of members, (n,) >= 0, in nats.

    Probabilities below 1e-12 count as 1e-12 in logarithms. It has no upper end, so it makes no bins
    of equal width.
    """
    members = np.asarray(P, dtype=np.float64)
    count = len(members)
    own, shares, logs = np.zeros(members.shape[1]), np.zeros(members.shape[1:]), np.zeros(members.shape[1:])
    for member in members:
        log = np.log(np.maximum(member, KL_FLOOR))
        own += on_grid(_exact_sum(member * log))
        shares += on_grid(member)
        logs += on_grid(log)
    crossed = _exact_sum(shares / _GRID * (logs / _GRID))
    return np.maximum((count * own / _GRID - crossed) / (count * (count - 1)), 0.0)


MORE_KINDS: Mapping[str, Callable[[ArrayLike], Floats]] = MappingProxyType(
    {"member_entropy": member_entropy, "pairwise_kl": pairwise_kl}
)
"""Two more scores, to look at: one blind to disagreement, one without an upper end."""

OF_MEAN: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {"entropy": _entropy_of, "gini": _gini_of, "least_confidence": _least_confidence_of}
)
"""Scores that depend on the mean member (n, K) alone, as functions of it."""


def difficulty(P: ArrayLike, kind: str = "entropy") -> Floats:
    """Return the difficulty of each image for a reference ensemble: higher is more confusing.

    The default, the normalised entropy of the mean member, is *inferred*: the source of the idea
    (Simsek, Hall & Sagun 2022) is certain to use an entropy of an ensemble's class probabilities,
    but its exact formula was not to be had. Every kind is offered for comparison.

    Parameters
    ----------
    P
        Member probabilities (M, n, K), M >= 3, each row summing to one.
    kind
        A name in `KINDS` or `MORE_KINDS`.

    Returns
    -------
    Floats
        One score per image (n,), in its natural range and rounded to 1e-9. It depends neither on
        the order of members nor on that of classes (for votes: where no member's largest
        probabilities tie).

    Raises
    ------
    UnknownNameError
        If the kind does not exist.
    InvalidInputError
        If `P` is not three-dimensional, has fewer than three members, or is not of probabilities.
    """
    _known(kind)
    members = np.asarray(as_array("reference ensemble", P), dtype=np.float64)
    return remembered(members, f"difficulty {kind}", lambda: _difficulty(members, kind))


def _difficulty(members: Floats, kind: str) -> Floats:
    check_members(members)
    _check_probabilities(members)
    # rows may sum to a little more than one (float16 storage), which must not leave the natural range
    scores = np.clip(_known(kind)(members), 0.0, largest_score(kind, members.shape[2]))
    rounded: Floats = np.round(scores, DECIMALS)
    return rounded


def largest_score(kind: str, classes: int) -> float:
    """Return the upper end of the natural range of a score over K classes.

    1 for the normalised entropies, ln K for the mutual information, infinity for the pairwise
    divergence, 1 - 1/K for the others.
    """
    _known(kind)
    if kind in ("entropy", "vote_entropy", "member_entropy"):
        return 1.0
    if kind == "pairwise_kl":
        return float("inf")
    return float(np.log(classes)) if kind == "mutual_information" else 1 - 1 / classes


def _known(kind: str) -> Callable[[ArrayLike], Floats]:
    known = {**KINDS, **MORE_KINDS}
    if kind not in known:
        raise UnknownNameError("difficulty kind", str(kind), known)
    return known[kind]


def vote_shares(P: ArrayLike) -> Floats:
    """Return the share of members whose most probable class is k.

    Parameters
    ----------
    P
        Member probabilities or logits (M, n, K); ties go to the lower class.

    Returns
    -------
    Floats
        Shares (n, K), each row summing to one.
    """
    members = as_array("reference ensemble", P)
    return remembered(members, "votes", lambda: _vote_shares(members))


def _vote_shares(members: NDArray[np.floating]) -> Floats:
    count, n, classes = members.shape
    cells = np.argmax(members, axis=2) + np.arange(n) * classes
    votes = np.bincount(cells.ravel(), minlength=n * classes)
    shares: Floats = votes.reshape(n, classes) / count
    return shares


def check_members(P: NDArray[np.floating]) -> None:
    """Refuse an array that is not (M, n, K) with M >= 3 and K >= 2.

    Raises
    ------
    InvalidInputError
        Saying which shape came.
    """
    if P.ndim != 3 or P.shape[1] == 0 or P.shape[2] < 2:
        raise InvalidInputError(
            "reference ensemble: expected probabilities of shape (M, n, K) with n >= 1 images and "
            f"K >= 2 classes, got {P.shape}"
        )
    if len(P) < MINIMUM_MEMBERS:
        raise InvalidInputError(
            f"reference ensemble: expected at least {MINIMUM_MEMBERS} members, got {len(P)}; "
            "add runs to the ensemble"
        )


def _check_probabilities(P: Floats) -> None:
    excess = np.abs(P @ np.ones(P.shape[2]) - 1)
    worst = np.unravel_index(int(excess.argmax()), excess.shape)  # argmax stops at a NaN
    # "not (… <= …)" rather than ">": a NaN must not pass
    if not (P.min() >= 0 and excess[worst] <= SUM_TOLERANCE):
        raise InvalidInputError(
            "reference ensemble: expected probabilities (no value below 0, each row summing to one); the "
            f"lowest value is {P.min():.4g}, and member {worst[0]}, image {worst[1]} sums to "
            f"{P[worst].sum():.6g}"
        )


def on_grid(values: Floats) -> Floats:
    """Return values as whole multiples of 2^-44: their sums are exact, in any order and grouping."""
    whole = np.multiply(values, _GRID)
    return np.rint(whole, out=whole)


def mean_on_grid(total: Floats, members: int) -> Floats:
    """Return the mean member (n, K) from the sum of `members` members on the grid."""
    return total / (_GRID * members)


def _exact_sum(values: Floats) -> Floats:
    """Sum over the last axis on the grid, see the head of this module."""
    total: Floats = on_grid(values).sum(axis=-1) / _GRID
    return total


def _mean_probabilities(P: ArrayLike) -> Floats:
    """Return the mean over members (n, K); one member at a time stays in the processor's cache."""
    members = np.asarray(P, dtype=np.float64)
    total = np.zeros(members.shape[1:])
    for member in members:
        total += on_grid(member)
    return mean_on_grid(total, len(members))


def _normalised(entropies: Floats, classes: int) -> Floats:
    shares: Floats = entropies / np.log(classes)
    return shares


def _entropies(probabilities: Floats) -> Floats:
    """Return -sum_k p_k ln p_k of each row, with 0 ln 0 = 0."""
    return _exact_sum(entropy_terms(probabilities))
