"""The tables of a suite's board: estimators, models, shifts, predictions and what others report."""

from __future__ import annotations

import pandas as pd

from shiftcast.board.estimators import kind_rows
from shiftcast.board.models import model_board, ranking_groups, withheld
from shiftcast.board.tables import SuiteScores
from shiftcast.board.words import MARK
from shiftcast.leaderboard.figures.board_data import KINDS
from shiftcast.site import columns as shown
from shiftcast.site.html import Html, joined, tag
from shiftcast.site.layout import fold, paragraph, section
from shiftcast.site.links import Names, link
from shiftcast.site.rows import estimator_rows, kind_value, shift_rows, shift_value
from shiftcast.site.tables import Column, table
from shiftcast.util.text import BLANK, accuracy, interval, percent, points, predicted, signed


def estimators_section(scores: SuiteScores, names: Names) -> list[Html]:
    """Return the table of estimators, on all shifts of a kind and on each; none without rows."""
    rows = estimator_rows(scores)
    if not rows:
        return []
    columns = [
        Column(
            "estimator",
            lambda row: joined(
                link(row["estimator"], names.estimator(row["estimator"])),
                f" {MARK}" if row["selected"] else None,
            ),
        ),
        Column("track", lambda row: row["track"], help=shown.TRACK),
        Column(
            "rank",
            lambda row: row["rank"],
            lambda row: float("nan") if pd.isna(row["rank"]) else float(row["rank"]),
            "by MAE within the track; none where an estimator lacks a cell, or for a single shift",
        ),
        *shown.error_columns(),
        *shown.coverage_columns(),
        Column("shift", lambda row: row["what"]),
    ]
    made = table(
        "estimators",
        "Estimators, by error on the chosen shifts",
        columns,
        rows,
        keys={"shift": lambda row: row["about"], "track": lambda row: row["track"]},
        search="Find in estimators",
    )
    return [
        section(
            "Estimators",
            paragraph(
                "How far predicted lies from actual accuracy. Natural and synthetic shifts are never "
                "averaged together. Tracks are ranked apart, by what an estimator needs to know."
            ),
            made,
            *_marked(scores),
        )
    ]


def _marked(scores: SuiteScores) -> list[Html]:
    chosen = pd.concat([kind_rows(scores, natural) for natural in KINDS])
    chosen = chosen[chosen["selected"].astype(bool)]
    if chosen.empty:
        return []
    named = chosen.groupby("estimator")["selected_on"].first()
    said = ", ".join(f"{name} ({str(on).replace(';', ', ')})" for name, on in named.items())
    return [paragraph(f"{MARK} Chosen on data of this table: {said}.", class_="note")]


def models_section(scores: SuiteScores, names: Names) -> list[Html]:
    """Return the table of models; none without runs."""
    board = model_board(scores)
    if board.empty:
        return []
    ranking = ranking_groups(scores)
    what = ranking[0] if len(ranking) == 1 else "mean of required"
    synthetic = bool(board["synthetic"].notna().any())
    columns = [
        Column("model", lambda row: link(names.model_title(row["architecture"], row["recipe"]),
                                         names.model((row["architecture"], row["recipe"])))),
        Column("family", lambda row: row["family"]),
        Column(
            "rank",
            lambda row: row["rank"],
            lambda row: float("nan") if pd.isna(row["rank"]) else float(row["rank"]),
            f"by accuracy on {', '.join(ranking) or 'nothing: no required shift has known labels'}",
        ),
        Column("parameters", lambda row: f"{row['parameters']:,}",
               lambda row: shown.number(row["parameters"]), high_first=True),
        Column("runs", lambda row: f"{row['runs']}/{row['all_runs']}", lambda row: row["runs"],
               "complete runs (seeds) of all that the suite lists", high_first=True),
        Column("ID %", lambda row: interval(row["id_accuracy"], row["id_low"], row["id_high"]),
               lambda row: row["id_accuracy"],
               "accuracy in distribution, with Wilson's 95 % interval", high_first=True),
        Column(f"{what} %", lambda row: accuracy(row["score"], row["low"], row["high"]),
               lambda row: row["score"], "accuracy on the shifts that models are ranked by", high_first=True),
        Column("predicted % (error)", lambda row: predicted(row["predicted"], row["score"]),
               lambda row: row["predicted"], f"by {scores.suite.headline}, on the same shifts",
               high_first=True),
        Column("robustness pp", lambda row: signed(row["robustness"]), lambda row: row["robustness"],
               shown.ROBUSTNESS, high_first=True),
    ]  # fmt: skip
    if synthetic:
        columns.append(Column("synthetic %", lambda row: percent(row["synthetic"]),
                              lambda row: row["synthetic"], "mean accuracy over synthetic shifts",
                              high_first=True))  # fmt: skip
    made = table(
        "models",
        "Models, by accuracy under shift",
        columns,
        board.to_dict("records"),
        keys={"family": lambda row: str(row["family"])},
        search="Find in models",
    )
    said = "A model is an architecture trained by a recipe, with all its seeds. "
    said += f"Predictions are those of {scores.suite.headline}."
    reasons = [
        tag("li", f"{names.model_title(row['architecture'], row['recipe'])}: {row['reason']}")
        for row in board.to_dict("records")
        if row["reason"]
    ]
    unranked = [fold(f"Not ranked: {len(reasons)}", tag("ul", *reasons))] if reasons else []
    return [section("Models", paragraph(said), made, *unranked)]


def shifts_section(scores: SuiteScores, names: Names) -> list[Html]:
    """Return the table of labelled shifts; none without any."""
    rows = shift_rows(scores)
    if not rows:
        return []
    headline = scores.suite.headline
    columns = [
        Column("shift", lambda row: link(row["shift"], names.shift(row["shift"]))),
        Column("kind", lambda row: row["kind"]),
        Column("images", lambda row: f"{row['images']:,}", lambda row: row["images"], high_first=True),
        Column("mean accuracy %", lambda row: percent(row["accuracy"]), lambda row: row["accuracy"],
               "mean over models", high_first=True),
        Column("lowest %", lambda row: percent(row["lowest"]), lambda row: row["lowest"]),
        Column("highest %", lambda row: percent(row["highest"]), lambda row: row["highest"], high_first=True),
        Column("confusion", lambda row: f"{row['confusion']:.3f}", lambda row: row["confusion"],
               "mean score of the reference ensemble, from 0 (all sure and agreed) to 1", high_first=True),
        Column(f"{headline} MAE pp", lambda row: points(row["headline_mae"]), lambda row: row["headline_mae"],
               "mean absolute error of the headline estimator"),
        Column("lowest MAE pp", lambda row: points(row["best_mae"]), lambda row: row["best_mae"],
               "of any estimator"),
        Column("by", lambda row: link(row["best"], names.estimator(row["best"]))),
    ]  # fmt: skip
    made = table(
        "shifts",
        "Shifts, with how models do on them",
        columns,
        rows,
        keys={"shift": lambda row: shift_value(row["shift"]), "kind": lambda row: kind_value(row["kind"])},
        search="Find in shifts",
    )
    return [section("Shifts", made)]


def withheld_section(scores: SuiteScores, names: Names, target: str = "") -> list[Html]:
    """Return what is predicted where labels are withheld, on one target or on all; none where none are."""
    frame = withheld(scores)
    frame = frame[frame["target"] == target] if target and len(frame) else frame
    if frame.empty:
        return []
    columns = [
        Column("shift", lambda row: link(row["target"], names.shift(row["target"]))),
        Column("model", lambda row: link(names.model_title(row["architecture"], row["recipe"]),
                                         names.model((row["architecture"], row["recipe"])))),
        Column("images", lambda row: f"{row['n']:,}", lambda row: row["n"], high_first=True),
        Column("predicted %", lambda row: interval(row["predicted"], row["low"], row["high"]),
               lambda row: row["predicted"], "with its sampling interval", high_first=True),
        Column("others from %", lambda row: percent(row["lowest"]), lambda row: row["lowest"],
               "lowest prediction of any other estimator"),
        Column("to %", lambda row: percent(row["highest"]), lambda row: row["highest"], high_first=True),
    ]  # fmt: skip
    made = table(
        "withheld",
        "Predictions for shifts whose labels are withheld",
        columns,
        frame.to_dict("records"),
        search="Find in withheld",
    )
    said = f"Their labels are withheld; predicted by {scores.suite.headline}."
    return [section("Labels withheld", paragraph(said), made)]


def reported_section(scores: SuiteScores) -> list[Html]:
    """Return the table of self-reported models; none without any."""
    frame = scores.reported
    frame = frame[frame["stale"] == ""] if len(frame) else frame
    if frame.empty:
        return []
    frame = frame.assign(share=(frame["right"].astype("Float64") / frame["n"]).astype(float))
    columns = [
        Column("model", lambda row: row["architecture"]),
        Column("seed", lambda row: row["seed"], lambda row: row["seed"]),
        Column("family", lambda row: row["family"]),
        Column("note", lambda row: row["note"] or BLANK),
        Column("set", lambda row: row["set"]),
        Column("accuracy %", lambda row: percent(row["share"]), lambda row: row["share"], high_first=True),
        Column("predicted %", lambda row: percent(row["predicted"]), lambda row: row["predicted"],
               high_first=True),
    ]  # fmt: skip
    made = table(
        "reported",
        "Self-reported models",
        columns,
        frame.sort_values(["architecture", "seed", "set"]).to_dict("records"),
        keys={"family": lambda row: str(row["family"])},
        search="Find in self-reported",
    )
    said = (
        "Trained elsewhere: accuracies follow from imported logits; family and note are their authors' word. "
        "They are not ranked, and no other figure on this site is made with them."
    )
    return [section("Self-reported models", paragraph(said), made)]
