"""What a recipe may do to the training images beyond crops and flips.

RandAugment on batches of uint8 images, mixup and CutMix on normalised ones, and the choice of the
images and labels that are trained on. Every draw comes from the run's seeds, and what an epoch
draws from (seed, epoch) or (seed, step) alone; whoever else draws from numpy's or PyTorch's global
streams finds them as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.mixup import Mixup, mixup_target
from torch import Tensor
from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

from shiftcast.cards.recipe import AnyRecipe, RandAugmentSpec, Recipe
from shiftcast.data.sampling import stratified_halves, stratified_subset
from shiftcast.errors import TrainingError
from shiftcast.runs.record import Seeds
from shiftcast.training.resident import ResidentImages, epoch_seed

Operation = Callable[[Tensor], Tensor]
"""From images uint8 (b, 3, H, W) to such images."""

HALVES_SEED = 0
"""Which images are in which half, for every suite."""
BINS = 31
"""Magnitudes that RandAugment knows, from 0."""


class RandAugment:
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719) of one epoch, with torchvision's operations.

    Each image gets operations and signs of its own. The images of a batch that drew the same are
    computed together, which gives what torchvision's `RandAugment` gives image by image in a fifth of
    the time: about 5 ms of one CPU core for 128 images of 32 x 32 and two operations each (image by
    image 23 ms; timm's, on Pillow images, 9 ms).

    Parameters
    ----------
    n
        Images an epoch.
    spec
        Operations an image, and their magnitude.
    seed, epoch
        What operations and signs are drawn from.
    """

    def __init__(self, n: int, spec: RandAugmentSpec, seed: int, epoch: int) -> None:
        self.magnitude = spec.magnitude
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "rand-augment"))
        shape = (spec.operations, n)
        self.kinds = torch.randint(len(operations(0, 1, 1, 1)), shape, generator=generator)
        """Which operations, in order (operations, n), on the CPU."""
        self.negative = torch.randint(2, shape, generator=generator)
        """Whether each is turned round, where it has a sign (operations, n)."""

    def __call__(self, pixels: Tensor, rows: slice) -> Tensor:
        """Return images uint8 (b, H, W, 3), changed; `rows` is where they stand in the epoch."""
        _, height, width, _ = pixels.shape
        signed = [operations(self.magnitude, sign, height, width) for sign in (1, -1)]
        images = pixels.permute(0, 3, 1, 2)
        for kinds, negative in zip(self.kinds[:, rows], self.negative[:, rows], strict=True):
            codes = 2 * kinds + negative
            # Images that drew the same lie side by side, are changed at once, and go back to their places.
            order = codes.argsort(stable=True)
            drawn, counts = codes[order].unique_consecutive(return_counts=True)
            pieces = images.index_select(0, order.to(images.device)).split(counts.tolist())  # type: ignore[no-untyped-call]
            changed = [
                signed[code % 2][code // 2](piece) for code, piece in zip(drawn.tolist(), pieces, strict=True)
            ]
            images = torch.cat(changed).index_select(0, order.argsort().to(images.device))
        return images.permute(0, 2, 3, 1)


def operations(magnitude: int, sign: int, height: int, width: int) -> list[Operation]:
    """Return RandAugment's operations at a magnitude from 0 to 30, as torchvision defines them.

    Parameters
    ----------
    magnitude
        How strong, from 0 to 30; three operations have no strength.
    sign
        1 or -1: shear, shift or turn the other way, weaken instead of strengthening; six operations
        have no sign.
    height, width
        Of the images, in pixels.
    """

    def level(most: float, least: float = 0.0) -> float:
        return float(torch.linspace(least, most, BINS)[magnitude])

    slant = sign * math.degrees(math.atan(level(0.3)))
    # Shifts are those of ImageNet, 150 of 331 pixels at most, in proportion to the image.
    right, down = (sign * int(level(150 / 331 * side)) for side in (width, height))
    factor = 1 + sign * level(0.9)
    affine = partial(functional.affine, angle=0.0, scale=1.0)
    return [
        lambda images: images,
        partial(affine, translate=[0, 0], shear=[slant, 0.0], center=[0, 0]),
        partial(affine, translate=[0, 0], shear=[0.0, slant], center=[0, 0]),
        partial(affine, translate=[right, 0], shear=[0.0, 0.0]),
        partial(affine, translate=[0, down], shear=[0.0, 0.0]),
        partial(functional.rotate, angle=sign * level(30.0)),
        partial(functional.adjust_brightness, brightness_factor=factor),
        partial(functional.adjust_saturation, saturation_factor=factor),
        partial(functional.adjust_contrast, contrast_factor=factor),
        partial(functional.adjust_sharpness, sharpness_factor=factor),
        partial(functional.posterize, bits=round(8 - magnitude / ((BINS - 1) / 4))),
        partial(functional.solarize, threshold=255 * level(0.0, 1.0)),
        functional.autocontrast,
        functional.equalize,
    ]


class Mixing:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899).

    timm's `Mixup` in its batch mode: the i-th image of a batch meets the i-th from the end, at one
    ratio a batch, drawn anew for each; where a recipe has both alphas, a fair coin decides for each
    batch which of the two is done. Every batch is mixed. About 0.3 ms of one CPU core for 128 images of
    32 x 32.

    Parameters
    ----------
    recipe
        Gives both alphas, of which one at least is set, and the label smoothing.
    classes
        Number of classes K.
    seed
        What the ratios and squares are drawn from, with the step.
    """

    def __init__(self, recipe: Recipe, classes: int, seed: int) -> None:
        self.classes, self.seed, self.smoothing = classes, seed, recipe.label_smoothing
        self.mix: Any = Mixup(  # type: ignore[no-untyped-call]
            mixup_alpha=recipe.mixup or 0.0,
            cutmix_alpha=recipe.cutmix or 0.0,
            prob=1.0,
            switch_prob=0.5,
            mode="batch",
            label_smoothing=self.smoothing,
            num_classes=classes,
        )

    def __call__(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Mix one step's batch; the images that came stay what they were.

        timm mixes pairs, so of an odd number the last image stays unmixed.

        Parameters
        ----------
        images
            Normalised, float32 (b, 3, H, W).
        labels
            Class indices (b,).
        step
            The optimiser step, from 0.

        Returns
        -------
        tuple
            Images (b, 3, H, W) and targets, float32 (b, K): each row a distribution over the classes,
            smoothed already.
        """
        # timm refuses odd numbers.
        even = len(images) // 2 * 2
        targets: Tensor = mixup_target(  # type: ignore[no-untyped-call]
            labels, self.classes, smoothing=self.smoothing
        )
        if not even:
            return images, targets
        mixed = images.clone()
        with numpy_stream(epoch_seed(self.seed, step, "mixup")):
            mixed[:even], targets[:even] = self.mix(mixed[:even], labels[:even])
        return mixed, targets


@contextmanager
def numpy_stream(seed: int) -> Iterator[None]:
    """Give numpy's global stream, which timm draws from, a seed of 64 bits; restore it afterwards."""
    before = np.random.get_state()  # noqa: NPY002 - the stream that timm draws from
    np.random.seed(divmod(seed, 2**32))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def training_set(data: ResidentImages, recipe: AnyRecipe, seeds: Seeds) -> ResidentImages:
    """Return the images and labels that a run trains on: `data`, unless the recipe changes them.

    `train_half` takes one of two fixed, stratified halves; `train_share` chooses a stratified part of the
    images, or of that half; channel statistics are those of the part. `label_noise` then draws the labels
    of a share of these anew. But for the halves the choices differ from run to run, as its seeds do; all
    are the same in all epochs.

    Parameters
    ----------
    data
        All training images.
    recipe
        The recipe with the card's overrides.
    seeds
        The run's seeds.

    Raises
    ------
    TrainingError
        If `train_share` leaves fewer than two images.
    """
    if recipe.train_half is None and recipe.train_share is None and recipe.label_noise is None:
        return data
    # Before any choice: a part may lack the highest class.
    labels = data.labels.cpu().numpy()
    classes = int(labels.max()) + 1
    if recipe.train_half is not None:
        halves = dict(zip(("first", "second"), stratified_halves(labels, HALVES_SEED), strict=True))
        data, labels = data.part(halves[recipe.train_half]), labels[halves[recipe.train_half]]
    if recipe.train_share is not None:
        count = round(recipe.train_share * len(labels))
        if count < 2:
            raise TrainingError(
                f"recipe {recipe.name}: train_share = {recipe.train_share:g} of {len(labels)} images leaves "
                f"{count}; expected two at least: raise train_share"
            )
        index = stratified_subset(labels, count, epoch_seed(seeds.order, 0, "train-share") % 2**32)
        data, labels = data.part(index), labels[index]
    if recipe.label_noise is None:
        return data
    return data.relabelled(
        noisy(labels, classes, recipe.label_noise, epoch_seed(seeds.order, 0, "label-noise"))
    )


def noisy(labels: NDArray[np.int64], classes: int, share: float, seed: int) -> NDArray[np.int64]:
    """Return labels of which a share, rounded to whole images, is drawn anew from all classes.

    The partially corrupted labels of Zhang et al. (2017, arXiv:1611.03530): each class is as likely as
    any other, the right one included, so that of K classes share * (K - 1) / K of the labels come out
    wrong, and a share of 1 makes labels that say nothing about the images. (Drawn from the *other*
    classes, they would say which class an image is not.)

    Parameters
    ----------
    labels
        Class indices (n,).
    classes
        Number of classes K.
    share
        Share of the labels that is drawn anew, 0 to 1.
    seed
        What they are drawn from, 64 bits.
    """
    random = np.random.RandomState(divmod(seed, 2**32))
    index = random.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    changed[index] = random.randint(classes, size=len(index))
    return changed
