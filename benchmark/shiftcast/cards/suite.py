"""Suites: the runs, sets and reference ensemble that one section of the board is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shiftcast.cards.base import SELF_REPORTED, Card, Name, Shortcut
from shiftcast.errors import InvalidInputError
from shiftcast.util.strict import StrictModel

Level = Literal["required", "optional", "maintainers-only"]


class Source(StrictModel):
    """The labelled in-distribution data of a suite; without `train` it is a logits-only suite."""

    train: Name | None = Field(default=None, description="None: nothing is trained, runs are contributed")
    test: Name
    train_images: int | None = Field(
        default=None, ge=1, description="stratified subset of the training images"
    )
    seed: int = Field(default=0, ge=0, description="seed of the halves and subsets")
    planted: Shortcut | None = Field(
        default=None, description="shortcut in training and test images, see data.planted"
    )
    agreement: float | None = Field(
        default=None, ge=0, le=1, description="share of shortcuts that show the class"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.planted is None) != (self.agreement is None):
            raise ValueError("planted and agreement belong together")
        of_training = ("train_images", "planted")
        if self.train is None and (named := [key for key in of_training if getattr(self, key) is not None]):
            raise ValueError(f"{named[0]} belongs to suites that train: name a dataset under `train`")
        return self


class TargetSpec(StrictModel):
    """One entry of a suite's targets: a natural set, or transforms of the test set."""

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


class Runs(StrictModel):
    """Scored runs: every architecture with every seed under one recipe."""

    architectures: list[Name] = Field(min_length=1)
    recipe: Name = SELF_REPORTED
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)

    def run_keys(self) -> list[RunKey]:
        """Return every run, in order."""
        return [
            RunKey(architecture=architecture, recipe=self.recipe, seed=seed)
            for architecture in self.architectures
            for seed in self.seeds
        ]


MEMBERS = 3
"""Fewest members of a reference ensemble."""


class ReferenceEnsemble(StrictModel):
    """Runs kept apart to define difficulty."""

    members: list[Name] = []
    reserves: list[Name] = []
    recipe: Name = SELF_REPORTED
    seed: int = Field(default=100, ge=0)


class StudiedEnsemble(StrictModel):
    """Runs of the suite that are tried as a reference ensemble, in the order in which it grows."""

    name: Name
    title: str = Field(min_length=1)
    members: list[Runs] = Field(min_length=1, description="scored or reference runs")

    def run_keys(self) -> list[RunKey]:
        """Return the members."""
        return [key for entry in self.members for key in entry.run_keys()]


class Target(StrictModel):
    """One evaluated set of images, as a suite's targets unfold into them."""

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


class RunKey(StrictModel):
    """Which run: architecture x recipe x seed."""

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


class SuiteView(StrictModel):
    """What a suite's runs would say under a change that needs no network: a control.

    Either `scale`, a factor on every logit of the scored run alone, or `resample`: half B of the test set
    drawn with unequal weights as a target, while estimators fit on half A.
    """

    name: Name
    scale: float | None = Field(default=None, gt=0, le=100)
    resample: Literal["class", "confusion"] | None = None
    ratio: float = Field(default=1.0, ge=1, le=1e6, description="largest weight over smallest")
    share: float = Field(default=0.5, gt=0, le=1, description="of half B that is drawn, without replacement")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.scale is None) == (self.resample is None):
            raise ValueError("expected one of scale and resample")
        return self


Quantity = Literal["accuracy", "bias", "error", "change"]


class Expectation(StrictModel):
    """A figure that a control must come to, stated before it was run, in percent or percentage points.

    `accuracy`: mean actual accuracy. `bias`, `error`: mean signed or absolute error of each of
    `estimators`. `change`: mean absolute difference that `view` makes to each one's predictions.
    """

    text: str = Field(min_length=1)
    quantity: Quantity
    estimators: list[str] = []
    view: Name | None = None
    targets: list[str] = Field(default=[], description="ids of sets; all targets where empty")
    architectures: list[Name] = Field(default=[], description="of the runs; all where empty")
    recipes: list[Name] = Field(default=[], description="of the runs; all where empty")
    low: float = Field(default=-100.0, ge=-100, le=100)
    high: float = Field(default=100.0, ge=-100, le=100)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.quantity == "accuracy") != (not self.estimators):
            raise ValueError("estimators belong to every quantity but accuracy")
        if self.quantity == "change" and self.view is None:
            raise ValueError("change needs a view: what changes?")
        if not self.low <= self.high or (self.low, self.high) == (-100, 100):
            raise ValueError("expected a bound, and low no larger than high")
        return self

    def concerns(self, key: RunKey) -> bool:
        """Whether a run is one of those that this is about."""
        named = not self.architectures or key.architecture in self.architectures
        return named and (not self.recipes or key.recipe in self.recipes)


class Suite(Card):
    """Source, targets, runs and reference ensemble: everything one board section is made of."""

    version: int = Field(ge=1)
    title: str
    description: str
    source: Source
    targets: list[TargetSpec] = Field(min_length=1)
    runs: list[Runs] = []
    reference: ReferenceEnsemble = ReferenceEnsemble()
    headline: str = "ConfusionPartition"
    editions: dict[Name, str] = Field(default={}, description="edition of each dataset that rows are about")
    views: list[SuiteView] = []
    ensembles: list[StudiedEnsemble] = []
    expectations: list[Expectation] = []
    scratch: bool = Field(default=False, description="keep results in outputs/, not on the board")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_training()
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
        self._check_expectations(ids, scored)
        self._check_ensembles(set(scored) | set(reference))
        return self

    def _check_training(self) -> None:
        """Hold a suite that trains to what it needs, and a logits-only one to what it can have."""
        if not self.contributed:
            if not self.runs or len(self.reference.members) < MEMBERS:
                raise ValueError(
                    f"expected [[runs]], and [reference] with at least {MEMBERS} members; only a suite "
                    "without source.train, whose runs are contributed, does without"
                )
            return
        named = {entry.recipe for entry in self.runs} | {self.reference.recipe}
        if named != {SELF_REPORTED}:
            raise ValueError(
                "recipe: nothing is trained without source.train; leave it out, or name a dataset"
            )
        if 0 < len(self.reference.members) < MEMBERS:
            raise ValueError(f"reference: expected no members, or at least {MEMBERS}")
        if self.views or self.ensembles or self.expectations:
            raise ValueError("views, ensembles and expectations belong to suites that train")

    def _check_ensembles(self, runs: set[RunKey]) -> None:
        if len({one.name for one in self.ensembles}) != len(self.ensembles):
            raise ValueError("ensembles: the same name is listed twice")
        for place, one in enumerate(self.ensembles):
            keys = one.run_keys()
            if strange := sorted(str(key) for key in set(keys) - runs):
                raise ValueError(f"ensembles.{place}.members: {strange[0]} is not a run of this suite")
            if len(keys) < 2 or len(set(keys)) != len(keys):
                raise ValueError(f"ensembles.{place}.members: expected at least 2 runs, each once")

    def _check_expectations(self, ids: list[str], scored: list[RunKey]) -> None:
        views = {view.name: view for view in self.views}
        if len(views) != len(self.views):
            raise ValueError("views: the same name is listed twice")
        for place, one in enumerate(self.expectations):
            where = f"expectations.{place}"
            if one.view is not None and one.view not in views:
                raise ValueError(f"{where}.view: {one.view!r} is none of [[views]]")
            drawn = one.view is not None and views[one.view].resample is not None
            known = [] if drawn else [self.source.test, *ids]
            if strange := sorted(set(one.targets) - set(known)):
                raise ValueError(f"{where}.targets: {strange[0]!r} is not a set that this entry is about")
            if one.quantity == "accuracy" and one.view is not None and not drawn:
                raise ValueError(f"{where}: a scaled view has the accuracy of the runs themselves")
            if drawn and one.quantity == "change":
                raise ValueError(f"{where}: a resampled view has no counterpart that it changes")
            if one.quantity != "accuracy" and self.source.test in one.targets:
                raise ValueError(f"{where}.targets: nothing is predicted for {self.source.test!r}")
            if not any(one.concerns(key) for key in scored):
                raise ValueError(f"{where}: no scored run has these architectures and recipes")

    @property
    def contributed(self) -> bool:
        """Whether nothing is trained: every run is logits, or class indices, that others contribute."""
        return self.source.train is None

    @property
    def training_set(self) -> str:
        """The dataset that networks are trained on; `InvalidInputError` in a logits-only suite."""
        if self.source.train is None:
            raise InvalidInputError(
                f"suite {self.name!r} is a logits-only suite: nothing is trained in it, and its runs are "
                f"contributed with shiftcast submit {self.name}"
            )
        return self.source.train

    @property
    def is_control(self) -> bool:
        """Whether the suite is a control: nothing is learned from its errors."""
        return bool(self.expectations) or self.source.planted is not None

    def scored_runs(self) -> list[RunKey]:
        """Return every scored run, in the suite's order."""
        return [key for entry in self.runs for key in entry.run_keys()]

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
