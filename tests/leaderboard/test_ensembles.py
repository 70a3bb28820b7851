"""The tables on other ensembles than the reference."""

import dataclasses
from types import SimpleNamespace
from xml.etree import ElementTree

import pandas as pd

from shiftcast.analysis.ensembles import ENSEMBLE_COLUMNS
from shiftcast.board.build import build_board
from shiftcast.leaderboard.figures.board_data import ensembles_data
from shiftcast.leaderboard.figures.draw import draw
from shiftcast.leaderboard.figures.picture import Picture
from shiftcast.leaderboard.model_section import ensemble_kinds

NAN = float("nan")
ROWS = [
    ("mixed", "Mixed | twelve", "all", 2, 0.8, 0.25, 24.0, 24.0, 9.0, 8.5, 6),
    ("mixed", "Mixed | twelve", "all", 7, 0.8, 0.25, 20.0, 19.5, 7.0, -6.5, 6),
    ("mixed", "Mixed | twelve", "more accurate", 3, 0.84, 0.2, 21.0, 21.0, 8.0, 8.0, 6),
    ("mixed", "Mixed | twelve", "less accurate", 3, 0.76, 0.3, 23.0, 23.0, 9.0, 9.0, 6),
    ("seeds", "Seeds", "all", 2, 0.81, 0.18, 26.0, 26.0, NAN, NAN, 6),
]


def with_ensembles(scores, rows):
    frame = pd.DataFrame(rows, columns=list(ENSEMBLE_COLUMNS))
    return dataclasses.replace(scores, confusion=SimpleNamespace(ensembles=frame))


def cells(block):
    lines = [line for line in block.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.replace("\\|", "/").split("|")[1:-1]] for line in lines]
    return split[0], split[2:]


def test_a_suite_without_others_says_nothing(scores):
    assert ensemble_kinds(build_board(dataclasses.replace(scores, confusion=None))) == []
    assert ensemble_kinds(build_board(with_ensembles(scores, []))) == []


def test_errors_stand_by_ensemble_and_size(scores):
    heading, text, natural, synthetic, parts = ensemble_kinds(build_board(with_ensembles(scores, ROWS)))
    assert heading == "## Ensembles"
    assert "6 runs" in text
    head, body = cells(natural)
    assert head[3:] == ["M = 2", "M = 7"]
    assert body[0][1:] == ["80.00", "25.00", "24.00 (+24.00)", "20.00 (+19.50)"]
    assert body[1][3:] == ["26.00 (+26.00)", "–"]
    assert cells(synthetic)[1][1][3:] == ["–", "–"]
    assert [row[1] for row in cells(parts)[1]] == ["more accurate", "less accurate"]


def test_the_picture_has_a_line_for_each_ensemble(scores):
    board = build_board(with_ensembles(scores, ROWS))
    natural, synthetic = ensembles_data(board)["panels"]
    assert natural["lines"] == {"Mixed | twelve": [[2, 24.0], [7, 20.0]], "Seeds": [[2, 26.0]]}
    assert list(synthetic["lines"]) == ["Mixed | twelve"]
    ElementTree.fromstring(draw(Picture("ensembles", ensembles_data(board))))  # noqa: S314
