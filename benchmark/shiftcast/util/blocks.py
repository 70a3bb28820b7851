"""Functions of rows on large arrays: few rows at once, and on several processors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shiftcast.util.types import Floats

BLOCK, SMALL_BLOCK = 1 << 20, 1 << 17
"""Values that are worked on at once, by one thread and by several: what they need stays with the process."""
LARGE = 10_000_000
"""Values from which on several threads share the work: numpy lets go of Python's lock."""
MOST_THREADS = 4
FEW_PARTS = 8
"""Below so many parts of work one thread does them."""
Part = TypeVar("Part")
Result = TypeVar("Result")


def in_blocks(rows: Callable[..., Floats], *arrays: NDArray[Any], out: Floats | None = None) -> Floats:
    """Return what a function of rows gives for arrays (n, ...), in little memory: on few rows at once.

    Parameters
    ----------
    rows
        Gives an array of as many rows as it gets; what it gives for a row may depend on that row alone.
    arrays
        With the same number of rows; the first one says how many rows are few. float32 comes as float64.
    out
        Where the answer goes, where there is such an array already.
    """
    count = len(arrays[0])
    shared = arrays[0].size >= LARGE and _threads() > 1
    height = max((SMALL_BLOCK if shared else BLOCK) // max(arrays[0][0].size, 1), 1)
    blocks = [slice(start, start + height) for start in range(0, count, height)]

    def one(block: slice) -> Floats:
        given = rows(*map(_wide, (array[block] for array in arrays)))
        if out is None:
            return given
        out[block] = given
        return out[block]

    parts = in_order(one, blocks) if shared else [one(block) for block in blocks]
    return np.concatenate(parts) if out is None else out


def in_order(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Return what a function gives for each part, in order; threads share the work where there are many."""
    if len(parts) < FEW_PARTS or _threads() < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(_threads()) as pool:
        return list(pool.map(work, parts))


def _wide(block: NDArray[Any]) -> NDArray[Any]:
    return block.astype(np.float64) if block.dtype == np.float32 else block


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)
