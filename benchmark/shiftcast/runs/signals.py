"""Signals: what is recorded of each image beside a network's outputs, without labels: `signals.safetensors`.

How early an image was learned, how deep in the network its class is settled, how stable the class is
under small changes of the image, and how far the image is from the training images. This module is the
file's format; `training.signals` computes what is in it.

The metadata say the schema, the probed blocks in order, and of each set a digest of the predicted
classes, which binds the file to the predictions beside it. Per set there are `depth_views/SET` (upper
four bits: `depth`, lower four: `views`), `neighbour_distance/SET`, `view_probability/SET` (of the images
with views alone) and, where they are known, `learned_epoch/SET`: uint8, one value an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from shiftcast.errors import NewerSchemaError, RunError
from shiftcast.util.hashing import canonical_json, parse_json, sha256
from shiftcast.util.tensors import read_tensors
from shiftcast.util.types import Integers

SCHEMA = 1
SIGNALS_LIMIT = 250_000
"""Bytes that one run's signals may take in `results/`."""
LARGEST_SIGNALS = 32_000_000
"""Bytes of signals that are read at all; scratch suites may have more than `results/` does."""
VIEWS = 8
"""Test-time views of an image."""
WITHOUT_VIEWS = 15
"""What stands for `views` where none were made of the image."""
NOT_LEARNED = 0
"""What stands for `learned_epoch` where it was not determined; epochs count from 1."""
MOST_PROBES = 14
"""Blocks that are probed at most: four bits hold `depth`."""
MOST_EPOCHS = 255
KEY = "shiftcast"
FARTHEST = 2.0
"""Distance of opposite features of length 1."""
PARTS = ("depth_views", "view_probability", "neighbour_distance", "learned_epoch")
"""What names of tensors begin with."""

Bytes = NDArray[np.uint8]
Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ImageSignals:
    """What is recorded of the n images of one set.

    Parameters
    ----------
    depth
        Effective prediction depth, uint8 (n,): index from 0 of the first probed block from which the
        nearest-neighbour probes of it and all later blocks agree with the prediction; the number of
        probes where even the last disagrees (Baldock et al. 2021, arXiv:2106.09647).
    views
        How many of eight views of the image get the class that the image gets, uint8 (n,), 0 to 8; 15
        where no views were made (invariance: Ng et al. 2022, arXiv:2207.02093; Deng et al. 2022,
        arXiv:2207.07065).
    view_probability
        Mean softmax probability of that class over the views, float32 (n,), in [0, 1] in steps of 1/255;
        NaN where no views were made.
    neighbour_distance
        Euclidean distance of the penultimate features, scaled to length 1, to the tenth nearest of a
        fixed sample of training images', float32 (n,), in [0, 2] (Sun et al. 2022, arXiv:2204.06507).
    learned_epoch
        First epoch, from 1, from which the predicted class is the final one and stays it, uint8 (n,); 0
        where it was not determined. None where no network of earlier epochs was at hand, and for sets
        that are made from the test set.
    """

    depth: Bytes
    views: Bytes
    view_probability: Values
    neighbour_distance: Values
    learned_epoch: Bytes | None = None

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.depth)

    @property
    def with_views(self) -> NDArray[np.bool_]:
        """Of which images views were made (n,)."""
        made: NDArray[np.bool_] = self.views != WITHOUT_VIEWS
        return made


@dataclass(frozen=True, eq=False)
class Signals:
    """The signals of one run.

    Parameters
    ----------
    blocks
        Names of the probed blocks in the network, in the order of the forward pass.
    sets
        Signals by name of the set.
    predicted
        `classes_digest` of each set's predicted classes.
    epochs
        For how many epochs the network was trained; 0 where it is not known.
    """

    blocks: tuple[str, ...]
    sets: Mapping[str, ImageSignals]
    predicted: Mapping[str, str]
    epochs: int = 0

    def shares(self, name: str, rows: Integers) -> dict[str, NDArray[np.float64]] | None:
        """Return the signals of images of a set as `Predictions.signals` has them; None if there are none."""
        one = self.sets.get(name)
        if one is None:
            return None
        views = np.where(one.with_views, one.views / VIEWS, np.nan)
        shares = {"depth": one.depth / len(self.blocks), "views": views}
        shares["view_probability"] = one.view_probability.astype(np.float64)
        if one.learned_epoch is not None and self.epochs:
            learned = one.learned_epoch / self.epochs
            shares["learned_epoch"] = np.where(one.learned_epoch == NOT_LEARNED, np.nan, learned)
        return {key: values[rows] for key, values in shares.items()}

    def learned(self, name: str, predicted: Integers) -> Bytes | None:
        """Return the learned epochs of a set (n,), if known of these very predicted classes (n,)."""
        one = self.sets.get(name)
        if one is None or one.n != len(predicted) or self.predicted[name] != classes_digest(predicted):
            return None
        return one.learned_epoch


def classes_digest(predicted: Integers) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of classes (n,) as little-endian uint16."""
    return sha256(predicted.astype("<u2").tobytes())[:16]


def encode_signals(signals: Signals) -> bytes:
    """Return the bytes of a `signals.safetensors` file: equal signals, equal bytes.

    Probabilities are rounded to p = b / 255; distances to d = 2 (b / 255)^2, whose steps are finest where
    distances are small.
    """
    tensors: dict[str, Bytes] = {}
    for name, one in signals.sets.items():
        tensors[f"depth_views/{name}"] = (one.depth * 16 + one.views).astype(np.uint8)
        known = one.view_probability[one.with_views]
        tensors[f"view_probability/{name}"] = np.rint(known * np.float32(255)).astype(np.uint8)
        root = np.sqrt(one.neighbour_distance / np.float32(FARTHEST))
        tensors[f"neighbour_distance/{name}"] = np.rint(root * np.float32(255)).astype(np.uint8)
        if one.learned_epoch is not None:
            tensors[f"learned_epoch/{name}"] = np.ascontiguousarray(one.learned_epoch)
    about = {"schema": SCHEMA, "blocks": list(signals.blocks), "predicted": dict(signals.predicted)}
    return bytes(save(tensors, metadata={KEY: canonical_json(about)}))


def signals_of_run(
    data: bytes, where: str, digest: str, predicted: Mapping[str, Integers], epochs: int
) -> Signals:
    """Return the content of a `signals.safetensors` file that is the one of a run.

    Parameters
    ----------
    data, where
        The file's bytes, and its path.
    digest
        Its SHA-256, as the run's record states.
    predicted, epochs
        As in `check_agreement`.

    Raises
    ------
    RunError
        If it is damaged, of another schema or of other images.
    """
    signals = decode_signals(data, where)
    check_agreement(where, signals, predicted, epochs)
    if sha256(data) != digest:
        raise RunError(f"{where}: its SHA-256 differs from the one in run.json")
    return replace(signals, epochs=epochs)


def decode_signals(data: bytes, where: str) -> Signals:
    """Return the content of a `signals.safetensors` file.

    Raises
    ------
    RunError
        If the bytes are truncated, foreign or of another schema, or hold tensors of unexpected names,
        types, shapes or values.
    """
    try:
        tensors, metadata = read_tensors(data)
    except ValueError as error:
        raise RunError(
            f"{where}: is not a readable safetensors file (truncated or foreign): {error}"
        ) from error
    blocks, predicted = _about(where, metadata)
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        if part not in PARTS or name not in predicted:
            raise RunError(f"{where}: unexpected tensor {key!r}; expected {'/SET, '.join(PARTS)}/SET")
        if tensor.dtype != np.uint8 or tensor.ndim != 1:
            raise RunError(f"{where}: {key}: expected uint8 (n,), got {tensor.dtype} {tensor.shape}")
    sets = {name: _set(where, name, tensors, len(blocks)) for name in predicted}
    return Signals(blocks, sets, predicted)


def _about(where: str, metadata: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the probed blocks and the digests that the metadata state."""
    try:
        about = parse_json(metadata.get(KEY, "").encode())
    except ValueError:
        about = None
    schema = about.get("schema") if isinstance(about, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise NewerSchemaError(f"{where}: newer schema, {schema}: this version of Shiftcast reads {SCHEMA}")
    if not isinstance(about, dict) or type(schema) is not int or schema != SCHEMA:
        raise RunError(f"{where}: its schema is {schema!r}, but this version of Shiftcast reads {SCHEMA}")
    blocks, predicted = about.get("blocks"), about.get("predicted")
    if not isinstance(blocks, list) or not all(isinstance(name, str) for name in blocks):
        raise RunError(f"{where}: its metadata do not name the probed blocks")
    if not 1 <= len(blocks) <= MOST_PROBES:
        raise RunError(f"{where}: expected 1 to {MOST_PROBES} probed blocks, got {len(blocks)}")
    if not isinstance(predicted, dict) or not predicted:
        raise RunError(f"{where}: its metadata do not say which predictions it belongs to")
    if not all(isinstance(digest, str) for digest in predicted.values()):
        raise RunError(f"{where}: its metadata do not say which predictions it belongs to")
    return tuple(blocks), predicted


def _set(where: str, name: str, tensors: Mapping[str, NDArray[Any]], probes: int) -> ImageSignals:
    """Return the signals of one set from its tensors, checked."""
    missing = [part for part in PARTS[:3] if f"{part}/{name}" not in tensors]
    if missing:
        raise RunError(f"{where}: lacks {missing[0]}/{name}")
    packed, shares, distances = (tensors[f"{part}/{name}"] for part in PARTS[:3])
    learned = tensors.get(f"learned_epoch/{name}")
    depth, views = (packed // 16).astype(np.uint8), (packed % 16).astype(np.uint8)
    known = views != WITHOUT_VIEWS
    if not len(packed):
        raise RunError(f"{where}: depth_views/{name}: holds no images")
    if depth.max() > probes:
        raise RunError(f"{where}: depth_views/{name}: expected depths of at most {probes}, got {depth.max()}")
    if views[known].max(initial=0) > VIEWS:
        raise RunError(
            f"{where}: depth_views/{name}: expected 0 to {VIEWS} views, or {WITHOUT_VIEWS} for none, "
            f"got {views[known].max()}"
        )
    for part, tensor, count in (
        ("view_probability", shares, int(known.sum())),
        ("neighbour_distance", distances, len(packed)),
        ("learned_epoch", packed if learned is None else learned, len(packed)),
    ):
        if len(tensor) != count:
            raise RunError(f"{where}: {part}/{name}: expected ({count},), got {tensor.shape}")
    probability = np.full(len(packed), np.nan, np.float32)
    probability[known] = shares / np.float32(255)
    distance = np.float32(FARTHEST) * np.square(distances / np.float32(255))
    return ImageSignals(depth, views, probability, distance.astype(np.float32), learned)


def check_agreement(where: str, signals: Signals, predicted: Mapping[str, Integers], epochs: int) -> None:
    """Refuse signals that are not of these predictions.

    Parameters
    ----------
    where
        The file.
    signals
        What it holds.
    predicted
        Predicted classes (n,) of every set of the run.
    epochs
        For how many epochs the run's network was trained.

    Raises
    ------
    RunError
        If the sets, the numbers of images or the predicted classes are others, or an image was learned after
        the last epoch.
    """
    if strange := sorted(set(signals.sets) ^ set(predicted)):
        which = "lacks set" if strange[0] in predicted else "is of another set than the predictions,"
        raise RunError(f"{where}: {which} {strange[0]!r}")
    for name, classes in predicted.items():
        if signals.sets[name].n != len(classes):
            raise RunError(
                f"{where}: {name}: holds {signals.sets[name].n} images, but the predictions hold "
                f"{len(classes)}"
            )
        if signals.predicted[name] != classes_digest(classes):
            raise RunError(f"{where}: {name}: belongs to other predictions than those beside it")
        learned = signals.sets[name].learned_epoch
        if learned is not None and learned.max() > epochs:
            raise RunError(
                f"{where}: learned_epoch/{name}: expected epochs of at most {epochs}, got {learned.max()}"
            )
