"""All corruptions of a test set, one after the other: what each does to the images, without storing them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftcast.data.corruptions.registry import SEVERITIES, TRANSFORMS, corrupt
from shiftcast.data.fingerprints import fingerprint
from shiftcast.errors import InvalidInputError
from shiftcast.util.files import write_atomic
from shiftcast.util.types import Integers

Bytes = NDArray[np.uint8]
BLOCK = 1000
"""Images compared at a time."""


@dataclass(frozen=True)
class Regenerated:
    """One corruption at one severity.

    Parameters
    ----------
    name, severity
        Which.
    mean_absolute
        Mean absolute difference from the clean values, in grey levels.
    root_mean_square
        Root of the mean squared difference, in grey levels.
    fingerprint
        Of the images and labels.
    accuracy
        Share of right answers in [0, 1] of each model, by name.
    """

    name: str
    severity: int
    mean_absolute: float
    root_mean_square: float
    fingerprint: str
    accuracy: Mapping[str, float]


Predict = Callable[[Bytes], Integers]


def selected(names: Sequence[str], severities: Sequence[int]) -> dict[str, list[int]]:
    """Return which of these severities each corruption has, in order and once; none that has none of them.

    Raises
    ------
    InvalidInputError
        If no corruption has any of them.
    """
    wanted = {
        name: [severity for severity in sorted(set(severities)) if severity in TRANSFORMS[name].severities]
        for name in names
    }
    nonempty = {name: kept for name, kept in wanted.items() if kept}
    if not nonempty:
        offered = "; ".join(
            f"{name} has {', '.join(map(str, TRANSFORMS[name].severities))}" for name in list(wanted)[:5]
        )
        asked = ", ".join(map(str, sorted(set(severities)))) or "none"
        raise InvalidInputError(
            f"nothing is to be made of severity {asked}: {offered or 'no types are named'}"
        )
    return nonempty


def regenerate(
    images: Bytes,
    labels: Integers,
    names: Sequence[str],
    severities: Sequence[int] = SEVERITIES,
    models: Mapping[str, Predict] | None = None,
    out: Path | None = None,
) -> Iterator[Regenerated]:
    """Make every set of images in turn and say how far it is from the clean one.

    One set is in memory at a time.

    Parameters
    ----------
    images
        The whole clean test set, uint8 (n, 32, 32, 3).
    labels
        Its labels (n,).
    names, severities
        Which corruptions, each once; a severity that one does not have is left out.
    models
        Functions from images to predicted classes (n,), by name.
    out
        Folder to store the sets in, in the layout of the published CIFAR-10-C: NAME.npy with the
        severities one after the other, and labels.npy. Nothing is stored when None.

    Raises
    ------
    InvalidInputError
        If nothing is selected, `out` holds one of the files already, or one `labels.npy` cannot be right
        for all that it would then hold. This is known before anything is made.
    """
    wanted = selected(names, severities)
    stored = None if out is None else _stored_labels(out, wanted, labels)
    return _made(images, labels, wanted, models or {}, out, stored)


def _made(
    images: Bytes,
    labels: Integers,
    wanted: Mapping[str, Sequence[int]],
    models: Mapping[str, Predict],
    out: Path | None,
    stored: NDArray[np.uint8] | None,
) -> Iterator[Regenerated]:
    index = np.arange(len(images))
    for name, severities in wanted.items():
        store = None
        if out is not None and stored is not None:
            store = _Store(out, name, stored, len(images))
        for position, severity in enumerate(severities):
            made = corrupt(images, name, severity, index)
            if store is not None:
                store.add(position, made)
            absolute, squared = _distances(images, made)
            accuracy = {model: float((predict(made) == labels).mean()) for model, predict in models.items()}
            yield Regenerated(name, severity, absolute, squared, fingerprint(made, labels), accuracy)
        if store is not None:
            store.close()


def _stored_labels(out: Path, wanted: Mapping[str, Sequence[int]], labels: Integers) -> NDArray[np.uint8]:
    """Return what `labels.npy` must hold beside these sets; refuse a folder in which it cannot."""
    for name in wanted:
        if (out / f"{name}.npy").exists():
            raise InvalidInputError(f"{out / name}.npy: is there already; choose another folder or remove it")
    if len({len(severities) for severities in wanted.values()}) > 1:
        counts = ", ".join(f"{name} {len(severities)}" for name, severities in wanted.items())
        raise InvalidInputError(
            f"{out}: one labels.npy cannot be right for types of unlike numbers of severities ({counts}); "
            "store them in a folder each"
        )
    times = len(next(iter(wanted.values())))
    expected = np.tile(labels.astype(np.uint8), times)
    path = out / "labels.npy"
    if path.exists() and not _holds(path, expected):
        raise InvalidInputError(
            f"{path}: is not the {len(labels)} labels {times} times, which these sets need; choose another "
            "folder, or the severities that were stored there"
        )
    return expected


def _holds(path: Path, expected: NDArray[np.uint8]) -> bool:
    with suppress(OSError, ValueError, EOFError):
        return bool(np.array_equal(np.load(path, allow_pickle=False), expected))
    return False


def _distances(clean: Bytes, made: Bytes) -> tuple[float, float]:
    absolute = squared = 0
    for start in range(0, len(clean), BLOCK):
        part = slice(start, start + BLOCK)
        # In whole numbers: the sums are exact, and the same on every machine.
        difference = made[part].astype(np.int32) - clean[part]
        absolute += int(np.abs(difference).sum())
        squared += int((difference**2).sum())
    return absolute / clean.size, float(np.sqrt(squared / clean.size))


class _Store:
    """One type's file, mapped: it grows on the disk, not in memory, and gets its name when it is whole."""

    def __init__(self, out: Path, name: str, labels: NDArray[np.uint8], n: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path, self.partial = out / f"{name}.npy", out / f".{name}.npy.part"
        shape = (len(labels), 32, 32, 3)
        self.array = np.lib.format.open_memmap(self.partial, mode="w+", dtype=np.uint8, shape=shape)
        self.labels, self.n = labels, n

    def add(self, position: int, images: Bytes) -> None:
        self.array[position * self.n : (position + 1) * self.n] = images

    def close(self) -> None:
        self.array.flush()
        labels = self.path.with_name("labels.npy")
        if not labels.exists():
            stream = io.BytesIO()
            np.save(stream, self.labels, allow_pickle=False)
            write_atomic(labels, stream.getvalue())
        self.partial.replace(self.path)
