"""Checks of arrays that people give, and what refusals say to do about them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.util.types import Floats, Number

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from one (float16 storage stays within 5e-4)."""

ROUNDING = 1e-12
"""Rows this close to one are normalised already: what is left is rounding."""


def class_indices(what: str, value: ArrayLike, shape: tuple[int, ...], classes: int) -> NDArray[np.int64]:
    """Return `value` as int64 class indices, or refuse it by name.

    Raises
    ------
    InvalidInputError
        If the array is not of integers, has another shape or holds values outside [0, classes).
    """
    return np.ascontiguousarray(narrow_class_indices(what, value, shape, classes), dtype=np.int64)


def narrow_class_indices(
    what: str, value: ArrayLike, shape: tuple[int, ...], classes: int
) -> NDArray[np.int32]:
    """Return `value` as int32 class indices, or refuse it by name: those of many models are large.

    Raises
    ------
    InvalidInputError
        If the array is not of integers, has another shape or holds values outside [0, classes).
    """
    array = np.asarray(value)
    one_hot = _one_hot_hint(array, shape, classes)
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"{what}: expected integers in 0..{classes - 1}, got dtype {array.dtype}"
            f"{one_hot or _integer_hint(array)}"
        )
    if array.shape != shape:
        expected = "(…, n)" if -1 in shape else str(shape)
        raise InvalidInputError(f"{what}: expected shape {expected}, got {array.shape}{one_hot}")
    if array.size and (array.min() < 0 or array.max() >= classes):
        where = int(np.flatnonzero((array < 0) | (array >= classes))[0])
        raise InvalidInputError(
            f"{what}: expected values in 0..{classes - 1} ({classes} classes), "
            f"got {int(array.ravel()[where])} at position {where}{_range_hint(array, classes)}"
        )
    return np.ascontiguousarray(array, dtype=np.int32)


def _integer_hint(array: NDArray[Any]) -> str:
    if whole_floats(array):
        return "; class indices must be integers: convert them with .astype(int)"
    if array.dtype.kind in "OSU":
        return "; give positions in a stated order of the classes, not their names"
    return ""


def _one_hot_hint(array: NDArray[Any], shape: tuple[int, ...], classes: int) -> str:
    if array.shape != (*shape, classes) or array.dtype.kind not in "biuf":
        return ""
    return "; these look one-hot: give labels.argmax(axis=1)" if looks_one_hot(array) else ""


def looks_one_hot(array: NDArray[Any]) -> bool:
    """Return whether every row, of any numbers, has a single 1 and else 0."""
    for part in (array[:1], array):  # most logits are done with in the first row
        if not (((part == 0) | (part == 1)).all() and (part.sum(axis=-1) == 1).all()):
            return False
    return array.size > 0


def whole_floats(array: NDArray[Any]) -> bool:
    """Return whether an array is of floats that are all whole numbers, as indices read by pandas are."""
    return array.dtype.kind == "f" and array.size > 0 and bool((array == np.floor(array)).all())


def _range_hint(array: NDArray[Any], classes: int) -> str:
    if array.min() == 1 and array.max() == classes:
        return "; if they count from 1, subtract 1"
    return ""


def finite(what: str, value: ArrayLike, shape: str, ndim: int) -> NDArray[np.float64]:
    """Return `value` as float64, or refuse what is empty, not finite, or of other dimensions."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(f"{what}: expected numbers, got dtype {array.dtype}")
    if array.ndim != ndim:
        raise InvalidInputError(f"{what}: expected shape {shape}, got {array.shape}")
    if array.size == 0:
        raise InvalidInputError(f"{what}: is empty, shape {array.shape}; at least one image is needed")
    array = array.astype(np.float64, copy=array.flags.writeable)  # what cannot change is shared
    bad = ~np.isfinite(array)
    if bad.any():
        row = np.argwhere(bad)[0].tolist()
        raise InvalidInputError(
            f"{what}: {int(bad.sum())} values are NaN or infinite, the first at index {row}"
        )
    return array


def looks_like_probabilities(array: NDArray[Any]) -> bool:
    """Return whether every row (n, K) lies in [0, 1] and sums to one within `SUM_TOLERANCE`.

    Logits practically never do; the tolerance lets float16 probabilities be recognised.
    """
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        return False
    if abs(float(array[0].sum(dtype=np.float64)) - 1) > SUM_TOLERANCE:  # most logits are done with here
        return False
    inside = bool(((array >= 0) & (array <= 1 + SUM_TOLERANCE)).all())
    return inside and bool(np.abs(array.sum(axis=1, dtype=np.float64) - 1).max() <= SUM_TOLERANCE)


def normalised(what: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Renormalise rows that sum to one within the tolerance; refuse the others."""
    # The worst row is named: one of ten thousand is hard to find otherwise.
    sums = array.sum(axis=-1, keepdims=True)
    worst = int(np.abs(sums - 1).argmax())
    if array.min() < 0 or array.max() > 1 + SUM_TOLERANCE or abs(sums.flat[worst] - 1) > SUM_TOLERANCE:
        raise InvalidInputError(
            f"{what}: expected probabilities (each row in [0, 1], summing to one); values span "
            f"{array.min():.4g} to {array.max():.4g} and row {worst} sums to {sums.flat[worst]:.6g}. "
            + _probability_hint(array, sums)
        )
    if abs(sums.flat[worst] - 1) <= ROUNDING:
        return array
    result: NDArray[np.float64] = array / sums
    return result


def _probability_hint(array: NDArray[np.float64], sums: NDArray[np.float64]) -> str:
    if array.min() >= 0 and array.max() <= 1 and np.abs(sums - 1).max() < 0.05:
        return "If they were rounded, give more digits"
    if are_percentages(array, sums):
        return "These look like percentages: divide them by 100"
    return "Logits belong under logits (in an .npz file, the array named 'logits')"


def are_percentages(array: NDArray[Any], sums: NDArray[Any]) -> bool:
    """Return whether rows, of which the sums are given, look like probabilities times 100."""
    return bool(array.min() >= 0 and np.abs(sums - 100).max() < 5)


BLOCK = 2048
"""Rows whose softmax is computed at once: they stay in the processor's cache."""


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Return the softmax over the last axis, computed in float64, safe for large logits."""
    result = np.empty(logits.shape)
    rows, filled = (array.reshape(-1, logits.shape[-1]) for array in (logits, result))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK].T.astype(np.float64, order="C")  # long rows reduce faster
        block -= block.max(axis=0)
        np.exp(block, out=block)
        block /= block.sum(axis=0)
        filled[start : start + BLOCK] = block.T
    return result


def one_hot(predicted: NDArray[np.integer[Any]], classes: int, dtype: type[Number]) -> NDArray[Number]:
    """Return an array (n, K) that is 1 at each predicted class (n,) and 0 elsewhere."""
    outputs = np.zeros((len(predicted), classes), dtype=dtype)
    outputs[np.arange(len(predicted)), predicted] = 1
    return outputs


def entropy_terms(probabilities: Floats) -> Floats:
    """Return -p ln p of each entry, 0 where p = 0: `scipy.special.entr` at a third of its time."""
    terms = np.maximum(probabilities, np.finfo(np.float64).tiny)
    np.log(terms, out=terms)
    terms *= probabilities
    return np.negative(terms, out=terms)


def log_softmax(logits: Floats) -> Floats:
    """Return the logarithm of the softmax over the last axis, in float64."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
