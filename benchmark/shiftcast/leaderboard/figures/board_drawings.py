"""The leaderboard's pictures, drawn with matplotlib as SVG text from what `figures` says they plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.style
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftcast.board.words import BASELINES
from shiftcast.leaderboard.figures.axes import padded, percent_axis
from shiftcast.leaderboard.figures.picture import Data
from shiftcast.statistics import probit
from shiftcast.util.plot_style import COLOURS, GREY, INK, as_label, look
from shiftcast.util.text import count, percent, points


def _draw_predicted(data: Data) -> Figure:
    kinds = list(dict.fromkeys(panel["kind"] for panel in data["panels"]))
    columns = max(sum(panel["kind"] == kind for panel in data["panels"]) for kind in kinds)
    figure = Figure(figsize=(4.3 * columns + 2.2, 4.4 * len(kinds)), layout="constrained")
    figure.suptitle(
        "A point is a model on a shift. Above the dashed line predictions are optimistic.", fontsize=10
    )
    grid = figure.subplots(len(kinds), columns, squeeze=False)
    for kind, axes in zip(kinds, grid, strict=True):
        panels = [panel for panel in data["panels"] if panel["kind"] == kind]
        values = [v for panel in panels for pairs in panel["groups"].values() for pair in pairs for v in pair]
        limits = padded([100 * value for value in values])
        looks = list(dict.fromkeys(group for panel in panels for group in panel["groups"]))
        for ax, panel in zip(axes, panels, strict=False):
            _draw_predicted_panel(ax, panel, limits, looks)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        axes[len(panels) - 1].legend(
            *_legend_of(axes[: len(panels)], looks),
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            ncols=1 + (len(looks) - 1) // 20,
            title="shift",
            alignment="left",
        )
    return figure


def _legend_of(axes: Sequence[Axes], order: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Return one handle for each group, from whichever panel shows it."""
    known = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    labels = [as_label(group) for group in order]
    return [known[label] for label in labels], labels


def _draw_predicted_panel(ax: Axes, panel: Data, limits: tuple[float, float], looks: Sequence[str]) -> None:
    ax.axline((50, 50), slope=1, color=GREY, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    for group, pairs in panel["groups"].items():
        colour, marker = look(looks.index(group))
        predicted, actual = zip(*pairs, strict=True)
        ax.scatter(
            [100 * value for value in actual],
            [100 * value for value in predicted],
            s=22,
            c=colour,
            marker=marker,
            edgecolors="white",
            linewidths=0.4,
            label=as_label(group),
            zorder=2,
        )
    ax.set(xlim=limits, ylim=limits, aspect="equal", xlabel="actual accuracy (%)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_ylabel("predicted accuracy (%)")
    ax.set_title(f"{as_label(panel['estimator'])}, {panel['kind']} shifts", loc="left")


def _draw_lines(data: Data) -> Figure:
    panels = data["panels"]
    columns = min(len(panels), 4)
    height = math.ceil(len(panels) / columns)
    size = 2.7 if columns > 2 else 4.2
    figure = Figure(figsize=(size * columns + 0.4, size * height + 0.8), layout="constrained")
    grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False)
    sources = [pair[0] for panel in panels for pair in panel["points"]]
    every = [value for panel in panels for pair in panel["points"] for value in pair]
    smallest = min(min(panel["n"]) for panel in panels)
    x_limits = padded(list(probit(sources, smallest)), 0.08)
    y_limits = padded(list(probit(every, smallest)), 0.05)
    for position, ax in enumerate(grid.flat):
        if position >= len(panels):
            ax.set_axis_off()
            continue
        _draw_line_panel(ax, panels[position], x_limits)
        # Shared axes hide inner labels, so the last panel of each column asks for its own.
        ax.tick_params(labelbottom=position + columns >= len(panels))
    percent_axis(grid[0, 0], x_limits, y_limits)
    figure.supxlabel("in-distribution accuracy (%), probit scale", fontsize=10)
    figure.supylabel("accuracy under shift (%), probit scale", fontsize=10)
    low, high = percent(min(sources)), percent(max(sources))
    zoo = f"{count(data['runs'], 'run')}, in-distribution accuracy from {low} to {high} %."
    drawn = "Dashed: no loss. Line: least squares."
    if any("bent" in panel for panel in panels):
        drawn = "Dashed: no loss. Line: least squares through plain recipes; hollow: all other runs."
    figure.suptitle(f"{zoo}{' ' if columns > 2 else chr(10)}{drawn}", fontsize=10)
    return figure


def _draw_line_panel(ax: Axes, panel: Data, limits: tuple[float, float]) -> None:
    n_id, n_ood = panel["n"]
    shares = np.array(panel["points"], dtype=float)
    ax.plot(limits, limits, color=GREY, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    colour = COLOURS[0] if panel["kind"] == "natural" else COLOURS[1]
    x, y = probit(shares[:, 0], n_id), probit(shares[:, 1], n_ood)
    bent = np.array(panel.get("bent", [False] * len(shares)), dtype=bool)
    ax.scatter(x[~bent], y[~bent], s=16, c=colour, edgecolors="white", linewidths=0.3, zorder=3)
    if bent.any():
        ax.scatter(x[bent], y[bent], s=16, facecolors="none", edgecolors=colour, linewidths=0.8, zorder=3)
    text = "no line"
    if panel["line"] is not None:
        slope, intercept, r2 = panel["line"]
        ax.plot(limits, [slope * end + intercept for end in limits], color=INK, linewidth=1, zorder=2)
        text = f"slope {points(slope)}, R² {points(r2)}"
    ax.set_title(f"{as_label(panel['group'])} ({panel['kind']})\n{text}", loc="left", fontsize=9)


def _draw_estimators(data: Data) -> Figure:
    panels = data["panels"]
    errors = [{row["estimator"]: row["mae"] for row in panel["rows"]} for panel in panels]
    names = sorted({name for panel in errors for name in panel})
    # One order for all panels, so that an estimator is found on one line: the first panel's error.
    names.sort(
        key=lambda name: (min(name not in panel for panel in errors[:1]), errors[0].get(name, 0), name)
    )
    height = 1.3 + 0.27 * len(names)
    figure = Figure(figsize=(4.2 * len(panels) + 1.8, height), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        _draw_estimator_panel(ax, panel, names, data["headline"])
    axes[0].set_yticks(range(len(names)), [as_label(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    ranked = all(row["ranked"] for panel in panels for row in panel["rows"])
    notes = ["Orange: the suite's headline estimator. Grey: baselines."]
    notes += [] if ranked else ["Hollow: unranked, lacks cells."]
    notes.append("Dotted: the error of knowing only the population's accuracy (sampling noise).")
    figure.suptitle((" " if len(panels) > 1 else "\n").join(notes), fontsize=9)
    return figure


def _draw_estimator_panel(ax: Axes, panel: Data, names: Sequence[str], headline: str) -> None:
    largest = max(row["mae"] for row in panel["rows"])
    for row in panel["rows"]:
        place, name = names.index(row["estimator"]), row["estimator"]
        colour = COLOURS[1] if name == headline else GREY if name in BASELINES else COLOURS[0]
        ax.plot([0, row["mae"]], [place, place], color=colour, linewidth=1.5, alpha=0.5, zorder=1)
        face = colour if row["ranked"] else "white"
        ax.plot(row["mae"], place, "o", markersize=6, markeredgecolor=colour, markerfacecolor=face, zorder=2)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        ax.text(row["mae"] + 0.025 * largest, place, points(row["mae"]), va="center", fontsize=8.5, bbox=box)
    if panel["floor"] is not None:
        ax.axvline(panel["floor"], color=INK, linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlim=(0, 1.16 * max(largest, panel["floor"] or 0, 1e-6)), xlabel="mean absolute error (pp)")
    ax.set_title(f"{panel['kind']} shifts", loc="left")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _draw_recipes(data: Data) -> Figure:
    panels = data["panels"]
    names = list(dict.fromkeys(name for panel in panels for name in panel["errors"]))
    figure = Figure(figsize=(6.4, (0.34 * len(names) + 0.9) * len(panels) + 0.6), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, panel in zip(axes, panels, strict=True):
        for name, errors in panel["errors"].items():
            others = [error for error in errors[1:] if error is not None]
            ax.plot(others, [names.index(name)] * len(others), "o", color=COLOURS[0], alpha=0.5, markersize=5)
            if errors[0] is not None:
                ax.plot(errors[0], names.index(name), "D", color=COLOURS[1], markersize=6)
        ax.set_yticks(range(len(names)), [as_label(name) for name in names])
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_title(as_label(panel["architecture"]), loc="left")
    axes[-1].set_xlabel("mean absolute error on natural shifts (pp)")
    figure.suptitle("Blue: a recipe. Orange: the plain recipe.", fontsize=10)
    return figure


def _draw_ensembles(data: Data) -> Figure:
    panels = data["panels"]
    names = list(dict.fromkeys(name for panel in panels for name in panel["lines"]))
    size = (4.2 * len(panels) + 0.4, 3.4 + 0.22 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for name, line in panel["lines"].items():
            colour, marker = look(names.index(name))
            ax.plot(*zip(*line, strict=True), color=colour, marker=marker, markersize=5, label=as_label(name))
        ax.set(xlabel="members", ylabel="mean absolute error (pp)")
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        ax.set_title(f"{panel['kind']} shifts", loc="left")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", fontsize=9)
    return figure


DRAWINGS: dict[str, Callable[[Data], Figure]] = {
    "predicted-vs-actual": _draw_predicted,
    "ood-vs-id": _draw_lines,
    "estimators": _draw_estimators,
    "recipes": _draw_recipes,
    "ensembles": _draw_ensembles,
}
"""How to draw each picture of the board, by name."""
