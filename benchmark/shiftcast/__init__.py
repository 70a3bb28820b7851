"""Shiftcast predicts how accurate an image classifier will be on data without labels."""

from shiftcast.board.load import Results, load_results, load_signals
from shiftcast.errors import ShiftcastError
from shiftcast.estimate.python import estimate, plan, sample  # after the folder of its name, which it hides
from shiftcast.predictions import Estimate, Predictions
from shiftcast.training.python import collect

__all__ = [
    "Estimate",
    "Predictions",
    "Results",
    "ShiftcastError",
    "__version__",
    "collect",
    "estimate",
    "load_results",
    "load_signals",
    "plan",
    "sample",
]

__version__ = "0.1.0"
