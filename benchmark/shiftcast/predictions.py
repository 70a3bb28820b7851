"""What an estimator sees and what it gives back: `Predictions` in, `Estimate` out.

Nothing here reads or writes files (see `runs`), and nothing here needs torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError
from shiftcast.memory import remembered

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Kind = Literal["logits", "probabilities"]
Number = TypeVar("Number", bound=np.generic)

SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from one (float16 storage stays within 5e-4)."""

ROUNDING = 1e-12
"""Rows this close to one are normalised already: what is left is rounding."""


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


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's outputs on one set of images, with what else an estimator may use.

    Parameters
    ----------
    name
        What the set is called in messages and tables.
    logits
        Float array (n, K), n >= 1 images, K >= 2 classes: logits, or probabilities when `kind`
        says so. Probabilities must sum to one within 1e-3 a row; they are then renormalised.
    kind
        "logits" or "probabilities".
    group
        What counts as one shift; the name when empty.
    labels
        Integer array (n,) with values in [0, K), or None when unknown.
    reference
        Probabilities (M, n, K) of the reference ensemble's M members on the same images.
    peers
        Predicted classes (Z, n) of other models on the same images.
    siblings
        Predicted classes (S, n) of the same architecture and recipe with other seeds.
    features
        Penultimate features (n, d).
    feature_scores
        Numbers computed from the features of the whole set where those are not at hand, by the name of
        the estimator that reads them.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range; the message names it.
    """

    name: str
    logits: Floats
    kind: Kind = "logits"
    group: str = ""
    labels: Integers | None = None
    reference: Floats | None = field(default=None, repr=False)
    peers: Integers | None = field(default=None, repr=False)
    siblings: Integers | None = field(default=None, repr=False)
    features: Floats | None = field(default=None, repr=False)
    feature_scores: Mapping[str, float] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Validate every array and store it in its canonical type."""
        if self.kind not in ("logits", "probabilities"):
            raise InvalidInputError(
                f"{self.name}: kind must be 'logits' or 'probabilities', got {self.kind!r}"
            )
        outputs = _outputs(self.name, self.kind, self.logits)
        n, classes = outputs.shape
        self._set("logits", outputs)
        self._set("group", self.group or self.name)
        if self.labels is not None:
            self._set("labels", class_indices(f"{self.name}: labels", self.labels, (n,), classes))
        if self.reference is not None:
            self._set("reference", _reference(self.name, self.reference, n, classes))
        for key in ("peers", "siblings"):
            value = getattr(self, key)
            if value is not None:
                shape = (np.shape(value)[0] if np.ndim(value) == 2 else -1, n)
                self._set(key, class_indices(f"{self.name}: {key}", value, shape, classes))
        if self.features is not None:
            features = _finite(f"{self.name}: features", self.features, "(n, d)", 2)
            if len(features) != n:
                raise _lengths(self.name, "features", len(features), n)
            self._set("features", features)

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, value)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.logits)

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return int(self.logits.shape[1])

    @cached_property
    def probabilities(self) -> Floats:
        """Class probabilities (n, K), each row summing to one."""
        return softmax(self.logits) if self.kind == "logits" else self.logits

    @cached_property
    def confidence(self) -> Floats:
        """Largest class probability of each image (n,)."""
        return self.of_predicted(self.probabilities)

    @cached_property
    def predicted(self) -> Integers:
        """Predicted class of each image (n,): the largest output, ties to the lower class."""
        classes: Integers = np.argmax(self.logits, axis=1).astype(np.int64)
        return classes

    def of_predicted(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return the entry of the predicted class in each row of `values` (n, K)."""
        chosen: NDArray[Number] = values[np.arange(len(self)), self.predicted]
        return chosen

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right (n,); refused without labels."""
        if self.labels is None:
            raise InvalidInputError(f"{self.name}: has no labels, so nothing can be right or wrong")
        result: NDArray[np.bool_] = self.predicted == self.labels
        return result

    @cached_property
    def accuracy(self) -> float:
        """Share of right predictions, in [0, 1]."""
        return float(self.correct.mean())

    def with_labels(self, labels: Integers) -> Predictions:
        """Return the same predictions with labels (n,); what is known of the outputs is shared."""
        return self._relabelled(class_indices(f"{self.name}: labels", labels, (len(self),), self.classes))

    def without_labels(self) -> Predictions:
        """Return the same predictions with the labels taken away; what is known of the outputs is shared."""
        return self if self.labels is None else self._relabelled(None)

    def with_feature_scores(self, scores: Mapping[str, float] | None) -> Predictions:
        """Return the same predictions with numbers computed from their features."""
        other = copy.copy(self)
        other._set("feature_scores", scores)
        return other

    def _relabelled(self, labels: Integers | None) -> Predictions:
        other = copy.copy(self)  # the arrays were validated once and need no second look
        for told in ("correct", "accuracy"):  # cached, and would still tell of the old labels
            other.__dict__.pop(told, None)
        other._set("labels", labels)
        return other

    def select(self, index: Integers) -> Predictions:
        """Return the images at `index` (integers, repeats allowed), in that order."""

        def rows(value: NDArray[Any] | None, axis: int) -> Any:
            return None if value is None else np.take(value, index, axis=axis)

        return replace(
            self,
            logits=self.logits[index],
            labels=rows(self.labels, 0),
            reference=rows(self.reference, 1),
            peers=rows(self.peers, 1),
            siblings=rows(self.siblings, 1),
            features=rows(self.features, 0),
            feature_scores=None,  # they are of the whole set
        )


@dataclass(frozen=True)
class Estimate:
    """A predicted accuracy with its interval.

    Parameters
    ----------
    accuracy, low, high
        The estimate and its interval for the accuracy on exactly the images seen, in [0, 1],
        rounded to 1e-6, with low <= accuracy <= high.
    level
        Nominal level of the interval, e.g. 0.95.
    extended
        Whether the interval had to be widened to contain the estimate.
    diagnostics
        What else the estimator has to say, by name.
    """

    accuracy: float
    low: float
    high: float
    level: float
    extended: bool = False
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Round to 1e-6, clip to [0, 1] and hold low <= accuracy <= high."""
        values = (self.accuracy, self.low, self.high)
        if not all(np.isfinite(values)):
            raise InvalidInputError(f"an estimate must be finite, got {values}")
        accuracy, low, high = (round(min(max(float(v), 0.0), 1.0), 6) for v in values)
        extended = self.extended or low > accuracy or high < accuracy
        object.__setattr__(self, "accuracy", accuracy)
        object.__setattr__(self, "low", min(low, accuracy))
        object.__setattr__(self, "high", max(high, accuracy))
        object.__setattr__(self, "extended", extended)


def class_indices(what: str, value: ArrayLike, shape: tuple[int, ...], classes: int) -> Integers:
    """Return `value` as int64 class indices, or refuse it by name.

    Raises
    ------
    InvalidInputError
        If the array is not of integers, has another shape or holds values outside [0, classes).
    """
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"{what}: expected integers in 0..{classes - 1}, got dtype {array.dtype}{_integer_hint(array)}"
        )
    if array.shape != shape:
        expected = "(…, n)" if -1 in shape else str(shape)
        raise InvalidInputError(f"{what}: expected shape {expected}, got {array.shape}")
    if array.size and (array.min() < 0 or array.max() >= classes):
        where = int(np.flatnonzero((array < 0) | (array >= classes))[0])
        raise InvalidInputError(
            f"{what}: expected values in 0..{classes - 1} ({classes} classes), "
            f"got {int(array.ravel()[where])} at position {where}{_range_hint(array, classes)}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def _integer_hint(array: NDArray[Any]) -> str:
    if array.dtype.kind == "f" and array.size and bool((array == np.floor(array)).all()):
        return "; convert them with .astype(int)"
    if array.dtype.kind in "OSU":
        return "; give positions in a stated order of the classes, not their names"
    return ""


def _range_hint(array: NDArray[Any], classes: int) -> str:
    if array.min() == 1 and array.max() == classes:
        return "; if they count from 1, subtract 1"
    return ""


def _finite(what: str, value: ArrayLike, shape: str, ndim: int) -> Floats:
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


def _probabilities(what: str, array: Floats) -> Floats:
    """Renormalise rows that sum to one within the tolerance; refuse the others."""
    sums = array.sum(axis=-1, keepdims=True)
    worst = int(np.abs(sums - 1).argmax())
    if array.min() < 0 or array.max() > 1 + SUM_TOLERANCE or abs(sums.flat[worst] - 1) > SUM_TOLERANCE:
        raise InvalidInputError(
            f"{what}: expected probabilities (each row in [0, 1], summing to one); values span "
            f"{array.min():.4g} to {array.max():.4g} and row {worst} sums to {sums.flat[worst]:.6g}. "
            + _probability_hint(array, abs(float(sums.flat[worst]) - 1))
        )
    if abs(sums.flat[worst] - 1) <= ROUNDING:
        return array
    result: Floats = array / sums
    return result


def _probability_hint(array: Floats, off: float) -> str:
    if array.min() >= 0 and array.max() <= 1 and off < 0.05:
        return "If they were rounded, give more digits"
    return "Logits belong under logits (in an .npz file, the array named 'logits')"


def _outputs(name: str, kind: Kind, value: ArrayLike) -> Floats:
    what = f"{name}: {kind}"
    array = _finite(what, value, "(n, K)", 2)
    if array.shape[1] < 2:
        raise InvalidInputError(f"{what}: expected at least 2 classes (columns), got {array.shape[1]}")
    return array if kind == "logits" else _probabilities(what, array)


def _reference(name: str, value: ArrayLike, n: int, classes: int) -> Floats:
    what = f"{name}: reference"
    if isinstance(value, np.ndarray) and not value.flags.writeable and value.dtype == np.float64:
        checked = remembered(value, "probabilities", lambda: _members(what, value))
    else:
        checked = _members(what, value)
    if checked.shape[1] != n:
        raise _lengths(name, "reference", checked.shape[1], n)
    if checked.shape[2] != classes:
        raise InvalidInputError(f"{what}: expected {classes} classes, got {checked.shape[2]}")
    return checked


def _members(what: str, value: ArrayLike) -> Floats:
    """Return the probabilities of an ensemble (M, n, K) with each row summing to one."""
    return _probabilities(what, _finite(what, value, "(M, n, K)", 3))


def _lengths(name: str, key: str, got: int, expected: int) -> InvalidInputError:
    return InvalidInputError(f"{name}: {key} holds {got} images, but the logits hold {expected}")
