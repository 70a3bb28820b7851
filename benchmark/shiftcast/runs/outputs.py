"""The content of `predictions.safetensors`.

Logits are stored as float16; where labels are known, `true_rank` holds the rank of the true class among
the *stored* logits, so that labels and correctness follow without any dataset.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.record import SCHEMA
from shiftcast.util.arrays import one_hot
from shiftcast.util.hashing import canonical_json, parse_json
from shiftcast.util.safetensors_header import read_claims
from shiftcast.util.types import Floats, Integers

LARGEST_LOGIT = 60_000.0


PREDICTIONS_LIMIT = 1_500_000
"""Bytes that one run's predictions may take in `results/`."""


CLASSES = "classes/"
"""What names of tensors begin with that hold class indices."""


LARGEST_PREDICTIONS = 128_000_000
"""Bytes of predictions that are read at all; scratch suites may have more than `results/` does."""


MOST_OUTPUTS = 100_000_000
"""Images x classes of all sets of one run that hold class indices, which are stored narrow and read wide."""


class FileState(NamedTuple):
    """What tells whether a file is still the one that was read."""

    number: int
    size: int
    changed: int

    @classmethod
    def of(cls, about: os.stat_result) -> FileState:
        """Return the state that the system tells."""
        return cls(about.st_ino, about.st_size, about.st_mtime_ns)


@dataclass(frozen=True)
class FiledOutputs:
    """Outputs on one set of images that stay in their file, which was checked, until they are asked for.

    Parameters
    ----------
    path
        The file.
    state
        Its state when it was checked.
    start
        Where the outputs begin in it, in bytes.
    shape
        Images and classes (n, K).
    hard
        Type of the class indices that it holds; None where it holds logits in float16.
    """

    path: Path
    state: FileState
    start: int
    shape: tuple[int, int]
    hard: np.dtype[np.unsignedinteger[Any]] | None

    def read(self) -> NDArray[np.float16]:
        """Return the logits (n, K), as `StoredSet` gives them.

        Raises
        ------
        RunError
            If the file was changed or taken away since it was checked.
        """
        n, classes = self.shape
        kind, count = (np.dtype("<f2"), n * classes) if self.hard is None else (self.hard, n)
        with suppress(OSError), self.path.open("rb") as stream:
            if FileState.of(os.fstat(stream.fileno())) == self.state:
                stream.seek(self.start)
                values: NDArray[Any] = np.fromfile(stream, kind, count)
                if len(values) == count:
                    return (
                        values.reshape(self.shape)
                        if self.hard is None
                        else one_hot(values, classes, np.float16)
                    )
        raise RunError(f"{self.path}: was changed while it was in use; do the same again")


@dataclass(frozen=True)
class StoredSet:
    """One model's stored outputs on one set of images.

    Parameters
    ----------
    outputs
        float16 (n, K), in memory or in a file.
    true_rank
        Rank of the true class among the stored logits (n,), 0 = right, ties by class index; None
        where labels are withheld.
    clusters
        Which object each image shows (n,), where several images may show one; else None.
    hard
        Whether only class indices are known: `logits` are 1 for the predicted class and 0 for the others.

    Attributes
    ----------
    logits
        float16 (n, K), read anew each time where they are in a file.
    """

    outputs: NDArray[np.float16] | FiledOutputs
    true_rank: NDArray[np.integer[Any]] | None
    clusters: Integers | None = None
    hard: bool = False

    @property
    def logits(self) -> NDArray[np.float16]:
        """float16 (n, K), read anew each time where they are in a file."""
        return self.outputs.read() if isinstance(self.outputs, FiledOutputs) else self.outputs

    @property
    def n(self) -> int:
        """The number of images."""
        return int(self.outputs.shape[0])

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return int(self.outputs.shape[1])

    @property
    def labels(self) -> Integers | None:
        """The labels (n,) that the ranks imply."""
        if self.true_rank is None:
            return None
        order = np.argsort(-self.logits.astype(np.float64), axis=1, kind="stable")
        return np.take_along_axis(order, self.true_rank[:, None].astype(np.int64), axis=1)[:, 0].astype(
            np.int64
        )

    @property
    def accuracy(self) -> float | None:
        """Share of images whose true class ranks first, in [0, 1]."""
        return None if self.true_rank is None else float((self.true_rank == 0).mean())


def store_logits(name: str, logits: Floats, labels: Integers | None) -> StoredSet:
    """Round logits to float16 and rank the true classes among the rounded values.

    Raises
    ------
    InvalidInputError
        If a logit is not finite or beyond 60,000 in size.
    """
    bad = ~(np.abs(logits) <= LARGEST_LOGIT)
    if bad.any():
        where = np.argwhere(bad)[0].tolist()
        raise InvalidInputError(
            f"{name}: {int(bad.sum())} logits are not finite or beyond {LARGEST_LOGIT:.0f}, the first at "
            f"index {where} ({logits[tuple(where)]}); the training has probably diverged"
        )
    stored = logits.astype(np.float16)
    if labels is None:
        return StoredSet(stored, None)
    return StoredSet(stored, true_ranks(stored, labels))


def store_classes(predicted: Integers, classes: int, labels: Integers | None) -> StoredSet:
    """Return class indices (n,), one of K `classes` each, as a set whose logits say no more than they do."""
    logits = one_hot(predicted, classes, np.float16)
    return StoredSet(logits, None if labels is None else true_ranks(logits, labels), hard=True)


def true_ranks(stored: NDArray[np.float16], labels: Integers) -> Integers:
    """Return the rank of each true class among the stored logits (n,): 0 = right, ties by class index.

    Parameters
    ----------
    stored
        float16 (n, K).
    labels
        True classes (n,).
    """
    exact = stored.astype(np.float32)
    true = np.take_along_axis(exact, labels[:, None], axis=1)
    before = np.arange(exact.shape[1]) < labels[:, None]
    ranks: Integers = (exact > true).sum(axis=1) + ((exact == true) & before).sum(axis=1)
    return ranks


def encode_predictions(sets: Mapping[str, StoredSet]) -> bytes:
    """Return the bytes of a `predictions.safetensors` file: equal sets, equal bytes."""
    tensors: dict[str, NDArray[Any]] = {}
    about: dict[str, int] = {"schema": SCHEMA}
    for name, stored in sets.items():
        kind = np.uint8 if stored.classes <= 256 else np.uint16
        if stored.hard:
            tensors[f"classes/{name}"] = stored.logits.argmax(axis=1).astype(kind)
            about["classes"] = stored.classes
        else:
            tensors[f"logits/{name}"] = np.ascontiguousarray(stored.logits)
        if stored.true_rank is not None:
            tensors[f"true_rank/{name}"] = stored.true_rank.astype(kind)
        if stored.clusters is not None:
            tensors[f"cluster/{name}"] = stored.clusters.astype(np.min_scalar_type(stored.clusters.max()))
    return bytes(save(tensors, metadata={"shiftcast": canonical_json(about)}))


def decode_predictions(data: bytes, where: str) -> dict[str, StoredSet]:
    """Return the sets in a `predictions.safetensors` file.

    Raises
    ------
    RunError
        If the bytes are truncated, foreign, or hold tensors of unexpected names, types or shapes.
    """
    claims = read_claims(data, len(data))
    if claims.problems:
        raise RunError(
            f"{where}: is not a readable safetensors file (truncated or foreign): {claims.problems[0]}"
        )
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(
            f"{where}: is not a readable safetensors file (truncated or foreign): {error}"
        ) from error
    if hard := any(key.startswith(CLASSES) for key in tensors):
        tensors = _widened(where, tensors, claims.metadata)
    sets: dict[str, StoredSet] = {}
    for key, logits in tensors.items():
        part, _, name = key.partition("/")
        if part in ("true_rank", "cluster") and f"logits/{name}" in tensors:
            continue
        if part != "logits" or not name:
            raise RunError(
                f"{where}: unexpected tensor {key!r}; expected logits/NAME, true_rank/NAME and cluster/NAME"
            )
        stored = _checked_set(where, name, logits, tensors.get(f"true_rank/{name}"))
        sets[name] = replace(stored, clusters=_checked_clusters(where, name, logits, tensors), hard=hard)
    if not sets:
        raise RunError(f"{where}: holds no predictions")
    return sets


def class_count(metadata: Mapping[str, str]) -> int | None:
    """Return of how many classes a file's class indices are, as its metadata say; None if they do not."""
    try:
        count = parse_json(metadata.get("shiftcast", "").encode())["classes"]
    except (ValueError, KeyError, TypeError):
        return None
    return count if type(count) is int and 2 <= count <= 65_536 else None


def _widened(
    where: str, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """Return tensors with logits of 0 and 1 in place of class indices."""
    count = class_count(metadata)
    if count is None:
        raise RunError(f"{where}: its metadata do not say of how many classes its class indices are")
    if sum(array.size for key, array in tensors.items() if key.startswith(CLASSES)) * count > MOST_OUTPUTS:
        raise RunError(f"{where}: holds more than {MOST_OUTPUTS:,} images x classes")
    found = {}
    for key, array in tensors.items():
        if key.startswith("logits/"):
            raise RunError(f"{where}: {key}: a run holds logits or class indices (classes/NAME), not both")
        if key.startswith(CLASSES):
            if array.dtype.kind != "u" or array.ndim != 1 or not array.size or array.max() >= count:
                raise RunError(
                    f"{where}: {key}: expected unsigned (n,) below {count}, got {array.dtype} {array.shape}"
                )
            key, array = f"logits/{key.removeprefix(CLASSES)}", one_hot(array, count, np.float16)
        found[key] = array
    return found


def _checked_set(where: str, name: str, logits: NDArray[Any], ranks: NDArray[Any] | None) -> StoredSet:
    if logits.dtype != np.float16 or logits.ndim != 2 or 0 in logits.shape or logits.shape[1] < 2:
        raise RunError(
            f"{where}: logits/{name}: expected float16 (n, K) with n >= 1 and K >= 2, "
            f"got {logits.dtype} {logits.shape}"
        )
    if not np.isfinite(logits).all():
        raise RunError(f"{where}: logits/{name}: holds NaN or infinite values")
    if ranks is None:
        return StoredSet(logits, None)
    if ranks.dtype.kind != "u" or ranks.shape != logits.shape[:1] or ranks.max() >= logits.shape[1]:
        raise RunError(
            f"{where}: true_rank/{name}: expected unsigned ({logits.shape[0]},) below {logits.shape[1]}, "
            f"got {ranks.dtype} {ranks.shape}"
        )
    return StoredSet(logits, ranks)  # as narrow as it was stored: a board holds every run's


def _checked_clusters(
    where: str, name: str, logits: NDArray[Any], tensors: Mapping[str, NDArray[Any]]
) -> Integers | None:
    clusters = tensors.get(f"cluster/{name}")
    if clusters is None:
        return None
    if clusters.dtype.kind != "u" or clusters.shape != logits.shape[:1]:
        raise RunError(
            f"{where}: cluster/{name}: expected unsigned ({logits.shape[0]},), "
            f"got {clusters.dtype} {clusters.shape}"
        )
    return clusters.astype(np.int64)


def left_in_file(
    path: Path, state: FileState, data: bytes, sets: Mapping[str, StoredSet]
) -> dict[str, StoredSet]:
    """Return checked sets with their outputs left in the file that holds them."""
    first = 8 + int.from_bytes(data[:8], "little")
    places = read_claims(data, len(data)).tensors
    found = {}
    for name, stored in sets.items():
        place = places[f"{CLASSES if stored.hard else 'logits/'}{name}"]
        kind = np.dtype(f"<u{(place.end - place.start) // stored.n}") if stored.hard else None
        outputs = FiledOutputs(path, state, first + place.start, (stored.n, stored.classes), kind)
        found[name] = replace(stored, outputs=outputs)
    return found
