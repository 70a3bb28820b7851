"""What one run will be: card, recipe, seeds, images and machine, planned and checked before the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from threadpoolctl import threadpool_limits

from shiftcast.cards.architecture import ArchitectureCard, ModelCard, card_hash
from shiftcast.cards.recipe import AnyRecipe, Recipe, recipe_hash
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.loading import SuiteData
from shiftcast.errors import CardError, TrainingError
from shiftcast.runs.record import Seeds
from shiftcast.training.loop import derive_seeds
from shiftcast.training.network import build_model, check_resolutions, count_parameters, fit_card
from shiftcast.util.hashing import hash_of
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace, cache_folder

CARD_CLASSES = 10
"""Classes of the network whose parameters cards state."""


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that decides what one run will be."""

    suite: Suite
    key: RunKey
    role: str
    card: ModelCard
    recipe: AnyRecipe
    seeds: Seeds
    data: SuiteData
    classes: tuple[str, ...]
    device: str
    threads: int

    @property
    def is_network(self) -> bool:
        """Whether the run trains a network, which has a checkpoint, or fits a model that is none."""
        return isinstance(self.card, ArchitectureCard)

    @property
    def training(self) -> Recipe:
        """The recipe of a network."""
        return cast("Recipe", self.recipe)

    @property
    def fitted(self) -> ArchitectureCard:
        """The architecture card of a network with the precision used here: what is built and trained."""
        return fit_card(cast("ArchitectureCard", self.card), self.training, self.device)

    @property
    def identity(self) -> str:
        """Hash of what a checkpoint must agree with to be resumed."""
        train = self.data.used[self.suite.training_set].fingerprint
        subset = [self.suite.source.train_images, self.suite.source.seed]
        # Not the suite: the same training may serve several. The machine, since floats differ between two.
        parts = [card_hash(self.card), recipe_hash(self.recipe), self.seeds.model_dump(), train, subset]
        precision = self.fitted.precision if self.is_network else "float32"
        return hash_of([*parts, self.device, self.threads, precision])

    @property
    def checkpoint(self) -> Path:
        """Where the run's checkpoint is kept; nothing in `results/` relies on it."""
        folder = cache_folder() / "checkpoints" / self.suite.name / self.key.path
        return folder / f"{self.identity[:16]}.pt"

    @property
    def manifest(self) -> Path:
        """What the finished checkpoint is, beside it."""
        return self.checkpoint.with_suffix(".json")

    @property
    def lock(self) -> Path:
        """The file that says which process is at the run."""
        # One for the run, not for the checkpoint: cards may change while another process trains.
        return self.checkpoint.with_name("run.lock")


def plan_job(
    workspace: Workspace, suite: Suite, key: RunKey, role: str, data: SuiteData, device: str, threads: int
) -> Job:
    """Return the job for one run of a suite."""
    recipe = workspace.resolved_recipe(key.architecture, key.recipe)
    return Job(
        suite=suite,
        key=key,
        role=role,
        card=workspace.architecture(key.architecture),
        recipe=recipe,
        seeds=derive_seeds(key.architecture, getattr(recipe, "seeds_of", None) or key.recipe, key.seed),
        data=data,
        classes=tuple(workspace.dataset(suite.source.test).classes),
        device=device,
        threads=threads,
    )


def broken_cards(jobs: Iterable[Job]) -> dict[tuple[str, str], CardError]:
    """Return why cards cannot be trained, by architecture and recipe; found in moments, before a training."""
    broken: dict[tuple[str, str], CardError] = {}
    for name, job in {(job.key.architecture, job.key.recipe): job for job in jobs if job.is_network}.items():
        try:
            check_card(job.fitted, classes_of(job), job.training)
        except CardError as error:
            broken[name] = error
    return broken


def check_card(card: ArchitectureCard, classes: int, recipe: Recipe | None = None) -> None:
    """Build a card's network without memory for it, and hold it against its card and recipe.

    Raises
    ------
    CardError
        If it does not build, does not run on 32 x 32 images or those of the recipe's resolutions, or has
        another number of parameters.
    """
    # On "meta" a network of any size costs neither memory nor time.
    model = build_model(card, classes, "meta")
    came = count_parameters(model)
    if classes == CARD_CLASSES and came != card.parameters:
        raise CardError(
            f"architectures/{card.name}.toml: parameters: expected {came:,}, which {card.timm!r} has with "
            f"{classes} classes, got {card.parameters:,}; correct the number, or what makes the network"
        )
    if recipe is not None:
        check_resolutions(model, card, recipe)


def choose_device(name: str) -> str:
    """Return "cpu" or "cuda" for `--device cpu|cuda|auto`.

    Raises
    ------
    TrainingError
        If CUDA was asked for and PyTorch sees no such device.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    if name == "cuda" and not available:
        raise TrainingError("--device cuda: PyTorch sees no CUDA device; use --device cpu or auto")
    return name


def set_threads(threads: int | None) -> int:
    """Set the threads of PyTorch, linear algebra and OpenMP (unchanged when None); return PyTorch's count."""
    if threads is not None:
        # Both, since NumPy and scikit-learn bring threads of their own.
        torch.set_num_threads(threads)
        threadpool_limits(threads)
    return torch.get_num_threads()


def classes_of(job: Job) -> int:
    """Return the number of classes of the suite's training labels."""
    return int(cast("Integers", job.data.train.labels).max()) + 1
