"""Pictures of a suite's confusion score, drawn like the board's and checked by the same hash."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftcast.analysis.tables import ConfusionTables
from shiftcast.leaderboard.figures import COLOURS, GREY, INK, Data, as_label, as_number, draw_svg, look
from shiftcast.leaderboard.text import ratio
from shiftcast.scores import SuiteScores
from shiftcast.statistics import probit

FEWEST = 20
"""Predictions that an accuracy in a bin needs to be drawn."""


def confusion_figures(scores: SuiteScores, tables: ConfusionTables) -> dict[str, str]:
    """Return the SVG text of every picture that there are data for, by name."""
    shown = shown_sets(scores, tables)
    pictures: dict[str, tuple[Data, Callable[[Data], Figure]]] = {
        "confusion-distribution": (distribution_data(tables, shown), _draw_distribution),
        "accuracy-by-confusion": (accuracy_data(tables, shown), _draw_accuracy),
        "predicted-lines": (lines_data(scores, tables), _draw_lines),
    }
    return {name: draw_svg(draw, data) for name, (data, draw) in pictures.items() if data["panels"]}


def shown_sets(scores: SuiteScores, tables: ConfusionTables) -> list[str]:
    """Return what is drawn: the source, the labelled natural sets, and one corruption at its worst."""
    names = tables.sets["set"].tolist()
    labelled = set(tables.accuracy["set"])
    natural = [name for name in names if scores.natural.get(name, False) and name in labelled]
    derived = [t for t in scores.targets if t.derived and t.id in names]
    worst = (
        [max((t for t in derived if t.group == derived[0].group), key=lambda t: t.severity).id]
        if derived
        else []
    )
    return [names[0], *natural, *worst]


# How confusing each set is


def distribution_data(tables: ConfusionTables, shown: Sequence[str]) -> Data:
    """Return the histogram of the score on each shown set, the in-distribution one first."""
    means = dict(zip(tables.sets["set"], tables.sets["mean"], strict=True))
    panels = []
    for name in shown:
        rows = tables.histogram[tables.histogram["set"] == name].sort_values("bin")
        panels.append(
            {
                "set": name,
                "shares": [as_number(share) for share in rows["share"]],
                "mean": as_number(means[name]),
            }
        )
    return {"panels": panels, "threshold": as_number(tables.threshold)}


def _draw_distribution(data: Data) -> Figure:
    panels = data["panels"]
    figure, grid = _panels(len(panels), 2.4, 2.0)
    edges = np.linspace(0, 1, len(panels[0]["shares"]) + 1)
    source = panels[0]["shares"]
    for ax, panel in zip(grid, panels, strict=False):
        colour = GREY if panel is panels[0] else COLOURS[0]
        ax.stairs(100 * np.array(panel["shares"]), edges, fill=True, color=colour, alpha=0.75)
        if panel is not panels[0]:
            ax.stairs(100 * np.array(source), edges, color=INK, linewidth=0.9)
        ax.axvline(data["threshold"], color=COLOURS[1], linewidth=1, linestyle="--")
        ax.set_title(f"{as_label(panel['set'])}\nmean {ratio(panel['mean'])}", loc="left", fontsize=9)
    grid[0].set(xlim=(0, 1))
    figure.supxlabel("confusion score", fontsize=10)
    figure.supylabel("share of images (%)", fontsize=10)
    figure.suptitle("Outline: in distribution. Dashed: its 90th percentile.", fontsize=10)
    return figure


# Accuracy by confusion


def accuracy_data(tables: ConfusionTables, shown: Sequence[str]) -> Data:
    """Return each model's accuracy in each bin of each shown set; None below 20 predictions."""
    panels = []
    models = list(dict.fromkeys(zip(tables.accuracy["architecture"], tables.accuracy["recipe"], strict=True)))
    several = len({recipe for _, recipe in models}) > 1
    for name in shown:
        own = tables.accuracy[tables.accuracy["set"] == name]
        curves: dict[str, list[float | None]] = {}
        for architecture, recipe in models:
            rows = own[(own["architecture"] == architecture) & (own["recipe"] == recipe)].sort_values("bin")
            label = f"{architecture} ({recipe})" if several else architecture
            curves[label] = [
                as_number(right / n) if n >= FEWEST else None
                for right, n in rows[["right", "n"]].itertuples(index=False)
            ]
        panels.append({"set": name, "curves": curves})
    return {"panels": panels}


def _draw_accuracy(data: Data) -> Figure:
    panels = data["panels"]
    figure, grid = _panels(len(panels), 2.5, 2.3, legend=True)
    source = panels[0]["curves"]
    for ax, panel in zip(grid, panels, strict=False):
        for place, (model, shares) in enumerate(panel["curves"].items()):
            colour, marker = look(place)
            centres = (np.arange(len(shares)) + 0.5) / len(shares)
            known = [(x, 100 * share) for x, share in zip(centres, shares, strict=True) if share is not None]
            if panel is not panels[0]:
                before = [
                    (x, 100 * share)
                    for x, share in zip(centres, source[model], strict=True)
                    if share is not None
                ]
                ax.plot(*zip(*before, strict=True), color=colour, linewidth=0.7, linestyle=":", alpha=0.8)
            if known:
                ax.plot(
                    *zip(*known, strict=True),
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linewidth=1,
                    label=as_label(model),
                )
        ax.set_title(as_label(panel["set"]), loc="left", fontsize=9)
    grid[0].set(xlim=(0, 1), ylim=(0, 100))
    figure.supxlabel("confusion score", fontsize=10)
    figure.supylabel("accuracy (%)", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9)
    figure.suptitle("Dotted: the same model in distribution.", fontsize=10)
    return figure


# The relation of accuracies


def lines_data(scores: SuiteScores, tables: ConfusionTables) -> Data:
    """Return actual and predicted accuracy of each run against ID accuracy, with both lines."""
    panels = []
    table = scores.table
    official = table[(table["protocol"] == "official") & (table["estimator"] == "ConfusionPartition")]
    keys = ["architecture", "recipe", "seed"]
    sets = scores.accuracies
    source = sets[(sets["set"] == scores.suite.source.test) & (sets["role"] == "scored")]
    known = source.assign(id_accuracy=source["right"].astype(float) / source["n"])[
        [*keys, "id_accuracy", "n"]
    ]
    for line in tables.lines.to_dict("records"):
        rows = official[official["target"] == line["set"]].merge(known, on=keys, suffixes=("", "_id"))
        panels.append(
            {
                "set": line["set"],
                "n": [int(rows["n_id"].iloc[0]), int(rows["n"].iloc[0])],
                "points": [
                    [as_number(value) for value in point]
                    for point in rows.sort_values(keys)[["id_accuracy", "actual", "predicted"]].itertuples(
                        index=False
                    )
                ],
                "actual": [as_number(line["slope"]), as_number(line["intercept"])],
                "predicted": [as_number(line["slope_predicted"]), as_number(line["intercept_predicted"])],
            }
        )
    return {"panels": panels}


def _draw_lines(data: Data) -> Figure:
    panels = data["panels"]
    figure, grid = _panels(len(panels), 2.7, 2.7)
    for ax, panel in zip(grid, panels, strict=False):
        _draw_line_panel(ax, panel)
    figure.supxlabel("in-distribution accuracy (probit)", fontsize=10)
    figure.supylabel("accuracy under shift (probit)", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _draw_line_panel(ax: Axes, panel: Data) -> None:
    n_id, n = panel["n"]
    sources, actual, predicted = zip(*panel["points"], strict=True)
    x = probit(sources, n_id)
    ends = np.array([x.min() - 0.08, x.max() + 0.08])
    ax.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (5, 3)), label="no loss")
    for values, colour, marker, name in (
        (actual, COLOURS[0], "o", "actual"),
        (predicted, COLOURS[1], "^", "predicted by ConfusionPartition"),
    ):
        slope, intercept = panel["actual" if name == "actual" else "predicted"]
        ax.plot(ends, slope * ends + intercept, color=colour, linewidth=1)
        ax.scatter(x, probit(values, n), s=16, c=colour, marker=marker, linewidths=0, label=name)
    ax.set_title(as_label(panel["set"]), loc="left", fontsize=9)


def _panels(count: int, width: float, height: float, *, legend: bool = False) -> tuple[Figure, Any]:
    """Return a figure with `count` panels of common axes, at most four a row, and its axes in a row."""
    columns = min(count, 4)
    rows = math.ceil(count / columns)
    size = (width * columns + 0.6 + (2.0 if legend else 0.0), height * rows + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for position, ax in enumerate(grid):
        if position >= count:
            ax.set_axis_off()
        ax.tick_params(labelbottom=position + columns >= count)
    return figure, grid
