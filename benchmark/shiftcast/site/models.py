"""A page for each model: its accuracy by confusion, calibration, confusion matrix, and where it drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd

from shiftcast.board.models import MODEL, labelled_groups, model_board, model_groups, ranking_groups
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.figures.board_data import KINDS
from shiftcast.site import columns as shown
from shiftcast.site.captions import chart
from shiftcast.site.html import Child, Html, tag
from shiftcast.site.layout import choice, facts, page, paragraph, section, tiles
from shiftcast.site.links import Names, link
from shiftcast.site.outputs import Model, SetOutputs
from shiftcast.site.rows import kind_value
from shiftcast.site.suite import Section
from shiftcast.site.tables import ALL, Column, Filter, Row, table
from shiftcast.statistics.decomposition import decompose
from shiftcast.util.text import BLANK, count, interval, percent, points, predicted, signed

MOST_CLASSES = 100
"""Classes up to which a confusion matrix is shown."""
DIGITS = 5


def model_pages(suite: Section) -> dict[str, str]:
    """Return the page of every model by its path below the suite's folder."""
    board = model_board(suite.scores)
    return {
        f"models/{suite.names.models[str(row['architecture']), str(row['recipe'])]}.html": _page(suite, row)
        for row in board.to_dict("records")
    }


def _page(suite: Section, row: Row) -> str:
    scores, model = suite.scores, (str(row["architecture"]), str(row["recipe"]))
    title = suite.names.model_title(*model)
    drops = _drops(scores, model)
    sets = {} if suite.outputs is None else suite.outputs.models.get(model, {})
    data = _data(suite, model, sets, drops)
    blocks: list[Child] = [
        tag("h1", title),
        paragraph(_headline(scores, row, title), class_="lead"),
        tiles(_tiles(row)),
        facts(_facts(row)),
        _shifts(suite, model, sets, drops),
    ]
    if data is not None:
        blocks.append(_charts(data))
    return page(title, blocks, depth=2, trail=suite.trail, data=data)


def _headline(scores: SuiteScores, row: Row, title: str) -> str:
    if row["reason"]:
        return f"{title} is not ranked: {row['reason']}."
    ranking = ranking_groups(scores)
    where = ranking[0] if len(ranking) == 1 else f"the {len(ranking)} shifts that models are ranked by"
    text = f"{title} is right on {percent(row['id_accuracy'])} % of images in distribution and on "
    text += f"{percent(row['score'])} % under shift ({where})."
    guess = shown.number(row["predicted"])
    if guess == guess:
        text += f" {scores.suite.headline} predicted {percent(guess)} % without a label from there."
    return text


def _tiles(row: Row) -> list[tuple[str, str, str]]:
    rank = shown.number(row["rank"])
    figures = [("rank", f"#{rank:.0f}" if rank == rank else BLANK, "by accuracy under shift")]
    if row["id_accuracy"] == row["id_accuracy"]:
        ends = f"95 %: {percent(row['id_low'])} to {percent(row['id_high'])} %"
        figures.append(("in distribution", f"{percent(row['id_accuracy'])} %", ends))
    if row["score"] == row["score"]:
        error = shown.number(row["predicted"]) - row["score"]
        note = f"prediction off by {signed(100 * error)} pp" if error == error else "no prediction"
        figures.append(("under shift", f"{percent(row['score'])} %", note))
    if shown.number(row["robustness"]) == shown.number(row["robustness"]):
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


Parts = dict[str, list[tuple[float, float]]]
"""By set, what each bin adds to the drop: by mixture and within, in pp."""


def _drops(scores: SuiteScores, model: Model) -> Parts:
    """Return where a model's accuracy is lost on each set; empty without a reference ensemble."""
    bins = _bins(scores).get(model, {})
    source = bins.get(scores.suite.source.test)
    if source is None:
        return {}
    home = ([n for _, n in source], [right for right, _ in source])
    found = {}
    for name, own in bins.items():
        parts = decompose(*home, [n for _, n in own], [right for right, _ in own])
        found[name] = [(100 * float(a), 100 * float(b)) for a, b in zip(*parts, strict=True)]
    found.pop(scores.suite.source.test)
    return found


@lru_cache(maxsize=16)
def _bins(scores: SuiteScores) -> dict[Model, dict[str, list[tuple[int, int]]]]:
    """Return right answers and all answers in each bin of confusion, by model and set."""
    found: dict[Model, dict[str, list[tuple[int, int]]]] = {}
    if scores.confusion is None:
        return found
    frame = scores.confusion.accuracy.sort_values([*MODEL, "set", "bin"])
    for a, r, name, right, n in zip(*(frame[c] for c in (*MODEL, "set", "right", "n")), strict=True):
        found.setdefault((a, r), {}).setdefault(name, []).append((int(right), int(n)))
    return found


def _shifts(suite: Section, model: Model, sets: Mapping[str, SetOutputs], drops: Parts) -> Html:
    scores, names = suite.scores, suite.names
    groups = model_groups(scores)
    own = groups[(groups["architecture"] == model[0]) & (groups["recipe"] == model[1])]
    board = model_board(scores)
    home = board[(board["architecture"] == model[0]) & (board["recipe"] == model[1])]["id_accuracy"].iloc[0]
    members = labelled_groups(scores)
    rows = []
    for row in own.to_dict("records"):
        parts = [drops[name] for name in members[row["group"]] if name in drops]
        calibrated = [sets[name].calibration_error for name in members[row["group"]] if name in sets]
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
    made = table(
        "accuracies",
        "Accuracy on every shift",
        _columns(scores, names),
        rows,
        keys={"kind": lambda row: kind_value(row["kind"])},
        filters=[Filter("Kind", "kind", [(ALL, "all"), *((kind_value(k), k) for k in KINDS.values())])],
        search="Find in shifts",
    )
    said = f"On {count(len(rows), 'labelled shift')}; predictions are those of {scores.suite.headline}."
    return section("Accuracy under shift", paragraph(said), made)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _columns(scores: SuiteScores, names: Names) -> list[Column]:
    return [
        Column("shift", lambda row: link(row["group"], names.shift(row["group"]))),
        Column("kind", lambda row: row["kind"]),
        Column("accuracy %", lambda row: interval(row["accuracy"], row["low"], row["high"]),
               lambda row: row["accuracy"], "with Wilson's 95 % interval", high_first=True),
        Column("predicted % (error)", lambda row: predicted(row["predicted"], row["accuracy"]),
               lambda row: row["predicted"], f"by {scores.suite.headline}", high_first=True),
        Column("drop pp", lambda row: points(row["drop"]), lambda row: row["drop"],
               "accuracy in distribution minus accuracy here", high_first=True),
        Column("by mixture pp", lambda row: points(row["mixture"]), lambda row: row["mixture"],
               "the part of the drop that comes from more confusing images, were each bin of confusion as "
               "accurate as in distribution", high_first=True),
        Column("within bins pp", lambda row: points(row["within"]), lambda row: row["within"],
               "the rest: lower accuracy on images that are equally confusing", high_first=True),
        Column("ECE pp", lambda row: points(row["ece"]), lambda row: row["ece"],
               "mean gap between confidence and accuracy over ten bins of confidence", high_first=True),
        Column("robustness pp", lambda row: signed(row["robustness"]), lambda row: row["robustness"],
               shown.ROBUSTNESS, high_first=True),
    ]  # fmt: skip


def _data(
    suite: Section, model: Model, sets: Mapping[str, SetOutputs], drops: Parts
) -> dict[str, Any] | None:
    scores = suite.scores
    bins = _bins(scores).get(model, {})
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
    controls = tag(
        "div",
        choice("Shift", "set", options),
        class_="controls filters",
        role="group",
        aria_label="Choice of shift",
    )
    drawn = []
    if any(one["bins"] for one in data["sets"]):
        drawn.append(chart("bins"))
        drawn.append(chart("drop"))
    drawn += [chart(name) for name in ("reliability", "matrix") if any(one[name] for one in data["sets"])]
    said = f"In distribution ({names[0]}) beside the chosen shift; seeds added up."
    return section(
        "By confusion and confidence", paragraph(said), controls, tag("div", *drawn, class_="pair")
    )
