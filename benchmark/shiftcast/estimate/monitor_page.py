"""The page of `shiftcast monitor`: a chart over time and its table, in the style of the page of estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from shiftcast.estimate.charts import timeline_chart
from shiftcast.estimate.html import document, html_table
from shiftcast.estimate.monitor import MODEL_ERROR, headline, shown


def monitor_page(
    rows: Sequence[Mapping[str, Any]], source: float, margin: float | None, name: str, notes: Sequence[str]
) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    rows
        From `shiftcast.estimate.monitor.monitor`, in order of time.
    source
        Accuracy of the source, a share.
    margin
        The margin of alarms, a share; None without alarms.
    name
        Of the table.
    notes
        Warnings, sentences without a full stop.
    """
    table = shown(rows)
    said = "The line is the estimate, the dark band sampling alone, the light one with model error. "
    said += "The dashed line is the accuracy on the source"
    said += "." if margin is None else ", the full one the margin below it; a triangle is an alarm."
    chart = timeline_chart(rows, source, None if margin is None else source - margin)
    told = [] if margin is None else [f'<p class="note">{escape(MODEL_ERROR)}</p>']
    return document(
        f"Accuracy over time on {name}",
        [
            f'<p class="answer"><strong>{escape(headline(rows, margin))}</strong></p>',
            f"<figure>{chart}<figcaption>{said}</figcaption></figure>",
            *told,
            *(f'<p class="warning">Warning: {escape(text)}.</p>' for text in notes),
            "<h2>Chunks</h2>",
            html_table(list(table[0]), [list(row.values()) for row in table]),
        ],
    )
