"""From what a figure shows to SVG."""

from __future__ import annotations

import io

from shiftcast.leaderboard.figures.board_drawings import DRAWINGS
from shiftcast.leaderboard.figures.picture import Picture
from shiftcast.util.plot_style import house_style


def draw(picture: Picture) -> str:
    """Return a picture as SVG text that carries the hash of its data."""
    from shiftcast.leaderboard.figures.confusion_drawings import CONFUSION_DRAWINGS

    drawing = {**DRAWINGS, **CONFUSION_DRAWINGS}[picture.name]
    stream = io.StringIO()
    with house_style():
        drawing(picture.data).savefig(stream, format="svg", metadata={"Date": None, "Creator": "Shiftcast"})
    head, _, body = stream.getvalue().partition("?>")
    lines = [line.rstrip() for line in body.splitlines()]
    return f"{head}?>\n<!-- data-sha256: {picture.hash} -->" + "\n".join(lines) + "\n"
