"""Checks of arrays that people give, and what refusals say to do about them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.util.blocks import in_blocks
from shiftcast.util.memory import is_fixed
from shiftcast.util.types import Floats, Number

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from one (float16 storage stays within 5e-4)."""

ROUNDING = 1e-12
"""Rows this close to one are normalised already: what is left is rounding."""

NOISE = 1e-6
"""Probabilities this far below zero are zero: what is left of a subtraction."""

FEWEST_DECIMALS, MOST_DECIMALS, MOST_ROUNDED_OFF = 2, 6, 0.05
"""Decimals of probabilities that were rounded, and how far from one the sum of a row may then be."""

LARGEST = 1e100
"""Beyond this a number is no output of a network, and sums and squares of it are infinite."""

FEW_ROWS, FEW_OF_THEM = 20, 0.05
"""Fewer rows than this, or a smaller share, that sum to one by chance are no sign of probabilities."""

MANY_ROWS = 100
"""This many rows of one sum and more than two values are no logits: counts of votes, say, or percentages."""


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
    array = as_array(what, value)
    one_hot = _one_hot_hint(array, shape, classes)
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"{what}: expected integers in 0..{classes - 1}, got dtype {array.dtype}"
            f"{one_hot or _integer_hint(array)}"
        )
    if array.shape != shape:
        expected = "(…, n)" if -1 in shape else str(shape)
        hint = one_hot or _axes_hint(array.shape, shape)
        raise InvalidInputError(f"{what}: expected shape {expected}, got {array.shape}{hint}")
    if array.size and (array.min() < 0 or array.max() >= classes):
        where = int(np.flatnonzero((array < 0) | (array >= classes))[0])
        raise InvalidInputError(
            f"{what}: expected values in 0..{classes - 1} ({classes} classes), "
            f"got {int(array.ravel()[where])} at position {where}{_range_hint(array, classes)}"
        )
    return np.array(array, dtype=np.int32, order="C", copy=None if is_fixed(array) else True)


def _axes_hint(got: tuple[int, ...], shape: tuple[int, ...]) -> str:
    if got == (*shape, 1):
        return "; give array[:, 0]"
    if got == (1, *shape):
        return "; give array[0]"
    return "; swap its axes: array.T" if len(got) == len(shape) == 2 and got[0] == shape[1] else ""


def _integer_hint(array: NDArray[Any]) -> str:
    if whole_floats(array):
        return "; class indices must be integers: convert them with .astype(int)"
    if array.dtype.kind == "f" and np.isnan(array).any():
        return "; if NaN stands for an unknown class, leave those images out"
    if array.dtype.kind == "b" or (array.dtype.kind == "O" and _holds(array, int | np.integer)):
        return "; convert them with .astype(int)"
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


def _holds(array: NDArray[Any], kind: Any) -> bool:
    return array.size > 0 and all(isinstance(value, kind) for value in array.ravel().tolist())


def _range_hint(array: NDArray[Any], classes: int) -> str:
    if array.min() == 1 and array.max() == classes:
        return "; if they count from 1, subtract 1"
    strange = np.unique(array[(array < 0) | (array >= classes)])
    if len(strange) == 1:
        remedy = "leave those images out (in a target's file: give -1)"
        return f"; if {strange[0]} stands for an unknown class, {remedy}"
    return ""


def finite(what: str, value: ArrayLike, shape: str, ndim: int, narrow: int | None = None) -> Floats:
    """Return `value` as float64, or refuse what is empty, not finite, or of other dimensions.

    More than `narrow` values stay float32 where they are: half the memory, and the same numbers.
    """
    array = as_array(what, value)
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(f"{what}: expected numbers, got dtype {array.dtype}{_object_hint(array)}")
    if array.ndim != ndim:
        raise InvalidInputError(f"{what}: expected shape {shape}, got {array.shape}{one_column_hint(array)}")
    if array.size == 0:
        raise InvalidInputError(f"{what}: is empty, shape {array.shape}; at least one image is needed")
    kept = narrow is not None and array.size > narrow and array.dtype == np.float32
    with np.errstate(over="ignore"):  # of more than 64 bits: what is infinite then is refused
        array = array.astype(np.float32 if kept else np.float64, copy=not is_fixed(array))
    if not -LARGEST <= float(array.min()) <= float(array.max()) <= LARGEST:
        bad = ~np.isfinite(array)
        beyond = "NaN or infinite" if bad.any() else f"beyond {LARGEST:g} in size"
        bad = bad if bad.any() else np.abs(array) > LARGEST
        hint = "; give logarithms of 0 a lower end such as -100" if np.isneginf(array).any() else ""
        raise InvalidInputError(
            f"{what}: {int(bad.sum())} values are {beyond}, the first at index "
            f"{np.argwhere(bad)[0].tolist()}{hint}"
        )
    return array


def as_array(what: str, value: ArrayLike) -> NDArray[Any]:
    """Return what is given as an array, or refuse what would lose its meaning as one.

    Raises
    ------
    InvalidInputError
        If values are masked, or it cannot be turned into an array.
    """
    if isinstance(value, np.ma.MaskedArray) and (masked := int(np.ma.getmaskarray(value).sum())):
        raise InvalidInputError(
            f"{what}: {masked:,} of {value.size:,} values are masked, that is unknown; leave those images "
            "out, or fill them: array.filled(…)"
        )
    if hasattr(value, "predict_proba"):
        raise InvalidInputError(
            f"{what}: expected outputs, got the model {type(value).__name__}; give model.predict_proba(X), "
            "with kind='probabilities'"
        )
    try:
        array, of_pandas = np.asarray(value), getattr(value, "to_numpy", None)
        if array.dtype != object or of_pandas is None or _holds_text(array):
            return array
        with suppress(TypeError, ValueError):  # pandas' own types of numbers, of which unknown ones are NaN
            return np.asarray(of_pandas(dtype=np.float64, na_value=np.nan))
        return array
    except Exception as error:  # of whatever library it comes from
        ragged = "inhomogeneous" in str(error)
        remedy = (
            "give each row as many values, and batches as one array: numpy.concatenate(batches)"
            if ragged
            else "of a torch tensor give tensor.detach().cpu().float().numpy()"
        )
        raise InvalidInputError(
            f"{what}: cannot be made a numpy array of a {type(value).__name__} ({error}); {remedy}"
        ) from error


def _holds_text(array: NDArray[Any]) -> bool:
    return any(isinstance(value, str) for value in array.ravel().tolist())


def _object_hint(array: NDArray[Any]) -> str:
    if array.dtype == object:
        return "; make it one array of numbers: numpy.array(rows, dtype=float), without columns of text"
    if array.dtype.kind in "SU":
        return "; these are texts: array.astype(float)"
    # bfloat16 and the like of other packages are of no kind that numpy knows.
    return "; convert it: array.astype('float32')" if array.dtype.kind == "V" else ""


def one_column_hint(array: NDArray[Any]) -> str:
    """Say what a flat array (n,) or a single column (n, 1) may be, where outputs (n, K) are wanted."""
    if array.size and array.shape in ((array.size,), (array.size, 1)) and array.dtype.kind in "fiu":
        if array.dtype.kind == "f" and 0 <= array.min() <= array.max() <= 1:
            return (
                "; of one probability p an image give both classes: numpy.column_stack([1 - p, p]) "
                "(p is what scikit-learn's predict_proba[:, 1] returns)"
            )
        if array.dtype.kind in "iu":
            return "; these look like class indices: give the outputs before argmax"
        if array.dtype.kind == "f":
            return "; of one logit z an image give both classes: numpy.column_stack([numpy.zeros_like(z), z])"
    return ""


def looks_like_probabilities(array: NDArray[Any]) -> bool:
    """Return whether every row (n, K) lies in [0, 1] and sums to one within `SUM_TOLERANCE`.

    Logits practically never do; the tolerance lets float16 probabilities be recognised.
    """
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        return False
    if abs(float(array[0].sum(dtype=np.float64)) - 1) > SUM_TOLERANCE:  # most logits are done with here
        return False
    inside = bool(((array >= -NOISE) & (array <= 1 + SUM_TOLERANCE)).all())
    return inside and bool(np.abs(array.sum(axis=1, dtype=np.float64) - 1).max() <= SUM_TOLERANCE)


def doubt_about_kind(array: NDArray[Any]) -> str:
    """Return why outputs (n, K) may be logits as well as probabilities; empty where they are clearly either.

    Clear are rows that all sum to one, and values well outside [0, 1] with next to no such rows. The answer
    says which test failed on which row, and what may be the cause.
    """
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size or not np.isfinite(array).all():
        return ""
    sums = array.sum(axis=1, dtype=np.float64)
    shares = (np.abs(sums - 1) <= SUM_TOLERANCE) & (array.min(axis=1) >= -NOISE)
    count, low, high = int(shares.sum()), float(array.min()), float(array.max())
    if count == len(array):
        return ""
    first = int(np.argmin(shares))
    row = f"row {first} sums to {sums[first]:.6g}"
    if low >= -SUM_TOLERANCE and 0 < high <= 1 + SUM_TOLERANCE:
        cause = _probability_hint(array, sums) or "Outputs of a sigmoid for each class are neither"
        return (
            f"all values lie in [0, 1], as probabilities do, but {len(array) - count:,} of {len(array):,} "
            f"rows do not sum to one within {SUM_TOLERANCE:g}: {row}. {cause}"
        )
    fractions = shares & (array.max(axis=1) < 1 - SUM_TOLERANCE)  # whole numbers are rounded logits as well
    if fractions.sum() >= FEW_ROWS and count > FEW_OF_THEM * len(array):
        return (
            f"{count:,} of {len(array):,} rows are probabilities, in [0, 1] and summing to one, but not the "
            f"others: {row}, its values span {array[first].min():.4g} to {array[first].max():.4g}"
        )
    return _probability_hint(array, sums) if are_percentages(array, sums) or has_one_sum(array, sums) else ""


LOGITS_REMEDY = "if they are logits, subtract 1 from every value, which changes no probability"
"""Makes logits that lie in [0, 1] clear ones."""


def normalised(what: str, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Renormalise rows that sum to one within the tolerance; refuse the others.

    Values of few decimals were rounded; the sum of K such may be K / 2 units of the last decimal from one.
    """
    low = array.min()
    if -NOISE <= low < 0:
        array = np.maximum(array, 0.0)
    sums = array.sum(axis=-1, keepdims=True)
    # The worst row is named: one of ten thousand is hard to find otherwise.
    worst = int(np.abs(sums - 1).argmax())
    off = abs(sums.flat[worst] - 1)
    if low < -NOISE or array.max() > 1 + SUM_TOLERANCE or (off > SUM_TOLERANCE and off > rounded_off(array)):
        raise InvalidInputError(
            f"{what}: expected probabilities (each row in [0, 1], summing to one); values span "
            f"{array.min():.4g} to {array.max():.4g} and row {worst} sums to {sums.flat[worst]:.6g}. "
            + (_probability_hint(array, sums) or _no_probability_hint(array))
        )
    if off <= ROUNDING:
        return array
    result: NDArray[np.float64] = array / sums
    return result


def rounded_off(array: NDArray[Any]) -> float:
    """Return how far from one rounding may have brought the sums of rows; 0 where nothing was rounded."""
    for decimals in range(FEWEST_DECIMALS, MOST_DECIMALS):
        if np.abs(array - np.round(array, decimals)).max() < ROUNDING:
            # A little more, for the rounding of the sum itself.
            return min(int(array.shape[-1]) * 0.5 * 10.0**-decimals + ROUNDING, MOST_ROUNDED_OFF)
    return 0.0


def _probability_hint(array: NDArray[Any], sums: NDArray[Any]) -> str:
    inside = array.min() >= -NOISE and array.max() <= 1 + SUM_TOLERANCE
    if inside and array.ndim == 2 and len(array) > 1 and looks_like_probabilities(array.T):
        return "The columns sum to one: rows must be images, so give the transpose, array.T"
    rounded = np.round(array, FEWEST_DECIMALS)
    few_digits = np.abs(array - rounded).max() < ROUNDING and (array != np.round(array)).any()
    if inside and (few_digits or np.abs(sums - 1).max() < MOST_ROUNDED_OFF):
        return "If they were rounded, give more digits"
    if are_percentages(array, sums):
        return "These look like percentages: divide them by 100"
    if has_one_sum(array, sums):
        return (
            f"No value is below 0 and each row sums to about {sums.mean():.6g}: these look like counts, or "
            "probabilities times that; divide each row by its sum"
        )
    return ""


def _no_probability_hint(array: NDArray[Any]) -> str:
    logits = "Logits belong under logits (in an .npz file, the array named 'logits')"
    if array.min() >= -NOISE and array.max() <= 1 + SUM_TOLERANCE:
        return f"Outputs of a sigmoid for each class, or the few largest of many, do not sum to one. {logits}"
    return f"{logits}; their softmax are probabilities"


def are_percentages(array: NDArray[Any], sums: NDArray[Any]) -> bool:
    """Return whether rows, of which the sums are given, look like probabilities times 100."""
    return bool(array.min() >= 0 and np.abs(sums - 100).max() < 5)


def has_one_sum(array: NDArray[Any], sums: NDArray[Any]) -> bool:
    """Return whether many rows, none below 0 and of more than two values, sum to the same other than 1.

    Whole numbers may be rounded: the sum of K such is up to K / 2 off.
    """
    if array.ndim != 2 or len(array) < MANY_ROWS or array.min() < 0 or (array == array[0]).all():
        return False
    mean = float(sums.mean())
    if mean <= 1 or array.min() > mean / array.shape[1] / 2:  # logits may all be large and much alike
        return False
    rounded = array.shape[1] / 2 if (array == np.floor(array)).all() else 0.0
    if np.abs(sums - mean).max() > max(SUM_TOLERANCE * mean, min(rounded, MOST_ROUNDED_OFF * mean)):
        return False
    return bool(((array != array.min()) & (array != array.max())).any())


BLOCK = 2048
"""Rows whose softmax is computed at once: they stay in the processor's cache."""
LONG = 256
"""Classes above which rows reduce as fast as they are."""


def softmax(logits: NDArray[np.floating], dtype: type[np.floating[Any]] = np.float64) -> Floats:
    """Return the softmax over the last axis, computed in float64, safe for large logits; kept as `dtype`."""
    result: Floats = np.empty(logits.shape, dtype=dtype)
    rows, filled = logits.reshape(-1, logits.shape[-1]), result.reshape(-1, logits.shape[-1])
    if logits.shape[-1] > LONG:

        def fill(block: NDArray[np.floating]) -> Floats:
            shifted = block.astype(np.float64)
            shifted -= shifted.max(axis=1, keepdims=True)
            np.exp(shifted, out=shifted)
            shifted /= shifted.sum(axis=1, keepdims=True)
            return shifted

        return in_blocks(fill, rows, out=filled).reshape(logits.shape)
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
