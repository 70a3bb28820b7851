"""A suite's board as a page: headline, scatter charts, and tables of estimators, models and shifts."""

from __future__ import annotations

from shiftcast.board.build import Board
from shiftcast.board.tables import SuiteScores
from shiftcast.board.words import BASELINES, FEWEST_NATURAL, KINDS
from shiftcast.site import board_tables as tables
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import (
    SCALES,
    choice,
    facts,
    families,
    filters,
    fold,
    kind_value,
    page,
    paragraph,
    section,
    shift_value,
    tiles,
)
from shiftcast.site.suite import Section
from shiftcast.site.tables import ALL
from shiftcast.util.text import count, percent, points


def board_page(suite: Section) -> str:
    """Return the board of one suite."""
    board, scores = suite.board, suite.scores
    names = suite.names.seen_from(f"{suite.folder}/" if suite.alone else "")
    blocks = [
        tag("h1", board.title),
        paragraph(_headline(board), class_="lead"),
        tiles(_tiles(board)),
        paragraph(scores.suite.description),
        fold("What was run", _what(scores)),
        *_charts(board),
        *tables.estimators_section(board, names),
        *tables.models_section(board, names),
        *tables.shifts_section(board, names),
        *tables.withheld_section(board, names),
        *tables.reported_section(board),
        *_missing(scores),
    ]
    return page(
        board.title,
        blocks,
        depth=0 if suite.alone else 1,
        data={"page": "board", "headline": board.headline},
        scripts=[suite.data],
    )


def kinds_there(board: Board) -> list[str]:
    """Return the kinds of shift that the suite has labelled sets of, natural first."""
    there = {board.kind(group) for group in board.models.groups}
    return [kind for kind in KINDS.values() if kind in there]


def _headline(board: Board) -> str:
    kinds = kinds_there(board)
    if not kinds:
        return "No run on a labelled shift is complete yet."
    shown = board.natural if kinds[0] == board.natural.kind else board.synthetic
    text = f"On {count(shown.shifts, f'{shown.kind} shift')}, "
    best, rows = shown.best, shown.by_name
    mine = rows.get(board.headline)
    if best is None:
        return text + "no estimator has a row for every run."
    text += f"{best['estimator']} (track {best['track']}) predicts accuracy best: it misses by "
    text += f"{points(best['mae'])} percentage points (pp) on average."
    if mine is not None and mine["estimator"] != best["estimator"]:
        text += f" {board.headline}, the headline estimator, misses by {points(mine['mae'])} pp"
        base = rows.get(BASELINES[0])
        text += f", and assuming no change by {points(base['mae'])} pp." if base is not None else "."
    if shown.natural and shown.shifts < FEWEST_NATURAL:
        text += f" With fewer than {FEWEST_NATURAL}, this says nothing about natural shifts in general."
    return text


def _tiles(board: Board) -> list[tuple[str, str, str]]:
    scores, there = board.scores, kinds_there(board)
    done = scores.runs[(scores.runs["role"] == "scored") & (scores.runs["status"] == "ok")]
    figures = [("models", str(done["architecture"].nunique()), f"{count(len(done), 'run')} complete")]
    source = board.models.source["accuracy"]
    if len(source):
        span = f"{percent(source.min())} to {percent(source.max())} %"
        figures.append(("in distribution", f"{percent(source.mean())} %", f"mean accuracy; {span}"))
    for estimators in (one for one in board.kinds if one.kind in there):
        kind = estimators.kind
        own = [row["accuracy"] for row in board.shifts if row["kind"] == kind]
        if own:
            note = f"mean accuracy, {count(len(own), 'shift')}"
            figures.append((f"{kind} shifts", f"{percent(sum(own) / len(own))} %", note))
        if (best := estimators.best) is not None:
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


def _charts(board: Board) -> list[Html]:
    scores, kinds = board.scores, kinds_there(board)
    if not kinds:
        return []
    shifts = [(kind_value(kind), f"all {kind}") for kind in kinds]
    shifts += [(shift_value(group), group) for group in board.models.groups]
    tracks = sorted({str(track) for track in scores.table["track"]})
    estimators = sorted({str(name) for name in scores.table["estimator"]} - {board.headline})
    if (scores.table["estimator"] == board.headline).any():
        estimators.insert(0, board.headline)
    controls = filters(
        "Filters of charts and tables",
        choice("Shift", "shift", shifts),
        families(scores.runs[scores.runs["role"] == "scored"]),
        choice("Track", "track", [(ALL, "all"), *((name, name) for name in tracks)]),
        choice("Estimator", "estimator", [(name, name) for name in estimators]),
        choice("Axes", "scale", SCALES),
    )
    note = paragraph("The filters also hold for the tables below. A point leads to its model.", class_="note")
    both = tag("div", chart("predicted"), chart("lines"), class_="pair")
    return [section("Charts", controls, note, both)]


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


def _skipped(scores: SuiteScores) -> list[str]:
    frame = scores.skipped.sort_values(["estimator", "reason"])
    return [
        f"{name} skipped on {count(int(rows), 'row')}: {reason}"
        for name, reason, rows in frame[["estimator", "reason", "rows"]].itertuples(index=False)
    ]
