"""Evaluation: one pass of one network over all sets, batches filled across their borders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shiftcast.cards import ArchitectureCard
from shiftcast.training.models import logits_of
from shiftcast.training.resident import Channels, Images, normalise


def evaluate(
    model: nn.Module,
    card: ArchitectureCard,
    sets: Mapping[str, Images],
    mean: Channels,
    std: Channels,
    device: str | torch.device,
    batch_size: int = 512,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Return a network's logits on every set.

    Images are streamed to the device a batch at a time: as bytes they cost far less to move than
    to classify, and sets may be memory-mapped and larger than the device.

    Parameters
    ----------
    model
        The card's network, on `device`; left in evaluation mode.
    card
        The architecture card.
    sets
        uint8 images (n, H, W, 3) by name, all of one size.
    mean, std
        The training images' channel statistics, in grey levels.
    device
        Where to evaluate.
    batch_size
        Images a batch; batches run across the borders between sets.
    on_progress
        Called after each batch with the images done and in all.

    Returns
    -------
    dict
        float32 logits (n, K) by name, in the order of `sets`.
    """
    total = sum(map(len, sets.values()))
    parts = []
    done = 0
    model.eval()
    with torch.inference_mode():
        for images in _batches(list(sets.values()), batch_size):
            pixels = torch.from_numpy(images).to(device)
            parts.append(logits_of(model, card, normalise(pixels, mean, std)))
            done += len(images)
            if on_progress is not None:
                on_progress(done, total)
    logits = torch.cat(parts).cpu().numpy()
    borders = np.cumsum([len(images) for images in sets.values()])[:-1]
    return dict(zip(sets, np.split(logits, borders), strict=True))


def _batches(sets: list[Images], batch_size: int) -> Iterator[Images]:
    """Yield batches of the sets in a row, each but the last full."""
    waiting: list[Images] = []
    room = batch_size
    for images in sets:
        start = 0
        while start < len(images):
            piece = images[start : start + room]
            start += len(piece)
            room -= len(piece)
            waiting.append(piece)
            if room == 0:
                yield np.concatenate(waiting)
                waiting, room = [], batch_size
    if waiting:
        yield np.concatenate(waiting)
