"""The content of `predictions.safetensors`.

Logits are stored as float16; where labels are known, `true_rank` holds the rank of the true class among
the *stored* logits, so that labels and correctness follow without any dataset.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.record import SCHEMA
from shiftcast.util.arrays import one_hot
from shiftcast.util.hashing import canonical_json, parse_json
from shiftcast.util.tensors import claimed_size, first_byte, read_header, read_tensors
from shiftcast.util.types import Floats, Integers

LARGEST_LOGIT = 60_000.0
LARGEST_BITS = int(np.float16(LARGEST_LOGIT).view(np.uint16))


PREDICTIONS_LIMIT = 1_500_000
"""Bytes that one run's predictions may take in `results/`."""


OUTPUTS = ("logits", "classes")
"""What names of tensors begin with that hold outputs: logits, or class indices alone."""
CLASSES = "classes/"


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


class Misfit(NamedTuple):
    """What is wrong with one tensor, or with the whole file, whose name is empty."""

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return all of it in one line."""
        return f"{self.name and f'{self.name}: '}expected {self.expected}, found {self.found}"


class Decoded(NamedTuple):
    """The sets in a file, and what is wrong with it; with any misfit, no sets."""

    sets: dict[str, StoredSet]
    misfits: Sequence[Misfit]
    truncated: bool = False


def decode_predictions(data: bytes, where: str) -> dict[str, StoredSet]:
    """Return the sets in a `predictions.safetensors` file.

    Raises
    ------
    RunError
        If the bytes are truncated, foreign, or hold tensors of unexpected names, types, shapes or values.
    """
    sets, misfits, _ = decode(data)
    if misfits:
        raise RunError(f"{where}: {misfits[0]}")
    return sets


def decode(data: bytes, sizes: Mapping[str, int | None] | None = None, classes: int | None = None) -> Decoded:
    """Return the sets in a `predictions.safetensors` file, and everything that is wrong with it.

    Class indices of many classes take far more memory as logits, which are made last.

    Parameters
    ----------
    data
        The file.
    sizes
        The sets that it may hold, with their numbers of images; None for any set, or any number.
    classes
        How many classes there are; None where the file says it.
    """
    try:
        tensors, metadata = read_tensors(data)
    except ValueError as error:
        whole = claimed_size(data)
        short = f"{whole:,} bytes, as the file's header tells"
        expected = short if whole > len(data) else "a whole safetensors file"
        return Decoded({}, [Misfit("", expected, str(error))], truncated=True)
    if misfits := list(_misfits(tensors, metadata, sizes, classes)):
        return Decoded({}, misfits)
    count = class_count(metadata) or 0
    sets: dict[str, StoredSet] = {}
    for key, outputs in tensors.items():
        part, _, name = key.partition("/")
        if part not in OUTPUTS:
            continue
        hard = part == OUTPUTS[1]
        of = count if hard else outputs.shape[1]
        ranks, clusters = tensors.get(f"true_rank/{name}"), tensors.get(f"cluster/{name}")
        if wrong := list(_wrong_values(key, outputs, ranks, of)):
            misfits += wrong
            continue
        logits = one_hot(outputs, of, np.float16) if hard else outputs
        # ranks stay as narrow as they are stored: a board holds every run's
        sets[name] = StoredSet(logits, ranks, None if clusters is None else clusters.astype(np.int64), hard)
    return Decoded({} if misfits else sets, misfits)


def class_count(metadata: Mapping[str, str]) -> int | None:
    """Return of how many classes a file's class indices are, as its metadata say; None if they do not."""
    try:
        count = parse_json(metadata.get("shiftcast", "").encode())["classes"]
    except (ValueError, KeyError, TypeError):
        return None
    return count if type(count) is int and 2 <= count <= 65_536 else None


def _misfits(
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
    sizes: Mapping[str, int | None] | None,
    classes: int | None,
) -> Iterator[Misfit]:
    """Give what is wrong with the names, types and shapes of a file's tensors."""
    hard = any(name.startswith(CLASSES) for name in tensors)
    kind, parts = OUTPUTS[hard], (OUTPUTS[hard], "true_rank", "cluster")
    stated = class_count(metadata) if hard else classes
    if not tensors:
        yield Misfit("", "outputs on a set", "no tensor")
    if hard and (stated is None or classes not in (None, stated)):
        yield Misfit("__metadata__", f"{classes or 'the number of'} classes", str(stated))
        return
    images = 0
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        outputs = tensors.get(f"{kind}/{name}")
        if part not in parts or not name or (sizes is not None and name not in sizes):
            known = "" if sizes is None else " of sets of the suite"
            yield Misfit(repr(key), f"{kind}/SET, true_rank/SET or cluster/SET{known}", "another name")
        elif outputs is None:
            yield Misfit(key, f"{kind}/{name} beside it", "none")
        else:
            images += len(outputs) if part == kind and outputs.ndim else 0
            yield from _misshapen(key, tensor, outputs.shape, None if sizes is None else sizes[name], stated)
    if hard and stated is not None and images * stated > MOST_OUTPUTS:
        yield Misfit("", f"at most {MOST_OUTPUTS:,} images x classes", f"{images * stated:,}")


def _misshapen(
    key: str, tensor: NDArray[Any], outputs: tuple[int, ...], images: int | None, classes: int | None
) -> Iterator[Misfit]:
    """Give what is wrong with a tensor beside outputs of a shape; what is not known is as they have it."""
    n = images or (outputs[0] if outputs else 0)
    k = classes or (outputs[1] if len(outputs) == 2 else 0)
    part = key.partition("/")[0]
    narrow = "uint8" if k <= 256 else "uint16"
    types = {"logits": ("float16",), "cluster": ("uint8", "uint16", "uint32")}.get(part, (narrow,))
    if (
        tensor.dtype.name not in types
        or tensor.shape != ((n, k) if part == "logits" else (n,))
        or not n
        or k < 2
    ):
        wanted = f"({n or 'n'}, {k if k > 1 else 'K >= 2'})" if part == "logits" else f"({n or 'n'},)"
        yield Misfit(key, f"{' or '.join(types)} {wanted}", f"{tensor.dtype} {tensor.shape}")


def _wrong_values(
    key: str, outputs: NDArray[Any], ranks: NDArray[Any] | None, classes: int
) -> Iterator[Misfit]:
    if outputs.ndim == 2:
        # the bits of float16 without the sign grow with its size, and those of NaN are largest
        beyond = int(((outputs.view(np.uint16) & 0x7FFF) > LARGEST_BITS).sum())
        if beyond:
            found = f"{beyond:,} that are NaN or infinite values, or beyond"
            yield Misfit(key, f"finite values of at most {LARGEST_LOGIT:,.0f} in size", found)
    elif outputs.max() >= classes:
        yield Misfit(key, f"classes below {classes}", f"{outputs.max()}")
    if ranks is not None and ranks.max() >= classes:
        name = f"true_rank/{key.partition('/')[2]}"
        yield Misfit(name, f"ranks below {classes}", f"{ranks.max()}")


def left_in_file(
    path: Path, state: FileState, data: bytes, sets: Mapping[str, StoredSet]
) -> dict[str, StoredSet]:
    """Return checked sets with their outputs left in the file that holds them."""
    places, found = read_header(data), {}
    for name, stored in sets.items():
        start, end = places[f"{CLASSES if stored.hard else 'logits/'}{name}"]["data_offsets"]
        kind = np.dtype(f"<u{(end - start) // stored.n}") if stored.hard else None
        shape = (stored.n, stored.classes)
        outputs = FiledOutputs(path, state, first_byte(data) + start, shape, kind)
        found[name] = replace(stored, outputs=outputs)
    return found
