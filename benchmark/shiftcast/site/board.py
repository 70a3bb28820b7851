"""A suite's board as a page: headline, scatter charts, and tables of estimators, models and shifts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from shiftcast.board.estimators import estimator_board, kind_rows
from shiftcast.board.models import (
    is_natural,
    labelled_groups,
    run_accuracies,
)
from shiftcast.board.tables import SuiteScores
from shiftcast.board.words import BASELINES
from shiftcast.leaderboard.figures.board_data import KINDS
from shiftcast.leaderboard.suite_section import FEWEST_NATURAL
from shiftcast.site import board_tables as tables
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import SCALES, choice, facts, fold, page, paragraph, section, tiles
from shiftcast.site.rows import kind_value, shift_rows, shift_value
from shiftcast.site.suite import Section
from shiftcast.site.tables import ALL
from shiftcast.util.text import count, percent, points


def board_page(suite: Section) -> str:
    """Return the board of one suite."""
    scores = suite.scores
    names = suite.names.seen_from(f"{suite.folder}/" if suite.alone else "")
    blocks = [
        tag("h1", suite.title),
        paragraph(_headline(scores), class_="lead"),
        tiles(_tiles(scores)),
        paragraph(scores.suite.description),
        fold("What was run", _what(scores)),
        *_charts(scores),
        *tables.estimators_section(scores, names),
        *tables.models_section(scores, names),
        *tables.shifts_section(scores, names),
        *tables.withheld_section(scores, names),
        *tables.reported_section(scores),
        *_missing(scores),
    ]
    return page(
        suite.title,
        blocks,
        depth=0 if suite.alone else 1,
        data={"page": "board", "headline": scores.suite.headline},
        scripts=[suite.data],
    )


def kinds_there(scores: SuiteScores) -> list[str]:
    """Return the kinds of shift that the suite has labelled sets of, natural first."""
    groups = labelled_groups(scores)
    there = {KINDS[is_natural(scores, group)] for group in groups}
    return [kind for kind in KINDS.values() if kind in there]


def best_of(board: pd.DataFrame) -> dict[Any, Any] | None:
    """Return the ranked estimator with the lowest error; None where none is ranked."""
    ranked = board[board["rank"].notna()].sort_values(["mae", "estimator"])
    return ranked.iloc[0].to_dict() if len(ranked) else None


def _headline(scores: SuiteScores) -> str:
    kinds = kinds_there(scores)
    if not kinds:
        return "No run on a labelled shift is complete yet."
    natural = kinds[0] == "natural"
    board = estimator_board(scores, natural)
    groups = kind_rows(scores, natural)["group"].nunique()
    text = f"On {count(groups, f'{kinds[0]} shift')}, "
    best = best_of(board)
    rows = {row["estimator"]: row for row in board.to_dict("records")}
    mine = rows.get(scores.suite.headline)
    if best is None:
        return text + "no estimator has a row for every run."
    text += f"{best['estimator']} (track {best['track']}) predicts accuracy best: it misses by "
    text += f"{points(best['mae'])} percentage points (pp) on average."
    if mine is not None and mine["estimator"] != best["estimator"]:
        text += f" {scores.suite.headline}, the headline estimator, misses by {points(mine['mae'])} pp"
        base = rows.get(BASELINES[0])
        text += f", and assuming no change by {points(base['mae'])} pp." if base is not None else "."
    if natural and groups < FEWEST_NATURAL:
        text += f" With fewer than {FEWEST_NATURAL}, this says nothing about natural shifts in general."
    return text


def _tiles(scores: SuiteScores) -> list[tuple[str, str, str]]:
    done = scores.runs[(scores.runs["role"] == "scored") & (scores.runs["status"] == "ok")]
    figures = [("models", str(done["architecture"].nunique()), f"{count(len(done), 'run')} complete")]
    source = run_accuracies(scores, [scores.suite.source.test])["accuracy"]
    if len(source):
        span = f"{percent(source.min())} to {percent(source.max())} %"
        figures.append(("in distribution", f"{percent(source.mean())} %", f"mean accuracy; {span}"))
    for kind in kinds_there(scores):
        own = [row["accuracy"] for row in shift_rows(scores) if row["kind"] == kind]
        if own:
            note = f"mean accuracy, {count(len(own), 'shift')}"
            figures.append((f"{kind} shifts", f"{percent(sum(own) / len(own))} %", note))
        best = best_of(estimator_board(scores, kind == "natural"))
        if best is not None:
            figures.append((f"best on {kind}", f"{points(best['mae'])} pp", f"error of {best['estimator']}"))
    return figures


def _what(scores: SuiteScores) -> Html:
    runs = scores.runs[scores.runs["role"] == "scored"]
    done = runs[runs["status"] == "ok"]
    ensemble = scores.ensemble
    members = ensemble[ensemble["role"] == "member"]["architecture"] if len(ensemble) else ()
    groups: dict[str, list[str]] = {}
    for target in scores.targets:
        own = groups.setdefault(KINDS[scores.natural[target.id]], [])
        if target.group not in own:
            own.append(target.group)
    values: dict[str, Child] = {
        "source": f"trained on {scores.suite.source.train}, labelled test set {scores.suite.source.test}",
        "runs": f"{len(done)} of {len(runs)} complete; recipes {', '.join(sorted(set(done['recipe'])))}",
        **{f"{kind} shifts": f"{len(own)}: {', '.join(own)}" for kind, own in groups.items()},
        "reference ensemble": ", ".join(map(str, members)),
        "headline estimator": scores.suite.headline,
    }
    values |= {f"edition of {name}": note for name, note in sorted(scores.dataset_notes.items())}
    return facts(values)


def shift_options(scores: SuiteScores) -> list[tuple[str, str]]:
    """Return a choice of shifts: all of a kind, then each."""
    options = [(kind_value(kind), f"all {kind}") for kind in kinds_there(scores)]
    return options + [(shift_value(group), group) for group in labelled_groups(scores)]


def _charts(scores: SuiteScores) -> list[Html]:
    if not kinds_there(scores):
        return []
    done = scores.runs[(scores.runs["role"] == "scored") & (scores.runs["status"] == "ok")]
    families = sorted(set(done["family"]))
    tracks = sorted({str(track) for track in scores.table["track"]})
    estimators = sorted({str(name) for name in scores.table["estimator"]})
    first = scores.suite.headline
    controls = tag(
        "div",
        choice("Shift", "shift", shift_options(scores)),
        choice("Family", "family", [(ALL, "all"), *((name, name) for name in families)]),
        choice("Track", "track", [(ALL, "all"), *((name, name) for name in tracks)]),
        choice(
            "Estimator",
            "estimator",
            [(name, name) for name in sorted(estimators, key=lambda name: (name != first, name))],
        ),
        choice("Axes", "scale", SCALES),
        class_="controls filters",
        role="group",
        aria_label="Filters of charts and tables",
    )
    left = chart("predicted")
    right = chart("lines")
    note = paragraph("The filters also hold for the tables below. A point leads to its model.", class_="note")
    return [section("Charts", controls, note, tag("div", left, right, class_="pair"))]


def _missing(scores: SuiteScores) -> list[Html]:
    lines: list[str] = []
    failed = scores.runs[scores.runs["status"] != "ok"]
    for (role, status), own in failed.groupby(["role", "status"]):
        runs = sorted(
            f"{a}/{r}/seed-{s}"
            for a, r, s in zip(own["architecture"], own["recipe"], own["seed"], strict=True)
        )
        lines.append(f"{count(len(runs), f'{role} run')}, {status}: {', '.join(runs)}")
    lines += _skipped(scores)
    if not lines:
        return []
    return [section("What is missing", tag("ul", *(tag("li", line) for line in lines)))]


def _skipped(scores: SuiteScores) -> Sequence[str]:
    frame = scores.skipped.sort_values(["estimator", "reason"])
    return [
        f"{name} skipped on {count(int(rows), 'row')}: {reason}"
        for name, reason, rows in frame[["estimator", "reason", "rows"]].itertuples(index=False)
    ]
