"""The content of `run.json`, for runs that were trained here and for those that were trained elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field

from shiftcast.cards.base import SELF_REPORTED
from shiftcast.cards.recipe import LATER_FIELDS, FitRecipe, Recipe
from shiftcast.cards.suite import RunKey
from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.util.git import Git
from shiftcast.util.strict import StrictModel

SCHEMA = 1


LARGEST_RECORD = 1_000_000
"""Bytes of a `run.json`: those of long trainings take fifty thousand."""


LONGEST_LINE = 200
"""Characters of a line that a person writes about a model."""


class Seeds(StrictModel):
    """The seeds of one run and how they were derived from its seed number."""

    derivation: str
    weights: int
    order: int
    augmentation: int


class TargetResult(StrictModel):
    """What a run did on one set of images."""

    n: int
    accuracy: float | None


class Epoch(StrictModel):
    """One line of the training log; `parts` is more than 1 where memory did not suffice for whole batches."""

    loss: float
    accuracy: float
    learning_rate: float
    parts: int = 1


NotNegative = Annotated[float, Field(ge=0)]


class Measured(StrictModel):
    """What differs between equal runs; ignored when runs are compared."""

    train_seconds: NotNegative
    evaluate_seconds: NotNegative
    images_per_second: NotNegative
    peak_memory_mib: NotNegative
    signals_seconds: NotNegative | None = None
    """What the signals took; in neither of the others."""


class LabelViewAccuracy(StrictModel):
    """Accuracy under other labels of the same images, on those that have one.

    `differs` says of how many of them the (most likely) label is not the given one.
    """

    accuracy: float
    images: int
    differs: int


class RunRecord(StrictModel):
    """The content of `run.json`."""

    remedy: ClassVar[str] = "run its suite again"

    schema_version: Literal[1] = 1
    suite: str
    suite_version: int
    edition: str
    role: Literal["scored", "reference"]
    key: RunKey
    family: str
    card_hash: str
    recipe_hash: str
    recipe: Recipe | FitRecipe
    seeds: Seeds
    source: str
    datasets: dict[str, DatasetUsed]
    targets: dict[str, TargetResult]
    epochs: list[Epoch]
    parameters: int
    device: str
    precision: str
    threads: int
    packages: dict[str, str]
    git: Git | None
    source_hash: str
    predictions_sha256: str
    feature_scores: dict[str, dict[str, dict[str, float]]] = {}
    """Scores of penultimate features: by set, by "fitted part/predicted part" of the source, by estimator."""
    label_views: dict[str, LabelViewAccuracy] = {}
    """Accuracy on the source's images under other labels, where their files were at hand."""
    signals_sha256: str | None = None
    """SHA-256 of `signals.safetensors`; None where the recipe asks for none."""
    measured: Measured

    def json_values(self) -> dict[str, Any]:
        """Return what `run.json` holds: fields that are younger than some runs only where they are set."""
        values = self.model_dump(mode="json")
        later = set(LATER_FIELDS) - self.recipe.model_fields_set
        for part, fields in (
            (values, {"signals_sha256"}),
            (values["measured"], {"signals_seconds"}),
            (values["recipe"], later),
        ):
            for field in fields:
                if part.get(field) is None:
                    part.pop(field, None)
        return values

    def equal(self, other: RunRecord) -> bool:
        """Whether both describe the same result: everything but `measured` agrees."""
        return self.model_dump(exclude={"measured"}) == other.model_dump(exclude={"measured"})


def _printable(text: str) -> str:
    if not text.isprintable():  # nor are characters that turn the direction of what follows
        raise ValueError("expected one line of printable characters")
    return text.strip()


Line = Annotated[str, Field(max_length=LONGEST_LINE), AfterValidator(_printable)]
"""A line that a person wrote: nothing in it can break or turn a table."""


class Claim(StrictModel):
    """What a person says about a model that was trained elsewhere."""

    key: RunKey
    family: Annotated[Line, Field(min_length=1)]
    parameters: Annotated[int, Field(gt=0)] | None
    note: Line


class ReportedRecord(Claim):
    """The content of `run.json` where a model was trained elsewhere and its logits were imported."""

    remedy: ClassVar[str] = "submit it again with --force"

    schema_version: Literal[1] = 1
    origin: Literal["self-reported"] = SELF_REPORTED
    suite: str
    suite_version: int
    source: str
    datasets: dict[str, DatasetUsed]
    targets: dict[str, TargetResult]
    packages: dict[str, str]
    predictions_sha256: str
    outputs: Literal["logits", "classes"] = "logits"
    """What was contributed; "classes" are class indices alone (hard labels)."""

    @property
    def feature_scores(self) -> dict[str, dict[str, dict[str, float]]]:
        """No scores of features: only logits were imported."""
        return {}

    def json_values(self) -> dict[str, Any]:
        """Return what `run.json` holds."""
        return self.model_dump(mode="json")

    def differences(self, other: ReportedRecord) -> list[str]:
        """Return the fields in which two results differ; which packages wrote them is none."""
        one, two = self.model_dump(exclude={"packages"}), other.model_dump(exclude={"packages"})
        return [field for field in one if one[field] != two[field]]


Record = RunRecord | ReportedRecord
AnyRecord = TypeVar("AnyRecord", RunRecord, ReportedRecord)
