"""How fast training is, against a plain PyTorch loop and against a step that waits for nothing.

The images are random: how fast a network trains does not depend on what the images show, so no
dataset is needed. Each round times every arm of `ARMS` in turn, so that a machine that slows down slows
all of them, and ratios are taken within a round. Batches that a DataLoader has made ready before a
reading begins are to its advantage.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms  # type: ignore[import-untyped]

from shiftcast.cards.architecture import ArchitectureCard, Precision
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import InvalidInputError, TrainingError, with_line
from shiftcast.training.loop import WARMUP_START, Trainer, derive_seeds, deterministic, muon, seeded_model
from shiftcast.training.network import IMAGE_SIZE, count_parameters, fit_card, logits_of, memory_named
from shiftcast.training.resident import Images, ResidentImages

PLAIN, RESIDENT, LIMIT = "plain", "resident", "limit"
ARMS = {
    PLAIN: "a tutorial's loop: Pillow images, DataLoader, float32, loss read after every step",
    RESIDENT: "what shiftcast run does: images on the device, augmented there",
    LIMIT: "our step on one batch that lies on the device; no loader can be faster",
}
"""The arms in the order in which they are timed, and what they are."""
CLASSES = 10
WARM_UP = 3
"""Steps before each reading, which are not counted."""

Batches = Iterator[tuple[Tensor, Tensor]]
Step = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Plan:
    """How speed is measured.

    Parameters
    ----------
    workers
        DataLoader processes of the plain arm; 0 loads in the training process.
    seconds
        Length of one reading.
    rounds
        Readings of each arm.
    images
        Random training images.
    """

    workers: int
    seconds: float
    rounds: int
    images: int


@dataclass(frozen=True)
class Measurement:
    """How fast one architecture trains: images/s by arm, one value a round.

    `precision` is that of every arm but the plain one.
    """

    parameters: int
    precision: Precision
    speeds: dict[str, list[float]]

    def ratio(self, arm: str) -> float:
        """Return how many times as fast as an arm `resident` is: the median over the rounds."""
        pairs = zip(self.speeds[RESIDENT], self.speeds[arm], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


def measure_training(
    card: ArchitectureCard,
    recipe: Recipe,
    plan: Plan,
    device: str,
    on_round: Callable[[int], object] = str,
) -> Measurement:
    """Time the arms on one architecture.

    Parameters
    ----------
    card
        The architecture card.
    recipe
        The resolved recipe; all arms train on images of full size and without averaging weights.
    plan
        How to measure.
    device
        "cpu" or "cuda".
    on_round
        Called with each round's number, from 1, before it begins.

    Raises
    ------
    CardError
        If the card does not build.
    InvalidInputError
        If batches have fewer than two images, or there are fewer images than a batch has.
    TrainingError
        If memory does not suffice, or a process of the DataLoader dies.
    """
    if not 2 <= recipe.batch_size <= plan.images:
        raise InvalidInputError(f"batch-size: expected 2 to {plan.images}, got {recipe.batch_size}")
    card = fit_card(card, recipe, device)
    recipe = recipe.model_copy(update={"resolutions": None, "ema": None})
    with memory_named(card.name, device), _loading_named(card.name):
        images, labels = random_images(plan.images)
        data = ResidentImages(images, labels, torch.device(device))
        seeds = derive_seeds(card.name, f"bench|{recipe.name}", 0)
        model = seeded_model(card, CLASSES, seeds.weights).to(device)
        trainer = Trainer(model.train(), card, data, recipe, seeds, None)
        arms = _arms(trainer, plain_loader(images, labels, recipe, data, plan.workers))
        speeds: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(plan.rounds):
            on_round(number + 1)
            for name, begin in arms.items():
                speeds[name].append(_read(begin(), plan.seconds))
    return Measurement(count_parameters(model), card.precision, speeds)


@contextmanager
def _loading_named(name: str) -> Iterator[None]:
    """Say what to do where the system ends a process of the DataLoader."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"{name}: a DataLoader process of the plain loop died ({with_line(error)}). Memory or /dev/shm "
            "may be short: lower --workers (0 for none) or --images"
        ) from error


def hardware(device: str) -> str:
    """Return the name of the GPU or the instructions of the processor, and PyTorch's version."""
    name = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    return f"{name}, torch {torch.__version__}"


def random_images(count: int) -> tuple[Images, NDArray[np.int64]]:
    """Return seeded noise, uint8 (n, 32, 32, 3), and labels (n,)."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    return images, random.randint(0, CLASSES, count, dtype=np.int64)


def _read(steps: Iterator[int], seconds: float) -> float:
    """Train for so many seconds, at least one step, and return images/s; `steps` says how many each takes."""
    with closing(steps):  # type: ignore[type-var]
        for _ in range(WARM_UP):
            next(steps)
        _wait()
        seen, start = 0, time.perf_counter()
        while not seen or time.perf_counter() - start < seconds:
            seen += next(steps)
        _wait()
        return seen / (time.perf_counter() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _arms(trainer: Trainer, loader: DataLoader[Any]) -> dict[str, Callable[[], Iterator[int]]]:
    """Return what begins each arm: it trains a step at a time and yields the images of the step."""
    place, rate = trainer.data.device, first_rate(trainer.recipe)
    plain = plain_step(trainer)

    def epochs(batches: Callable[[], Batches]) -> Batches:
        while True:
            yield from batches()

    def steps(batches: Batches, step: Step) -> Iterator[int]:
        for images, labels in batches:
            step(images, labels)
            yield len(labels)

    def ours(batches: Batches) -> Iterator[int]:
        with deterministic(place):
            yield from steps(batches, lambda images, labels: trainer.step(images, labels, rate))

    return {
        PLAIN: lambda: steps(epochs(lambda: iter(loader)), plain),
        RESIDENT: lambda: ours(epochs(trainer.batches)),
        LIMIT: lambda: ours(repeat(next(trainer.batches()))),
    }


def first_rate(recipe: Recipe) -> float:
    """Return the learning rate of a first step: nothing can be learnt, and nothing must diverge."""
    return WARMUP_START * recipe.learning_rate


def plain_step(trainer: Trainer) -> Step:
    """Return the step that a tutorial teaches, on a network of its own with the same weights."""
    recipe, place = trainer.recipe, trainer.data.device
    card = trainer.card.model_copy(update={"precision": "float32"})
    model = seeded_model(card, CLASSES, trainer.seeds.weights).to(memory_format=torch.contiguous_format)
    model.to(place).train()
    optimiser = _plain_optimiser(model, recipe)

    def step(images: Tensor, labels: Tensor) -> None:
        images, labels = images.to(place, non_blocking=True), labels.to(place, non_blocking=True)
        loss = cross_entropy(logits_of(model, card, images), labels, label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        # As a tutorial prints it: the device is waited for at every step.
        loss.item()

    return step


def _plain_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    rate, decay = first_rate(recipe), recipe.weight_decay
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    if recipe.optimiser == "muon":
        return muon(model, recipe.model_copy(update={"learning_rate": rate}), set())
    return torch.optim.SGD(
        model.parameters(),
        lr=rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=decay,
    )


def plain_loader(
    images: Images, labels: NDArray[np.int64], recipe: Recipe, data: ResidentImages, workers: int
) -> DataLoader[Any]:
    """Return a DataLoader as tutorials make it: float32 (b, 3, 32, 32) and labels (b,)."""
    return DataLoader(
        _Pictures(images, labels, _transform(recipe, data)),
        batch_size=recipe.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=data.device.type == "cuda",
        drop_last=True,
    )


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Labelled images, one Pillow image at a time."""

    def __init__(self, images: Images, labels: NDArray[np.int64], transform: Any) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def _transform(recipe: Recipe, data: ResidentImages) -> Any:
    """Return torchvision's counterpart of the recipe's augmentations."""
    mean, std = data.statistics
    chain: list[Any] = []
    if recipe.crop_padding:
        fill = recipe.crop_fill or "constant"
        chain.append(transforms.RandomCrop(IMAGE_SIZE, padding=recipe.crop_padding, padding_mode=fill))
    if recipe.flip:
        chain.append(transforms.RandomHorizontalFlip())
    chain += [transforms.ToTensor(), transforms.Normalize([m / 255 for m in mean], [s / 255 for s in std])]
    if recipe.cutout:
        share = (recipe.cutout / IMAGE_SIZE) ** 2
        chain.append(transforms.RandomErasing(p=1.0, scale=(share, share), ratio=(1.0, 1.0)))
    return transforms.Compose(chain)
