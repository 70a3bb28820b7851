"""How far a difficulty score depends on who judges: agreement of disjoint halves of an ensemble."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from shiftcast.difficulty.scores import MINIMUM_MEMBERS, check_members, difficulty
from shiftcast.errors import InvalidInputError
from shiftcast.statistics import spearman
from shiftcast.util.arrays import as_array


def half_splits(members: int) -> list[tuple[list[int], list[int]]]:
    """Return the splits of members, in their order as a ring, into two runs of neighbours.

    Each member sits in either half equally often. For an odd number each split leaves one out.
    Empty below six members: a half needs three.
    """
    half = members // 2
    if half < MINIMUM_MEMBERS:
        return []
    starts = half if members % 2 == 0 else members  # later starts of an even ring only swap the halves
    rings = (
        list(itertools.islice(itertools.cycle(range(members)), start, start + 2 * half))
        for start in range(starts)
    )
    return [(ring[:half], ring[half:]) for ring in rings]


def split_half_reliability(P: ArrayLike, kind: str = "entropy") -> float:
    """Return the mean Spearman correlation between the scores by disjoint halves of an ensemble.

    Parameters
    ----------
    P
        Member probabilities (M, n, K), M >= 6, n >= 2, each row summing to one.
    kind
        The difficulty score.

    Returns
    -------
    float
        In [-1, 1]; 1 where halves rank the images alike. NaN where a half gives one score to all.

    Raises
    ------
    InvalidInputError
        If there are fewer than six members, or `difficulty` refuses the array.
    """
    members = np.asarray(as_array("reference ensemble", P), dtype=np.float64)
    check_members(members)
    splits = half_splits(len(members))
    if not splits:
        raise InvalidInputError(
            f"split_half_reliability: needs at least {2 * MINIMUM_MEMBERS} members, got {len(members)}"
        )
    halves = [(difficulty(members[a], kind), difficulty(members[b], kind)) for a, b in splits]
    return float(np.mean([spearman(first, second) for first, second in halves]))
