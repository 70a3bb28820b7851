"""How confusing an image is to a reference ensemble, and who sits in that ensemble.

Pure numpy on arrays of member probabilities; nothing here knows about files, cards or estimators.
"""

from shiftcast.difficulty.ensemble import choose_members
from shiftcast.difficulty.reliability import half_splits, split_half_reliability
from shiftcast.difficulty.scores import (
    KINDS,
    MINIMUM_MEMBERS,
    MORE_KINDS,
    check_members,
    difficulty,
    entropy,
    gini,
    largest_score,
    least_confidence,
    member_entropy,
    mutual_information,
    pairwise_kl,
    variation_ratio,
    vote_entropy,
    vote_gini,
    vote_shares,
)

__all__ = [
    "KINDS",
    "MINIMUM_MEMBERS",
    "MORE_KINDS",
    "check_members",
    "choose_members",
    "difficulty",
    "entropy",
    "gini",
    "half_splits",
    "largest_score",
    "least_confidence",
    "member_entropy",
    "mutual_information",
    "pairwise_kl",
    "split_half_reliability",
    "variation_ratio",
    "vote_entropy",
    "vote_gini",
    "vote_shares",
]
