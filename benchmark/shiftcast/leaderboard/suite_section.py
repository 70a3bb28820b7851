"""The leaderboard as Markdown: the page of a suite, from what was run to how to read it.

A pure function of the scores: no clock, no file, no seconds. The folded details of each shift are
in `shifts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd

from shiftcast.board.estimators import estimator_board, kind_rows
from shiftcast.board.models import is_natural, model_board, ranking_groups, withheld
from shiftcast.board.tables import SuiteScores
from shiftcast.board.words import BASELINES, MARK
from shiftcast.leaderboard.controls import expectations
from shiftcast.leaderboard.coverage import coverage_table
from shiftcast.leaderboard.ensembles import ensemble_kinds
from shiftcast.leaderboard.glossary import glossary, what_it_is
from shiftcast.leaderboard.label_views import label_views
from shiftcast.leaderboard.markup import escape, model_name, table
from shiftcast.leaderboard.provenance import how_to_reproduce, missing, what_was_run
from shiftcast.leaderboard.ranks import first_places, rank_block, rank_span, rank_table
from shiftcast.leaderboard.recipes import recipe_axis
from shiftcast.leaderboard.seeds import seed_spreads
from shiftcast.leaderboard.self_reported import self_reported
from shiftcast.leaderboard.shifts import shift_details
from shiftcast.util.text import (
    BLANK,
    accuracy,
    count,
    interval,
    percent,
    points,
    predicted,
    ratio,
    score,
    signed,
)

FEWEST_NATURAL = 6
"""Independent natural shifts below which nothing is claimed about natural shifts in general."""
MOST_NAMED = 5
"""Shifts that are named where models are ranked by them; more are listed at the head of the suite."""
Row = Mapping[Any, Any]

CAPTIONS = {
    "estimators": "Mean absolute error of each estimator",
    "predicted-vs-actual": "Predicted against actual accuracy; on the dashed line both are equal",
    "ood-vs-id": "Accuracy under shift against in-distribution accuracy, on probit axes",
}


def suite_title(scores: SuiteScores) -> str:
    """Return what a suite's section is called: its title, with the edition of its arrays."""
    return scores.suite.title + (f" (edition {scores.edition})" if scores.edition else "")


def render_section(scores: SuiteScores, figures: Mapping[str, str], confusion_page: str = "") -> str:
    """Return the section of one suite and edition as Markdown.

    Parameters
    ----------
    scores
        The suite's scores.
    figures
        Relative path of every picture by its name; none when empty.
    confusion_page
        Relative path of the page about its confusion score, or "".
    """
    blocks = [
        f"## {escape(suite_title(scores))}",
        escape(scores.suite.description),
        what_was_run(scores),
    ]
    boards = {natural: estimator_board(scores, natural) for natural in (True, False)}
    if any(len(board) for board in boards.values()):
        names = dict.fromkeys(name for board in boards.values() for name in board["estimator"])
        blocks += ["### Estimators", _fold("What each estimator and track is", glossary(names))]
        blocks += [_estimators(scores, natural, board) for natural, board in boards.items() if len(board)]
        blocks += _pictures(figures, "estimators", "predicted-vs-actual")
    if (scores.runs["role"] == "scored").any():
        blocks += [
            "### Models",
            _models(scores),
            *_label_views(scores),
            *_views(scores),
            *seed_spreads(scores),
        ]
        blocks += recipe_axis(scores)
        blocks += ensemble_kinds(scores)
        blocks += _pictures(figures, "ood-vs-id")
    blocks += self_reported(scores)
    blocks += expectations(scores)
    blocks += _withheld(scores)
    blocks += _confusion(scores, confusion_page)
    blocks += [
        "### What is missing, and notes",
        missing(scores),
        "### How to reproduce",
        how_to_reproduce(scores),
    ]
    details = shift_details(scores, MARK)
    return "\n\n".join([*blocks, *(["### Details by shift", *details] if details else [])])


def _pictures(figures: Mapping[str, str], *names: str) -> list[str]:
    return [f"![{CAPTIONS[name]}]({quote(figures[name])})" for name in names if name in figures]


# Estimators


def _estimators(scores: SuiteScores, natural: bool, board: pd.DataFrame) -> str:
    rows = kind_rows(scores, natural)
    groups = rows["group"].nunique()
    few = natural and groups < FEWEST_NATURAL
    kind = "Natural" if natural else "Synthetic"
    these = "this shift" if groups == 1 else "these shifts"
    blocks = [f"#### {kind} shifts" + (f", *conditional on {these}*" if few else "")]
    if few:
        shifts = count(groups, "labelled natural shift")
        blocks.append(
            f"{shifts}, fewer than {FEWEST_NATURAL}: no claim is made about natural shifts in general."
        )
    blocks += [_verdict(board, scores.suite.headline), _board_table(board, rank_table(scores, natural))]
    blocks += [*first_places(scores, natural), *_marked(rows)]
    blocks.append(_fold("Rank correlation, coverage and width of intervals", _figures_table(board)))
    if held := coverage_table(scores, natural, board["estimator"].tolist()):
        blocks.append(_fold("Where intervals hold: lowest and highest shift and architecture", held))
    blocks.append(_fold("What stands behind each row", _evidence_table(board)))
    blocks += rank_block(scores, natural)
    return "\n\n".join(blocks)


def _fold(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _verdict(board: pd.DataFrame, headline: str) -> str:
    """Say in words what the table shows: the headline, the baselines, the lowest error, the noise."""
    rows = {row["estimator"]: row for row in board.to_dict("records")}
    said = [f"{escape(n)} {points(rows[n]['mae'])} pp" for n in BASELINES if n in rows and n != headline]
    text = f"The headline estimator, **{escape(headline)}**, has no row here."
    if headline in rows:
        mine = rows[headline]
        text = (
            f"**{escape(headline)}** (headline): mean absolute error {points(mine['mae'])} pp, "
            f"bias {signed(mine['bias'])} pp."
        )
        if told := what_it_is(headline):
            text = f"{text[:-1]}. It is: {escape(told[:1].lower() + told[1:])}"
    text += f" Baselines: {', '.join(said)}." if said else ""
    ranked = board[board["rank"].notna()].sort_values(["mae", "estimator"])
    if len(ranked):
        best = ranked.iloc[0]
        text += f" Lowest of all ranked: {_name(best.to_dict())}, {points(best['mae'])} pp."
        text += f" A perfect estimator would err by {points(best['floor'])} pp, from sampling noise."
    return text


def _name(row: Row) -> str:
    return escape(str(row["estimator"])) + (MARK if row["selected"] else "")


def _board_table(board: pd.DataFrame, ranks: pd.DataFrame) -> str:
    """Return the headline table; with bootstrap intervals where there are any."""
    ends = ranks.set_index("estimator")
    headings = {"track": "left", "#": "right"}
    headings |= {"ranks": "right"} if len(ends) else {}
    headings |= {"estimator": "left", "MAE [95 %]" if len(ends) else "MAE": "right"}
    headings |= dict.fromkeys(("bias", "worst", "skill", "cells"), "right")
    cells = []
    for row in board.to_dict("records"):
        known = ends.loc[row["estimator"]] if row["estimator"] in ends.index else None
        span = f" [{points(known['mae_low'])}, {points(known['mae_high'])}]" if known is not None else ""
        cells.append(
            [
                row["track"],
                BLANK if pd.isna(row["rank"]) else str(row["rank"]),
                *([BLANK if known is None else rank_span(known)] if len(ends) else []),
                _name(row),
                f"{points(row['mae'])}{span}",
                *(signed(row["bias"]), points(row["worst"]), ratio(row["skill"])),
                f"{row['cells']}/{row['all_cells']}",
            ]
        )
    return table(headings, cells)


def _figures_table(board: pd.DataFrame) -> str:
    """Return the figures that the headline table leaves out."""
    headings = {"estimator": "left"} | dict.fromkeys(("RMSE", "τ", "τ of ID"), "right")
    headings |= dict.fromkeys(("sampling coverage %", "sampling width"), "right")
    headings |= dict.fromkeys(("conformal coverage %", "conformal width", "abstains %"), "right")
    shared = board["mae_shared"].notna().any()
    cells = [
        [
            _name(row),
            *(points(row["rmse"]), ratio(row["tau"]), ratio(row["tau_id"])),
            *(_coverage(row), points(row["width"])),
            *(_coverage(row, "conformal_"), points(row["conformal_width"]), percent(row["abstained"])),
            *([points(row["mae_shared"])] if shared else []),
        ]
        for row in board.to_dict("records")
    ]
    return table(headings | ({"MAE shared": "right"} if shared else {}), cells)


def _coverage(row: Row, prefix: str = "") -> str:
    covered = percent(row[f"{prefix}coverage"])
    return covered if covered == BLANK else f"{covered} of {row[f'{prefix}nominal']}"


def _marked(rows: pd.DataFrame) -> list[str]:
    marked = rows[rows["selected"]].groupby("estimator")["selected_on"].first()
    named = [f"{escape(str(name))} ({escape(str(on).replace(';', ', '))})" for name, on in marked.items()]
    return [f"{MARK} Chosen on data of this table: {', '.join(named)}."] if named else []


def _evidence_table(board: pd.DataFrame) -> str:
    headings = {"estimator": "left"} | dict.fromkeys(
        ("shifts", "architectures", "rows", "sampling noise", "cells with a conformal level"), "right"
    )
    cells = [
        [
            _name(row),
            *(f"{row['groups']:,}", f"{row['architectures']:,}", f"{row['rows']:,}", points(row["floor"])),
            _conformal_cells(row),
            escape(row["worst_cell"]) or BLANK,
        ]
        for row in board.to_dict("records")
    ]
    return table(headings | {"worst cell": "left"}, cells)


def _conformal_cells(row: Row) -> str:
    cells = f"{int(row['conformal_cells'])}/{row['all_cells']}"
    return f"{cells} at {row['conformal_nominal']} %" if row["conformal_nominal"] else cells


# Models


def _models(scores: SuiteScores) -> str:
    board, ranking = model_board(scores), ranking_groups(scores)
    said, heading = _score_names(scores, ranking)
    several = board["recipe"].nunique() > 1
    synthetic = board["synthetic"].notna().any() and any(is_natural(scores, group) for group in ranking)
    headings = {"#": "right", "model": "left", "runs": "right"}
    headings |= dict.fromkeys(("ID accuracy %", heading, "predicted % (error)"), "right")
    headings |= {"effective robustness": "right"}
    headings |= {"synthetic mean %": "right"} if synthetic else {}
    rows = board.to_dict("records")
    cells = [
        [
            BLANK if pd.isna(row["rank"]) else str(row["rank"]),
            model_name(row, several),
            f"{row['runs']}/{row['all_runs']}",
            interval(row["id_accuracy"], row["id_low"], row["id_high"]),
            accuracy(row["score"], row["low"], row["high"]),
            predicted(row["predicted"], row["score"]),
            signed(row["robustness"]),
            *([percent(row["synthetic"])] if synthetic else []),
        ]
        for row in rows
    ]
    size = {
        "model": "left",
        "family": "left",
        "parameters": "right",
        "ID seed sd": "right",
        "seed sd": "right",
    }
    sizes = [
        [
            model_name(row, several),
            escape(str(row["family"])),
            BLANK if pd.isna(row["parameters"]) else f"{row['parameters']:,}",
            *(points(row["id_sd"]), points(row["sd"])),
        ]
        for row in rows
    ]
    text = f"Ranked by {said}; predicted by {escape(scores.suite.headline)}."
    blocks = [
        text,
        table(headings, cells),
        _fold("Families, parameters and spread of seeds", table(size, sizes)),
    ]
    unranked = [row for row in rows if row["reason"]]
    reasons = [f"- {model_name(row, several)}: {escape(row['reason'])}" for row in unranked]
    return "\n\n".join([*blocks, *(["Not ranked:\n\n" + "\n".join(reasons)] if reasons else [])])


def _label_views(scores: SuiteScores) -> list[str]:
    sentence_and_table = label_views(scores)
    if not sentence_and_table:
        return []
    sentence, body = sentence_and_table
    return [sentence, _fold("Accuracy under other labels", body)]


def _views(scores: SuiteScores) -> list[str]:
    """Fold accuracies on parts of sets beside those on the whole, means over seeds."""
    frame = scores.views
    if frame.empty:
        return []
    keys = ["architecture", "recipe"]
    parts = frame.drop_duplicates(["set", "view"])[["set", "view", "title", "n"]].to_dict("records")
    columns: dict[str, dict[Any, float]] = {}
    for part in parts:
        own = frame[(frame["set"] == part["set"]) & (frame["view"] == part["view"])]
        sets = scores.accuracies
        whole = sets[(sets["set"] == part["set"]) & (sets["role"] == "scored")]
        name = escape(part["set"])
        for rows, heading in ((whole, f"{name} %"), (own, f"{name}: {escape(part['view'])} %")):
            shares = rows["right"].astype(float) / rows["n"].astype(float)
            columns.setdefault(heading, shares.groupby([rows[key] for key in keys]).mean().to_dict())
    headings = {"model": "left"} | dict.fromkeys(columns, "right")
    several = frame["recipe"].nunique() > 1
    models = frame.drop_duplicates(keys)[keys].sort_values(keys).to_dict("records")
    cells = [
        [
            model_name(row, several),
            *(percent(c.get((row["architecture"], row["recipe"]), float("nan"))) for c in columns.values()),
        ]
        for row in models
    ]
    said = [
        f"- **{escape(part['set'])}: {escape(part['view'])}**: {escape(part['title'])} "
        f"({count(part['n'], 'image')})."
        for part in parts
    ]
    body = "\n\n".join(["\n".join(said), table(headings, cells)])
    return [_fold("Accuracy on parts of the sets", body)]


def _score_names(scores: SuiteScores, ranking: Sequence[str]) -> tuple[str, str]:
    """Return what models are ranked by, in words and as a column's heading."""
    if not ranking:
        return "nothing: no required shift has known labels", "required mean %"
    if len(ranking) == 1:
        return f"accuracy on {escape(ranking[0])}", f"{escape(ranking[0])} %"
    kind = "natural" if is_natural(scores, ranking[0]) else "synthetic"
    named = f" ({', '.join(map(escape, ranking))})" if len(ranking) <= MOST_NAMED else ""
    return f"mean accuracy over the {len(ranking)} required {kind} shifts{named}", f"{kind} mean %"


def _confusion(scores: SuiteScores, page: str) -> list[str]:
    """Name the most and least confusing natural set, and link to the page that says more."""
    if scores.confusion is None or not page:
        return []
    natural = scores.confusion.sets[scores.confusion.sets["natural"]].sort_values("mean")
    text = (
        f"[What the reference ensemble finds confusing]({quote(page)}): accuracy by confusion, the claims of "
    )
    text += "the source's abstract tested, how much the partition depends on its choices."
    if len(natural):
        source = scores.confusion.sets.iloc[0]
        text += f" Mean score {score(source['mean'])} in distribution; " + ", ".join(
            f"{score(row['mean'])} on {escape(row['set'])}" for row in natural.to_dict("records")
        )
        text += "."
    return ["### Confusion", text]


def _conformal(row: Row) -> str:
    if pd.isna(row["conformal_level"]):
        return BLANK
    ends = f"{percent(row['conformal_low'])} to {percent(row['conformal_high'])}"
    return f"{ends} ({100 * row['conformal_level']:g})"


def _withheld(scores: SuiteScores) -> list[str]:
    frame = withheld(scores)
    if frame.empty:
        return []
    several = frame["recipe"].nunique() > 1
    headings = {
        "shift": "left",
        "model": "left",
        "images": "right",
        "predicted % [sampling interval]": "right",
        "conformal interval % (level)": "right",
    }
    headings |= {"other estimators %": "right", "actual": "left"}
    cells = [
        [
            escape(row["target"]),
            model_name(row, several),
            f"{row['n']:,}",
            interval(row["predicted"], row["low"], row["high"]),
            _conformal(row),
            f"{percent(row['lowest'])} to {percent(row['highest'])} ({row['others']})"
            if row["others"]
            else BLANK,
            "withheld",
        ]
        for row in frame.to_dict("records")
    ]
    text = (
        f"Their labels are not on this board. Predicted by {escape(scores.suite.headline)}, means over "
        "seeds; the range of the other estimators, with their number, shows how far they disagree."
    )
    return ["### Shifts whose labels are withheld", text, table(headings, cells)]
