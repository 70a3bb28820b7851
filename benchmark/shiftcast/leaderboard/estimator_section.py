"""The part of a suite's page about estimators: one block for each kind of shift."""

from __future__ import annotations

from typing import Any

from shiftcast.analysis.ranking import FEWEST_GROUPS
from shiftcast.board.build import Board, EstimatorTables
from shiftcast.board.columns import BOUNDS, DIAGNOSES, ESTIMATORS, SHIFT, coverage_columns, pick
from shiftcast.board.words import BASELINES, FEWEST_NATURAL, KNOWING, MARK, what_it_is
from shiftcast.leaderboard.markup import escape, fold, table
from shiftcast.util.text import count, points, signed

HEADLINE = ("estimator", "bias", "worst", "skill", "cells")
FIGURES = (
    *("estimator", "rmse", "tau", "tau_id", "coverage", "width"),
    *("conformal_coverage", "conformal_width", "abstained", "flagged"),
)
COMPARED = ("mae_shared", "mae_kind_out")
OF_HEADLINE = ("mae", "bias", "coverage", "width", "conformal_coverage", "conformal_width")
EVIDENCE = ("estimator", "groups", "architectures", "rows", "floor", "conformal_cells", "worst_cell")


def estimators(board: Board) -> list[str]:
    """Return the blocks about estimators; none where none has a row."""
    shown = [tables for tables in board.kinds if len(tables.overall)]
    if not shown:
        return []
    return ["## Estimators", *(_kind(tables, board.headline) for tables in shown), *_unranked(board)]


def _unranked(board: Board) -> list[str]:
    """Return the blocks about bounds and diagnoses; none where none has a row."""
    bounds, diagnoses = board.unranked
    blocks = []
    if bounds:
        text = (
            "A lower bound is judged by whether it holds and by how far below the accuracy it lies. It is "
            "not an estimate: it has no error and is not ranked. On natural shifts:"
        )
        blocks += ["### Lower bounds", text, table(list(BOUNDS.values()), bounds)]
    if diagnoses:
        text = (
            "What would follow if nothing but class shares had changed. They diagnose label shift and are "
            "ranked with no estimate. Class shares moved: the total variation distance from the source's, "
            "0 to 1, as expectation maximisation finds it and as it is. Much more found than there is means "
            "that the model puts images into wrong classes. On natural shifts:"
        )
        blocks += ["### Diagnoses of label shift", text, table(list(DIAGNOSES.values()), diagnoses)]
    return blocks


def _kind(tables: EstimatorTables, headline: str) -> str:
    few = tables.natural and tables.shifts < FEWEST_NATURAL
    these = "this shift" if tables.shifts == 1 else "these shifts"
    blocks = [f"### {tables.kind.capitalize()} shifts" + (f", *conditional on {these}*" if few else "")]
    if few:
        shifts = count(tables.shifts, "labelled natural shift")
        blocks.append(
            f"{shifts}, fewer than {FEWEST_NATURAL}: no claim is made about natural shifts in general."
        )
    rows, ranked = tables.overall.to_dict("records"), len(tables.ranks) > 0
    bounded = ("track", "rank", *(("ranks",) if ranked else ()), *HEADLINE)
    columns = pick(ESTIMATORS, *bounded)
    columns.insert(columns.index(ESTIMATORS["estimator"]) + 1, ESTIMATORS["bounded" if ranked else "mae"])
    blocks += [
        _verdict(tables, headline),
        table(columns, rows),
        *sorted_on(tables, by_track=True),
        *first_places(tables),
        *marked(tables),
    ]
    compared = ["mae_common", *(name for name in COMPARED if tables.overall[name].notna().any())]
    figures = table(pick(ESTIMATORS, *FIGURES, *compared), rows)
    blocks.append(fold("Rank correlation, coverage and width of intervals", figures))
    if held := coverage_table(tables):
        blocks.append(fold("Where intervals hold: lowest and highest shift and architecture", held))
    if len(own := tables.by_shift[tables.by_shift["estimator"] == headline]):
        by_shift = table([SHIFT, *pick(ESTIMATORS, *OF_HEADLINE)], own.to_dict("records"))
        blocks.append(fold(f"Intervals of {headline} on each shift", by_shift))
    blocks.append(fold("Evidence behind each row", table(pick(ESTIMATORS, *EVIDENCE), rows)))
    return "\n\n".join([*blocks, *_differences(tables, headline)])


def _verdict(tables: EstimatorTables, headline: str) -> str:
    """Say in words what the table shows: the headline, the baselines, the lowest error, the noise."""
    rows, best = tables.by_name, tables.best
    said = [f"{escape(n)} {points(rows[n]['mae'])} pp" for n in BASELINES if n in rows and n != headline]
    text = f"The headline estimator, **{escape(headline)}**, has no row here."
    if headline in rows:
        mine = rows[headline]
        text = (
            f"**{escape(headline)}** (headline): mean absolute error {points(mine['mae'])} pp, "
            f"bias {signed(mine['bias'])} pp."
        )
        if told := what_it_is(headline):
            text = f"{text[:-1]}. In words: {escape(told[:1].lower() + told[1:])}"
    text += f" Baselines: {', '.join(said)}." if said else ""
    if best is not None:
        text += (
            f" Lowest of all ranked: {escape(ESTIMATORS['estimator'].cell(best))}, {points(best['mae'])} pp."
        )
        text += f" {KNOWING[:1].upper()}{KNOWING[1:]} would err by {points(best['floor'])} pp."
    return text


def sorted_on(tables: EstimatorTables, by_track: bool = False) -> list[str]:
    """Return the sentence on which cells rows are sorted by, where some estimators lack cells."""
    known = tables.overall[tables.overall["mae"].notna()]
    if known.empty or (known["cells"] == known["all_cells"]).all():
        return []
    every = int(known["all_cells"].iloc[0])
    if not by_track:
        number = int(known["common_cells"].iloc[0])
        return [f"Sorted by the error on the {number} of {every} cells that all with an error have."]
    few = known[known["track_cells"] < every].groupby("track")["track_cells"].first()
    said = ", ".join(f"{track} on {int(number)}" for track, number in few.items())
    return [f"Tracks are sorted by the error on the cells, of {every}, that all of them have: {said}."]


def first_places(tables: EstimatorTables) -> list[str]:
    """Return a sentence with the estimators of each track that may be its best: those tied with the first."""
    first = tables.ranks[tables.ranks["rank_low"] == 1]
    ties = [
        f"{track} {', '.join(escape(str(name)) for name in own['estimator'])}"
        for track, own in first.groupby("track")
    ]
    said = f"Best of their track, or not distinguishable from the best: {'; '.join(ties)}."
    return [said] if ties else []


def marked(tables: EstimatorTables) -> list[str]:
    """Return the sentence that names marked estimators and the sets whose labels they could depend on."""
    names: dict[str, list[str]] = {}
    for name, on in tables.selected.items():
        names.setdefault(on, []).append(escape(name))
    said = "; ".join(f"{', '.join(own)} ({escape(on)})" for on, own in names.items())
    text = f"{MARK} Chosen with labels of the sets in brackets, or added after they were opened: {said}."
    return [text] if names else []


def coverage_table(tables: EstimatorTables) -> str:
    """Return the coverage of each estimator in its lowest and highest shift and architecture as Markdown."""
    told: dict[tuple[str, str], None] = {}
    rows: dict[str, dict[Any, Any]] = {name: {"estimator": name} for name in tables.overall["estimator"]}
    for row in tables.coverage.to_dict("records"):
        rows[row["estimator"]][row["interval"], row["by"]] = row
        told[row["interval"], row["by"]] = None
    return table(coverage_columns(told), rows.values()) if told else ""


def _differences(tables: EstimatorTables, headline: str) -> list[str]:
    """Return the folded block about differences from the headline; none where nothing can be said."""
    frame = tables.ranks[tables.ranks["difference"].notna()]
    if frame.empty:
        return []
    shifts = ", and shifts" if tables.shifts >= FEWEST_GROUPS else "; conditional on these shifts"
    text = (
        f"MAE of {escape(headline)} minus that of the estimator, in pp: above 0 the estimator "
        f"is better. Images and architectures are resampled (paired, 10,000 draws{shifts}); p is adjusted "
        "for all of them (Holm 1979). Intervals of MAE and ranks above come from the same draws; ranks are "
        "those within the track that simultaneous 95 % intervals of all pairwise differences leave open "
        "(Mogstad et al. 2024)."
    )
    body = table(pick(ESTIMATORS, "track", "estimator", "difference", "p"), frame.to_dict("records"))
    return [fold("Which differences from the headline are more than noise", f"{text}\n\n{body}")]
