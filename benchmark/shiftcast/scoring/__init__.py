"""From stored runs to one tidy table of predicted against actual accuracy; no dataset and no torch."""

from shiftcast.scoring.rows import TABLE_COLUMNS, score_pool
from shiftcast.scoring.run import CROSS, FEWEST_OTHERS, WHOLE, Fold, RunView, Scorer, combine, protocols
from shiftcast.scoring.suite import score_results, score_suite

__all__ = [
    "CROSS",
    "FEWEST_OTHERS",
    "TABLE_COLUMNS",
    "WHOLE",
    "Fold",
    "RunView",
    "Scorer",
    "combine",
    "protocols",
    "score_pool",
    "score_results",
    "score_suite",
]
