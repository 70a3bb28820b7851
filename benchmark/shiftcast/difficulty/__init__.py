"""How confusing an image is to a reference ensemble, and who sits in that ensemble.

Pure numpy on arrays of member probabilities; nothing here knows about files, cards or estimators.
"""

from shiftcast.difficulty.ensemble import choose_members
from shiftcast.difficulty.scores import (
    KINDS,
    MINIMUM_MEMBERS,
    check_members,
    difficulty,
    entropy,
    gini,
    largest_score,
    least_confidence,
    mutual_information,
    variation_ratio,
    vote_entropy,
    vote_gini,
    vote_shares,
)

__all__ = [
    "KINDS",
    "MINIMUM_MEMBERS",
    "check_members",
    "choose_members",
    "difficulty",
    "entropy",
    "gini",
    "largest_score",
    "least_confidence",
    "mutual_information",
    "variation_ratio",
    "vote_entropy",
    "vote_gini",
    "vote_shares",
]
