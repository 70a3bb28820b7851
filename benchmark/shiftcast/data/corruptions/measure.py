"""All corruptions of a test set, one after the other: what each does to the images, without storing them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    The sets of one corruption are in memory at a time, where they are stored, else one set.

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
        A new or empty folder to store the sets in, in the layout of the published CIFAR-10-C: NAME.npy with
        the severities one after the other, and labels.npy. Nothing is stored when None.

    Raises
    ------
    InvalidInputError
        If nothing is selected, `out` is not empty, or one `labels.npy` cannot be right for all that it would
        hold. This is known before anything is made.
    """
    wanted = selected(names, severities)
    if out is not None:
        _check_store(out, wanted)
    return _made(images, labels, wanted, models or {}, out)


def _made(
    images: Bytes,
    labels: Integers,
    wanted: Mapping[str, Sequence[int]],
    models: Mapping[str, Predict],
    out: Path | None,
) -> Iterator[Regenerated]:
    index = np.arange(len(images))
    for name, severities in wanted.items():
        kept: list[Bytes] = []
        for severity in severities:
            made = corrupt(images, name, severity, index)
            kept += [] if out is None else [made]
            absolute, squared = _distances(images, made)
            accuracy = {model: float((predict(made) == labels).mean()) for model, predict in models.items()}
            yield Regenerated(name, severity, absolute, squared, fingerprint(made, labels), accuracy)
        if out is not None:
            _store(out / "labels.npy", np.tile(labels.astype(np.uint8), len(severities)))
            _store(out / f"{name}.npy", np.concatenate(kept))


def _check_store(out: Path, wanted: Mapping[str, Sequence[int]]) -> None:
    """Refuse a folder that holds something, and sets that one `labels.npy` cannot be right for."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInputError(f"{out}: is there already and not an empty folder; name another")
    if len({len(severities) for severities in wanted.values()}) > 1:
        counts = ", ".join(f"{name} {len(severities)}" for name, severities in wanted.items())
        raise InvalidInputError(
            f"{out}: one labels.npy cannot be right for types of unlike numbers of severities ({counts}); "
            "store them in a folder each"
        )


def _store(path: Path, array: Bytes) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_atomic(path, stream.getvalue())


def _distances(clean: Bytes, made: Bytes) -> tuple[float, float]:
    absolute = squared = 0
    for start in range(0, len(clean), BLOCK):
        part = slice(start, start + BLOCK)
        # In whole numbers: the sums are exact, and the same on every machine.
        difference = made[part].astype(np.int32) - clean[part]
        absolute += int(np.abs(difference).sum())
        squared += int((difference**2).sum())
    return absolute / clean.size, float(np.sqrt(squared / clean.size))
