"""Recipes: how networks are trained, and how models are fitted that are none."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shiftcast.cards.architecture import (
    ArchitectureCard,
    BatchSize,
    ClassicalCard,
    ModelCard,
    NotNegative,
    Positive,
    Precision,
    TrainingOverride,
)
from shiftcast.cards.base import Card, Name
from shiftcast.errors import CardError
from shiftcast.util.hashing import hash_of
from shiftcast.util.strict import StrictModel

LATER_FIELDS = (
    "ema",
    "precision",
    "mixup",
    "cutmix",
    "rand_augment",
    "sam",
    "early_stop",
    "train_share",
    "train_half",
    "seeds_of",
    "label_noise",
    "rate_of",
    "rate_factor",
    "crop_fill",
    "resolutions",
    "signals",
)
"""Fields of a recipe that are younger than the first published runs."""


class RandAugmentSpec(StrictModel):
    """RandAugment: how many operations an image, and how strong they are."""

    operations: int = Field(ge=1)
    magnitude: int = Field(ge=0, le=30)


class AnyRecipe(Card):
    """What is asked of every recipe, and what any model can be fitted on."""

    title: str
    train_share: float | None = Field(
        default=None, gt=0, le=1, description="stratified part of the training images, chosen for each run"
    )
    train_half: Literal["first", "second"] | None = Field(
        default=None, description="stratified half of the training images, the same one for every run"
    )
    label_noise: float | None = Field(
        default=None, gt=0, le=1, description="share of the training labels drawn anew from all classes"
    )

    @property
    def epochs_run(self) -> int:
        """Epochs until training ends; one where a model is fitted in one go."""
        return 1

    @property
    def plain(self) -> bool:
        """Whether lines may be drawn through models of this recipe; see `Recipe.plain`."""
        return False


class FitRecipe(AnyRecipe):
    """How to fit a model that is no network: in one go, on the images as they are."""

    kind: Literal["fit"]


class Recipe(AnyRecipe):
    """How to train a network: optimiser, schedule, augmentation, loss and epochs."""

    epochs: int = Field(ge=1)
    batch_size: BatchSize
    optimiser: Literal["sgd", "adamw", "muon"]
    learning_rate: Positive
    weight_decay: NotNegative
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["one-cycle", "cosine"]
    warmup: float = Field(
        default=0.2, ge=0, lt=1, description="share of the steps that raise the learning rate"
    )
    crop_padding: int = Field(default=0, ge=0, le=16, description="pixels of padding for random crops")
    crop_fill: Literal["reflect"] | None = Field(
        default=None, description="what the padding shows: the image reflected; black where unset"
    )
    flip: bool | Literal["alternating"] = Field(
        default=False,
        description="horizontal flips: random, or random in the first epoch and alternating from then on",
    )
    resolutions: list[Annotated[int, Field(ge=8, le=32)]] | None = Field(
        default=None,
        min_length=1,
        description="side of the training images in pixels, one for each equal part of the epochs",
    )
    cutout: int = Field(default=0, ge=0, le=32, description="side of the square that is blanked, in pixels")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0, description="largest gradient norm")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay, a step, of the average of the weights that is evaluated"
    )
    precision: Precision | None = Field(default=None, description="of every network, whatever its card says")
    mixup: Positive | None = Field(default=None, description="alpha of the beta distribution of the ratios")
    cutmix: Positive | None = Field(
        default=None, description="alpha; where mixup is set too, each batch gets one of the two"
    )
    rand_augment: RandAugmentSpec | None = None
    sam: Positive | None = Field(
        default=None, description="rho of sharpness-aware minimisation, two passes a step"
    )
    early_stop: float | None = Field(
        default=None, gt=0, lt=1, description="share of the epochs after which training ends, to whole epochs"
    )
    seeds_of: Name | None = Field(
        default=None, description="recipe whose seeds are taken: stopped early, its run at that epoch"
    )
    rate_of: Name | None = Field(
        default=None, description="recipe whose learning rate in a card counts where it has none for this one"
    )
    rate_factor: Positive | None = Field(
        default=None, description="on the learning rate, unless a card gives one for this very recipe"
    )
    signals: Annotated[
        Literal[True] | None, BeforeValidator(lambda given: None if given is False else given)
    ] = Field(default=None, description="record of each image what signals.safetensors holds")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.early_stop is not None and not 1 <= round(self.early_stop * self.epochs) < self.epochs:
            raise ValueError(
                f"early_stop = {self.early_stop:g} of {self.epochs} epochs ends after "
                f"{round(self.early_stop * self.epochs)}: expected a share that ends after 1 to "
                f"{self.epochs - 1} of them, or no early_stop"
            )
        if self.rate_of == self.name:
            raise ValueError("rate_of names this recipe itself: name another, or leave it out")
        if self.crop_fill is not None and not self.crop_padding:
            raise ValueError(
                "crop_fill says what padding shows, and crop_padding is 0: set it, or leave crop_fill out"
            )
        if self.resolutions is not None and len(self.resolutions) > self.epochs:
            raise ValueError(
                f"resolutions has {len(self.resolutions)} entries for {self.epochs} epochs: expected at most "
                "one an epoch"
            )
        return self

    @property
    def epochs_run(self) -> int:
        """Epochs until training ends; the schedule is planned for `epochs`."""
        return self.epochs if self.early_stop is None else max(1, round(self.early_stop * self.epochs))

    def resolution(self, epoch: int) -> int | None:
        """Return the side of the training images of an epoch (from 0), in pixels; None for their own."""
        if self.resolutions is None:
            return None
        return self.resolutions[epoch * len(self.resolutions) // self.epochs]

    def resolved(self, card: ArchitectureCard) -> Recipe:
        """Return this recipe with the overrides that `card` carries for it.

        A recipe that differs from another in one thing needs that one's learning rate for each
        architecture: `rate_of` names it, `rate_factor` multiplies it. Neither is left in the result.
        """
        override = card.train.get(self.name)
        update: dict[str, Any] = {} if override is None else override.model_dump(exclude_none=True)
        if self.rate_of is not None or self.rate_factor is not None:
            tuned = card.train.get(self.rate_of or self.name, TrainingOverride()).learning_rate
            rate = (tuned or self.learning_rate) * (self.rate_factor or 1)
            update = {"learning_rate": rate, "rate_of": None, "rate_factor": None} | update
        return self.model_copy(update=update) if update else self

    def fitted(self, card: ArchitectureCard) -> ArchitectureCard:
        """Return `card` with the precision that this recipe asks for."""
        return card if self.precision is None else card.model_copy(update={"precision": self.precision})

    @property
    def plain(self) -> bool:
        """Whether nothing but crops, flips, cutout and averaged weights is done to images, labels and loss.

        A variant of another recipe (`rate_of`) is not plain.
        """
        bent = ("mixup", "cutmix", "rand_augment", "sam", "early_stop", "label_noise", "rate_of", "seeds_of")
        bent_data = ("train_share", "train_half")
        return self.label_smoothing == 0 and all(getattr(self, key) is None for key in (*bent, *bent_data))


def resolve(recipe: AnyRecipe, card: ModelCard) -> AnyRecipe:
    """Return a recipe with what a model's card overrides.

    Raises
    ------
    CardError
        If the recipe is for the other kind of model.
    """
    if isinstance(recipe, Recipe) and isinstance(card, ArchitectureCard):
        return recipe.resolved(card)
    if isinstance(recipe, FitRecipe) and isinstance(card, ClassicalCard):
        return recipe
    if isinstance(recipe, Recipe):
        raise CardError(
            f"recipe {recipe.name!r} trains networks, and {card.name!r} is a classifier of scikit-learn; "
            'expected a recipe with kind = "fit"'
        )
    raise CardError(
        f"recipe {recipe.name!r} fits classifiers of scikit-learn, and {card.name!r} is a network; expected "
        "a recipe that trains: see shiftcast list recipes"
    )


def recipe_hash(recipe: AnyRecipe) -> str:
    """Return the hash of the fields of a resolved recipe that affect training.

    Fields that came later count where they are set, so that earlier runs stay what they were.
    """
    unset = {field for field in LATER_FIELDS if getattr(recipe, field, None) is None}
    return hash_of(recipe.model_dump(exclude={"name", "title", *unset}, mode="json"))
