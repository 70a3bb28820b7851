"""Means of the signals that runs recorded of their images, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shiftcast.runs.folder import RunFolder
from shiftcast.runs.record import RunRecord
from shiftcast.runs.signals import NOT_LEARNED, ImageSignals
from shiftcast.runs.suite_runs import Pool


def signal_means(pool: Pool, folder: Path) -> pd.DataFrame:
    """Return `SuiteScores.signals` of the complete runs in a suite's folder.

    Raises
    ------
    RunError
        If a run's signals were changed since they were checked.
    """
    rows = []
    for run in pool.runs:
        record, place = run.record, RunFolder(folder / run.key.path)
        signals = place.read_signals(record, run.sets) if isinstance(record, RunRecord) else None
        if signals is not None:
            for name, one in signals.sets.items():
                rows.append(
                    {**run.key.model_dump(), "set": name, "probes": len(signals.blocks), **_means(one)}
                )
    return pd.DataFrame(rows, columns=list(SIGNAL_COLUMNS))


def _means(one: ImageSignals) -> dict[str, Any]:
    viewed = one.with_views
    learned = one.depth[:0] if one.learned_epoch is None else one.learned_epoch
    learned = learned[learned != NOT_LEARNED]
    return {
        "n": one.n,
        "depth": _mean(one.depth),
        "views": _mean(one.views[viewed]),
        "view_probability": _mean(one.view_probability[viewed]),
        "neighbour_distance": _mean(one.neighbour_distance),
        "learned_epoch": _mean(learned),
        "viewed": int(viewed.sum()),
        "learned": len(learned),
    }


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else float("nan")


SIGNAL_COLUMNS = (
    *("architecture", "recipe", "seed", "set", "n", "probes", "depth", "views", "view_probability"),
    *("neighbour_distance", "learned_epoch", "viewed", "learned"),
)
