"""The resident loader: the whole training set is one uint8 tensor on the training device.

An epoch's order and augmentations come from generators seeded by (seed, epoch) on the CPU, so any
epoch can be replayed without the earlier ones and is the same on every device. Crops, flips and
normalisation are a handful of batched operations; no Python runs per image.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from shiftcast.errors import InvalidInputError

Images = NDArray[np.uint8]
Channels = tuple[float, ...]

COUNTED = 1024
"""Images whose grey levels are counted at once: counting takes eight bytes for each."""


def channel_statistics(images: Images) -> tuple[Channels, Channels]:
    """Return the mean and standard deviation of each channel, in grey levels from 0 to 255.

    Computed from whole-number counts, so that they do not depend on any order of summation.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3).

    Returns
    -------
    tuple
        Means and standard deviations, one a channel; a constant channel has deviation 1.
    """
    levels = np.arange(256, dtype=np.float64)
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), COUNTED):
            block = images[start : start + COUNTED, ..., channel]
            counts += np.bincount(block.ravel(), minlength=256)
        mean = float(counts @ levels / counts.sum())
        variance = float(counts @ (levels - mean) ** 2 / counts.sum())
        means.append(mean)
        deviations.append(variance**0.5 if variance > 0 else 1.0)
    return tuple(means), tuple(deviations)


def normalise(pixels: Tensor, mean: Channels, std: Channels) -> Tensor:
    """Return uint8 images (b, H, W, 3) as float32 (b, 3, H, W) in channels_last, (x - mean) / std."""
    count, height, width, channels = pixels.shape
    deviation = torch.tensor(std, device=pixels.device, dtype=torch.float32)
    offset = torch.tensor(mean, device=pixels.device, dtype=torch.float32)
    # Tiled over a row: broadcasting along an innermost dimension of three does not vectorise.
    scale = (1 / deviation).repeat(width)
    shift = (-offset / deviation).repeat(width)
    rows = pixels.reshape(count, height, width * channels).float().mul_(scale).add_(shift)
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a seed for one purpose in one epoch: neighbouring seeds share no stream."""
    digest = hashlib.sha256(f"shiftcast/1|{purpose}|{seed}|{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 2**63


class Draws(NamedTuple):
    """One epoch's random choices for n images, in the order in which the images come."""

    top: Tensor
    """First row of the crop, in pixels of the padded image (n,)."""
    left: Tensor
    """First column of the crop (n,)."""
    flip: Tensor
    """Whether the image is mirrored, bool (n,)."""
    centre: Tensor
    """Row and column of the cutout's centre, after crop and flip (n, 2)."""

    @classmethod
    def of_epoch(cls, n: int, height: int, width: int, padding: int, seed: int, epoch: int) -> Draws:
        """Draw for every image; each kind is always drawn, so that one never moves another."""
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "augmentation"))

        def whole(below: int) -> Tensor:
            return torch.randint(below, (n,), generator=generator)

        # In this order for ever: a new kind of draw goes last, so that the others stay.
        top, left = whole(2 * padding + 1), whole(2 * padding + 1)
        flip = whole(2).bool()
        return cls(top, left, flip, torch.stack([whole(height), whole(width)], dim=1))


@dataclass(frozen=True)
class Augmentation:
    """What an epoch does to its images, in this order: crop, flip, change, normalise, cut out, shrink.

    Parameters
    ----------
    mean, std
        Channel statistics in grey levels.
    crop_padding
        Padding for random crops, in pixels; 0 for none.
    crop_fill
        "reflect" to pad with the image's own reflection, None with zeros (black).
    flip
        Mirror each image with probability 1/2; "alternating": in the first epoch so, and from then on in
        every second epoch, so that two epochs show both sides of each image (Jordan 2024,
        arXiv:2404.00498).
    change
        What else is done to uint8 images (b, H, W, 3): called with a batch and where it stands in the epoch.
    cutout
        Side of the blanked square, in pixels; 0 for none. It is zero after normalisation (the mean
        colour), its centre anywhere in the image and clipped at the border, as in DeVries & Taylor (2017).
    resolution
        Side of the images in pixels, made by antialiased bilinear interpolation; None for their own.
    """

    mean: Channels
    std: Channels
    crop_padding: int = 0
    crop_fill: Literal["reflect"] | None = None
    flip: bool | Literal["alternating"] = False
    change: Callable[[Tensor, slice], Tensor] | None = None
    cutout: int = 0
    resolution: int | None = None

    def __call__(self, pixels: Tensor, drawn: Draws, rows: slice) -> Tensor:
        """Return uint8 images (b, H, W, 3) as float32 (b, 3, H, W), by what was drawn for them."""
        if self.crop_padding:
            pixels = crop(pixels, drawn.top, drawn.left, self.crop_padding, self.crop_fill)
        if self.flip:
            pixels = mirror(pixels, drawn.flip)
        if self.change is not None:
            pixels = self.change(pixels, rows)
        images = normalise(pixels, self.mean, self.std)
        if self.cutout:
            images = blank(images, drawn.centre, self.cutout)
        if self.resolution not in (None, pixels.shape[1]):
            size = (self.resolution, self.resolution)
            images = interpolate(images, size=size, mode="bilinear", antialias=True)
        return images


class ResidentImages:
    """A labelled training set on one device.

    Parameters
    ----------
    images
        uint8 (n, H, W, 3).
    labels
        Class indices, int64 (n,).
    device
        Where the training runs.

    Attributes
    ----------
    source
        The images as they came.

    Raises
    ------
    InvalidInputError
        If the arrays have other types or shapes.
    """

    def __init__(self, images: Images, labels: NDArray[np.int64], device: str | torch.device = "cpu") -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise InvalidInputError(f"images: expected uint8 (n, H, W, 3), got {images.dtype} {images.shape}")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise InvalidInputError(
                f"labels: expected whole numbers ({len(images)},), got {labels.dtype} {labels.shape}"
            )
        self.source = images
        self.images = _tensor(images).to(device)
        self.labels = _tensor(labels.astype(np.int64)).to(device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.images.device

    @cached_property
    def statistics(self) -> tuple[Channels, Channels]:
        """Mean and standard deviation of each channel, in grey levels."""
        return channel_statistics(self.source)

    def part(self, index: NDArray[np.int64]) -> ResidentImages:
        """Return the images at `index` (m,) alone; their channel statistics are their own."""
        return ResidentImages(self.source[index], self.labels.cpu().numpy()[index], self.device)

    def relabelled(self, labels: NDArray[np.int64]) -> ResidentImages:
        """Return the same images with other labels, int64 (n,)."""
        other = copy.copy(self)
        other.labels = _tensor(labels).to(self.device)
        return other

    def batch_sizes(self, batch_size: int) -> list[int]:
        """Return the size of each batch of an epoch.

        The last, smaller batch is kept; a single image left over joins the batch before it, since
        batch normalisation cannot train on one.
        """
        whole, rest = divmod(len(self), batch_size)
        sizes = [batch_size] * whole
        if rest == 1 and whole:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes

    def batches(
        self,
        batch_size: int,
        augmentation: Augmentation,
        *,
        order_seed: int,
        augmentation_seed: int,
        epoch: int,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch's batches.

        Parameters
        ----------
        batch_size
            Images a batch; see `batch_sizes` for the last one.
        augmentation
            What is done to the images.
        order_seed, augmentation_seed, epoch
            What the order and the augmentations are drawn from.

        Yields
        ------
        tuple
            float32 images (b, 3, H, W), channels_last, and int64 labels (b,).
        """
        _, height, width, _ = self.images.shape
        generator = torch.Generator().manual_seed(epoch_seed(order_seed, epoch, "order"))
        order = torch.randperm(len(self), generator=generator).to(self.device)
        padding = augmentation.crop_padding
        drawn = Draws.of_epoch(len(self), height, width, padding, augmentation_seed, epoch)
        if augmentation.flip == "alternating":
            drawn = drawn._replace(flip=alternating(len(self), augmentation_seed, epoch)[order.cpu()])
        draws = [values.to(self.device) for values in drawn]
        # Drawn on the CPU at once and moved once: a draw a batch would wait for the device each time.
        start = 0
        for size in self.batch_sizes(batch_size):
            rows = slice(start, start := start + size)
            pixels = self.images.index_select(0, order[rows])
            images = augmentation(pixels, Draws(*(values[rows] for values in draws)), rows)
            yield images, self.labels[order[rows]]


def alternating(n: int, seed: int, epoch: int) -> Tensor:
    """Return whether each image is mirrored, bool (n,): at random in epoch 0, and alternating from there."""
    generator = torch.Generator().manual_seed(epoch_seed(seed, 0, "alternating flip"))
    return (torch.randint(2, (n,), generator=generator) + epoch) % 2 == 1


def crop(
    pixels: Tensor, top: Tensor, left: Tensor, padding: int, fill: Literal["reflect"] | None = None
) -> Tensor:
    """Return H x W windows of padded images (b, H, W, 3), each at its own (top, left).

    One strided view holds the window at every pixel of the padded batch. Choosing from it by
    `index_select` copies whole rows of bytes, ten times as fast as indexing with arrays.
    """
    count, height, width, channels = pixels.shape
    rows, columns = height + 2 * padding, width + 2 * padding
    if fill == "reflect":
        down, across = (_reflected(side, padding).to(pixels.device) for side in (height, width))
        padded = pixels.index_select(1, down).index_select(2, across)
    else:
        padded = pixels.new_zeros(count, rows, columns, channels)
        padded[:, padding : padding + height, padding : padding + width] = pixels
    positions = count * rows * columns - (height - 1) * columns - width + 1
    windows = padded.as_strided((positions, height, width * channels), (channels, columns * channels, 1))
    first = (torch.arange(count, device=pixels.device) * rows + top) * columns + left
    return windows.index_select(0, first).view(count, height, width, channels)


def _reflected(side: int, padding: int) -> Tensor:
    """Return which row each row of a padded image shows; the border itself is not repeated."""
    return (side - 1) - ((side - 1) - torch.arange(-padding, side + padding).abs()).abs()


def mirror(pixels: Tensor, flip: Tensor) -> Tensor:
    """Return images (b, H, W, 3), mirrored left to right where `flip` (b,) says so."""
    both = torch.cat([pixels, pixels.flip(2)])  # and choose: `where` goes byte by byte
    count = len(pixels)
    return both.index_select(0, torch.arange(count, device=pixels.device) + count * flip)


def blank(images: Tensor, centre: Tensor, side: int) -> Tensor:
    """Return images (b, 3, H, W) with a square of `side` pixels around `centre` (b, 2) set to zero."""

    def inside(length: int, middle: Tensor) -> Tensor:
        first = (middle - side // 2)[:, None]
        position = torch.arange(length, device=images.device)
        return (position >= first) & (position < first + side)

    rows, columns = inside(images.shape[2], centre[:, 0]), inside(images.shape[3], centre[:, 1])
    return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _tensor(array: NDArray[np.uint8] | NDArray[np.int64]) -> Tensor:
    # torch warns about read-only memory, which memory-mapped files have.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
