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
from shiftcast.cards.base import AnyCard, lookup, read_card
from shiftcast.cards.consistency import Cards, check_suite, refuse_reserved
from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.recipe import AnyRecipe, FitRecipe, Recipe, resolve
from shiftcast.cards.suite import Suite, Target
from shiftcast.errors import InvalidInputError, WorkspaceError

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
        folder = self.root / "benchmark"
        for recipe in self.recipes:
            refuse_reserved(recipe, str(folder / "recipes" / f"{recipe}.toml"))
        cards = Cards(self.architectures, self.datasets, self.recipes)
        for suite in suites.values():
            check_suite(suite, cards, str(folder / "suites" / f"{suite.name}.toml"))
        return suites

    def card_files(self, suite: Suite) -> list[Path]:
        """Return every file that may decide a suite's results: all cards and recipes, and its own file."""
        folders = [self.root / name for name in ("architectures", "datasets", "benchmark/recipes")]
        own = self.root / "benchmark" / "suites" / f"{suite.name}.toml"
        return [*(path for folder in folders for path in folder.glob("*.toml")), own]

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

    @property
    def embedded(self) -> bool:
        """Whether the cards are those of the installed package: it brings no results."""
        return self.root == EMBEDDED

    def cards_to_write(self, folder: str) -> Path:
        """Return a folder of cards that may be edited; `WorkspaceError` if it is the installed package's."""
        if self.embedded:
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
                f"{named} is not a workspace: it needs the folders architectures/ and benchmark/suites/. "
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
