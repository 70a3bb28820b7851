"""Charts of the page as SVG, drawn for a phone's width: colours are the page's variables, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor
from typing import Any

import numpy as np

from shiftcast.util.types import Floats

WIDTH = 360
"""Of every chart, in the pixels that its letters are sized for."""
ROW, NAMES, LONGEST = 20, 150, 24
"""Height of a row of estimates, width of their names, and letters that these have room for."""
BOTTOM, HEIGHT, LEFT, RIGHT = 38, 200, 40, 12
BINS = 20


def interval_chart(rows: Sequence[Mapping[str, Any]], source: float, actual: float | None, leads: str) -> str:
    """Return estimates with their intervals, one below the other.

    Parameters
    ----------
    rows
        Each with `name`, `accuracy` (None for an interval alone), `wide` and `narrow`: pairs (low, high) with
        and without model error, or None. Shares in [0, 1].
    source, actual
        Accuracy of the source, and of the target where labels tell it.
    leads
        Name of the row that is the answer.
    """
    ends = [end for row in rows for pair in (row["wide"], row["narrow"]) if pair for end in pair]
    shown = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    least = min([*ends, *shown, source, *([actual] if actual is not None else [])])
    low, bottom = floor(10 * least) / 10 if least < 0.9 else 0.9, ROW * len(rows) + 8

    def x(share: float) -> float:
        return NAMES + (WIDTH - NAMES - 14) * (share - low) / (1 - low)

    step = 0.1 if low >= 0.5 else 0.2
    ticks = np.arange(round(ceil(low / step) * step, 6), 1.001, step)
    parts = [_line(x(t), 0, x(t), bottom, "grid") + _text(x(t), bottom + 13, f"{100 * t:.0f}") for t in ticks]
    parts.append(_line(x(source), 0, x(source), bottom, "source dashed"))
    if actual is not None:
        parts.append(_line(x(actual), 0, x(actual), bottom, "actual"))
    for place, row in enumerate(rows):
        y = ROW * place + ROW / 2 + 2
        name = row["name"] if len(row["name"]) <= LONGEST else row["name"][: LONGEST - 1] + "…"
        weight = "name leads" if row["name"] == leads else "name"
        parts.append(f'<text x="0" y="{y + 4:.1f}" class="{weight}">{escape(name)}</text>')
        for pair, kind in ((row["wide"], "wide-end"), (row["narrow"], "narrow-end")):
            if pair:
                parts.append(_line(x(pair[0]), y, x(pair[1]), y, kind))
        if row["accuracy"] is not None:
            parts.append(f'<circle cx="{x(row["accuracy"]):.1f}" cy="{y:.1f}" r="4" class="dot"/>')
    parts.append(_text((NAMES + WIDTH) / 2, bottom + 29, "accuracy, %"))
    said = "Estimated accuracies with their intervals; the dashed line is the accuracy on the source."
    return _svg("".join(parts), bottom + BOTTOM, said)


def timeline_chart(rows: Sequence[Mapping[str, Any]], source: float, least: float | None) -> str:
    """Return estimates over time as a line of steps, with both intervals as bands.

    Parameters
    ----------
    rows
        One a chunk, in order, each as wide as the others: `chunk`, `accuracy` (None for an interval alone),
        `low`, `high`, `sampling_low`, `sampling_high` (None where unknown), and perhaps `alarm`. Shares.
    source, least
        Accuracy of the source, and the one that is still accepted, if any.
    """
    drawn = [row["low"] for row in rows] + [source, *([] if least is None else [least])]
    low, floor_y = min(floor(10 * min(drawn)) / 10, 0.9), HEIGHT - BOTTOM
    step = 0.1 if low >= 0.5 else 0.2
    ticks = np.arange(round(ceil(low / step) * step, 6), 1.001, step)

    def y(share: float) -> float:
        return _up(max(share, low), low, 1.0, floor_y)

    def steps(key: str, order: int = 1) -> str:
        ends = [(place, place + 1, y(row[key])) for place, row in enumerate(rows)]
        points = [(_across(x, len(rows)), up) for first, last, up in ends for x in (first, last)]
        return " ".join(f"{x:.1f},{up:.1f}" for x, up in points[::order])

    parts = ['<text x="0" y="10" class="start">accuracy, %</text>']
    for tick in ticks:
        parts.append(_line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        parts.append(f'<text x="{LEFT - 5}" y="{y(tick) + 4:.1f}" class="end">{100 * tick:.0f}</text>')
    parts.append(f'<polygon points="{steps("low")} {steps("high", -1)}" class="band"/>')
    if rows[0]["accuracy"] is not None:
        band = f"{steps('sampling_low')} {steps('sampling_high', -1)}"
        parts.append(f'<polygon points="{band}" class="band inner"/>')
        parts.append(f'<polyline points="{steps("accuracy")}" class="estimate"/>')
    parts.append(_line(LEFT, y(source), WIDTH - RIGHT, y(source), "source dashed"))
    if least is not None:
        parts.append(_line(LEFT, y(least), WIDTH - RIGHT, y(least), "actual"))
    for place in (place for place, row in enumerate(rows) if row.get("alarm")):
        x, title = _across(place + 0.5, len(rows)), escape(f"alarm: {rows[place]['chunk']}")
        corners = f"{x - 5:.1f},{floor_y} {x + 5:.1f},{floor_y} {x:.1f},{floor_y - 9}"
        parts.append(f'<polygon points="{corners}" class="alarm"><title>{title}</title></polygon>')
    shown = [(LEFT, "start", rows[0]), *([(WIDTH - RIGHT, "end", rows[-1])] if len(rows) > 1 else [])]
    for x, anchor, row in shown:
        day = escape(row["chunk"][:10])
        parts.append(f'<text x="{x}" y="{floor_y + 17}" class="{anchor}">{day}</text>')
    said = "Estimated accuracy of each chunk over time, with its intervals and alarms."
    return _svg("".join(parts), HEIGHT, said)


def histogram_chart(name: str, source: Floats, target: Floats, largest: float) -> str:
    """Return the shares of images of source (n,) and target (m,) by a value in [0, largest]."""
    edges = np.linspace(0, largest, BINS + 1)
    shares = [
        100 * np.histogram(np.clip(values, 0, largest), edges)[0] / len(values) for values in (source, target)
    ]
    top = _nice(max(float(each.max()) for each in shares))
    floor_y = HEIGHT - BOTTOM
    parts = _y_axis(0, top, floor_y, "images, %")
    for each, kind in zip(shares, ("source", "target"), strict=True):
        points = " ".join(
            f"{_across(edge, largest):.1f},{_up(value, 0, top, floor_y):.1f}"
            for k, value in enumerate(each)
            for edge in edges[k : k + 2]
        )
        parts.append(f'<polyline points="{points}" class="curve {kind}"/>')
    parts += _x_axis(name, largest)
    return _svg("".join(parts), HEIGHT, f"Share of images by {name}, source and target.")


def drop_chart(drop: Mapping[str, Any]) -> str:
    """Return the errors that each bin of difficulty adds; bins that carry the drop are marked."""
    largest = drop["bins"][-1]["to"]
    heights = [100 * one["drop"] for one in drop["bins"]]
    top, low = _nice(max(0.1, *heights)), -_nice(-min(0.0, *heights))
    floor_y = HEIGHT - BOTTOM
    parts = _y_axis(low, top, floor_y, "added errors, pp")
    zero = _up(0, low, top, floor_y)
    for one, height in zip(drop["bins"], heights, strict=True):
        first, last = (_across(one[end], largest) for end in ("from", "to"))
        y = _up(height, low, top, floor_y)
        kind = "target" if one["carries"] else "other"
        parts.append(
            f'<rect x="{first + 1:.1f}" y="{min(y, zero):.1f}" width="{max(last - first - 2, 1):.1f}" '
            f'height="{abs(y - zero):.1f}" class="bar {kind}"/>'
        )
        if one["carries"]:
            parts.append(_text((first + last) / 2, y - 4, f"{height:+.1f}"))
    parts.append(_line(LEFT, zero, WIDTH - RIGHT, zero, "axis"))
    parts += _x_axis(f"{drop['score']} (difficulty)", largest)
    said = "Errors that each bin of difficulty adds, in pp; bins that carry the drop are marked."
    return _svg("".join(parts), HEIGHT, said)


def _nice(value: float) -> float:
    """Return the next larger of 1, 2, 2.5, 5 times a power of ten; 0 for 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** floor(np.log10(value))
    return next(float(step * power) for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _across(value: float, largest: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / largest


def _up(value: float, low: float, top: float, floor_y: float) -> float:
    return floor_y - (floor_y - 18) * (value - low) / (top - low)


def _y_axis(low: float, top: float, floor_y: float, words: str) -> list[str]:
    parts = [f'<text x="0" y="10" class="start">{escape(words)}</text>']
    ticks = {0.0, top / 2, top} | ({low} if -low > top / 5 else set())
    for tick in sorted(ticks):
        y = _up(tick, low, top, floor_y)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "grid"))
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" class="end">{tick:g}</text>')
    return parts


def _x_axis(words: str, largest: float) -> list[str]:
    ticks = [largest * k / 5 for k in range(6)]
    y = HEIGHT - BOTTOM + 17
    parts = [_text(_across(tick, largest), y, f"{tick:.1f}") for tick in ticks]
    return [*parts, _text((LEFT + WIDTH) / 2, y + 16, words)]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _svg(inside: str, height: float, said: str) -> str:
    return (
        f'<svg class="chart" role="img" aria-label="{escape(said)}" viewBox="0 0 {WIDTH} {height:.0f}">'
        f"{inside}</svg>"
    )
