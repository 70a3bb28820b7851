"""How fast training is, against a plain PyTorch loop and against a step that waits for nothing.

The images are random: how fast a network trains does not depend on what the images show, so no
dataset is needed. Four arms train the same network with the same recipe, on images of full size:

- `plain`: the loop of a tutorial: Pillow images, torchvision transforms, a DataLoader, float32, the
  usual memory layout, the optimiser as its constructor makes it, the loss read after every step;
- `plain loader, our step`: the same loader before our step, so that only the loader differs from
- `resident`: what `train` does;
- `limit`: our step on one batch that lies on the device: no loader can be faster.

Each round times every arm in turn, so that a machine that slows down slows all of them, and ratios
are taken within a round.
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms  # type: ignore[import-untyped]

from shiftcast.cards.architecture import ArchitectureCard, Precision
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.training.loop import (
    WARMUP_START,
    Trainer,
    derive_seeds,
    deterministic,
    muon,
    seeded_model,
)
from shiftcast.training.network import IMAGE_SIZE, count_parameters, fit_card, logits_of, out_of_memory
from shiftcast.training.resident import Images, ResidentImages

PLAIN, OUR_STEP, RESIDENT, LIMIT = "plain", "plain loader, our step", "resident", "limit"
ARMS = {
    PLAIN: "a tutorial's loop: DataLoader, float32, loss read after every step",
    OUR_STEP: "the same DataLoader with our layout, precision, optimiser and step",
    RESIDENT: "what shiftcast run does: images on the device, augmented there",
    LIMIT: "our step on one batch that lies on the device; no loader can be faster",
}
"""The arms in the order in which they are timed, and what they are."""
CLASSES = 10
PACKAGES = ("torch", "timm", "torchvision")
WARM_UP = 3
"""Steps of each arm that are not counted, before its first reading; one before each later reading."""
PRECISION_SECONDS = 1.0
"""How long each precision is timed, over all rounds."""
REST_SECONDS = 10.0
"""How long to wait for a DataLoader's processes to come to rest."""

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Plan:
    """How speed is measured.

    Parameters
    ----------
    workers
        DataLoader processes of the plain arms; 0 loads in the training process.
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
class Machine:
    """What the speeds were measured on.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    name
        What the device calls itself.
    cores
        CPU cores that this process may use.
    threads
        PyTorch's CPU threads.
    packages
        Versions of what decides speed.
    """

    device: str
    name: str
    cores: int
    threads: int
    packages: dict[str, str]


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the lowest and highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Measurement:
    """How fast one architecture trains.

    Parameters
    ----------
    architecture, recipe
        What was trained.
    batch_size
        Images a step.
    parameters
        Trainable parameters.
    precision
        Of every arm but the plain one.
    precision_set_in
        The card or recipe file that says so, from the workspace's root.
    parts
        In how many parts our step computed a batch for want of memory; 1 is the whole.
    speeds
        Images/s by arm, one value a round.
    precisions
        Images/s of the limit by precision, one value a round; empty on a GPU.
    """

    architecture: str
    recipe: str
    batch_size: int
    parameters: int
    precision: Precision
    precision_set_in: str
    parts: int
    speeds: dict[str, tuple[float, ...]]
    precisions: dict[str, tuple[float, ...]]

    def speed(self, arm: str) -> Spread:
        """Return an arm's images/s."""
        return Spread.of(self.speeds[arm])

    def ratio(self, arm: str) -> Spread:
        """Return how many times as fast as an arm `resident` is, round by round."""
        return Spread.of(_quotients(self.speeds[RESIDENT], self.speeds[arm]))

    @property
    def other_precision(self) -> Precision:
        """The precision that is not used."""
        return "float32" if self.precision == "bfloat16" else "bfloat16"

    @property
    def precision_ratio(self) -> Spread:
        """How many times as fast as the other precision the one in use is, round by round."""
        return Spread.of(_quotients(self.precisions[self.precision], self.precisions[self.other_precision]))


def _quotients(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine(device: str) -> Machine:
    """Return what speeds on a device ("cpu" or "cuda") are measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_name()
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    return Machine(device, name, usable_cores(), torch.get_num_threads(), versions)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(names), platform.processor() or platform.machine())
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def random_images(count: int) -> tuple[Images, NDArray[np.int64]]:
    """Return seeded noise, uint8 (n, 32, 32, 3), and labels (n,)."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    return images, random.randint(0, CLASSES, count, dtype=np.int64)


def measure_training(
    card: ArchitectureCard,
    recipe: Recipe,
    plan: Plan,
    device: str,
    on_round: Callable[[int], None] | None = None,
) -> Measurement:
    """Time the arms on one architecture.

    Parameters
    ----------
    card
        The architecture card.
    recipe
        The resolved recipe; all arms train on images of full size, whatever its resolutions.
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
        If memory does not suffice, or a DataLoader process dies.
    """
    if not 2 <= recipe.batch_size <= plan.images:
        raise InvalidInputError(
            f"batch-size: expected 2 to {plan.images} (as many as there are images), got {recipe.batch_size}"
        )
    card, recipe = fit_card(card, recipe, device), recipe.model_copy(update={"resolutions": None})
    with _in_words(card, recipe, plan):
        return _measure(card, recipe, plan, device, on_round)


def _measure(
    card: ArchitectureCard, recipe: Recipe, plan: Plan, device: str, on_round: Callable[[int], None] | None
) -> Measurement:
    place = torch.device(device)
    # The same for all arms, and the same each time: only the machine may differ.
    images, labels = random_images(plan.images)
    data = ResidentImages(images, labels, place)
    # The plain arm must not call cuBLAS first: it reads our context's setting at its first use.
    with deterministic(place):
        trainer = _trainer(card, data, recipe)
        fixed = next(trainer.batches())
    bare = _bare(trainer, fixed, place) if device == "cpu" else {}
    speeds: dict[str, list[float]] = {name: [] for name in ARMS}
    precisions: dict[str, list[float]] = {name: [] for name in bare}
    with closing(_Loader(images, labels, recipe, data.statistics, plan.workers, place)) as loader:
        arms = _arms(trainer, loader, fixed, place)
        for arm in (*arms.values(), *bare.values()):
            arm.warm_up(WARM_UP)
        # In turn, so that a machine that slows down slows all arms.
        for number in range(plan.rounds):
            if on_round is not None:
                on_round(number + 1)
            for name, arm in arms.items():
                speeds[name].append(arm.read(plan.seconds))
            for name, arm in bare.items():
                precisions[name].append(arm.read(min(plan.seconds, PRECISION_SECONDS / plan.rounds)))
    file = f"architectures/{card.name}" if recipe.precision is None else f"benchmark/recipes/{recipe.name}"
    return Measurement(
        architecture=card.name,
        recipe=recipe.name,
        batch_size=recipe.batch_size,
        parameters=count_parameters(trainer.model),
        precision=card.precision,
        precision_set_in=f"{file}.toml",
        parts=trainer.parts,
        speeds={name: tuple(values) for name, values in speeds.items()},
        precisions={name: tuple(values) for name, values in precisions.items()},
    )


@contextmanager
def _in_words(card: ArchitectureCard, recipe: Recipe, plan: Plan) -> Iterator[None]:
    """Turn what PyTorch raises for want of memory or of a loader's process into a `TrainingError`."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split("\n", maxsplit=1)[0].strip()
        if out_of_memory(error):
            raise TrainingError(
                f"{card.name}: memory does not suffice for the plain loop with batches of "
                f"{recipe.batch_size} ({reason}); lower --batch-size"
            ) from error
        if "DataLoader worker" in str(error):
            raise TrainingError(
                f"{card.name}: one of the {plan.workers} DataLoader processes of the plain loop died "
                f"({reason}). Memory or /dev/shm may be short: lower --workers (0 for none) or --images"
            ) from error
        raise


@dataclass
class _Arm:
    """One way to train, ready to be timed.

    Parameters
    ----------
    batches
        Endless batches.
    step
        Takes one.
    place
        Where it does.
    context
        What surrounds each reading.
    ahead
        Batches that may lie ready when a reading begins: they cost nothing and must not count.
    rest
        Returns once nothing is being made ready any more, so that other arms have the machine.
    """

    batches: Iterator[Batch]
    step: Callable[[Tensor, Tensor], object]
    place: torch.device
    context: Callable[[], AbstractContextManager[None]]
    ahead: int = 0
    rest: Callable[[], None] = lambda: None

    def warm_up(self, steps: int) -> None:
        """Take steps that are not counted."""
        with self.context():
            self._warm_up(steps)
        self.rest()

    def read(self, seconds: float) -> float:
        """Train for so many seconds, at least one step, and return images/s."""
        with self.context():
            self._warm_up(1)
            seen, start = 0, time.perf_counter()
            while not seen or time.perf_counter() - start < seconds:
                images, labels = next(self.batches)
                self.step(images, labels)
                seen += len(labels)
            self._synchronise()
            speed = seen / (time.perf_counter() - start)
        self.rest()
        return speed

    def _warm_up(self, steps: int) -> None:
        for _ in range(self.ahead):
            next(self.batches)
        for _ in range(steps):
            self.step(*next(self.batches))
        self._synchronise()

    def _synchronise(self) -> None:
        if self.place.type == "cuda":
            torch.cuda.synchronize()


def _trainer(card: ArchitectureCard, data: ResidentImages, recipe: Recipe) -> Trainer:
    """Return a training as `train` begins it."""
    seeds = derive_seeds(card.name, f"bench|{recipe.name}", 0)
    model = seeded_model(card, CLASSES, seeds.weights).to(data.device)
    return Trainer(model.train(), card, data, recipe, seeds, None)


def _arms(trainer: Trainer, loader: _Loader, fixed: Batch, place: torch.device) -> dict[str, _Arm]:
    """Return the arms by name, in the order of `ARMS`; all but the plain one share a network."""
    context = partial(deterministic, place)
    losses = torch.zeros((), device=place)
    right = torch.zeros((), dtype=torch.int64, device=place)

    def step(images: Tensor, labels: Tensor) -> None:
        """Do what an epoch does for each batch."""
        logits, loss = trainer.step(images, labels, _rate(trainer.recipe))
        losses.add_(loss)
        right.add_((logits.argmax(dim=1) == labels).sum())

    def moved(images: Tensor, labels: Tensor) -> None:
        images, labels = images.to(place, non_blocking=True), labels.to(place, non_blocking=True)
        step(images.contiguous(memory_format=torch.channels_last), labels)

    return {
        PLAIN: _Arm(loader, _plain_step(trainer, place), place, nullcontext, loader.ahead, loader.rest),
        OUR_STEP: _Arm(loader, moved, place, context, loader.ahead, loader.rest),
        RESIDENT: _Arm(_epochs(trainer), step, place, context),
        LIMIT: _limit(trainer, fixed, place),
    }


def _bare(trainer: Trainer, fixed: Batch, place: torch.device) -> dict[str, _Arm]:
    """Return the limit in each precision; the weights are float32 in both."""
    arms = {}
    for precision in get_args(Precision):
        card = trainer.card.model_copy(update={"precision": precision})
        other = Trainer(trainer.model, card, trainer.data, trainer.recipe, trainer.seeds, None)
        arms[precision] = _limit(other, fixed, place)
    return arms


def _limit(trainer: Trainer, fixed: Batch, place: torch.device) -> _Arm:
    rate = _rate(trainer.recipe)

    def step(images: Tensor, labels: Tensor) -> object:
        return trainer.step(images, labels, rate)

    return _Arm(repeat(fixed), step, place, partial(deterministic, place))


def _rate(recipe: Recipe) -> float:
    """Return the learning rate of a first step: nothing can be learnt, and nothing must diverge."""
    return WARMUP_START * recipe.learning_rate


def _plain_step(trainer: Trainer, place: torch.device) -> Callable[[Tensor, Tensor], None]:
    """Return the step that a tutorial teaches, on a network of its own with the same weights."""
    recipe = trainer.recipe
    card = trainer.card.model_copy(update={"precision": "float32"})
    model = seeded_model(card, CLASSES, trainer.seeds.weights).to(memory_format=torch.contiguous_format)
    model.to(place).train()
    optimiser = _plain_optimiser(model, recipe)
    average: Any = None if recipe.ema is None else ModelEmaV3(model, decay=recipe.ema, use_warmup=True)
    taken = 0

    def step(images: Tensor, labels: Tensor) -> None:
        nonlocal taken
        images, labels = images.to(place, non_blocking=True), labels.to(place, non_blocking=True)
        logits = logits_of(model, card, images)
        loss = cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        if average is not None:
            average.update(model, step=taken)
        taken += 1
        # As a tutorial prints it: the device is waited for at every step.
        loss.item()

    return step


def _plain_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    rate, decay = _rate(recipe), recipe.weight_decay
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


def _epochs(trainer: Trainer) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from trainer.batches()


class _Loader(Iterator[Batch]):
    """Endless batches of a DataLoader as tutorials make it: float32 (b, 3, 32, 32) and labels (b,).

    Its processes go on until so many batches lie ready; that they do is known from a count that
    they keep.
    """

    def __init__(
        self,
        images: Images,
        labels: NDArray[np.int64],
        recipe: Recipe,
        channels: tuple[tuple[float, ...], tuple[float, ...]],
        workers: int,
        place: torch.device,
    ) -> None:
        self.made = multiprocessing.Value("q", 0)
        self.loader = DataLoader(
            _Pictures(images, labels, _transform(recipe, *channels)),
            batch_size=recipe.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=place.type == "cuda",
            drop_last=True,
            collate_fn=_Counting(self.made),
        )
        self.ahead = workers * (self.loader.prefetch_factor or 0)
        self.taken = 0
        self.batches = self._endless()

    def __next__(self) -> Batch:
        batch = next(self.batches)
        self.taken += 1
        return batch

    def _endless(self) -> Generator[Batch]:
        while True:
            yield from self.loader

    def close(self) -> None:
        """End the processes."""
        self.batches.close()
        del self.loader  # the last that holds them

    def rest(self) -> None:
        """Return once the processes have made what they may make ahead in this epoch."""
        if not self.ahead:
            return
        epoch_end = -(-self.taken // len(self.loader)) * len(self.loader)
        full = min(self.taken + self.ahead, epoch_end)
        give_up = time.monotonic() + REST_SECONDS
        # A loader that was killed never comes to rest: not waited for longer than this.
        while self.made.get_obj().value < full and time.monotonic() < give_up:
            time.sleep(0.001)


class _Counting:
    """The default collation, counting its batches: once a batch, so that it costs nothing."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def __call__(self, batch: list[tuple[Tensor, int]]) -> Any:
        collated = default_collate(batch)
        with self.made.get_lock():
            self.made.value += 1
        return collated


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Labelled images, one Pillow image at a time."""

    def __init__(
        self, images: Images, labels: NDArray[np.int64], transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def _transform(recipe: Recipe, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Return torchvision's counterpart of the recipe's augmentations."""
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
