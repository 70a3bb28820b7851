"""Whether the ranking depends on whose labels are used: said in a sentence, with the pairs counted."""

import dataclasses

import pandas as pd

from shiftcast.board.build import build_board
from shiftcast.board.tables import LABEL_VIEW_COLUMNS
from shiftcast.leaderboard.model_section import label_views
from shiftcast.leaderboard.suite_page import render_suite

GIVEN = {"net-x": 0.80, "net-y": 0.79, "net-z": 0.60}


def with_views(scores, under):
    rows = [
        (name, "plain", seed, view, f"the {view} labels", accuracy, GIVEN[name], 990, 12)
        for view, accuracies in under.items()
        for name, accuracy in accuracies.items()
        for seed in (0, 1)
    ]
    return dataclasses.replace(scores, label_views=pd.DataFrame(rows, columns=list(LABEL_VIEW_COLUMNS)))


def test_a_ranking_that_stays_is_said_to(scores):
    changed = with_views(scores, {"corrected": {"net-x": 0.81, "net-y": 0.80, "net-z": 0.61}})
    sentence, table = label_views(build_board(changed))
    assert (
        "The ranking of the 3 models by in-distribution accuracy is the same under the corrected labels "
        "(12 of 990 images differ)." in sentence
    )
    assert "| net-z | 60.00 | 61.00 |" in " ".join(table.split())


def test_pairs_that_change_places_are_counted(scores):
    under = {
        "corrected": {"net-x": 0.81, "net-y": 0.80, "net-z": 0.61},
        "human": {"net-x": 0.70, "net-y": 0.75, "net-z": 0.72},
    }
    sentence, table = label_views(build_board(with_views(scores, under)))
    assert "is the same under the corrected labels (12 of 990 images differ). Under the human" in sentence
    assert (
        "human labels (12 of 990 images differ) it is not: 2 of 3 pairs of models change places, at most "
        "20.00 pp apart under the given labels." in sentence
    )
    alone, _ = label_views(build_board(with_views(scores, {"human": under["human"]})))
    assert "Under the human labels (12 of 990 images differ) the ranking changes: 2 of 3 pairs" in alone
    assert "| net-x | 80.00 | 81.00 | 70.00 |" in " ".join(table.split())


def test_the_page_carries_it_only_where_there_are_views(scores):
    assert "Label views" not in render_suite(build_board(scores), {})
    page = render_suite(
        build_board(with_views(scores, {"corrected": {"net-x": 0.81, "net-y": 0.80, "net-z": 0.61}})), {}
    )
    assert (
        page.index("## Models") < page.index("**Label views.**") < page.index("Accuracy under other labels")
    )
    assert "2 models without these figures" in page  # five are on the board
