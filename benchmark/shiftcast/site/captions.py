"""What stands above and below each chart."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shiftcast.site.html import Html, tag

CAPTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "predicted": (
            "Predicted against actual accuracy",
            "A point is a run on a set of images. Above the dashed line the estimator is too optimistic.",
        ),
        "lines": (
            "Accuracy under shift against in distribution",
            "A point is a run. On the dashed line nothing is lost; the full line is a least-squares fit "
            "through runs of plain recipes on the chosen axes.",
        ),
        "errors": ("Error by shift", "Mean absolute error over models, the largest on top."),
        "coverage": (
            "Coverage by shift",
            "How often each interval covers the actual accuracy. Vertical lines: the promised levels.",
        ),
        "bins": (
            "Accuracy by confusion",
            "Ten bins of the reference ensemble's score. If only the mixture of images changed, both lines "
            "would coincide.",
        ),
        "drop": (
            "Where the drop comes from",
            "What each bin adds: by holding a larger or smaller share of the images than in distribution "
            "(mixture), and "
            "by lower accuracy at equal confusion (within).",
        ),
        "reliability": (
            "Reliability",
            "Accuracy against mean confidence in ten bins of confidence; on the dashed line confidence "
            "is right.",
        ),
        "matrix": (
            "Confusion matrix",
            "Of the images of each true class, which class was predicted. Numbers are percentages; where "
            "the window is too narrow for them, point at a cell to read its number.",
        ),
        "histogram": (
            "Confusion against in distribution",
            "Share of images by the reference ensemble's score: further right, its members are less sure or "
            "agree less.",
        ),
    }
)
"""Title and explanation of each chart, by the name that `charts.js` and `charts.specs` know."""


def chart(kind: str) -> Html:
    """Return the place of a chart, which `charts.js` draws from the page's data."""
    title, description = CAPTIONS[kind]
    keys = f"{title}: arrow keys go from mark to mark, Enter opens a model's page"
    missing = tag("p", "This chart needs JavaScript; the tables do not.", class_="note noscript")
    return tag(
        "figure",
        tag("h3", title),
        tag("div", missing, class_="plot", role="group", aria_label=keys, tabindex="0"),
        tag("p", "", class_="told", aria_live="polite"),
        tag("figcaption", tag("p", description), tag("p", "", class_="said", aria_live="polite")),
        class_="chart",
        data_chart=kind,
    )
