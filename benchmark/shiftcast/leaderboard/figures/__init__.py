"""Figures of the leaderboard and the confusion page."""
