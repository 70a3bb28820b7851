"""Shiftcast predicts how accurate an image classifier will be on data that nobody has labelled."""

from shiftcast.errors import ShiftcastError
from shiftcast.predictions import Estimate, Predictions

__all__ = ["Estimate", "Predictions", "ShiftcastError", "__version__"]

__version__ = "0.1.0"
