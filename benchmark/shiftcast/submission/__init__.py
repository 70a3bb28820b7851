"""Checks of what others submit: `validate` and what it reports. What is submitted is made by `create`."""

from shiftcast.runs.problems import Problem
from shiftcast.submission.validate import Looked, Report, need_logits, validate

__all__ = ["Looked", "Problem", "Report", "need_logits", "validate"]
