"""Nearest-neighbour probes: what the blocks of a network already know of an image, while it is evaluated.

Each probed block's output, averaged over the image, is compared with those of a fixed sample of training
images. Everything is computed batch by batch, as the network is: no embedding of an evaluated image is kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.runs.signals import MOST_PROBES
from shiftcast.training.evaluate import Network, evaluate, stored_classes
from shiftcast.training.network import IMAGE_SIZE, outputs_of
from shiftcast.training.resident import Images

NEIGHBOURS = 30
"""Training images that vote in a probe."""
DISTANT = 10
"""Which nearest training image `neighbour_distance` is of."""
BATCH = 128
"""Images a batch: on a CPU, forward passes of small networks are fastest at about this size."""
FEWEST_BLOCKS = 4
"""Outputs that are enough to look no further for finer ones."""
STEM = re.compile(
    r"(^|\.)(stem|conv_?[01]|conv_stem|bn1|act1|norm0|patch_embeds?|base_layer|head|fc|classifier)(\.|$)"
)
"""Names of what comes before the first block, and after the last."""
LAST = "features"
"""Name of the only probe where no block's output can be had: that of what the head reads."""


def probed_blocks(model: nn.Module, card: ArchitectureCard) -> list[str]:
    """Return the names of the blocks that are probed, in the order in which they end; at most 14.

    They are the modules that timm lists as stages (`feature_info`) where there are at least four, without
    the stem; else the outermost items of lists and sequences of modules, or the items of those. Of more
    than 14, evenly spaced ones with the first and the last are taken.
    """
    known = dict(model.named_modules())
    listed: Any = getattr(model, "feature_info", None) or []
    stages = [str(stage.get("module", "")) for stage in listed if isinstance(stage, dict)]
    # Three views of where the blocks are: what timm says, the outermost lists, and the lists in those.
    outer = _items(model, [])
    levels = [stages, outer, _items(model, outer)]
    ended = _in_order(model, card, {name for level in levels for name in level if name in known})
    best: list[str] = []
    for level in levels:
        names = [name for name in ended if name in level and not STEM.search(name)]
        if len(names) > len(best):
            best = names
        if len(best) >= FEWEST_BLOCKS:
            break
    if len(best) > MOST_PROBES:
        best = [best[position] for position in np.linspace(0, len(best) - 1, MOST_PROBES).round().astype(int)]
    return best or [LAST]


def _items(model: nn.Module, above: Sequence[str]) -> list[str]:
    """Return the outermost items of lists of modules that hold modules; those inside `above`, where given.

    A list within a list is no item, since nothing calls it: its own items are.
    """
    modules, items = dict(model.named_modules()), dict[str, None]()
    for name in modules:
        parent = modules.get(name.rpartition(".")[0])
        inside = any(name.startswith(f"{other}.") for other in above) or not above
        listed = isinstance(parent, nn.Sequential | nn.ModuleList) and any(modules[name].children())
        listed = listed and not isinstance(modules[name], nn.ModuleList)
        if listed and inside and not any(name.startswith(f"{other}.") for other in items):
            items[name] = None
    return list(items)


def _in_order(model: nn.Module, card: ArchitectureCard, names: set[str]) -> list[str]:
    """Return those of the modules that give a row an image in a forward pass, in the order of their end."""
    ended: dict[str, None] = {}

    def note(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        if any(len(tensor) == len(images) for tensor in _of_images(output)):
            # A module that is called twice ends when it ends last.
            ended.pop(name, None)
            ended[name] = None

    images = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE, device=next(model.parameters()).device)
    with _hooks(model, {name: partial(note, name) for name in names}), torch.inference_mode():
        outputs_of(model.eval(), card, images)
    return list(ended)


@contextmanager
def _hooks(model: nn.Module, hooks: Mapping[str, Any]) -> Iterator[None]:
    """Call each hook after the forward pass of the module of its name."""
    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any) -> list[Tensor]:
    """Return the floating-point tensors of two to four dimensions in a module's output."""
    if isinstance(output, Tensor):
        return [output] if 2 <= output.ndim <= 4 and output.is_floating_point() else []
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in _tensors(item)]
    return []


def _of_images(output: Any) -> list[Tensor]:
    """Return those tensors of a module's output that have a row an image; others have one a part of it."""
    tensors = _tensors(output)
    images = min(map(len, tensors), default=0)
    return [tensor for tensor in tensors if len(tensor) == images]


def pooled(output: Any, channels_last: bool = False) -> Tensor:
    """Return a block's output averaged over the image, float32 (n, C).

    Parameters
    ----------
    output
        Maps (n, C, H, W) or (n, H, W, C), tokens (n, L, C), vectors (n, C), or several of these, whose
        averages are put side by side. Tensors with more rows than others are of parts of images: left out.
    channels_last
        How maps are to be read whose three sizes are the same.
    """
    parts = []
    for tensor in _of_images(output):
        axes: Sequence[int] = ()
        if tensor.ndim == 3:
            axes = (1,)
        elif tensor.ndim == 4:
            _, first, second, third = tensor.shape
            # Maps are square: two equal sizes are height and width, wherever they stand.
            last = first == second and (channels_last or second != third)
            axes = (1, 2) if last else (2, 3)
        parts.append(tensor.mean(dim=tuple(axes), dtype=torch.float32) if axes else tensor.float())
    return torch.cat(parts, dim=1)


class Probes:
    """Probes of one trained network, and what they say of the images that it is evaluated on.

    Parameters
    ----------
    network
        The network; left in evaluation mode.
    images, labels
        The sample of training images, uint8 (m, H, W, 3), and their labels (m,). Neither augmented.

    Attributes
    ----------
    blocks
        Names of the probed blocks.
    seconds
        How long the probes took so far, without the network's own passes over evaluated images.
    """

    def __init__(self, network: Network, images: Images, labels: NDArray[np.int64]) -> None:
        start = time.perf_counter()
        self.model, self.blocks = network.model, probed_blocks(network.model, network.card)
        self.labels = torch.from_numpy(labels).to(network.device)
        self.classes = int(labels.max()) + 1
        self.channels_last = getattr(network.model, "output_fmt", "NCHW") == "NHWC"
        self.now: dict[str, Tensor] = {}
        self.depths: list[NDArray[np.uint8]] = []
        self.distances: list[NDArray[np.float32]] = []
        kept: list[list[Tensor]] = []
        features: list[Tensor] = []

        def keep(read: Tensor, _logits: Tensor) -> None:
            kept.append([self.now[name] for name in self.blocks])
            features.append(normalize(read))

        # In the same batches as evaluated images, so that rounding is the same.
        with self._watched(keep):
            evaluate(network, {"training": images}, BATCH)
        self.references = [_Sample(torch.cat(parts)) for parts in zip(*kept, strict=True)]
        self.features = torch.cat(features)
        self.seconds = time.perf_counter() - start

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record every image that the network is evaluated on, in order."""
        with self._watched(self._add):
            yield

    @contextmanager
    def _watched(self, pass_on: Any) -> Iterator[None]:
        """Give `pass_on` features and logits of each batch, once the head is done; blocks are in `now`."""
        net: Any = self.model

        def note(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
            start = time.perf_counter()
            self.now[name] = pooled(output, self.channels_last)
            self.seconds += time.perf_counter() - start

        def done(_module: nn.Module, inputs: Any, output: Tensor) -> None:
            start = time.perf_counter()
            read = inputs[0].float().flatten(1)
            self.now.setdefault(LAST, read)
            pass_on(read, output.float().flatten(1))
            self.now.clear()
            self.seconds += time.perf_counter() - start

        self.now.clear()
        self.seconds = getattr(self, "seconds", 0.0)
        handle = net.get_classifier().register_forward_hook(done)
        try:
            with _hooks(self.model, {name: partial(note, name) for name in self.blocks if name != LAST}):
                yield
        finally:
            handle.remove()

    def _add(self, read: Tensor, logits: Tensor) -> None:
        """Record a batch from what the head reads (b, d) and its logits (b, K)."""
        predicted = stored_classes(logits.cpu().numpy())
        votes = np.stack(
            [
                sample.votes(self.now[name], self.labels, self.classes)
                for name, sample in zip(self.blocks, self.references, strict=True)
            ]
        )
        self.depths.append(depths(votes, predicted))
        nearest = (normalize(read) @ self.features.T).topk(min(DISTANT, len(self.features)), dim=1)
        squared = (2 - 2 * nearest.values[:, -1]).clamp(0, 4)
        self.distances.append(squared.sqrt().cpu().numpy())

    def result(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return depth and neighbour distance of every image recorded, (n,) each, in order."""
        return np.concatenate(self.depths), np.concatenate(self.distances)


class _Sample:
    """Training images' averaged outputs of one block (m, C), for nearest neighbours."""

    def __init__(self, outputs: Tensor) -> None:
        self.centre = outputs.mean(dim=0)
        centred = outputs - self.centre  # distances are the same, rounding is less
        self.columns = centred.T.contiguous()
        self.halves = centred.square().sum(dim=1) / 2

    def votes(self, outputs: Tensor, labels: Tensor, classes: int) -> NDArray[np.int64]:
        """Return the commonest label among the 30 nearest (b,); of equally common ones, the smallest."""
        # |q - r|^2 = |q|^2 + |r|^2 - 2 q r: nearest is where q r - |r|^2 / 2 is largest.
        near = torch.addmm(self.halves, outputs - self.centre, self.columns, beta=-1)
        chosen = near.topk(min(NEIGHBOURS, near.shape[1]), dim=1, sorted=False).indices
        counts = torch.zeros(len(outputs), classes, device=outputs.device)
        counts.scatter_add_(1, labels[chosen], torch.ones_like(chosen, dtype=counts.dtype))
        commonest: NDArray[np.int64] = counts.cpu().numpy().argmax(axis=1)
        return commonest


def depths(votes: NDArray[np.int64], predicted: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the first block from which all probes agree with the prediction, uint8 (n,).

    Parameters
    ----------
    votes
        Classes that the probes give (B, n), in the order of the blocks.
    predicted
        The network's classes (n,).

    Returns
    -------
    ndarray
        0 to B; B where even the last probe disagrees.
    """
    agrees = votes[::-1] == predicted
    first: NDArray[np.uint8] = (len(votes) - np.logical_and.accumulate(agrees).sum(axis=0)).astype(np.uint8)
    return first
