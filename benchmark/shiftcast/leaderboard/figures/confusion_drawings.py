"""The pictures of a suite's confusion score, drawn like the board's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftcast.leaderboard.figures.axes import percent_axis
from shiftcast.leaderboard.figures.picture import Data
from shiftcast.statistics import probit
from shiftcast.util.plot_style import COLOURS, GREY, INK, as_label, look
from shiftcast.util.text import ratio


def _draw_sets(data: Data) -> Figure:
    rows = data["panels"][0]["rows"]
    figure = Figure(figsize=(9.0, 0.23 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        colour = COLOURS[1] if row["natural"] else COLOURS[0]
        for ax, key, scale in ((axes[0], "difference", 1), (axes[1], "above", 100)):
            if row[f"{key}_low"] is not None:
                ends = [scale * row[f"{key}_low"], scale * row[f"{key}_high"]]
                ax.plot(ends, [place, place], color=colour, linewidth=1.5)
            ax.plot(scale * row[key], place, "o", markersize=4.5, color=colour)
    axes[0].axvline(0, color=GREY, linewidth=1, linestyle="--")
    axes[1].axvline(10, color=GREY, linewidth=1, linestyle="--")
    axes[0].set_yticks(range(len(rows)), [_short(row["set"]) for row in rows], fontsize=8.5)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    axes[0].set_xlabel("mean score minus that of the source")
    axes[1].set_xlabel("images of high confusion (%)")
    figure.suptitle(
        "Orange: natural shifts. Blue: altered images. Lines: 95 %. Dashed: the source.", fontsize=10
    )
    return figure


def _draw_shared(data: Data) -> Figure:
    panels = data["panels"]
    sets = list(dict.fromkeys(point[0] for panel in panels for point in panel["points"]))
    pairs = list(dict.fromkeys(point[1] for panel in panels for point in panel["points"]))
    figure = Figure(figsize=(3.4 * len(panels) + 1.6, 0.5 * len(sets) + 1.6), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for name, pair, share, low, high in panel["points"]:
            colour, marker = look(pairs.index(pair))
            place = sets.index(name) + 0.2 * (pairs.index(pair) - (len(pairs) - 1) / 2)
            if low is not None:
                ax.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.5)
            if share is not None:
                ax.plot(100 * share, place, marker, markersize=5, color=colour, label=as_label(pair))
        ax.set_title(f"{panel['level']} confusion", loc="left", fontsize=9)
    axes[0].set_yticks(range(len(sets)), [as_label(name) for name in sets])
    axes[0].set_ylim(len(sets) - 0.5, -0.5)
    figure.supxlabel("errors with the same wrong class (%); lines: 95 %", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    figure.legend(known.values(), known.keys(), loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _draw_choices(data: Data) -> Figure:
    panels = data["panels"]
    names = [(row[0], row[1]) for row in panels[0]["rows"]]
    figure = Figure(figsize=(3.6 * len(panels) + 2.2, 0.24 * len(names) + 1.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        used = next((row[3] for row in panel["rows"] if row[2]), None)
        if used is not None:
            ax.axvline(used, color=GREY, linewidth=1, linestyle="--")
        for aspect, variant, default, error in panel["rows"]:
            place = names.index((aspect, variant))
            ax.plot(error, place, "o", markersize=5.5, color=COLOURS[1] if default else COLOURS[0])
        ax.set(xlabel="mean absolute error (pp)")
        ax.set_title(f"{panel['kind']} shifts", loc="left", fontsize=9)
    axes[0].set_yticks(
        range(len(names)), [as_label(f"{aspect}: {variant}") for aspect, variant in names], fontsize=8.5
    )
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle("Orange: what the board uses.", fontsize=10)
    return figure


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
        ax.set_title(f"{_short(panel['set'])}\nmean {ratio(panel['mean'])}", loc="left", fontsize=9)
    grid[0].set(xlim=(0, 1))
    figure.supxlabel("confusion score", fontsize=10)
    figure.supylabel("share of images (%)", fontsize=10)
    figure.suptitle("Outline: in distribution. Dashed: its 90th percentile.", fontsize=10)
    return figure


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
        ax.set_title(_short(panel["set"]), loc="left", fontsize=9)
    grid[0].set(xlim=(0, 1), ylim=(0, 100))
    figure.supxlabel("confusion score", fontsize=10)
    figure.supylabel("accuracy (%)", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9)
    figure.suptitle("Dotted: the same model in distribution.", fontsize=10)
    return figure


def _draw_lines(data: Data) -> Figure:
    panels = data["panels"]
    figure, grid = _panels(len(panels), 2.7, 2.7)
    for ax, panel in zip(grid, panels, strict=False):
        _draw_line_panel(ax, panel)
    values = [probit(point[1:], panel["n"][1]) for panel in panels for point in panel["points"]]
    sources = [probit(point[0], panel["n"][0]) for panel in panels for point in panel["points"]]
    # The line of no loss may leave the picture: it lies far above strong shifts.
    y_limits = (float(np.min(values)) - 0.1, float(np.max(values)) + 0.1)
    percent_axis(grid[0], (float(min(sources)) - 0.1, float(max(sources)) + 0.1), y_limits)
    figure.supxlabel("in-distribution accuracy (%), probit scale", fontsize=10)
    figure.supylabel("accuracy under shift (%), probit scale", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _draw_line_panel(ax: Axes, panel: Data) -> None:
    n_id, n = panel["n"]
    sources, actual, predicted = zip(*panel["points"], strict=True)
    x = probit(sources, n_id)
    ends = np.array([x.min() - 0.08, x.max() + 0.08])
    middle = panel["middle"]
    ax.axline((middle, middle), slope=1, color=GREY, linewidth=1, linestyle=(0, (5, 3)), label="no loss")
    for values, colour, marker, name in (
        (actual, COLOURS[0], "o", "actual"),
        (predicted, COLOURS[1], "^", "predicted by ConfusionPartition"),
    ):
        slope, level = panel["actual" if name == "actual" else "predicted"]
        ax.plot(ends, slope * (ends - middle) + level, color=colour, linewidth=1)
        ax.scatter(x, probit(values, n), s=16, c=colour, marker=marker, linewidths=0, label=name)
    ax.set_title(_short(panel["set"]), loc="left", fontsize=9)


def _draw_pairs(data: Data) -> Figure:
    panels = data["panels"]
    sets = list(dict.fromkeys(point[0] for panel in panels for point in panel["points"]))
    figure = Figure(figsize=(2.5 * len(panels) + 1.4, 0.32 * len(sets) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        ax.axvline(0, color=GREY, linewidth=1)
        for name, difference, low, high in panel["points"]:
            place = sets.index(name)
            colour = INK if low is None or low <= 0 <= high else COLOURS[2] if high < 0 else COLOURS[1]
            if low is not None:
                ax.plot([low, high], [place, place], color=colour, linewidth=1.5)
            ax.plot(difference, place, "o", markersize=5, color=colour)
        ax.set_title(f"minus {as_label(panel['rival'])}", loc="left", fontsize=9)
    axes[0].set_yticks(range(len(sets)), [as_label(name) for name in sets])
    axes[0].set_ylim(len(sets) - 0.5, -0.5)
    figure.supxlabel("partition's mean absolute error minus the rival's (pp)", fontsize=10)
    figure.suptitle("Left of zero (green) favours the partition; lines: 95 %.", fontsize=10)
    return figure


def _draw_drop(data: Data) -> Figure:
    rows = data["panels"][0]["rows"]
    figure = Figure(figsize=(6.4, 0.42 * len(rows) + 1.5), layout="constrained")
    ax = figure.subplots()
    ax.axvline(50, color=GREY, linewidth=1, linestyle="--")
    for place, row in enumerate(rows):
        if row["share"] is not None:
            ax.barh(place, 100 * row["share"], height=0.55, color=COLOURS[0], alpha=0.75)
        if row["low"] is not None:
            ax.plot([100 * row["low"], 100 * row["high"]], [place, place], color=INK, linewidth=1.5)
        ax.plot(100 * row["mass"], place, "D", markersize=6, color=COLOURS[1])
        if row["uninformative"] is not None:
            ax.plot(100 * row["uninformative"], place, "x", markersize=7, markeredgewidth=2, color=INK)
    ax.set_yticks(range(len(rows)), [as_label(row["set"]) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("%")
    figure.suptitle(
        "Bars: share of the drop from high confusion (line: 95 %). Diamonds: share of images.\n"
        "Crosses: the share for a score unrelated to accuracy.",
        fontsize=9.5,
    )
    return figure


def _short(name: str) -> str:
    """Return a set's name without the dataset that corruptions belong to."""
    return as_label(name.rpartition("/")[2])


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


CONFUSION_DRAWINGS: dict[str, Callable[[Data], Figure]] = {
    "confusion-by-set": _draw_sets,
    "confusion-distribution": _draw_distribution,
    "accuracy-by-confusion": _draw_accuracy,
    "predicted-lines": _draw_lines,
    "partition-against-rivals": _draw_pairs,
    "where-accuracy-is-lost": _draw_drop,
    "shared-errors": _draw_shared,
    "partition-choices": _draw_choices,
}
"""How to draw each picture of the confusion page, by name."""
