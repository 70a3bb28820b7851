"""The answer of `shiftcast estimate` as one HTML page that needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftcast.estimate.drop import image_difficulty
from shiftcast.estimate.lead import Answer, answer_html
from shiftcast.estimate.wording import (
    actual_note,
    board_error,
    flag_notes,
    interval_notes,
    is_sampling,
    marked,
    order_note,
)
from shiftcast.predictions import Predictions
from shiftcast.util.plot_style import COLOURS, GREY, house_style
from shiftcast.util.text import count
from shiftcast.util.types import Floats

SHOWN_IMAGES = 200
BINS = 20
FITTING_COLUMNS = 6
"""Columns of a table that fit the page's width."""
MOST_OF_IT = 0.5

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } .many { border-right: 2px solid #d8dee4; }
.many td:first-child, .many th:first-child { position: sticky; left: 0; background: #fff; }
.warning { border-left: 4px solid #bf8700; padding-left: .8rem; }
th, td { padding: .25rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #d8dee4; }
th { text-align: right; font-weight: 600; vertical-align: bottom; }
.few th { white-space: normal; } th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
.note, figcaption { color: #57606a; font-size: .92rem; }
.images { font-family: ui-monospace, monospace; font-size: .85rem; line-height: 1.7; }
@media print {
  body { max-width: none; } .wide { overflow: visible; } .many { border: 0; } .hint { display: none; }
  .many table { table-layout: fixed; width: 100%; font-size: .55rem; }
  .many th, .many td { white-space: normal; overflow-wrap: anywhere; padding: .15rem .2rem;
    position: static; }
}
"""


def page(answer: Mapping[str, Any], source: Predictions, target: Predictions) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    answer
        What `shiftcast estimate --json` prints, with `drop` from `predicted_drop`.
    source, target
        The predictions that it is about.
    """
    known, unknown = answer["source"], answer["target"]
    title = f"Estimated accuracy on {unknown['name']}"
    blocks = [
        f"<h1>{escape(title)}</h1>",
        answer_html(Answer.from_dict(answer["answer"], answer)),
        *(f"<p>{escape(text)}</p>" for text in actual_note(unknown)),
        _estimates(answer),
        _figure(answer["drop"], source, target),
        _drop(answer["drop"], known["accuracy"]),
        _images(answer["drop"], unknown["name"]),
        *(
            _parts(answer[key], heading, head)
            for key, heading, head in (
                ("by_class", "By predicted class", "class"),
                ("by_slice", "By slice", "slice"),
            )
            if key in answer
        ),
        _skipped(answer["estimates"], answer["skipped_plugins"]),
        '<p class="note">Made with Shiftcast. Nothing on this page is loaded from elsewhere.</p>',
    ]
    body = "\n".join(block for block in blocks if block)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; one of many columns scrolls sideways and says so, and wraps where it is printed."""
    many = len(headings) > FITTING_COLUMNS
    hint = '<p class="note hint">{} columns: scroll the table sideways to see all of them. →</p>\n'
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    table = f"<table>\n<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"
    opening = '<div class="wide many" tabindex="0">' if many else '<div class="wide few">'
    return f"{hint.format(len(headings)) if many else ''}{opening}{table}</div>"


def _estimates(answer: Mapping[str, Any]) -> str:
    rows = [row for row in answer["estimates"] if "accuracy" in row]
    levels = sorted({row["conformal"]["level"] for row in rows if row.get("conformal")})
    wide = "/".join(f"{100 * level:g}" for level in levels)
    order = order_note(rows)
    headings = ["estimator", "accuracy %", "sampling interval %", "change pp"]
    if wide:
        headings[3:3] = [f"with model error % ({wide} %)"]
    headings += ["MAE on our board pp"] if order else []
    cells = []
    for row in rows:
        line = [marked(row), _percent(row["accuracy"])]
        line.append(_ends(row) if is_sampling(row) else "–")
        if wide:
            ends = row.get("conformal")
            line.append(_ends(ends) if ends else "–")
        line.append(f"{100 * (row['accuracy'] - answer['source']['accuracy']):+.2f}")
        line += [board_error(row)] if order else []
        cells.append(line)
    said_of_rows = [*flag_notes(rows), *interval_notes(rows)]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in said_of_rows)
    said = f"<p>{escape(order)}</p>\n" if order else ""
    return f"<h2>Estimates</h2>\n{said}{_table(headings, cells)}\n{notes}"


def _figure(drop: Mapping[str, Any], source: Predictions, target: Predictions) -> str:
    panels = [("confidence", source.confidence, target.confidence, 1.0)]
    if source.reference is not None and target.reference is not None:
        name, own, largest = image_difficulty(source)
        panels.append((f"{name} (difficulty)", own, image_difficulty(target)[1], largest))
    with house_style():
        figure = Figure(figsize=(4.2 * (len(panels) + 1), 3.4), layout="constrained")
        axes = figure.subplots(1, len(panels) + 1, squeeze=False)[0]
        for ax, (name, own, there, largest) in zip(axes, panels, strict=False):
            _histograms(ax, name, own, there, largest)
        _bars(axes[-1], drop)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "Shiftcast"})
    text = stream.getvalue()
    svg = text[text.index("<svg") :]
    said = "Share of images by confidence" + (" and by difficulty" if len(panels) > 1 else "")
    said += ", source and target side by side; and the drop in accuracy that each bin of difficulty predicts."
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(said)}" ', 1)
    return (
        f"<h2>Confidence and difficulty</h2>\n<figure>{svg}<figcaption>{escape(said)}</figcaption></figure>"
    )


def _histograms(ax: Axes, name: str, source: Floats, target: Floats, largest: float) -> None:
    edges = np.linspace(0, largest, BINS + 1)
    for place, (label, values) in enumerate((("source", source), ("target", target))):
        shares = 100 * np.histogram(np.clip(values, 0, largest), edges)[0] / len(values)
        ax.stairs(shares, edges, color=COLOURS[place], linewidth=1.5, label=label)
        ax.stairs(shares, edges, color=COLOURS[place], fill=True, alpha=0.15)
    ax.set(xlabel=name, ylabel="images %", xlim=(0, largest))
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")


def _bars(ax: Axes, drop: Mapping[str, Any]) -> None:
    for one in drop["bins"]:
        middle, width = (one["from"] + one["to"]) / 2, one["to"] - one["from"]
        ax.bar(middle, 100 * one["drop"], 0.9 * width, color=COLOURS[1 if one["drop"] > 0 else 0])
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(
        xlabel=f"{drop['score']} (difficulty)", ylabel="predicted drop, pp", xlim=(0, drop["bins"][-1]["to"])
    )


def _drop(drop: Mapping[str, Any], accuracy: float) -> str:
    rows = [
        [
            f"{one['from']:.2f} to {one['to']:.2f}",
            _percent(one["source_share"]),
            _percent(one["target_share"]),
            _percent(one["source_accuracy"]) if one["source_share"] else "–",
            f"{100 * one['drop']:+.2f}",
        ]
        for one in drop["bins"]
    ]
    headings = [drop["score"], "source images %", "target images %", "source accuracy %", "drop pp"]
    side = "below" if drop["drop"] >= 0 else "above"
    text = (
        f"{drop['estimator']} expects {_percent(drop['predicted'])} %, {100 * abs(drop['drop']):.2f} pp "
        f"{side} {_percent(accuracy)} %, if the model is as accurate in each bin as on the source. A bin "
        "adds (source share - target share) x (its accuracy - source accuracy)."
        f"{_explained(drop['explains'])}"
    )
    return f"<h2>Where the drop is predicted</h2>\n<p>{escape(text)}</p>\n{_table(headings, rows)}"


def _explained(found: Mapping[str, Any]) -> str:
    """Return a sentence on how much of the predicted change the bins account for."""
    change = f"{100 * found['change']:+.2f} pp that {found['by']}, first in the table, predicts"
    if found["share"] is None:
        return f" Of the {change}, there is next to nothing to explain."
    if found["share"] < 0:
        return f" That is the other way than the {change}: none of it is explained here."
    text = f" That is {100 * found['share']:.0f} % of the {change}."
    if found["share"] < MOST_OF_IT:
        text += " Less than half: most of it would be lost within bins, and the images below do not show it."
    return text


def _images(drop: Mapping[str, Any], name: str) -> str:
    if not drop["images_carrying"]:
        return (
            "<h2>Images that carry it</h2>\n<p>None: no bin of lower accuracy holds more of the target.</p>"
        )
    shown = drop["images"][:SHOWN_IMAGES]
    lie = "lies" if drop["images_carrying"] == 1 else "lie"
    text = (
        f"{count(drop['images_carrying'], 'image')} of {name} {lie} in bins that are less accurate than "
        "the source as a whole and hold more of the target. "
    )
    rest = drop["images_carrying"] > len(shown)
    text += f"Positions (from 0) of the {len(shown):,} most difficult:" if rest else "Positions (from 0):"
    listed = ", ".join(map(str, shown))
    return f'<h2>Images that carry it</h2>\n<p>{escape(text)}</p>\n<p class="images">{listed}</p>'


def _parts(rows: Sequence[Mapping[str, Any]], heading: str, head: str) -> str:
    answered = list(
        dict.fromkeys(
            one["estimator"] for row in rows for one in row.get("estimates", []) if "accuracy" in one
        )
    )
    actual = next((key for key in ("actual", "actual_so_far") if any(key in row for row in rows)), "")
    cells = []
    for row in rows:
        found = {one["estimator"]: one for one in row.get("estimates", []) if "accuracy" in one}
        line = [str(row[head]), f"{row['images']:,}"]
        line += [_percent(row[actual]) if actual in row else "–"] if actual else []
        cells.append(line + [_with_ends(found[name]) if name in found else "–" for name in answered])
    headings = [
        head,
        "images",
        *([actual.replace("_", " ") + " %"] if actual else []),
        *(f"{name} %" for name in answered),
    ]
    note = '<p class="note">With sampling intervals.</p>'
    return f"<h2>{escape(heading)}</h2>\n{_table(headings, cells)}\n{note}"


def _ends(row: Mapping[str, Any]) -> str:
    """Return an interval; none where every image says the same, which is no certainty."""
    return "–" if row["low"] == row["high"] else f"{_percent(row['low'])} to {_percent(row['high'])}"


def _with_ends(row: Mapping[str, Any]) -> str:
    if row["low"] == row["high"]:
        return _percent(row["accuracy"])
    return f"{_percent(row['accuracy'])} [{_percent(row['low'])}, {_percent(row['high'])}]"


def _skipped(rows: Sequence[Mapping[str, Any]], plugins: Sequence[str]) -> str:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if "skipped" in row and "broken" not in row:
            reasons.setdefault(row["skipped"], []).append(row["estimator"])
    lines = [*plugins, *(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())]
    if not lines:
        return ""
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>Not estimated</h2>\n<ul>\n{items}\n</ul>"
