"""The answer of `shiftcast estimate` as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from shiftcast.estimate.charts import drop_chart, histogram_chart, interval_chart
from shiftcast.estimate.drop import image_difficulty
from shiftcast.estimate.lead import Answer, answer_html
from shiftcast.estimate.page_style import STYLE
from shiftcast.estimate.parts import sizes_note
from shiftcast.estimate.wording import (
    actual_note,
    board_error,
    figure_text,
    flag_notes,
    interval_notes,
    is_sampling,
    marked,
    order_note,
    part_columns,
)
from shiftcast.predictions import Predictions
from shiftcast.util.text import count

SHOWN_IMAGES = 50
"""Images that are listed of each bin."""
FITTING_COLUMNS = 6
"""Columns of a table that fit the page's width."""
PHONE_COLUMNS = 5
"""Columns from which on a phone shows a part of the table."""
MOST_OF_IT = 0.5
LARGEST_MATRIX = 20
"""Classes of a confusion matrix that is shown; JSON holds larger ones."""


def page(answer: Mapping[str, Any], source: Predictions, target: Predictions) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    answer
        What `shiftcast estimate --json` prints.
    source, target
        The predictions that it is about.
    """
    known, unknown = answer["source"], answer["target"]
    title = f"Estimated accuracy on {unknown['name']}"
    blocks = [
        answer_html(Answer.from_dict(answer["answer"], answer)),
        *(f"<p>{escape(text)}</p>" for text in actual_note(unknown)),
        f'<p class="note">{escape(answer["shift"]["text"])}</p>',
        _estimates(answer),
        _drop(answer["drop"], known["accuracy"]),
        _images(answer["drop"], unknown["name"]),
        _outputs(source, target),
        _metrics(answer["metrics"]) if "metrics" in answer else "",
        *(
            _parts(answer[key], heading, head)
            for key, heading, head in (
                ("by_class", "By predicted class", "class"),
                ("by_slice", "By slice", "slice"),
            )
            if key in answer
        ),
        _skipped(answer["estimates"], answer["skipped_plugins"]),
    ]
    return document(title, blocks)


def document(title: str, blocks: Sequence[str]) -> str:
    """Return a whole page that loads nothing, from its title and blocks of HTML; empty ones are left out."""
    made = '<p class="note">Made with Shiftcast. Nothing on this page is loaded from elsewhere.</p>'
    body = "\n".join(filter(None, [f"<h1>{escape(title)}</h1>", *blocks, made]))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; one of many columns scrolls sideways and says so, and wraps where it is printed."""
    many = len(headings) > FITTING_COLUMNS
    hint = '<p class="note hint phone">Swipe the table to see all columns. →</p>\n'
    if many:
        told = f"{len(headings)} columns: scroll the table sideways where it is cut off. →"
        hint = f'<p class="note hint">{told}</p>\n'
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    table = f"<table>\n<tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"
    opening = f'<div class="wide {"many" if many else "few"}" tabindex="0">'
    return f"{hint if len(headings) >= PHONE_COLUMNS else ''}{opening}{table}</div>"


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
    return f"<h2>Estimates</h2>\n{_intervals(answer, rows)}\n{said}{html_table(headings, cells)}\n{notes}"


def _intervals(answer: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the chart of estimates: the answer first, then all estimators with both intervals."""
    lead = answer["answer"]
    drawn = [
        {
            "name": "the answer",
            "accuracy": lead["accuracy"],
            "wide": (lead["low"], lead["high"]),
            "narrow": None,
        }
    ]
    for row in rows:
        wide, own = row.get("conformal"), (row["low"], row["high"])
        drawn.append(
            {
                "name": row["estimator"],
                "accuracy": row["accuracy"],
                "wide": (wide["low"], wide["high"]) if wide else None if is_sampling(row) else own,
                "narrow": own if is_sampling(row) else None,
            }
        )
    chart = interval_chart(
        drawn, answer["source"]["accuracy"], answer["target"].get("accuracy"), "the answer"
    )
    said = (
        "Dots are estimates, thin lines intervals with model error, thick ones sampling alone. The dashed "
        "line is the accuracy on the source"
    )
    said += ", the full one that from the target's labels." if "accuracy" in answer["target"] else "."
    return f'<figure class="estimates">{chart}<figcaption>{said}</figcaption></figure>'


def _outputs(source: Predictions, target: Predictions) -> str:
    """Return the histograms of confidence, and of difficulty where there is an ensemble."""
    charts = [histogram_chart("confidence", source.confidence, target.confidence, 1.0)]
    if source.reference is not None and target.reference is not None:
        name, own, largest = image_difficulty(source)
        charts.append(histogram_chart(f"{name} (difficulty)", own, image_difficulty(target)[1], largest))
    figures = "".join(f"<figure>{chart}</figure>" for chart in charts)
    heading = "Confidence and difficulty" if len(charts) > 1 else "Confidence"
    legend = '<span class="key source">source</span> <span class="key target">target</span>'
    note = f'<p class="note">Share of images, {legend}</p>'
    return f'<h2>{heading}</h2>\n{note}\n<div class="charts">{figures}</div>'


def _drop(drop: Mapping[str, Any], accuracy: float) -> str:
    rows = [
        [
            f"{_range(one)}{' ●' if one['carries'] else ''}",
            _percent(one["source_share"]),
            _percent(one["target_share"]),
            _percent(one["source_accuracy"]) if one["source_share"] else "–",
            f"{100 * one['drop']:+.2f}",
        ]
        for one in drop["bins"]
    ]
    headings = [drop["score"], "source images %", "target images %", "source accuracy %", "added errors pp"]
    side = "below" if drop["drop"] >= 0 else "above"
    text = (
        f"{drop['estimator']} expects {_percent(drop['predicted'])} %, {100 * abs(drop['drop']):.2f} pp "
        f"{side} {_percent(accuracy)} %, if the model is as accurate in each bin as on the source. A bin "
        "adds (target share - source share) x (share of errors in it on the source)."
        f"{_explained(drop['explains'])}"
    )
    return (
        f"<h2>Where the drop is predicted</h2>\n<p><strong>{escape(carrying_sentence(drop))}</strong> "
        f"{escape(text)}</p>\n<figure>{drop_chart(drop)}</figure>\n{html_table(headings, rows)}"
    )


def _range(one: Mapping[str, Any]) -> str:
    return f"{one['from']:.2f} to {one['to']:.2f}"


def carrying_sentence(drop: Mapping[str, Any]) -> str:
    """Return which bins carry the predicted drop, and how much of the target lies in them."""
    carrying = [one for one in drop["bins"] if one["carries"]]
    if not carrying:
        return "No bin adds errors: the target is no more difficult than the source."
    share, known = (sum(one[key] for one in carrying) for key in ("target_share", "source_share"))
    joined: list[list[float]] = []
    for one in carrying:  # neighbours are named together
        if joined and joined[-1][1] == one["from"]:
            joined[-1] = [joined[-1][0], one["to"], joined[-1][2] + one["drop"]]
        else:
            joined.append([one["from"], one["to"], one["drop"]])
    joined.sort(key=lambda one: -one[2])
    named = " and ".join(f"{low:.2f} to {high:.2f} ({100 * added:+.2f} pp)" for low, high, added in joined)
    return (
        f"The drop comes from images whose {drop['score']} is {named}: {_percent(share)} % of the target, "
        f"{_percent(known)} % of the source."
    )


def _explained(found: Mapping[str, Any]) -> str:
    """Return a sentence on how much of the predicted change the bins account for."""
    change = f"{100 * found['change']:+.2f} pp that {found['by']} predicts"
    if found["share"] is None:
        return f" The {change} is close to zero, so there is almost nothing to explain."
    if found["share"] < 0:
        return f" This has the opposite sign of the {change}: none of it is explained here."
    text = f" That is {100 * found['share']:.0f} % of the {change}."
    if found["share"] < MOST_OF_IT:
        text += " Less than half: most of the change is within bins, and the images below do not show it."
    return text


def _images(drop: Mapping[str, Any], name: str) -> str:
    """Return the positions of images in the bins that carry the drop, bin by bin, the largest first."""
    carrying = sorted((one for one in drop["bins"] if one["carries"]), key=lambda one: -float(one["drop"]))
    if not carrying:
        return "<h2>Images that carry it</h2>\n<p>None: no bin adds errors.</p>"
    total = drop["images_carrying"]
    text = (
        f"{count(total, 'image')} of {name} {'lies' if total == 1 else 'lie'} in these bins. Positions count "
        "from 0, the most difficult come first."
    )
    blocks = [f"<h2>Images that carry it</h2>\n<p>{escape(text)}</p>"]
    for one in carrying:
        listed = ", ".join(map(str, one["images"][:SHOWN_IMAGES]))
        blocks.append(
            f"<h3>{escape(drop['score'])} {_range(one)}: {100 * one['drop']:+.2f} pp</h3>\n"
            f'<p class="images">{listed}</p>'
        )
    return "\n".join(blocks)


def _metrics(metrics: Mapping[str, Any]) -> str:
    if "skipped" in metrics:
        return f"<h2>Other metrics</h2>\n<p>None: {escape(metrics['skipped'])}.</p>"
    words = {"macro_f1": "macro F1", "auroc": "AUROC"}
    single = [
        f"{words[name]} {figure_text(metrics[name])}"
        + (f", {_percent(metrics[name]['source'])} on the source" if "source" in metrics[name] else "")
        for name in words
        if name in metrics
    ]
    rows = [
        [
            str(one["class"]),
            figure_text(one["recall"]),
            _source_of(one["recall"]),
            figure_text(one["f1"]),
            _source_of(one["f1"]),
        ]
        for one in metrics["classes"]
    ]
    text = (
        f"{'; '.join(single)}. In percent, with {100 * metrics['level']:g} % intervals, from calibrated "
        "probabilities that agree with the answer. They assume that errors go where the probabilities say."
    )
    table = html_table(["class", "recall %", "on source", "F1 %", "on source"], rows)
    return f"<h2>Other metrics</h2>\n<p>{escape(text)}</p>\n{table}{_confusion(metrics)}"


def _source_of(figure: Mapping[str, Any]) -> str:
    return _percent(figure["source"]) if "source" in figure else "–"


def _confusion(metrics: Mapping[str, Any]) -> str:
    """Return the expected confusion matrix, folded away; nothing where it is too large to be read."""
    matrix, names = metrics.get("confusion"), [str(one["class"]) for one in metrics["classes"]]
    if matrix is None or len(matrix) > LARGEST_MATRIX:
        return ""
    rows = [[name, *(f"{value:,.1f}" for value in line)] for name, line in zip(names, matrix, strict=True)]
    table = html_table(["true \\ predicted", *names], rows)
    return (
        "\n<details><summary>Expected confusion matrix</summary>\n"
        '<p class="note">Expected images by true class (rows) and predicted class. No interval.</p>\n'
        f"{table}</details>"
    )


def _parts(rows: Sequence[Mapping[str, Any]], heading: str, head: str) -> str:
    columns = part_columns(rows)
    cells = [
        [str(row[head]), *(column[place] for column in columns.values())] for place, row in enumerate(rows)
    ]
    note = f'<p class="note">{escape(sizes_note(rows))} In percent.</p>'
    return f"<h2>{escape(heading)}</h2>\n{html_table([head, *columns], cells)}\n{note}"


def _ends(row: Mapping[str, Any]) -> str:
    """Return an interval; none where every image says the same, which is no certainty."""
    return "–" if row["low"] == row["high"] else f"{_percent(row['low'])} to {_percent(row['high'])}"


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
