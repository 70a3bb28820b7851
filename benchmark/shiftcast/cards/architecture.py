"""Cards of models: networks of timm, and classifiers of scikit-learn that are none."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shiftcast.cards.base import Card
from shiftcast.util.hashing import hash_of
from shiftcast.util.strict import StrictModel

Precision = Literal["float32", "bfloat16"]


def _enough_for_batch_norm(batch_size: int) -> int:
    if batch_size < 2:
        raise ValueError("expected at least 2 images: batch normalisation needs two to estimate a variance")
    return batch_size


BatchSize = Annotated[int, AfterValidator(_enough_for_batch_norm)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TrainingOverride(StrictModel):
    """What an architecture card may change in a recipe, under `[train.RECIPE]`."""

    learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None
    batch_size: BatchSize | None = None
    resolutions: list[Annotated[int, Field(ge=8, le=32)]] | None = Field(
        default=None, min_length=1, description="[32] for networks that smaller images are too small for"
    )


class ModelCard(Card):
    """What is known of every model: where it comes from, and whom to cite."""

    family: str
    title: str
    citation: str


class ArchitectureCard(ModelCard):
    """A timm model, how it is fitted to 32 x 32 images, and what it is."""

    timm: str
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


class ClassicalCard(ModelCard):
    """A classifier of scikit-learn, fitted on pixels: a control, for what holds among networks alone."""

    sklearn: Literal["k-nearest-neighbours", "random-forest", "random-features"]
    kwargs: dict[str, Any] = Field(default={}, description="keyword arguments of the classifier")
    components: int | None = Field(
        default=None, ge=1, description="principal components of the pixels; the pixels where unset"
    )
    features: int | None = Field(default=None, ge=1, description="random Fourier features")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.features is not None) != (self.sklearn == "random-features"):
            raise ValueError('features belongs to sklearn = "random-features", and to no other')
        return self


def card_hash(card: ModelCard) -> str:
    """Return the hash of the fields of a model's card that affect training."""
    fields = {"timm", "kwargs", "unstride", "input_size", "precision"}
    if isinstance(card, ClassicalCard):
        fields = {"sklearn", "kwargs", "components", "features"}
    values: dict[str, Any] = card.model_dump(include=fields, mode="json")
    return hash_of(values)
