"""The findings at the head of a suite's page and of a shift's page."""

import dataclasses

import pandas as pd

from shiftcast.board.build import build_board
from shiftcast.leaderboard.findings import FINDINGS, board_findings, opening, shift_findings


def test_a_suite_opens_with_the_lowest_errors_and_coverage(scores):
    board = build_board(scores)
    heading, text = opening(board_findings(board))
    natural, synthetic, coverage = text.splitlines()
    assert heading == "## Findings"
    best = board.natural.best
    assert f"On 2 natural shifts **{best['estimator']}" in natural
    assert f"errs least: {best['mae']:.2f} pp" in natural
    assert f"(NoShift) errs by {board.natural.by_name['NoShift']['mae']:.2f} pp" in natural
    assert f"errs least: {board.synthetic.best['mae']:.2f} pp" in synthetic
    rows = board.natural.overall[board.natural.overall["nominal"] == "95"]["coverage"].dropna()
    assert f"{100 * rows.min():.2f} and {100 * rows.max():.2f} %" in coverage


def test_an_error_that_may_be_too_low_is_said_to_be(scores):
    board = build_board(scores)
    assert board.natural.best["selected"]
    assert "may be too low" in board_findings(board)[1]
    assert not board.synthetic.best["selected"]
    assert "may be too low" not in board_findings(board)[2]


def test_a_control_opens_with_its_expectations(scores):
    seen = pd.DataFrame(
        {"text": ["a", "b", "c"], "seen": [1.0, 2.0, float("nan")], "holds": [True, False, True]}
    )
    findings = board_findings(build_board(dataclasses.replace(scores, controls=seen)))
    assert findings[0] == "**1 of 2 figures** of this control came out as expected."


def test_a_shift_opens_with_accuracies_and_errors(scores):
    board = build_board(scores)
    own = board.natural.by_group[board.natural.by_group["part"] == "photos"]
    accuracy, best, direction = shift_findings(board, "photos", own)
    models = board.models.by_group[board.models.by_group["group"] == "photos"]["accuracy"]
    assert f"{len(models)} models have **{100 * models.mean():.2f} %** accuracy" in accuracy
    assert f"errs least: {own['mae'].min():.2f} pp" in best
    assert direction.startswith(
        f"{(own['bias'] > 0).sum()} of {own['bias'].notna().sum()} estimators predict"
    )


def test_there_are_at_most_three_and_none_without_data():
    assert opening(["", ""]) == []
    assert opening(["a", "", "b", "c", "d"])[1].count("- ") == FINDINGS
