"""Evaluation: one pass of one network over all sets, batches filled across their borders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.training.network import out_of_memory, outputs_of
from shiftcast.training.resident import Channels, Images, normalise

Outputs = NDArray[np.float32]


class Network(NamedTuple):
    """A trained network, and all it takes to use it.

    Parameters
    ----------
    model, card
        The network, on `device`, and its card.
    mean, std
        The training images' channel statistics, in grey levels.
    device
        Where to evaluate.
    """

    model: nn.Module
    card: ArchitectureCard
    mean: Channels
    std: Channels
    device: str | torch.device

    def images(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels or views of them (b, H, W, 3) as the network takes them."""
        return normalise(pixels, self.mean, self.std)


def evaluate(
    network: Network,
    sets: Mapping[str, Images],
    batch_size: int = 512,
    on_progress: Callable[[int, int], None] | None = None,
    on_features: Callable[[str, Outputs, Outputs], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Return a network's logits on every set.

    Images are streamed to the device a batch at a time: as bytes they cost far less to move than
    to classify, and sets may be memory-mapped and larger than the device.

    Parameters
    ----------
    network
        The network, which is left in evaluation mode.
    sets
        uint8 images (n, H, W, 3) by name, all of one size.
    batch_size
        Images a batch; batches run across the borders between sets. One that memory does not
        suffice for is computed in halves.
    on_progress
        Called after each batch with the images done and in all.
    on_features
        Called with each set's name, logits (n, K) and penultimate features (n, d) as soon as all its
        images are done; features are not kept.

    Returns
    -------
    dict
        float32 logits (n, K) by name, in the order of `sets`.
    """
    total = sum(map(len, sets.values()))
    parts = []
    waiting = _Waiting(sets, on_features) if on_features is not None else None
    done = 0
    network.model.eval()
    with torch.inference_mode():
        for images in _batches(list(sets.values()), batch_size):
            pixels = torch.from_numpy(images).to(network.device)
            logits, features = _outputs(network.model, network.card, network.images(pixels))
            # Left on the device: to read each batch would make it wait for us.
            parts.append(logits)
            if waiting is not None:
                waiting.add(logits.cpu().numpy(), features.cpu().numpy())
            done += len(images)
            if on_progress is not None:
                on_progress(done, total)
    outputs = torch.cat(parts).cpu().numpy()
    borders = np.cumsum([len(images) for images in sets.values()])[:-1]
    return dict(zip(sets, np.split(outputs, borders), strict=True))


def _outputs(model: nn.Module, card: ArchitectureCard, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and features of a batch, in halves where memory does not suffice for the whole."""
    try:
        return outputs_of(model, card, images)
    except RuntimeError as error:
        if len(images) == 1 or not out_of_memory(error):
            raise
    # Outside of `except`, whose error would keep the failed batch alive.
    halves = [_outputs(model, card, half) for half in images.tensor_split(2)]
    return torch.cat([logits for logits, _ in halves]), torch.cat([features for _, features in halves])


class _Waiting:
    """Outputs of batches, waiting for the rest of the set that they belong to."""

    def __init__(self, sets: Mapping[str, Images], pass_on: Callable[[str, Outputs, Outputs], None]) -> None:
        self.sizes = {name: len(images) for name, images in sets.items()}
        self.pass_on = pass_on
        self.held: list[tuple[Outputs, Outputs]] = []

    def add(self, logits: Outputs, features: Outputs) -> None:
        """Take a batch, and pass on what is complete."""
        self.held.append((logits, features))
        while self.sizes:
            name, size = next(iter(self.sizes.items()))
            if sum(len(batch) for batch, _ in self.held) < size:
                return
            both = [np.concatenate(parts) for parts in zip(*self.held, strict=True)]
            self.pass_on(name, both[0][:size], both[1][:size])
            self.held = [(both[0][size:], both[1][size:])]
            del self.sizes[name]


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


def stored_classes(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the predicted classes (n,) of logits (n, K) rounded as they are stored, to float16."""
    with np.errstate(over="ignore"):  # what diverges is refused when it is stored
        classes: NDArray[np.int64] = logits.astype(np.float16).astype(np.float32).argmax(axis=1)
    return classes
