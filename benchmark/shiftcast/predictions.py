"""What an estimator sees and what it gives back: `Predictions` in, `Estimate` out.

Nothing here reads or writes files (see `runs`), and nothing here needs torch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError, RequirementError
from shiftcast.util.arrays import (
    as_array,
    class_indices,
    doubt_about_kind,
    finite,
    looks_like_probabilities,
    narrow_class_indices,
    normalised,
    one_column_hint,
    one_hot,
    softmax,
)
from shiftcast.util.blocks import in_blocks
from shiftcast.util.memory import fix, is_fixed, remembered
from shiftcast.util.text import NARROWEST
from shiftcast.util.types import Classes, Floats, Integers, Number

Kind = Literal["logits", "probabilities", "classes"]

MANY = 4_000_000
"""Logits above which float32 ones are kept as they are."""
_IMAGE_AXES = {"logits": 0, "labels": 0, "reference": 1, "peers": 1, "siblings": 1, "features": 0}
"""Arrays with an entry an image, and along which axis."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's outputs on one set of images, with what else an estimator may use.

    Parameters
    ----------
    name
        What the set is called in messages and tables.
    logits
        Float array (n, K), n >= 1 images, K >= 2 classes: logits, or probabilities if `kind` is
        "probabilities". It is kept as float64, but as float32 if it has more than 4,000,000 float32 logits.
        Each row of probabilities must sum to one within 1e-3, or within the rounding of its decimals; rows
        are then normalised.
    kind
        "logits" or "probabilities"; if it is left out, the values must clearly be logits. "classes" if only
        predicted classes are known (hard labels): `logits` are then 1 for the predicted class and 0 for the
        others, see `from_classes`.
    group
        What counts as one shift; the name when empty.
    labels
        Integer array (n,) with values in [0, K), or None when unknown.
    reference
        Probabilities (M, n, K) of the reference ensemble's M members on the same images.
    peers
        Predicted classes (Z, n) of other models on the same images, int32.
    siblings
        Predicted classes (S, n) of the same architecture and recipe with other seeds, int32.
    features
        Penultimate features (n, d).
    signals
        What was recorded of each image beside the outputs, by name: shares (n,) in [0, 1], NaN where unknown.
        Of `depth` (prediction depth), `learned_epoch`, `views` and `view_probability`, see
        `shiftcast.estimators.recorded`.
    feature_scores
        Numbers computed from the features of the whole set, for use without the features themselves, by
        the name of the estimator that reads them.

    Attributes
    ----------
    probabilities
        Class probabilities (n, K), each row summing to one; refused where only classes are known. Of logits
        that are kept as float32 they are float32 too.
    confidence
        Largest class probability of each image (n,).
    predicted
        Predicted class of each image (n,).
    correct, accuracy
        Whether each prediction is correct (n,), and the share of correct ones, in [0, 1]; refused without
        labels.

    Raises
    ------
    InvalidInputError
        If an array has the wrong shape, type or range; the message names it. Logits of which every row
        is a probability distribution are refused too: they are most likely probabilities.

    Notes
    -----
    Arrays are copied unless they are those of other predictions, so later changes of the originals do not
    change the predictions. The copies cannot be written to, so no estimator can change what later ones read.
    """

    name: str
    logits: Floats
    kind: Kind = None  # type: ignore[assignment]  # told from the values, see `_outputs`
    group: str = ""
    labels: Integers | None = None
    reference: Floats | None = field(default=None, repr=False)
    peers: Classes | None = field(default=None, repr=False)
    siblings: Classes | None = field(default=None, repr=False)
    features: Floats | None = field(default=None, repr=False)
    signals: Mapping[str, Floats] | None = field(default=None, repr=False)
    feature_scores: Mapping[str, float] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Validate every array and store it in its canonical type."""
        _refuse_misplaced(self.name, self.kind)
        if self.kind not in (None, "logits", "probabilities", "classes"):
            raise InvalidInputError(
                f"{self.name}: kind must be 'logits', 'probabilities' or 'classes', got {self.kind!r}"
            )
        outputs = _outputs(self.name, self.kind, self.logits)
        n, classes = outputs.shape
        self._set("logits", outputs)
        self._set("kind", self.kind or "logits")
        self._set("group", self.group or self.name)
        if self.labels is not None:
            labels = as_array(f"{self.name}: labels", self.labels)
            _refuse_transposed(self.name, outputs, labels)
            self._set("labels", class_indices(f"{self.name}: labels", labels, (n,), classes))
        if self.reference is not None:
            self._set("reference", _reference(self.name, self.reference, n, classes))
        for key in ("peers", "siblings"):
            value = getattr(self, key)
            if value is not None:
                array = as_array(f"{self.name}: {key}", value)
                shape = (len(array) if array.ndim == 2 else -1, n)
                self._set(key, narrow_class_indices(f"{self.name}: {key}", array, shape, classes))
        if self.features is not None:
            features = finite(f"{self.name}: features", self.features, "(n, d)", 2)
            if len(features) != n:
                raise _lengths(self.name, "features", features.shape, n)
            self._set("features", features)
        if self.signals is not None:
            self._set("signals", _signals(self.name, self.signals, n))
        if self.feature_scores is not None:
            self._set("feature_scores", dict(self.feature_scores))

    @classmethod
    def from_classes(
        cls, name: str, predicted: ArrayLike, classes: int, labels: Integers | None = None
    ) -> Predictions:
        """Return predictions that are predicted classes (n,) alone, each below `classes`.

        Estimators that need no more than these answer; the others refuse by name.
        """
        if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 2:
            raise InvalidInputError(
                f"{name}: classes: expected a whole number of at least 2, got {classes!r}"
            )
        array = as_array(f"{name}: predicted", predicted)
        checked = class_indices(f"{name}: predicted", array, array.shape[:1], classes)
        return cls(name, one_hot(checked, classes, np.float64), kind="classes", labels=labels)

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, fix(value))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.logits)

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return int(self.logits.shape[1])

    @cached_property
    def probabilities(self) -> Floats:
        """Class probabilities (n, K), each row summing to one; refused where only classes are known."""
        if self.kind == "classes":
            raise RequirementError(
                f"{self.name}: needs logits or probabilities, but holds predicted classes alone (hard labels)"
            )
        return fix(softmax(self.logits, self.logits.dtype.type)) if self.kind == "logits" else self.logits

    @cached_property
    def confidence(self) -> Floats:
        """Largest class probability of each image (n,)."""
        if self.logits.dtype == np.float32:  # float32 would tell no two sure images apart
            return fix(in_blocks(lambda rows: softmax(rows).max(axis=1), self.logits))
        return fix(self.of_predicted(self.probabilities))

    @cached_property
    def predicted(self) -> Integers:
        """Predicted class of each image (n,): the largest output, ties to the lower class."""
        classes: Integers = np.argmax(self.logits, axis=1).astype(np.int64)
        return fix(classes)

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
        return fix(result)

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

    def with_signals(self, signals: Mapping[str, Floats] | None) -> Predictions:
        """Return the same predictions with what was recorded of their images."""
        other = copy.copy(self)
        other._set("signals", None if signals is None else _signals(self.name, signals, len(self)))
        return other

    def _relabelled(self, labels: Integers | None) -> Predictions:
        other = copy.copy(self)  # the arrays were validated once and need no second look
        for told in ("correct", "accuracy"):  # cached, and would still tell of the old labels
            other.__dict__.pop(told, None)
        other._set("labels", labels)
        return other

    def select(self, index: Integers) -> Predictions:
        """Return the images at `index` (integers, at least one, repeats allowed), in that order.

        Raises
        ------
        InvalidInputError
            If it is empty, holds no integers (a mask is none), or goes beyond the images.
        """
        index = as_array(f"{self.name}: select", index)
        if not index.size:
            raise InvalidInputError(f"{self.name}: select: at least one image is needed")
        if index.dtype.kind not in "iu" or index.min() < -len(self) or index.max() >= len(self):
            mask = "; of a mask give numpy.flatnonzero(mask)" if index.dtype.kind == "b" else ""
            raise InvalidInputError(
                f"{self.name}: select: expected integers below {len(self)}, got {index.dtype} from "
                f"{index.min()} to {index.max()}{mask}"
            )
        part = object.__new__(type(self))  # validated rows stay valid: a few logits may well sum to one
        for one in fields(self):
            part._set(one.name, getattr(self, one.name))
        for key, axis in _IMAGE_AXES.items():
            value = getattr(self, key)
            part._set(key, None if value is None else np.take(value, index, axis=axis))
        if self.signals is not None:
            part._set("signals", {key: fix(value[index]) for key, value in self.signals.items()})
        part._set("feature_scores", None)  # they are of the whole set
        return part


@dataclass(frozen=True)
class Estimate:
    """A predicted accuracy with its interval.

    Parameters
    ----------
    accuracy, low, high
        The estimate and its interval for the accuracy on exactly the images seen, in [0, 1],
        rounded to 1e-6, with low <= accuracy <= high. An interval narrower
        than 0.02 pp is widened to that, within [0, 1].
    level
        Nominal level of the interval, e.g. 0.95.
    extended
        Whether the interval had to be widened to contain the estimate.
    diagnostics
        What else the estimator has to say, by name.
    flagged
        Why the estimate is doubtful, in a few words; empty where it is not.
    abstains
        Why the estimate is none to be used; empty where it is one.
    """

    accuracy: float
    low: float
    high: float
    level: float
    extended: bool = False
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    flagged: str = ""
    abstains: str = ""

    def __post_init__(self) -> None:
        """Round to 1e-6, clip to [0, 1], hold low <= accuracy <= high and some width."""
        values = (self.accuracy, self.low, self.high)
        if not all(map(math.isfinite, values)):
            raise InvalidInputError(f"an estimate must be finite, got {values}")
        if not -1 <= self.accuracy <= 2:  # maps extrapolate a little beyond [0, 1]; percentages go far beyond
            raise InvalidInputError(
                f"an estimate must be a share in [0, 1], got {self.accuracy:g}; divide percentages by 100"
            )
        if self.low > self.high + 1e-6:
            raise InvalidInputError(
                f"an interval must begin below its end, got {self.low:g} to {self.high:g}"
            )
        accuracy, low, high = (round(min(max(float(v), 0.0), 1.0), 6) for v in values)
        extended = self.extended or low > accuracy or high < accuracy
        if high - low < 2 * NARROWEST:  # printed, it would have no width
            low = round(max(min(low, accuracy - NARROWEST), 0.0), 6)
            high = round(min(max(high, accuracy + NARROWEST), 1.0), 6)
        object.__setattr__(self, "accuracy", accuracy)
        object.__setattr__(self, "low", min(low, accuracy))
        object.__setattr__(self, "high", max(high, accuracy))
        object.__setattr__(self, "extended", extended)


def _refuse_misplaced(name: object, kind: object) -> None:
    """Refuse arrays where a name or a kind belongs: arguments in another order than ours."""
    if not isinstance(name, str):
        raise InvalidInputError(
            f"Predictions: the first argument is the set's name (str), got {type(name).__name__}; "
            'write Predictions("validation", logits, labels=labels)'
        )
    if kind is not None and not isinstance(kind, str):
        raise InvalidInputError(
            f"{name}: the third argument is kind ('logits' or 'probabilities'), got {type(kind).__name__}; "
            "give labels by name: labels=…"
        )


def _outputs(name: str, kind: Kind | None, value: ArrayLike) -> Floats:
    what = f"{name}: {kind or 'logits'}"
    array = finite(what, value, "(n, K)", 2, narrow=None if kind in ("probabilities", "classes") else MANY)
    if array.shape[1] < 2:
        raise InvalidInputError(
            f"{what}: expected at least 2 classes (columns), got {array.shape[1]}{one_column_hint(array)}"
        )
    if kind == "probabilities":
        return normalised(what, array)
    if kind == "classes":
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise InvalidInputError(
                f"{what}: expected 1 for the predicted class of each image and 0 for the others; "
                "Predictions.from_classes makes them of class indices (n,)"
            )
        return array
    # Logits of a single image may well sum to one: where they are called logits, they are believed.
    if (len(array) > 1 or kind is None) and looks_like_probabilities(array):
        raise InvalidInputError(
            f"{what}: these look like probabilities (every row lies in [0, 1] and sums to one); "
            "pass kind='probabilities'"
        )
    if kind is None and (doubt := doubt_about_kind(array)):
        raise InvalidInputError(f"{what}: {doubt}. Say which they are: kind='probabilities' or kind='logits'")
    return array


def _signals(name: str, value: Mapping[str, ArrayLike], n: int) -> dict[str, Floats]:
    arrays = {key: np.array(one, dtype=np.float64) for key, one in value.items()}
    for key, one in arrays.items():
        if one.shape != (n,) or (one[~np.isnan(one)] < 0).any() or (one[~np.isnan(one)] > 1).any():
            raise InvalidInputError(
                f"{name}: signals: expected {key} ({n},), shares in [0, 1] or NaN, got shape {one.shape}"
            )
        fix(one)
    return arrays


def _reference(name: str, value: ArrayLike, n: int, classes: int) -> Floats:
    what = f"{name}: reference"
    if isinstance(value, np.ndarray) and is_fixed(value) and value.dtype == np.float64:
        checked = remembered(value, "probabilities", lambda: _members(what, value))
    else:
        checked = _members(what, value)
    if checked.shape[1] != n:
        raise _lengths(name, "reference", checked.shape, n)
    if checked.shape[2] != classes:
        raise InvalidInputError(f"{what}: expected {classes} classes, got {checked.shape[2]}")
    return checked


def _members(what: str, value: ArrayLike) -> Floats:
    """Return the probabilities of an ensemble (M, n, K) with each row summing to one."""
    return normalised(what, finite(what, value, "(M, n, K)", 3))


def _lengths(name: str, key: str, shape: tuple[int, ...], expected: int) -> InvalidInputError:
    images = shape[_IMAGE_AXES[key]]
    swapped = f"; swap its first two axes: numpy.swapaxes({key}, 0, 1)" if shape[0] == expected else ""
    return InvalidInputError(f"{name}: {key} holds {images} images, but the logits hold {expected}{swapped}")


def _refuse_transposed(name: str, outputs: Floats, labels: NDArray[Any]) -> None:
    if labels.shape == outputs.shape[1:] != outputs.shape[:1]:
        raise InvalidInputError(
            f"{name}: outputs {outputs.shape} and labels {labels.shape} fit if rows are images: give the "
            "transpose, array.T"
        )
