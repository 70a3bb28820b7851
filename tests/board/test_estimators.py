"""The estimator board against slow loops over single rows."""

import dataclasses
import math
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from shiftcast.board import estimators
from shiftcast.board.build import build_board
from shiftcast.board.columns import ESTIMATORS
from shiftcast.cli.tables import estimator_tables
from shiftcast.estimators import official_estimators
from shiftcast.leaderboard.estimator_section import sorted_on
from shiftcast.util.text import points


def kind_of(scores, natural):
    board = build_board(scores)
    return board.natural if natural else board.synthetic


def rows_of(scores, estimator, natural, protocol="official"):
    """Plain dictionaries of one estimator's usable rows."""
    return [
        row
        for row in scores.table.to_dict("records")
        if row["estimator"] == estimator
        and row["natural"] == natural
        and row["protocol"] == protocol
        and row["actual"] == row["actual"]
        and not row["abstains"]
    ]


def nested_mean(rows, value):
    """Mean over seeds, severities, cells and groups, one loop for each."""
    groups = []
    for group in sorted({r["group"] for r in rows}):
        cells = []
        for model in sorted({(r["architecture"], r["recipe"]) for r in rows if r["group"] == group}):
            own = [r for r in rows if r["group"] == group and (r["architecture"], r["recipe"]) == model]
            targets = sorted({r["target"] for r in own})
            cells.append(fmean(fmean(value(r) for r in own if r["target"] == t) for t in targets))
        groups.append(fmean(cells))
    return fmean(groups)


def pp(row):
    return 100 * (row["predicted"] - row["actual"])


def of(board, estimator):
    return board.set_index("estimator").loc[estimator]


def changed(scores, **frames):
    return dataclasses.replace(scores, **frames)


@pytest.mark.parametrize("natural", [True, False])
@pytest.mark.parametrize("estimator", ["NoShift", "ConfusionPartition", "MeanShift"])
def test_every_figure_equals_a_slow_loop(scores, estimator, natural):
    row, rows = of(kind_of(scores, natural).overall, estimator), rows_of(scores, estimator, natural)
    mae = nested_mean(rows, lambda r: abs(pp(r)))
    assert row["mae"] == pytest.approx(mae)
    by_construction = estimator == "MeanShift" and not any(r["note"] for r in rows)
    assert math.isnan(row["bias"]) if by_construction else row["bias"] == pytest.approx(nested_mean(rows, pp))
    assert row["rmse"] == pytest.approx(math.sqrt(nested_mean(rows, lambda r: pp(r) ** 2)))
    assert row["coverage"] == pytest.approx(nested_mean(rows, lambda r: r["low"] <= r["actual"] <= r["high"]))
    assert row["width"] == pytest.approx(nested_mean(rows, lambda r: 100 * (r["high"] - r["low"])))
    noise = nested_mean(
        rows, lambda r: 100 * math.sqrt(2 / math.pi) * math.sqrt(r["actual"] * (1 - r["actual"]) / r["n"])
    )
    assert row["floor"] == pytest.approx(noise)
    baselines = [
        nested_mean(rows_of(scores, name, natural), lambda r: abs(pp(r))) for name in ("NoShift", "MeanShift")
    ]
    assert row["skill"] == pytest.approx(1 - mae / min(baselines))
    assert row["nominal"] == "95"


def test_groups_weigh_alike_whatever_their_number_of_rows(make_scores):
    scores = make_scores(natural=("photos", "sketches"))
    table = scores.table
    table = table[~((table["target"] == "sketches") & (table["architecture"] != "net-a"))]
    row = of(kind_of(changed(scores, table=table), True).overall, "NoShift")
    rows = rows_of(changed(scores, table=table), "NoShift", True)
    means = [fmean(abs(pp(r)) for r in rows if r["group"] == g) for g in ("photos", "sketches")]
    assert row["mae"] == pytest.approx(fmean(means))
    assert row["mae"] != pytest.approx(fmean(abs(pp(r)) for r in rows), abs=1e-3)


def test_worst_cell_is_named(scores):
    row, rows = of(kind_of(scores, False).overall, "ATC"), rows_of(scores, "ATC", False)
    errors = {
        (r["architecture"], r["group"]): nested_mean(
            [o for o in rows if (o["architecture"], o["group"]) == (r["architecture"], r["group"])],
            lambda o: abs(pp(o)),
        )
        for r in rows
    }
    (architecture, group), worst = max(errors.items(), key=lambda item: item[1])
    assert row["worst"] == pytest.approx(worst)
    assert row["worst_cell"] == f"{architecture} (plain) on {group}"


@pytest.mark.parametrize("natural", [True, False])
def test_kendall_tau_over_runs_then_targets_then_groups(scores, natural):
    row, rows = of(kind_of(scores, natural).overall, "GDE"), rows_of(scores, "GDE", natural)
    id_accuracy = {
        (r["architecture"], r["seed"]): r["right"] / r["n"]
        for r in scores.accuracies.to_dict("records")
        if r["set"] == "test-set"
    }
    for column, value in (
        ("tau", lambda r: r["predicted"]),
        ("tau_id", lambda r: id_accuracy[r["architecture"], r["seed"]]),
    ):
        groups = []
        for group in {r["group"] for r in rows}:
            taus = []
            for target in {r["target"] for r in rows if r["group"] == group}:
                own = [r for r in rows if r["target"] == target]
                taus.append(kendalltau([value(r) for r in own], [r["actual"] for r in own]).statistic)
            groups.append(fmean(taus))
        assert row[column] == pytest.approx(fmean(groups))


def test_counts_and_shared_protocol(scores):
    row = of(kind_of(scores, False).overall, "ATC")
    assert (row["groups"], row["architectures"], row["rows"]) == (2, 5, 5 * 2 * 4)
    assert (row["cells"], row["all_cells"], row["abstained"]) == (10, 10, 0)
    assert row["mae_shared"] == pytest.approx(
        nested_mean(rows_of(scores, "ATC", False, "shared"), lambda r: abs(pp(r)))
    )
    assert math.isnan(of(kind_of(scores, True).overall, "ATC")["mae_shared"])


def test_shared_rows_move_no_official_figure(scores):
    table = scores.table.copy()
    table.loc[table["protocol"] == "shared", "predicted"] = 0.0
    left, right = kind_of(scores, False).overall, kind_of(changed(scores, table=table), False).overall
    pd.testing.assert_frame_equal(left.drop(columns="mae_shared"), right.drop(columns="mae_shared"))


def test_ranks_count_within_tracks_by_error(scores):
    board = kind_of(scores, False).overall
    for _, track in board.groupby("track"):
        assert track["rank"].tolist() == list(range(1, len(track) + 1))
        assert track["mae"].is_monotonic_increasing


def test_errors_that_print_alike_share_a_rank_in_order_of_name(scores):
    table = scores.table.copy()
    for name, shift in (("ATC", 0.02), ("NoShift", 0.02 + 1e-9)):
        own = table["estimator"] == name
        table.loc[own, "predicted"] = table.loc[own, "actual"] + shift
    board = kind_of(changed(scores, table=table), False).overall
    track = board[board["track"] == "T1"]
    assert track["estimator"].tolist() == ["ATC", "NoShift"]
    assert track["rank"].tolist() == [1, 1]


def test_an_estimator_that_lacks_a_row_is_shown_and_not_ranked(scores):
    table = scores.table
    gone = (table["estimator"] == "GDE") & (table["architecture"] == "net-b") & (table["seed"] == 1)
    gone &= table["target"] == "corrupted/fog-5"
    less = changed(scores, table=table[~gone])
    row = of(kind_of(less, False).overall, "GDE")
    assert pd.isna(row["rank"])
    assert (row["cells"], row["all_cells"]) == (9, 10)
    assert row["mae"] == pytest.approx(nested_mean(rows_of(less, "GDE", False), lambda r: abs(pp(r))))
    assert of(kind_of(less, True).overall, "GDE")["rank"] == 1


def test_rows_are_sorted_by_the_error_on_cells_that_all_have(scores):
    """An estimator that answers on easy cells alone does not pass one that answers on all."""
    table = scores.table.copy()
    hard = table["architecture"].isin(["net-a", "net-b"])
    for name, easy, far in (("NoShift", 0.01, 0.3), ("ATC", 0.02, 0.02)):
        own = table["estimator"] == name
        table.loc[own, "predicted"] = table.loc[own, "actual"] + np.where(hard[own], far, easy)
    gone = (table["estimator"] == "ATC") & hard
    tables = kind_of(changed(scores, table=table[~gone]), False)
    board, lacking = tables.overall, of(tables.overall, "ATC")
    assert lacking["mae"] < of(board, "NoShift")["mae"]  # over different cells
    assert board[board["track"] == "T1"]["estimator"].tolist() == ["NoShift", "ATC"]
    assert of(board, "NoShift")["mae_common"] == pytest.approx(1.0)
    assert set(board["common_cells"]) == {lacking["cells"]}
    assert sorted_on(tables) == [
        f"Sorted by the error on the {lacking['cells']} of {lacking['all_cells']} cells that all with an "
        "error have."
    ]
    assert sorted_on(kind_of(scores, False)) == []


def test_skill_compares_on_the_same_rows(scores):
    table = scores.table
    own = ["net-b", "net-c", "net-d"]
    gone = (table["estimator"] == "GDE") & ~table["architecture"].isin(own)
    less = changed(scores, table=table[~gone])
    here = [
        [r for r in rows_of(less, name, False) if r["architecture"] in own]
        for name in ("GDE", "NoShift", "MeanShift")
    ]
    mine, *others = (nested_mean(rows, lambda r: abs(pp(r))) for rows in here)
    assert of(kind_of(less, False).overall, "GDE")["skill"] == pytest.approx(1 - mine / min(others))


def test_a_row_on_fewer_than_half_of_the_cells_has_no_figures(scores):
    table, figures = scores.table, [*estimators.RESTING_ON_CELLS]
    own = table["estimator"] == "GDE"
    for architectures, known in ((["net-b", "net-c"], False), (["net-b", "net-c", "net-d"], True)):
        less = changed(scores, table=table[~own | table["architecture"].isin(architectures)])
        row, parts = (of(one, "GDE") for one in (kind_of(less, True).overall, kind_of(less, True).by_group))
        assert (row["cells"], pd.isna(row["rank"])) == (2 * len(architectures), True)
        assert pd.Series(row)[figures].drop(["mae_shared", "mae_kind_out"]).notna().any() == known
        assert (parts["mae"].notna() == known).all()
        assert ESTIMATORS["mae"].cell(row) == (points(row["mae"]) if known else "abstained")
        assert bool(row["worst_cell"]) == known


def test_doubtful_answers_are_counted(scores):
    table = scores.table.assign(flagged=(scores.table["estimator"] == "GDE") & (scores.table["seed"] == 1))
    board = kind_of(changed(scores, table=table), True).overall
    assert (of(board, "GDE")["flagged"], of(board, "ATC")["flagged"]) == (0.5, 0.0)


def test_abstaining_rows_count_in_no_figure(scores):
    table = scores.table.copy()
    silent = (table["estimator"] == "ATC") & (table["group"] == "fog") & (table["protocol"] == "official")
    table.loc[silent, "abstains"] = True
    table.loc[silent, "predicted"] = 0.0
    quiet = changed(scores, table=table)
    row = of(kind_of(quiet, False).overall, "ATC")
    assert row["abstained"] == 0.5
    assert row["mae"] == pytest.approx(nested_mean(rows_of(quiet, "ATC", False), lambda r: abs(pp(r))))
    assert (row["groups"], row["cells"], row["all_cells"]) == (1, 5, 10)
    assert pd.isna(row["rank"])


def test_an_estimator_that_always_abstains_has_a_row_without_figures(scores):
    table = scores.table.copy()
    table.loc[table["estimator"] == "ATC", "abstains"] = True
    row = of(kind_of(changed(scores, table=table), True).overall, "ATC")
    assert row["abstained"] == 1
    assert row["cells"] == 0
    assert math.isnan(row["mae"])


def test_withheld_targets_are_on_no_board(scores):
    table = scores.table[scores.table["target"] != "unseen"]
    pd.testing.assert_frame_equal(
        kind_of(scores, True).overall.drop(columns="seconds"),
        kind_of(changed(scores, table=table), True).overall.drop(columns="seconds"),
    )


def test_estimators_chosen_on_a_dataset_are_marked_there_only(scores):
    assert of(kind_of(scores, True).overall, "AgreementShift")["selected"]
    assert not of(kind_of(scores, False).overall, "AgreementShift")["selected"]
    marked = kind_of(scores, True).by_group.set_index(["part", "estimator"])["selected"]
    assert marked["photos", "AgreementShift"]
    assert not marked["sketches", "AgreementShift"]


@pytest.mark.parametrize("by", ["group", "target"])
def test_details_equal_a_slow_loop(scores, by):
    table = scores.table
    gone = (
        (table["estimator"] == "GDE")
        & (table["architecture"] == "net-b")
        & (table["target"] == "corrupted/fog-5")
    )
    less = changed(scores, table=table[~gone])
    frame = getattr(kind_of(less, False), f"by_{by}")
    assert len(frame) == 6 * {"group": 2, "target": 4}[by]
    for row in frame.to_dict("records"):
        rows = [r for r in rows_of(less, row["estimator"], False) if r[by] == row["part"]]
        assert row["rows"] == len(rows)
        assert row["mae"] == pytest.approx(nested_mean(rows, lambda r: abs(pp(r))))
        assert row["bias"] == pytest.approx(nested_mean(rows, pp))
        lacking = row["estimator"] == "GDE" and row["part"] in ("fog", "corrupted/fog-5")
        assert (row["cells"], row["all_cells"]) == (4 if lacking else 5, 5)


def test_no_runs_give_an_empty_board(make_scores):
    scores = make_scores()
    empty = changed(scores, table=scores.table.iloc[:0].astype(object), accuracies=scores.accuracies.iloc[:0])
    assert kind_of(empty, True).overall.empty
    assert kind_of(empty, True).by_group.empty


def test_two_runs_rank_nothing(make_scores):
    board = kind_of(make_scores(architectures=("net-a", "net-b"), seeds=(0,)), True).overall
    assert board["tau"].isna().all()


def test_the_console_shows_every_estimator_of_both_kinds_within_80_columns(scores):
    from rich.console import Console

    longest = max(official_estimators(), key=len)
    scores = changed(scores, table=scores.table.replace({"estimator": {"ConfusionPartition": longest}}))
    natural, synthetic = estimator_tables(build_board(scores))
    assert (natural.title, synthetic.title) == ("Natural shifts", "Synthetic shifts")
    assert natural.row_count == synthetic.row_count == 6
    console = Console(width=80, record=True)
    console.print(natural)
    shown = console.export_text()
    assert longest in shown
    assert "…" not in shown
    table = scores.table.replace({"estimator": {"ATC": "[bold]ATC"}})
    cells = list(estimator_tables(build_board(changed(scores, table=table)))[0].columns[1].cells)
    assert r"\[bold]ATC" in cells
