"""The look of figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.style
import matplotlib.ticker

# Okabe and Ito's colours, told apart by colour-blind eyes; the pale yellow is left out on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


MARKERS = ("o", "s", "^", "D", "v")


INK, GREY = "#1f2328", "#6e7781"


SETTINGS: Any = {  # the stubs of matplotlib know each key by name
    "svg.fonttype": "none",
    "svg.hashsalt": "shiftcast",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever the user's matplotlibrc says."""
    with matplotlib.style.context("default"), mpl.rc_context(SETTINGS):
        yield


def as_label(text: str) -> str:
    """Return text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")


def look(position: int) -> tuple[str, str]:
    """Colour and marker of the nth group: 35 pairs before one comes back."""
    return COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]
