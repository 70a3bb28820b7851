"""Where things are: the cards of a workspace, its results, and the data and cache folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import cast

from shiftcast.cards.architecture import ArchitectureCard, ClassicalCard, ModelCard
from shiftcast.cards.base import SELF_REPORTED, AnyCard, lookup, read_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.recipe import AnyRecipe, FitRecipe, Recipe, resolve
from shiftcast.cards.suite import Suite, Target
from shiftcast.difficulty import choose_members
from shiftcast.errors import CardError, InvalidInputError, WorkspaceError

PACKAGE = Path(__file__).resolve().parent
EMBEDDED = PACKAGE / "_cards"


@dataclass(frozen=True)
class Workspace:
    """A folder with `architectures/`, `datasets/`, `benchmark/recipes/` and `benchmark/suites/`.

    Parameters
    ----------
    root
        The folder that holds the cards.
    home
        The folder that results and outputs go to; differs from `root` only for embedded cards,
        which are read-only.
    """

    root: Path
    home: Path

    @cached_property
    def architectures(self) -> Mapping[str, ModelCard]:
        """Every architecture card by name."""
        return self._cards(ArchitectureCard, "architectures", {"sklearn": ClassicalCard})

    @cached_property
    def datasets(self) -> Mapping[str, DatasetCard]:
        """Every dataset card by name."""
        return self._cards(DatasetCard, "datasets")

    @cached_property
    def recipes(self) -> Mapping[str, AnyRecipe]:
        """Every recipe by name."""
        return self._cards(Recipe, "benchmark/recipes", {"kind": FitRecipe})

    @cached_property
    def suites(self) -> Mapping[str, Suite]:
        """Every suite by name, with all names that it uses checked."""
        suites = self._cards(Suite, "benchmark/suites")
        for recipe in self.recipes:
            self._refuse_reserved(recipe, f"{self.root / 'benchmark/recipes' / recipe}.toml")
        for suite in suites.values():
            self._check_suite(suite)
        return suites

    def suite(self, name: str) -> Suite:
        """Return a suite by name.

        Raises
        ------
        UnknownNameError
            If there is none, with the nearest names.
        """
        return lookup("suite", name, self.suites)

    def architecture(self, name: str) -> ModelCard:
        """Return an architecture card by name; `UnknownNameError` if there is none."""
        return lookup("architecture", name, self.architectures)

    def network(self, name: str) -> ArchitectureCard:
        """Return the card of a network by name.

        Raises
        ------
        UnknownNameError
            If there is no such architecture.
        InvalidInputError
            If it is no network.
        """
        card = self.architecture(name)
        if not isinstance(card, ArchitectureCard):
            raise InvalidInputError(
                f"architecture {name!r} is a classifier of scikit-learn; expected a network of timm's"
            )
        return card

    def training(self, network: str, recipe: str) -> Recipe:
        """Return a recipe with a network's overrides; `CardError` if it is not for networks."""
        return cast("Recipe", resolve(self.recipe(recipe), self.network(network)))

    def dataset(self, name: str) -> DatasetCard:
        """Return a dataset card by name; `UnknownNameError` if there is none."""
        return lookup("dataset", name, self.datasets)

    def recipe(self, name: str) -> AnyRecipe:
        """Return a recipe by name; `UnknownNameError` if there is none."""
        return lookup("recipe", name, self.recipes)

    def resolved_recipe(self, architecture: str, recipe: str) -> AnyRecipe:
        """Return a recipe with an architecture's overrides; `CardError` if it is for other models."""
        return resolve(self.recipe(recipe), self.architecture(architecture))

    def outputs(self, suite: Suite) -> Path:
        """Return the ignored folder for a suite's report."""
        return self.home / "outputs" / suite.name

    def cards_to_write(self, folder: str) -> Path:
        """Return a folder of cards that may be edited; `WorkspaceError` if it is the installed package's."""
        if self.root == EMBEDDED:
            raise WorkspaceError(
                "the cards in use are those of the installed package, which are read-only; run this in a "
                "checkout of the repository, or name one with --workspace"
            )
        return self.root / folder

    def results(self, suite: Suite | None = None) -> Path:
        """Return the folder that holds results: `results/`, or a scratch suite's outputs."""
        return (
            self.outputs(suite) / "results" if suite is not None and suite.scratch else self.home / "results"
        )

    def natural(self, target: Target) -> bool:
        """Whether a target is a natural shift, as its dataset card says."""
        return self.dataset(target.dataset).shift == "natural"

    def _cards(
        self,
        model: type[AnyCard],
        folder: str,
        kinds: Mapping[str, type[AnyCard]] = MappingProxyType({}),
    ) -> dict[str, AnyCard]:
        paths = sorted((self.root / folder).glob("*.toml"))
        return {path.stem: read_card(model, path, kinds) for path in paths}

    def _check_suite(self, suite: Suite) -> None:
        where = f"{self.root / 'benchmark/suites' / suite.name}.toml"
        for run in [] if suite.contributed else [*suite.scored_runs(), *suite.reference_runs()]:
            lookup("architecture", run.architecture, self.architectures, where)
            self._refuse_reserved(run.recipe, where)
            lookup("recipe", run.recipe, self.recipes, where)
            self._check_variant(run.recipe, where)
            try:
                self.resolved_recipe(run.architecture, run.recipe)
            except CardError as error:
                raise CardError(f"{where}: {error}") from error
        trained_on = [] if suite.source.train is None else [suite.source.train]
        for name in (*trained_on, suite.source.test, *suite.editions):
            lookup("dataset", name, self.datasets, where)
        classes = self.datasets[suite.source.test].classes
        for target in suite.unfolded_targets():
            card = lookup("dataset", target.dataset, self.datasets, where)
            if card.classes != classes:
                raise CardError(
                    f"{where}: target {target.dataset!r} has other classes than {suite.source.test!r}"
                )
            self._check_derivation(suite, target, card, where)
        if not suite.contributed:
            self._check_reference(suite, where)

    def _check_variant(self, name: str, where: str) -> None:
        """Refuse a recipe that is a variant of none that there is, or of another variant."""
        base = getattr(self.recipes[name], "rate_of", None)
        if base is None:
            return
        other = lookup("recipe", base, self.recipes, f"{where}: recipe {name!r}, rate_of")
        if (further := getattr(other, "rate_of", None)) is not None:
            raise CardError(f"{where}: recipe {name!r}: rate_of = {base!r} is a variant of {further!r}")

    @staticmethod
    def _refuse_reserved(recipe: str, where: str) -> None:
        if recipe == SELF_REPORTED:
            raise CardError(
                f"{where}: the recipe name {SELF_REPORTED!r} is reserved for models trained elsewhere, which "
                "shiftcast submit adds; name another in [[runs]] and [reference], or rename yours"
            )

    def _check_derivation(self, suite: Suite, target: Target, card: DatasetCard, where: str) -> None:
        if card.derived is None and not target.derived:
            return
        if card.derived is None or not target.derived:
            raise CardError(
                f"{where}: transforms and severities belong to derived datasets; see {target.dataset!r}"
            )
        if card.derived.shortcut != (suite.source.planted if card.derived.generator == "planted" else None):
            raise CardError(
                f"{where}: {target.dataset!r} moves the shortcut {card.derived.shortcut!r}: expected it "
                f"under [source] as `planted`, got {suite.source.planted!r}"
            )
        if card.derived.source != suite.source.test:
            raise CardError(
                f"{where}: {target.dataset!r} is made from {card.derived.source!r}, "
                f"but the suite's test set is {suite.source.test!r}"
            )
        offered = dict.fromkeys(card.derived.transforms)
        lookup(f"transform of {target.dataset}", target.transform, offered, where)
        if target.severity not in card.derived.severities:
            raise CardError(
                f"{where}: {target.dataset!r} has severities {card.derived.severities}, got {target.severity}"
            )

    def _check_reference(self, suite: Suite, where: str) -> None:
        seen: dict[str, str] = {}
        for name in suite.reference.members:
            family = self.architectures[name].family
            if family in seen:
                raise CardError(
                    f"{where}: reference members {seen[family]!r} and {name!r} share the family {family!r}"
                )
            seen[family] = name
        members, reserves = (
            [(name, self.architectures[name].family) for name in names]
            for names in (suite.reference.members, suite.reference.reserves)
        )
        for run in suite.scored_runs():
            try:
                choose_members(members, reserves, self.architectures[run.architecture].family)
            except InvalidInputError as error:
                raise CardError(f"{where}: {error}") from error
        recipe = self.recipes[suite.reference.recipe]
        if isinstance(recipe, Recipe) and recipe.label_smoothing > 0:
            raise CardError(f"{where}: reference members must be trained without label smoothing")
        blurring = ("mixup", "cutmix", "label_noise")
        spoilt = [name for name in blurring if getattr(recipe, name, None) is not None]
        if spoilt:
            raise CardError(
                f"{where}: reference members must be trained without {' and '.join(spoilt)}, which blur "
                f"the classes: choose another recipe than {recipe.name!r}"
            )


def find_workspace(explicit: Path | None = None) -> Workspace:
    """Return the workspace to use.

    In order: `explicit`, the environment variable SHIFTCAST_WORKSPACE, the nearest ancestor of the
    current folder that has `architectures/` and `benchmark/suites/`, the checkout of an editable
    install, and last the cards embedded in the package (read-only; results go to the current folder).

    Raises
    ------
    WorkspaceError
        If the folder that was named is no workspace.
    """
    named = explicit or (Path(value) if (value := os.environ.get("SHIFTCAST_WORKSPACE")) else None)
    if named is not None:
        if not _is_workspace(named):
            raise WorkspaceError(
                f"{named} is no workspace: it needs the folders architectures/ and benchmark/suites/. "
                "Name another with --workspace or SHIFTCAST_WORKSPACE"
            )
        return Workspace(named.resolve(), named.resolve())
    current = Path.cwd()
    for folder in (current, *current.parents, PACKAGE.parents[1]):
        if _is_workspace(folder):
            return Workspace(folder, folder)
    return Workspace(EMBEDDED, current)


def data_folder() -> Path:
    """Return where datasets are looked for: SHIFTCAST_DATA, else the user's cache folder.

    Raises
    ------
    WorkspaceError
        If it is a file.
    """
    folder = _folder("SHIFTCAST_DATA", "data")
    if folder.is_file():
        raise WorkspaceError(f"SHIFTCAST_DATA: {folder} is a file; name a folder for datasets")
    return folder


def cache_folder() -> Path:
    """Return where checkpoints are kept: SHIFTCAST_CACHE, else the user's cache folder."""
    return _folder("SHIFTCAST_CACHE", "cache")


def _folder(variable: str, name: str) -> Path:
    if value := os.environ.get(variable):
        return Path(value).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("shiftcast") / name


def _is_workspace(folder: Path) -> bool:
    return (folder / "architectures").is_dir() and (folder / "benchmark" / "suites").is_dir()
