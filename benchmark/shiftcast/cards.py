"""The registry's data: architecture cards, dataset cards, recipes and suites as pydantic models.

Every model refuses unknown keys. This module says what a card may hold; finding the files is
`workspace`'s business, and building a network from a card `training.models`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shiftcast.card_base import AnyCard, Card, Name, explain, read_card
from shiftcast.dataset_cards import Build, DatasetCard, Derivation, Download, LabelViewCard
from shiftcast.files import hash_of

__all__ = [
    "AnyCard",
    "ArchitectureCard",
    "Build",
    "Card",
    "DatasetCard",
    "Derivation",
    "Download",
    "LabelViewCard",
    "Level",
    "Name",
    "Precision",
    "Recipe",
    "ReferenceEnsemble",
    "RunKey",
    "Runs",
    "Source",
    "Suite",
    "Target",
    "TargetSpec",
    "TrainingOverride",
    "card_hash",
    "explain",
    "read_card",
    "recipe_hash",
]

Level = Literal["required", "optional", "maintainers-only"]
Precision = Literal["float32", "bfloat16"]
LATER_FIELDS = ("ema", "precision")
"""Fields of a recipe that are younger than the first published runs."""


class TrainingOverride(BaseModel):
    """What an architecture card may change in a recipe, under `[train.RECIPE]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    batch_size: int | None = Field(default=None, ge=1)


class ArchitectureCard(Card):
    """A timm model, how it is fitted to 32 x 32 images, and what it is."""

    timm: str
    family: str
    title: str
    citation: str
    kwargs: dict[str, Any] = Field(default={}, description="keyword arguments of timm.create_model")
    parameters: int = Field(gt=0, description="trainable parameters with ten classes")
    feature_map: list[int] = Field(
        description="final feature map [channels, height, width] or [tokens, width]"
    )
    unstride: int = Field(
        default=0, ge=0, description="downsampling stages, first in forward order, run at stride 1"
    )
    input_size: int = Field(default=32, ge=32, description="images are resized to this many pixels")
    allow_collapse: str = Field(default="", description="why a final map below 2 x 2 is accepted")
    precision: Precision = "float32"
    train: dict[str, TrainingOverride] = {}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.feature_map) not in (2, 3):
            raise ValueError("feature_map must be [channels, height, width] or [tokens, width]")
        collapsed = len(self.feature_map) == 3 and min(self.feature_map[1:]) < 2
        if collapsed and not self.allow_collapse:
            raise ValueError(
                f"the final feature map {self.feature_map} is below 2 x 2: raise unstride, or give the "
                "reason under allow_collapse"
            )
        return self


class Recipe(Card):
    """How to train: optimiser, schedule, augmentation, loss and epochs."""

    title: str
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["one-cycle", "cosine"]
    warmup: float = Field(
        default=0.2, ge=0, lt=1, description="share of the steps that raise the learning rate"
    )
    crop_padding: int = Field(default=0, ge=0, le=16, description="pixels of zero padding for random crops")
    flip: bool = Field(default=False, description="random horizontal flips")
    cutout: int = Field(default=0, ge=0, le=32, description="side of the square that is blanked, in pixels")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0, description="largest gradient norm")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay, a step, of the average of the weights that is evaluated"
    )
    precision: Precision | None = Field(default=None, description="of every network, whatever its card says")

    def resolved(self, card: ArchitectureCard) -> Recipe:
        """Return this recipe with the overrides that `card` carries for it."""
        override = card.train.get(self.name)
        return self if override is None else self.model_copy(update=override.model_dump(exclude_none=True))

    def fitted(self, card: ArchitectureCard) -> ArchitectureCard:
        """Return `card` with the precision that this recipe asks for."""
        return card if self.precision is None else card.model_copy(update={"precision": self.precision})


class Source(BaseModel):
    """The labelled in-distribution data of a suite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: Name
    test: Name
    train_images: int | None = Field(
        default=None, ge=1, description="stratified subset of the training images"
    )
    seed: int = Field(default=0, ge=0, description="seed of the halves and subsets")


class TargetSpec(BaseModel):
    """One entry of a suite's targets: a natural set, or transforms of the test set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Name
    level: Level = "required"
    transforms: list[Name] = []
    severities: list[Annotated[int, Field(ge=1, le=5)]] = []
    images: int | None = Field(default=None, ge=2, description="stratified subset of the test images")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.transforms) != bool(self.severities):
            raise ValueError("transforms and severities belong together")
        if self.images is not None and not self.transforms:
            raise ValueError("images limits derived targets only")
        return self


class Runs(BaseModel):
    """Scored runs: every architecture with every seed under one recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architectures: list[Name] = Field(min_length=1)
    recipe: Name
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)


class ReferenceEnsemble(BaseModel):
    """Runs kept apart to define difficulty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: list[Name] = Field(min_length=3)
    reserves: list[Name] = []
    recipe: Name
    seed: int = Field(default=100, ge=0)


class Target(BaseModel):
    """One evaluated set of images, as a suite's targets unfold into them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    dataset: Name
    group: str
    level: Level
    transform: str = ""
    severity: int = 0
    images: int | None = None

    @property
    def derived(self) -> bool:
        """Whether the images are made from the in-distribution test images."""
        return bool(self.transform)


class RunKey(BaseModel):
    """Which run: architecture x recipe x seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Name
    recipe: Name
    seed: int

    @property
    def path(self) -> Path:
        """The run's folder below its suite's results."""
        return Path(self.architecture) / self.recipe / f"seed-{self.seed}"

    def __str__(self) -> str:
        """Return `architecture/recipe/seed-n`."""
        return self.path.as_posix()


class Suite(Card):
    """Source, targets, runs and reference ensemble: everything one board section is made of."""

    version: int = Field(ge=1)
    title: str
    description: str
    source: Source
    targets: list[TargetSpec] = Field(min_length=1)
    runs: list[Runs] = Field(min_length=1)
    reference: ReferenceEnsemble
    headline: str = "ConfusionPartition"
    editions: dict[Name, str] = Field(default={}, description="edition of each dataset that rows are about")
    scratch: bool = Field(default=False, description="keep results in outputs/, not on the board")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        scored, reference = self.scored_runs(), self.reference_runs()
        if len(set(scored)) != len(scored):
            raise ValueError("runs: the same architecture, recipe and seed is listed twice")
        both = set(scored) & set(reference)
        if both:
            raise ValueError(
                f"reference: {min(map(str, both))} is also a scored run; give the reference another seed"
            )
        names = self.reference.members + self.reference.reserves
        if len(set(names)) != len(names):
            raise ValueError("reference: an architecture is listed twice")
        ids = [target.id for target in self.unfolded_targets()]
        if len(set(ids)) != len(ids):
            raise ValueError("targets: the same target is listed twice")
        return self

    def scored_runs(self) -> list[RunKey]:
        """Return every scored run, in the suite's order."""
        return [
            RunKey(architecture=architecture, recipe=entry.recipe, seed=seed)
            for entry in self.runs
            for architecture in entry.architectures
            for seed in entry.seeds
        ]

    def reference_runs(self) -> list[RunKey]:
        """Return the reference ensemble's members, then its reserves."""
        names = self.reference.members + self.reference.reserves
        return [RunKey(architecture=n, recipe=self.reference.recipe, seed=self.reference.seed) for n in names]

    def unfolded_targets(self) -> list[Target]:
        """Return one `Target` per natural set and per (transform, severity)."""
        found = []
        for spec in self.targets:
            if not spec.transforms:
                found.append(
                    Target(id=spec.dataset, dataset=spec.dataset, group=spec.dataset, level=spec.level)
                )
            found += [
                Target(
                    id=f"{spec.dataset}/{transform}-{severity}",
                    dataset=spec.dataset,
                    level=spec.level,
                    group=transform,
                    transform=transform,
                    severity=severity,
                    images=spec.images,
                )
                for transform in spec.transforms
                for severity in spec.severities
            ]
        return found


def card_hash(card: ArchitectureCard) -> str:
    """Return the hash of the fields of an architecture card that affect training."""
    fields: dict[str, Any] = card.model_dump(
        include={"timm", "kwargs", "unstride", "input_size", "precision"}, mode="json"
    )
    return hash_of(fields)


def recipe_hash(recipe: Recipe) -> str:
    """Return the hash of the fields of a resolved recipe that affect training.

    Fields that came later count where they are set, so that earlier runs stay what they were.
    """
    unset = {field for field in LATER_FIELDS if getattr(recipe, field) is None}
    return hash_of(recipe.model_dump(exclude={"name", "title", *unset}, mode="json"))
