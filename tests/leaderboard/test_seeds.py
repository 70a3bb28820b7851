"""The table on models with many seeds."""

import dataclasses

import pandas as pd

from shiftcast.board.build import build_board
from shiftcast.board.tables import SEED_COLUMNS
from shiftcast.leaderboard.model_section import seed_spreads


def test_few_seeds_have_no_table(scores):
    assert seed_spreads(build_board(scores)) == []


def test_variances_are_shown_as_signed_deviations(scores):
    home = scores.suite.source.test
    rows = [
        ("net-a", "plain", home, 6, 4000, 0.9, 1e-4, 4e-5, 6e-4, -1e-6, -6e-5, 5e-4),
        ("net-a", "plain", "photos", 6, 500, 0.8, 4e-4, 1e-4, 9e-4, 3.6e-5, -2.5e-5, 8e-4),
    ]
    frame = pd.DataFrame(rows, columns=list(SEED_COLUMNS))
    text, table = seed_spreads(build_board(dataclasses.replace(scores, seeds=frame)))
    assert "of 1 model with at least four." in text
    assert "1.00 [0.63, 2.45]" in table
    assert "-0.10 [-0.77, 2.24]" in table
    assert "0.60 [-0.50, 2.83]" in table
    assert table.count("net-a") == 1
