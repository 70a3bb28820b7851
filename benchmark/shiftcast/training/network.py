"""From an architecture card to a network: built by timm, fitted to small images, measured.

A network is a plain timm model; what its card adds when it runs (resizing, precision, a float32
head) is in `logits_of`. Nothing here trains.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import CardError, TrainingError
from shiftcast.training.unstride import unstride_first

IMAGE_SIZE = 32
"""Side of the images that every card is fitted to, in pixels."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED", "std::bad_alloc")
"""What errors say that PyTorch raises for want of memory, beside its own class for it."""
REFUSALS = (AssertionError, AttributeError, RuntimeError, TypeError, ValueError)
"""What timm's models raise when arguments or images do not suit them."""


def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16, or would emulate it."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def fit_card(card: ArchitectureCard, recipe: Recipe, device: str) -> ArchitectureCard:
    """Return a card with the precision that a network of a recipe trains in on a device, "cpu" or "cuda".

    The recipe's precision comes first, then the card's. A card asks for bfloat16 because it is faster. So a
    CPU without bfloat16 instructions, which emulates it ten times slower, trains the card in float32.
    """
    fitted = recipe.fitted(card)
    if device != "cpu" or recipe.precision is not None or has_bfloat16():
        return fitted
    return fitted.model_copy(update={"precision": "float32"})


def build_model(card: ArchitectureCard, classes: int, device: str | torch.device = "cpu") -> nn.Module:
    """Build a card's network with random weights, in training mode and channels_last.

    Parameters
    ----------
    card
        The architecture card.
    classes
        Number of classes K.
    device
        Where the parameters live; "meta" allocates and computes nothing.

    Raises
    ------
    CardError
        If timm has no such model or refuses the card's kwargs, or if the model cannot be unstrided
        or does not run on 32 x 32 images as its card fits it.
    """
    with torch.device(device):
        model = _create(card, classes)
        with _evaluating(model):
            _check_runs(model, card, classes)
            for removed in range(card.unstride):
                _unstride(model, card, removed)
    # Convolutions are faster in this layout, and nothing else is slower.
    return model.to(memory_format=torch.channels_last)


def logits_of(model: nn.Module, card: ArchitectureCard, images: Tensor) -> Tensor:
    """Return the logits of normalised images, float32 (n, K); see `outputs_of`."""
    return outputs_of(model, card, images)[0]


def outputs_of(model: nn.Module, card: ArchitectureCard, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits of normalised images, and the features that the head reads.

    The trunk runs in the card's precision; the head always in float32, since bfloat16 would round
    the logits to three digits.

    Parameters
    ----------
    model
        The card's network.
    card
        The architecture card.
    images
        float32 (n, 3, H, W).

    Returns
    -------
    tuple of Tensor
        Logits, float32 (n, K), and penultimate features, float32 (n, d).
    """
    net: Any = model
    device = images.device.type
    # The weights stay float32: only what flows through the trunk is rounded.
    with torch.autocast(device, torch.bfloat16, enabled=card.precision == "bfloat16"):
        pooled = net.forward_head(_features(model, card, images), pre_logits=True)
    with torch.autocast(device, enabled=False):
        features = pooled.float().flatten(1)
        logits = _classify(net.get_classifier(), features)
    return logits, features


def _classify(classifier: nn.Module, features: Tensor) -> Tensor:
    """Return the logits (n, K) of features (n, d); some heads are convolutions of one pixel."""
    # A linear layer takes vectors, a convolution an image of one pixel.
    if isinstance(classifier, nn.Conv2d):
        features = features[:, :, None, None]
    logits: Tensor = classifier(features)
    return logits.flatten(1)


def out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or NumPy says that memory does not suffice, on a GPU or on the CPU."""
    said = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in said for words in OUT_OF_MEMORY)
    )


@contextmanager
def memory_named(what: str, device: str) -> Iterator[None]:
    """Turn an error for want of memory into a `TrainingError` that says what it was for."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
        raise TrainingError(f"{what}: memory on {device} does not suffice: {reason}") from None


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def measure(model: nn.Module, card: ArchitectureCard, side: int = IMAGE_SIZE) -> tuple[int, list[int]]:
    """Return what a card states about its network: trainable parameters and final feature map.

    Parameters
    ----------
    model
        The card's network.
    card
        The architecture card.
    side
        Side of the image, in pixels.

    Returns
    -------
    tuple
        The number of parameters, and [channels, height, width] or [tokens, width] for one image.
    """
    device = next(model.parameters()).device
    with _evaluating(model), torch.no_grad(), torch.device(device):
        shape = list(_features(model, card, _blank_images(side)).shape[1:])
    width = model.num_features
    if len(shape) == 3 and shape[0] != width and shape[-1] == width:  # some trunks are channels-last
        shape = [shape[2], shape[0], shape[1]]
    return count_parameters(model), shape


def check_resolutions(model: nn.Module, card: ArchitectureCard, recipe: Recipe) -> None:
    """Refuse a recipe that trains a card's network on images too small for it.

    Raises
    ------
    CardError
        If the network does not run at one of the recipe's resolutions: its feature map vanishes, or it
        takes images of one size alone.
    """
    for side in sorted(set(recipe.resolutions or [])):
        try:
            measure(model, card, side)
        except REFUSALS as error:
            raise CardError(
                f"architectures/{card.name}.toml: {card.timm!r} cannot be trained on {side} x {side} images, "
                f"as recipe {recipe.name!r} asks in resolutions ({error}); put larger resolutions, or "
                f"[{IMAGE_SIZE}], under [train.{recipe.name}] in that card, or choose another recipe"
            ) from error


def _features(model: nn.Module, card: ArchitectureCard, images: Tensor) -> Tensor:
    """Return the trunk's final features of images, enlarged where the card asks for it."""
    if card.input_size not in (IMAGE_SIZE, images.shape[-1]):
        side = images.shape[-1] * card.input_size // IMAGE_SIZE
        size = (side, side)
        images = interpolate(images, size=size, mode="bilinear", align_corners=False)
    net: Any = model
    features: Tensor = net.forward_features(images)
    return features


def _create(card: ArchitectureCard, classes: int) -> nn.Module:
    where = f"architectures/{card.name}.toml"
    # Asked first, because timm would take a name such as "hf-hub:..." for a download.
    if not timm.is_model(card.timm):
        near = difflib.get_close_matches(card.timm.split(".")[0], timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists the valid names"
        raise CardError(f"{where}: timm: Unknown model ({card.timm}) in timm {timm.__version__}; {hint}")
    try:
        model: nn.Module = timm.create_model(
            card.timm, pretrained=False, num_classes=classes, in_chans=3, **card.kwargs
        )
    except REFUSALS as error:
        raise CardError(
            f"{where}: timm cannot build {card.timm!r} with kwargs {card.kwargs}: {error}; "
            "correct timm or [kwargs]"
        ) from error
    return model


def _unstride(model: nn.Module, card: ArchitectureCard, removed: int) -> None:
    where = f"architectures/{card.name}.toml: unstride = {card.unstride}"
    try:
        changed = unstride_first(model, lambda: _run(model, card))
    except REFUSALS as error:
        raise CardError(
            f"{where}: {card.timm!r} fails with downsampling stage {removed + 1} at stride 1: {error}; "
            "use input_size, or kwargs such as patch_size, instead"
        ) from error
    if not changed:
        raise CardError(
            f"{where}: {card.timm!r} has only {removed} downsampling stages that a stride makes; "
            "expected unstride to be at most that"
        )


def _check_runs(model: nn.Module, card: ArchitectureCard, classes: int) -> None:
    """Refuse a model whose trunk or head cannot be used the way `logits_of` does."""
    try:
        shape = _run(model, card)
        if shape != (2, classes):
            raise ValueError(f"its classifier gives {shape} for 2 images and {classes} classes")
    except REFUSALS as error:
        raise CardError(
            f"architectures/{card.name}.toml: {card.timm!r} does not run on {IMAGE_SIZE} x {IMAGE_SIZE} "
            f"images at input_size = {card.input_size} ({error}); raise input_size, set kwargs such as "
            "img_size, or choose a model with a single linear head"
        ) from error


def _run(model: nn.Module, card: ArchitectureCard) -> tuple[int, ...]:
    """Run two blank images through trunk and head and return the shape of the logits."""
    net: Any = model
    with torch.no_grad():
        pooled = net.forward_head(_features(model, card, _blank_images()), pre_logits=True)
        return tuple(_classify(net.get_classifier(), pooled.flatten(1)).shape)


def _blank_images(side: int = IMAGE_SIZE) -> Tensor:
    return torch.zeros(2, 3, side, side)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode: nothing random, no statistics updated."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
