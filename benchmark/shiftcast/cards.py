"""The registry's data: architecture cards, dataset cards, recipes and suites as pydantic models.

Every model refuses unknown keys. This module says what a card may hold; finding the files is
`workspace`'s business, and building a network from a card `training.models`'s.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shiftcast.errors import CardError
from shiftcast.files import hash_of

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Level = Literal["required", "optional", "maintainers-only"]
Precision = Literal["float32", "bfloat16"]


class Card(BaseModel):
    """Base of every card: frozen, unknown keys refused, named after its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name


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

    def resolved(self, card: ArchitectureCard) -> Recipe:
        """Return this recipe with the overrides that `card` carries for it."""
        override = card.train.get(self.name)
        return self if override is None else self.model_copy(update=override.model_dump(exclude_none=True))


class Edition(BaseModel):
    """Other arrays known under a dataset's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    description: str


class View(BaseModel):
    """A part of a dataset whose accuracy is stated beside that of the whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(description="completes 'accuracy on …'")
    without_classes: list[str] = []
    without_images: list[Annotated[int, Field(ge=0)]] = Field(default=[], description="positions from 0")
    edition: str = Field(default="", description="the one edition that it is about; all when empty")


class Derivation(BaseModel):
    """How a derived dataset is made from another one, by us or by its publisher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Name
    generator: Literal["corruptions", "published"]
    version: int = Field(ge=1)
    transforms: list[Name] = Field(min_length=1, description="what a suite may ask for")


class Download(BaseModel):
    """One file of a publisher: where to get it, by what it is known, and what of it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="its name on disk")
    urls: list[Annotated[str, Field(pattern=r"^https?://\S+$")]] = Field(
        min_length=1, description="sources of the same bytes, in order of preference"
    )
    size: int | None = Field(default=None, ge=1, description="bytes")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    stated_by: str = Field(default="", description="where the hash was read: a page or a file")
    members: list[str] = Field(
        default=[], description="of an archive: patterns of the members that are unpacked; none: kept whole"
    )
    into: str = Field(default="", description="folder below the data folder that members or file go to")

    @model_validator(mode="after")
    def _stated(self) -> Self:
        if bool(self.sha256 or self.md5) != bool(self.stated_by):
            raise ValueError("stated_by belongs to sha256 or md5: say where the hash was read")
        return self

    @property
    def digest(self) -> str | None:
        """The stated hash as `algorithm:digits`, the stronger one; None where no publisher states any."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else None


class Build(BaseModel):
    """How arrays are made from a publisher's image files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["image-tree", "selection"] = Field(
        description="every image below a folder, or those whose hashes are listed"
    )
    archive: str = Field(description="the download that holds the images")
    pattern: str = Field(
        description="regular expression of a member's path; group `class` names its class, `cluster` its object"
    )
    hashes: str = Field(
        default="", description="for kind 'selection': file beside the card, a line for each image, in order"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"pattern: is no regular expression: {error}") from error
        if "class" not in groups:
            raise ValueError("pattern: needs a group named 'class': (?P<class>…)")
        if (self.kind == "selection") != bool(self.hashes):
            raise ValueError("hashes belongs to kind 'selection', and only to it")
        return self


class DatasetCard(Card):
    """Where a dataset comes from, its layout, identity, licence and kind of shift."""

    title: str
    description: str
    layout: Literal[
        "cifar10-binary", "arrays", "npz", "image-folder", "stl10-binary", "cifar10-c", "digits", "derived"
    ]
    path: str = ""
    files: list[str] = []
    clusters: str = Field(
        default="", description="file that says which object each image shows, beside the images"
    )
    split: Literal["", "train", "test"] = ""
    classes: list[str] = Field(min_length=2)
    class_map: dict[str, str] = Field(
        default={}, description="the publisher's name of a class -> ours; others are left out. Empty: the same"
    )
    publisher_classes: list[str] = Field(
        default=[], description="the publisher's classes in label order, where labels are numbers"
    )
    pattern: str = Field(default="", description="of an image folder: regular expression of file names kept")
    keys: list[str] = Field(default=[], description="of an .npz: names of the images and the labels")
    n: int = Field(ge=1)
    public: bool = Field(default=True, description="false for sets that only the maintainers hold")
    shift: Literal["none", "natural", "synthetic"]
    labels: Literal["given", "withheld"] = "given"
    citation: str
    licence: str
    homepage: str = ""
    obtain: str = Field(description="the command or instruction that gets the data")
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    editions: dict[Name, Edition] = {}
    views: dict[Name, View] = {}
    derived: Derivation | None = None
    downloads: list[Download] = []
    build: Build | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.layout in ("derived", "cifar10-c")) != (self.derived is not None):
            raise ValueError("[derived] belongs to layouts 'derived' and 'cifar10-c', and only to them")
        if self.layout in ("cifar10-binary", "arrays", "npz", "stl10-binary") and not self.files:
            raise ValueError(f"layout {self.layout!r} needs files")
        if self.layout == "npz" and len(self.keys) != 2:
            raise ValueError("layout 'npz' needs keys: the names of images and labels")
        if self.build and self.layout != "arrays":
            raise ValueError("[build] makes arrays: it belongs to layout 'arrays'")
        if self.build and self.build.archive not in [one.file for one in self.downloads]:
            raise ValueError(f"build.archive: {self.build.archive!r} is none of the downloads")
        if strange := sorted(set(self.class_map.values()) - set(self.classes)):
            raise ValueError(f"class_map: {strange[0]!r} is no class of the dataset")
        if self.clusters and self.layout != "arrays":
            raise ValueError("clusters belongs to layout 'arrays'")
        for name, view in self.views.items():
            if strange := sorted(set(view.without_classes) - set(self.classes)):
                raise ValueError(f"views.{name}: without_classes: {strange[0]!r} is no class of the dataset")
            if max(view.without_images, default=0) >= self.n:
                raise ValueError(f"views.{name}: without_images: expected positions below {self.n}")
            if view.edition and view.edition not in self.editions:
                raise ValueError(f"views.{name}: edition {view.edition!r} is not under [editions]")
        return self

    def edition(self, fingerprint: str) -> str:
        """Return what arrays with this fingerprint are called: "publisher", a named edition or a hash."""
        if fingerprint == self.fingerprint:
            return "publisher"
        named = (name for name, edition in self.editions.items() if edition.fingerprint == fingerprint)
        return next(named, fingerprint[:12])


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


AnyCard = TypeVar("AnyCard", bound=Card)


def read_card(model: type[AnyCard], path: Path) -> AnyCard:
    """Read the TOML file at `path` as a card named after the file.

    Raises
    ------
    CardError
        If the file is not TOML or not such a card; the message names the file and each key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: is not valid TOML: {error}") from error
    try:
        return model.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise CardError(f"{path}: is not a valid {model.__name__}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Return a validation error as one sentence per key: where, what is wrong, what came."""
    sentences = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "the card"
        message = item["msg"].removeprefix("Value error, ")
        came = "" if isinstance(item["input"], dict | list) else f" (got {item['input']!r})"
        sentences.append(f"{place}: {message}{came}")
    return "; ".join(sentences)


def card_hash(card: ArchitectureCard) -> str:
    """Return the hash of the fields of an architecture card that affect training."""
    fields: dict[str, Any] = card.model_dump(
        include={"timm", "kwargs", "unstride", "input_size", "precision"}, mode="json"
    )
    return hash_of(fields)


def recipe_hash(recipe: Recipe) -> str:
    """Return the hash of the fields of a resolved recipe that affect training."""
    return hash_of(recipe.model_dump(exclude={"name", "title"}, mode="json"))
