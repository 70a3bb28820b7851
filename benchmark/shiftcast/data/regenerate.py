"""All corruptions of a test set, one after the other: what each does to the images, without storing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftcast.data.corruptions import SEVERITIES, TRANSFORMS, corrupt
from shiftcast.data.fingerprints import fingerprint
from shiftcast.errors import InvalidInputError
from shiftcast.predictions import Integers

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
        Which corruptions; a severity that one does not have is left out.
    models
        Functions from images to predicted classes (n,), by name.
    out
        Folder to store the sets in, in the layout of the published CIFAR-10-C: NAME.npy with the
        severities one after the other, and labels.npy. Nothing is stored when None.

    Raises
    ------
    InvalidInputError
        If `out` holds one of the files already.
    """
    index = np.arange(len(images))
    for name in names:
        wanted = [severity for severity in severities if severity in TRANSFORMS[name].severities]
        store = _Store(out, name, labels, len(images), len(wanted)) if out is not None else None
        for place, severity in enumerate(wanted):
            made = corrupt(images, name, severity, index)
            if store is not None:
                store.add(place, made)
            absolute, squared = _distances(images, made)
            accuracy = {
                model: float((predict(made) == labels).mean()) for model, predict in (models or {}).items()
            }
            yield Regenerated(name, severity, absolute, squared, fingerprint(made, labels), accuracy)
        if store is not None:
            store.close()


def _distances(clean: Bytes, made: Bytes) -> tuple[float, float]:
    absolute = squared = 0
    for start in range(0, len(clean), BLOCK):
        part = slice(start, start + BLOCK)
        difference = made[part].astype(np.int32) - clean[part]
        absolute += int(np.abs(difference).sum())
        squared += int((difference**2).sum())
    return absolute / clean.size, float(np.sqrt(squared / clean.size))


class _Store:
    """One type's file, mapped: it grows on the disk, not in memory, and gets its name when it is whole."""

    def __init__(self, out: Path, name: str, labels: Integers, n: int, severities: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / f"{name}.npy"
        if self.path.exists():
            raise InvalidInputError(f"{self.path}: is there already; choose another folder or remove it")
        np.save(out / "labels.npy", np.tile(labels.astype(np.uint8), severities), allow_pickle=False)
        self.partial = out / f".{name}.npy.part"
        shape = (n * severities, 32, 32, 3)
        self.array = np.lib.format.open_memmap(self.partial, mode="w+", dtype=np.uint8, shape=shape)
        self.n = n

    def add(self, place: int, images: Bytes) -> None:
        self.array[place * self.n : (place + 1) * self.n] = images

    def close(self) -> None:
        self.array.flush()
        self.partial.replace(self.path)
