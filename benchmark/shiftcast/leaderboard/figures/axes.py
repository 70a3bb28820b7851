"""Axes of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.style
import matplotlib.ticker
from matplotlib.axes import Axes

from shiftcast.statistics import inverse_probit, probit


def padded(values: Sequence[float], share: float = 0.05) -> tuple[float, float]:
    """Return limits around the values with some air, also where they are all equal."""
    low, high = min(values), max(values)
    air = max((high - low) * share, 0.02 * max(abs(high), 1e-3))
    return low - air, high + air


def percent_axis(ax: Axes, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    """Label probit axes in percent, between limits given as probits."""
    ax.set(xlim=x_limits, ylim=y_limits)
    for axis, limits in ((ax.xaxis, x_limits), (ax.yaxis, y_limits)):
        ticks = percent_ticks(*limits)
        axis.set_ticks(list(probit([tick / 100 for tick in ticks], 10**9)), [f"{tick:g}" for tick in ticks])
        axis.set_minor_locator(matplotlib.ticker.NullLocator())


def percent_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round percentages between two probits, no more than `most` and well apart."""
    first, last = 100 * float(inverse_probit(low)), 100 * float(inverse_probit(high))
    ticks: list[float] = []
    for step in (10, 5, 2, 1, 0.5, 0.2, 0.1):
        begin, end = math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9)
        ticks = [round(k * step, 1) for k in range(begin, end + 1) if 0 < k * step < 100]
        if len(ticks) >= 3:
            break
    if last > 95 and step >= 5:  # the probit scale gives the last percents much room
        ticks = sorted({*ticks, 95.0, *(t for t in (98.0, 99.0) if t < last)})
    apart = (high - low) / most
    chosen: list[float] = []
    for tick in reversed(ticks):
        if not chosen or float(probit(chosen[-1] / 100, 10**9) - probit(tick / 100, 10**9)) >= apart:
            chosen.append(tick)
    return chosen[::-1]
