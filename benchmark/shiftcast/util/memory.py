"""Results computed once for an array that cannot change, and forgotten with it.

A benchmark scores many models against one reference ensemble. What depends on the ensemble alone
(its difficulty scores, its votes, whether it holds probabilities at all) is remembered for arrays
that are not writeable; anybody else's arrays are computed afresh each time. And `give_back`, for after.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Result = TypeVar("Result")
_ITSELF = object()
_known: dict[tuple[int, str], tuple[weakref.ref[NDArray[Any]], Any]] = {}


def remembered(array: NDArray[Any], name: str, compute: Callable[[], Result]) -> Result:
    """Return `compute()`, once for each read-only array and name.

    Parameters
    ----------
    array
        What the result depends on, and nothing else does.
    name
        Which result it is.
    compute
        Called at most once as long as a read-only array lives; a returned array is made read-only.
    """
    if not is_fixed(array):
        return compute()
    key = (id(array), name)
    known = _known.get(key)
    if known is not None and known[0]() is array:
        kept: Any = array if known[1] is _ITSELF else known[1]
        return kept  # type: ignore[no-any-return]
    return remember(array, name, compute())


def remember(array: NDArray[Any], name: str, result: Result) -> Result:
    """Let `remembered` return `result` for an array and name, where the array is read-only; return it.

    For who knows a result from elsewhere: it must be what `compute` would return. An array is made read-only.
    """
    if not is_fixed(array):
        return result
    key = (id(array), name)
    if isinstance(result, np.ndarray):
        result.flags.writeable = False

    def forget(_: object, known: dict[Any, Any] = _known) -> None:
        known.pop(key, None)

    # An array that is its own result must not be held, or it would live for ever.
    _known[key] = (weakref.ref(array, forget), _ITSELF if result is array else result)
    return result


def is_fixed(array: NDArray[Any]) -> bool:
    """Whether an array is read-only, nor to one that it is a view of.

    False also for read-only views of what is no array: a mapped file, a tensor, a table's own memory.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return base is None


def give_back() -> None:
    """Give memory that is free back to the system, where the C library can (glibc's keeps a lot of it)."""
    if arrow := sys.modules.get("pyarrow"):  # holds the text of pandas' tables, in a pool of its own
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux":
        # Not every C library has it (musl).
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
