"""Stored runs: predicted against actual accuracy; no dataset and no torch."""
