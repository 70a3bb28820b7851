"""What loaders give and models return, in the forms that people use: images and labels, and logits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftcast.errors import InvalidInputError
from shiftcast.util.arrays import class_indices, one_column_hint
from shiftcast.util.types import Integers

IMAGES = ("pixel_values", "images", "image")
LABELS = ("labels", "label")
"""Keys of batches that are mappings."""
SAMPLED = 1024
"""Values of an image, spread over it, by which a batch is known again."""
SLACK = 0.02
"""How far beyond [0, 1] images may lie for the rounding of a normalisation and back."""


def split_batch(batch: Any, what: str) -> tuple[Tensor, Any]:
    """Return a batch's images (b, …), and its labels, or None where it has none.

    Raises
    ------
    InvalidInputError
        If it is of no known form.
    """
    images, labels = batch, None
    if isinstance(batch, Mapping):
        key = next((key for key in IMAGES if key in batch), None)
        if key is None:
            held = ", ".join(map(str, batch))
            raise InvalidInputError(f"{what}: expected images under {' or '.join(IMAGES)}; it holds {held}")
        images, labels = batch[key], next((batch[key] for key in LABELS if key in batch), None)
    elif isinstance(batch, tuple | list):
        if not batch:
            raise InvalidInputError(f"{what}: is empty")
        images, labels = batch[0], batch[1] if len(batch) > 1 else None
    if isinstance(images, np.ndarray):
        with suppress(TypeError):  # of types that torch does not know; refused below
            native = images.dtype.newbyteorder("=")
            images = torch.from_numpy(np.require(images, native, ["C_CONTIGUOUS", "WRITEABLE"]))
    if not isinstance(images, Tensor) or images.ndim < 2 or not len(images):
        came = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise InvalidInputError(
            f"{what}: expected images as a tensor (b, …), or (images, labels), or a dict, got {came}"
        )
    return images, labels


def checked_labels(labels: Any, what: str, n: int, classes: int) -> Integers:
    """Return labels int64 (n,) in [0, classes), or refuse them by batch."""
    try:
        return class_indices(
            f"{what}: labels", labels.cpu() if isinstance(labels, Tensor) else labels, (n,), classes
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{error}. labels=False reads none") from error


def logits_from(output: Any, n: int, what: str) -> Tensor:
    """Return the logits (n, K) of what a model returned.

    Raises
    ------
    InvalidInputError
        If there are none, or several tensors may be them.
    """
    logits, came = output, type(output).__name__
    if isinstance(getattr(output, "logits", None), Tensor):
        logits = output.logits
    elif isinstance(output, Mapping):
        came += f" with {', '.join(map(str, output)) or 'nothing'}"
        logits = output.get("logits")
    elif isinstance(output, tuple | list) and output:
        shapes = [
            tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__ for value in output
        ]
        came += f" of {', '.join(map(str, shapes))}"
        alike = [
            value for value in output if isinstance(value, Tensor) and value.ndim == 2 and len(value) == n
        ]
        if len(alike) > 1:
            raise InvalidInputError(
                f"{what}: the model returned a {came}; several of them may be the logits. Say which with "
                "logits_of=FUNCTION, of the first: logits_of=lambda output: output[0]"
            )
        logits = output[0]
        if alike and alike[0] is not logits:
            raise InvalidInputError(
                f"{what}: the model returned a {came}; the first is not logits ({n}, K). Say which are with "
                "logits_of=FUNCTION, of the second: logits_of=lambda output: output[1]"
            )
    if not isinstance(logits, Tensor):
        raise InvalidInputError(
            f"{what}: expected logits ({n}, K) as a tensor, under 'logits' or first in a tuple; the model "
            f"returned a {came}. Take them out of it with logits_of=FUNCTION"
        )
    logits = logits.to_dense() if logits.layout != torch.strided else logits
    if logits.ndim != 2 or len(logits) != n or logits.shape[1] < 2 or logits.is_complex():
        array = (logits if logits.ndim else logits.reshape(1))[:8].detach().cpu()
        raise InvalidInputError(
            f"{what}: expected logits ({n}, K) of K >= 2 classes, got {tuple(logits.shape)}"
            f"{' of complex numbers' if logits.is_complex() else one_column_hint(array.float().numpy())}"
        )
    return logits


def to_bytes(images: Tensor, mean: NDArray[Any], std: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Return normalised images (b, C, H, W), C = 1 or 3, as grey levels uint8 (b, H, W, 3).

    Raises
    ------
    InvalidInputError
        If they have another form, or are not in [0, 1] after times `std` plus `mean`.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < 2:
        raise InvalidInputError(f"{what}: corrupt: expected images (b, 3, H, W), got {tuple(images.shape)}")
    pixels = images.permute(0, 2, 3, 1).cpu()
    if images.dtype != torch.uint8:
        values = pixels.double().numpy() * std + mean
        if values.min() < -SLACK or values.max() > 1 + SLACK:
            raise InvalidInputError(
                f"{what}: corrupt: expected images in [0, 1] after times std plus mean, but they span "
                f"{values.min():.4g} to {values.max():.4g}; give mean= and std= (of each channel, in shares "
                "of 1) by which the loader normalises. Of grey levels to 255: mean=0, std=1/255"
            )
        pixels = torch.from_numpy(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))
    return np.ascontiguousarray(pixels.expand(-1, -1, -1, 3).numpy())


def from_bytes(pixels: NDArray[np.uint8], like: Tensor, mean: NDArray[Any], std: NDArray[Any]) -> Tensor:
    """Return grey levels (b, H, W, 3) in the form, type and normalisation of images `like`."""
    if like.dtype == torch.uint8:
        values = torch.from_numpy(pixels)
    else:
        values = torch.from_numpy((pixels / 255 - mean) / std).to(like.dtype)
    return values[..., : like.shape[1]].permute(0, 3, 1, 2)


def digest(images: Tensor, labels: Any) -> bytes:
    """Return a SHA-256 by which a batch is known again: of a sample of each image, and of its labels."""
    flat = images.reshape(len(images), -1)
    sample = flat[:, :: max(1, flat.shape[1] // SAMPLED)].contiguous().cpu().view(torch.uint8)
    known = hashlib.sha256(f"{images.dtype} {tuple(images.shape)}".encode())
    known.update(sample.numpy().tobytes())
    if labels is not None:
        known.update(np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels).tobytes())
    return known.digest()
