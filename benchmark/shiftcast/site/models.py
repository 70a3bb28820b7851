"""A page for each model: its accuracy by confusion, calibration, confusion matrix, and where it drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.columns import Row, group_columns, number, pick
from shiftcast.board.tables import MODEL
from shiftcast.board.words import KINDS
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import choice, facts, filters, kind_value, page, paragraph, section, tiles
from shiftcast.site.outputs import Model, SetOutputs
from shiftcast.site.suite import Section
from shiftcast.site.tables import ALL, Filter, table
from shiftcast.statistics.decomposition import decompose
from shiftcast.util.text import BLANK, count, percent, points, signed

MOST_CLASSES = 100
"""Classes up to which a confusion matrix is shown."""
DIGITS = 5


def model_pages(suite: Section) -> dict[str, str]:
    """Return the page of every model by its path below the suite's folder."""
    bins = _bins(suite.board)
    return {
        f"models/{suite.names.models[str(row['architecture']), str(row['recipe'])]}.html": _page(
            suite, row, bins
        )
        for row in suite.board.models.overall.to_dict("records")
    }


def _page(suite: Section, row: Row, all_bins: Mapping[Model, Bins]) -> str:
    model = (str(row["architecture"]), str(row["recipe"]))
    title, bins = suite.names.model_title(*model), all_bins.get(model, {})
    drops = _drops(bins, suite.scores.suite.source.test)
    sets = {} if suite.outputs is None else suite.outputs.models.get(model, {})
    data = _data(suite, bins, sets, drops)
    blocks: list[Child] = [
        tag("h1", title),
        paragraph(_headline(suite.board, row, title), class_="lead"),
        tiles(_tiles(row)),
        facts(_facts(row)),
        _shifts(suite, row, sets, drops),
    ]
    if data is not None:
        blocks.append(_charts(data))
    return page(title, blocks, depth=2, trail=suite.trail, data=data)


def _headline(board: Board, row: Row, title: str) -> str:
    if row["reason"]:
        return f"{title} is not ranked: {row['reason']}."
    ranking = board.models.ranking
    where = ranking[0] if len(ranking) == 1 else f"the {len(ranking)} shifts that models are ranked by"
    text = f"{title} is right on {percent(row['id_accuracy'])} % of images in distribution and on "
    text += f"{percent(row['score'])} % under shift ({where})."
    guess = number(row["predicted"])
    if guess == guess:
        text += f" {board.headline} predicted {percent(guess)} %, without any label of these shifts."
    return text


def _tiles(row: Row) -> list[tuple[str, str, str]]:
    rank = number(row["rank"])
    figures = [("rank", f"#{rank:.0f}" if rank == rank else BLANK, "by accuracy under shift")]
    if row["id_accuracy"] == row["id_accuracy"]:
        ends = f"95 %: {percent(row['id_low'])} to {percent(row['id_high'])} %"
        figures.append(("in distribution", f"{percent(row['id_accuracy'])} %", ends))
    if row["score"] == row["score"]:
        error = number(row["predicted"]) - row["score"]
        note = f"prediction off by {signed(100 * error)} pp" if error == error else "no prediction"
        figures.append(("under shift", f"{percent(row['score'])} %", note))
    if number(row["robustness"]) == number(row["robustness"]):
        figures.append(("robustness", f"{signed(row['robustness'])} pp", "against the line through others"))
    return figures


def _facts(row: Row) -> dict[str, Child]:
    return {
        "architecture": row["architecture"],
        "family": row["family"],
        "recipe": row["recipe"],
        "parameters": "" if pd.isna(row["parameters"]) else f"{row['parameters']:,}",
        "runs": f"{row['runs']} of {row['all_runs']} complete",
        "spread of seeds": "" if pd.isna(row["id_sd"]) else f"{points(row['id_sd'])} pp in distribution",
    }


Bins = dict[str, list[tuple[int, int]]]
"""By set, right answers and all answers in each bin of confusion."""
Parts = dict[str, list[tuple[float, float]]]
"""By set, what each bin adds to the drop: by mixture and within, in pp."""


def _drops(bins: Bins, source: str) -> Parts:
    """Return where a model's accuracy is lost on each set; empty without a reference ensemble."""
    if source not in bins:
        return {}
    home = ([n for _, n in bins[source]], [right for right, _ in bins[source]])
    found = {}
    for name, own in bins.items():
        parts = decompose(*home, [n for _, n in own], [right for right, _ in own])
        found[name] = [(100 * float(a), 100 * float(b)) for a, b in zip(*parts, strict=True)]
    found.pop(source)
    return found


def _bins(board: Board) -> dict[Model, Bins]:
    found: dict[Model, Bins] = {}
    if board.scores.confusion is None:
        return found
    frame = board.scores.confusion.accuracy.sort_values([*MODEL, "set", "bin"])
    for a, r, name, right, n in zip(*(frame[c] for c in (*MODEL, "set", "right", "n")), strict=True):
        found.setdefault((a, r), {}).setdefault(name, []).append((int(right), int(n)))
    return found


def _shifts(suite: Section, model: Row, sets: Mapping[str, SetOutputs], drops: Parts) -> Html:
    board, groups = suite.board, suite.board.models.by_group
    own = groups[(groups["architecture"] == model["architecture"]) & (groups["recipe"] == model["recipe"])]
    overall = board.models.overall.set_index(MODEL)
    home = overall["id_accuracy"].loc[(model["architecture"], model["recipe"])]
    rows = []
    for row in own.to_dict("records"):
        members = board.models.groups[row["group"]]
        parts = [drops[name] for name in members if name in drops]
        calibrated = [sets[name].calibration_error for name in members if name in sets]
        rows.append(
            {
                **row,
                "kind": KINDS[bool(row["natural"])],
                "drop": 100 * (home - row["accuracy"]),
                "mixture": _mean([sum(a for a, _ in part) for part in parts]),
                "within": _mean([sum(b for _, b in part) for part in parts]),
                "ece": 100 * _mean(calibrated),
            }
        )
    shown = ("group", "kind", "accuracy", "predicted", "drop", "mixture", "within", "ece", "robustness")
    made = table(
        "accuracies",
        "Accuracy on every shift",
        pick(group_columns(board), *shown),
        rows,
        cells=suite.names.cells,
        keys={"kind": lambda row: kind_value(row["kind"])},
        filters=[Filter("Kind", "kind", [(ALL, "all"), *((kind_value(k), k) for k in KINDS.values())])],
        search="Find in shifts",
    )
    said = f"On {count(len(rows), 'labelled shift')}; predictions are those of {board.headline}."
    return section("Accuracy under shift", paragraph(said), made)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _data(suite: Section, bins: Bins, sets: Mapping[str, SetOutputs], drops: Parts) -> dict[str, Any] | None:
    scores = suite.scores
    source = scores.suite.source.test
    order = [source, *(target.id for target in scores.targets)]
    there = [name for name in order if name in sets or name in bins]
    if source not in there:
        return None
    return {
        "page": "model",
        "classes": [] if suite.outputs is None else list(suite.outputs.classes),
        "sets": [
            {
                "name": name,
                "bins": bins.get(name),
                "drop": [[round(a, 3), round(b, 3)] for a, b in drops[name]] if name in drops else None,
                **_outputs(sets.get(name)),
            }
            for name in there
        ],
    }


def _outputs(found: SetOutputs | None) -> dict[str, Any]:
    if found is None:
        return {"reliability": None, "matrix": None}
    columns = (found.images.tolist(), found.confidence.tolist(), found.right.tolist())
    bins = [[n, round(sure / max(n, 1), DIGITS), right] for n, sure, right in zip(*columns, strict=True)]
    matrix = found.matrix.tolist() if len(found.matrix) <= MOST_CLASSES else None
    return {"reliability": bins if found.images.any() else None, "matrix": matrix}


def _charts(data: Mapping[str, Any]) -> Html:
    names = [one["name"] for one in data["sets"]]
    first = [str(place) for place in range(1, len(names))] or ["0"]
    options = [(place, names[int(place)]) for place in first]
    controls = filters("Choice of shift", choice("Shift", "set", options))
    drawn = []
    if any(one["bins"] for one in data["sets"]):
        drawn.append(chart("bins"))
        drawn.append(chart("drop"))
    drawn += [chart(name) for name in ("reliability", "matrix") if any(one[name] for one in data["sets"])]
    said = f"In distribution ({names[0]}) beside the chosen shift; seeds added up."
    return section(
        "By confusion and confidence", paragraph(said), controls, tag("div", *drawn, class_="pair")
    )
