"""The front page: which suite it shows, the answer first, and what it says of the other suites."""

import dataclasses

import pandas as pd
import pytest

from shiftcast.board.build import build_board
from shiftcast.board.columns import BRIEF
from shiftcast.leaderboard.front import Front, render_front, shown_suite
from shiftcast.leaderboard.front_section import front


def made(name, edition="", natural=True, control=False, planted=""):
    return Front(
        name, edition, natural, control, f"[{name}]({name}.md)", f"{name} is run.", ["Why."], [], planted
    )


@pytest.mark.parametrize(
    ("fronts", "expected"),
    [
        ([made("cifar10"), made("cifar10-cpu")], "cifar10"),
        ([made("another"), made("cifar10", natural=False), made("cifar10-cpu")], "cifar10-cpu"),
        ([made("another"), made("cifar10-cpu", edition="old")], "another"),
        ([made("controls", control=True), made("zoo", natural=False)], "zoo"),
        ([made("controls", control=True)], "controls"),
    ],
)
def test_the_shown_suite_follows_a_fixed_rule(fronts, expected):
    assert shown_suite(fronts).name == expected


def test_other_suites_and_controls_have_a_line_each():
    page = render_front(
        [made("cifar10-cpu"), made("zoo"), made("line", control=True, planted="[line](line.md): wrong.")]
    )
    assert "This page shows the suite [cifar10-cpu](cifar10-cpu.md)." in page
    assert "## Other suites\n\n- [zoo](zoo.md): zoo is run.\n" in page
    assert "\n- [line](line.md): line is run.\n" in page[page.index("## Controls") :]
    answer = page[page.index("## The answer") : page.index("## Other suites")]
    assert "- Why.\n- **What estimators cannot see**" in answer
    assert "[line](line.md): wrong." in answer


@pytest.fixture(scope="module")
def shown(scores):
    return front(build_board(scores), {}, "board.md", "legend.md")


def test_the_answer_leaves_out_what_was_chosen_on_the_shifts(scores, shown):
    errors = build_board(scores).natural.overall.set_index("estimator")["mae"].drop("MeanShift").sort_values()
    assert errors.index[0] == "AgreementShift"
    assert f"**{errors.index[1]}** ({errors.iloc[1]:.1f} pp) errs least" in shown.answer[0]
    assert "**AgreementShift**" in shown.answer[0].split("Lower errors")[1]
    assert "2 labelled natural shifts" in shown.answer[0]


def test_all_tracks_are_in_one_table_sorted_by_error_and_those_that_abstain_are_last(scores):
    own = (scores.table["estimator"] == "GDE") & (scores.table["architecture"] != "net-a")
    board = build_board(dataclasses.replace(scores, table=scores.table.assign(abstains=own)))
    text = next(block for block in front(board, {}, "", "").tables if block.startswith("| estimator"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert [row[0] for row in rows][-1] == "GDE"
    assert rows[-1][2:6] == ["abstained", "–", "–", "–"]
    errors = [float(row[2].split()[0]) for row in rows[:-1]]
    assert errors == sorted(errors)
    assert len({row[1] for row in rows}) > 3


def test_intervals_have_one_decimal(scores):
    ranks = pd.DataFrame({"estimator": ["ATC"], "track": ["T1"], "natural": [True], "mae": [7.66]})
    ranks = ranks.assign(mae_low=6.51, mae_high=8.9, rank_low=1, rank_high=1)
    board = build_board(scores)
    row = board.natural.by_name["ATC"] | ranks.iloc[0].to_dict()
    assert BRIEF["bounded"].cell(row) == "7.7 [6.5, 8.9]"
    assert BRIEF["bounded"].cell(row | {"mae_low": float("nan")}) == "7.7"


def test_a_planted_shortcut_is_told_where_it_misleads_most(scores):
    source = scores.suite.source.model_copy(update={"planted": "coloured-line"})
    suite = scores.suite.model_copy(update={"source": source})
    text = front(build_board(dataclasses.replace(scores, suite=suite)), {}, "board.md", "legend.md").planted
    assert "in [Sample suite](board.md): " in text
    assert text.endswith("pp for the 5 estimators of T1 to T3.")
    assert front(build_board(scores), {}, "", "").planted == ""
