"""Results computed once for an array that cannot change, and forgotten with it.

A benchmark scores many models against one reference ensemble. What depends on the ensemble alone
(its difficulty scores, its votes, whether it holds probabilities at all) is remembered for arrays
that `fix` has closed; anybody else's arrays are computed afresh each time. And `give_back`, for after.
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
_closed: dict[int, weakref.ref[NDArray[Any]]] = {}
_known: dict[tuple[int, str], tuple[weakref.ref[NDArray[Any]], Any]] = {}


def remembered(array: NDArray[Any], name: str, compute: Callable[[], Result]) -> Result:
    """Return `compute()`, once for each fixed array and name.

    Parameters
    ----------
    array
        What the result depends on, and nothing else does.
    name
        Which result it is.
    compute
        Called at most once as long as a fixed array lives; a returned array is fixed too.
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
    """Let `remembered` return `result` for an array and name, where the array is fixed; return it.

    For who knows a result from elsewhere: it must be what `compute` would return. An array is fixed too.
    """
    if not is_fixed(array):
        return result
    key = (id(array), name)
    fix(result)

    def forget(_: object, known: dict[Any, Any] = _known) -> None:
        known.pop(key, None)

    # An array that is its own result must not be held, or it would live for ever.
    _known[key] = (weakref.ref(array, forget), _ITSELF if result is array else result)
    return result


def fix(value: Result) -> Result:
    """Return a value that its maker alone holds; an array is read-only from now on, and may be shared."""
    if isinstance(value, np.ndarray):
        key = id(value)
        value.flags.writeable = False

        def forget(_: object, closed: dict[Any, Any] = _closed) -> None:
            closed.pop(key, None)

        _closed[key] = weakref.ref(value, forget)
    return value


def is_fixed(array: NDArray[Any]) -> bool:
    """Whether an array, or the one that it is a view of, was closed by `fix` and cannot change any more.

    True also for views of `bytes`.
    False for other read-only arrays, which their owner can make writeable again, and for read-only views of
    what is no array: a mapped file, a tensor, a table's own memory.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        known = _closed.get(id(base))
        if known is not None and known() is base:
            return True
        base = base.base
    return isinstance(base, bytes)


def give_back() -> None:
    """Give memory that is free back to the system, where the C library can (glibc's keeps a lot of it)."""
    if arrow := sys.modules.get("pyarrow"):  # holds the text of pandas' tables, in a pool of its own
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux":
        # Not every C library has it (musl).
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
