"""Whether cards fit together: that a suite names what there is, and asks of it what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shiftcast.cards.architecture import ModelCard
from shiftcast.cards.base import SELF_REPORTED, lookup
from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.recipe import AnyRecipe, resolve
from shiftcast.cards.suite import Suite, Target
from shiftcast.difficulty import choose_members
from shiftcast.errors import CardError, InvalidInputError

BLURRING = ("mixup", "cutmix", "label_noise")
"""Fields of a recipe that blur the classes, which members of a reference ensemble must tell apart."""


class Cards(NamedTuple):
    """The cards that suites name, by name."""

    architectures: Mapping[str, ModelCard]
    datasets: Mapping[str, DatasetCard]
    recipes: Mapping[str, AnyRecipe]


def check_suite(suite: Suite, cards: Cards, where: str) -> None:
    """Refuse a suite that does not fit the other cards; `where` is its file.

    Raises
    ------
    UnknownNameError
        If it names a card that there is none of.
    CardError
        If cards that it names do not go together.
    """
    runs = [] if suite.contributed else [*suite.scored_runs(), *suite.reference_runs()]
    for architecture, recipe in dict.fromkeys((run.architecture, run.recipe) for run in runs):
        card = lookup("architecture", architecture, cards.architectures, where)
        refuse_reserved(recipe, where)
        asked = lookup("recipe", recipe, cards.recipes, where)
        _check_variant(asked, cards, where)
        try:
            resolve(asked, card)
        except CardError as error:
            raise CardError(f"{where}: {error}") from error
    trained_on = [] if suite.source.train is None else [suite.source.train]
    for name in (*trained_on, suite.source.test, *suite.editions):
        lookup("dataset", name, cards.datasets, where)
    classes = cards.datasets[suite.source.test].classes
    for target in suite.unfolded_targets():
        dataset = lookup("dataset", target.dataset, cards.datasets, where)
        if dataset.classes != classes:
            raise CardError(
                f"{where}: target {target.dataset!r} has other classes than {suite.source.test!r}"
            )
        _check_derivation(suite, target, dataset, where)
    if not suite.contributed:
        _check_reference(suite, cards, where)


def refuse_reserved(recipe: str, where: str) -> None:
    """Raise `CardError` for the recipe name that stands for models trained elsewhere."""
    if recipe == SELF_REPORTED:
        raise CardError(
            f"{where}: the recipe name {SELF_REPORTED!r} is reserved for models trained elsewhere, which "
            "shiftcast submit adds; name another in [[runs]] and [reference], or rename yours"
        )


def _check_variant(recipe: AnyRecipe, cards: Cards, where: str) -> None:
    """Refuse a recipe that is a variant of none that there is, or of another variant."""
    base = getattr(recipe, "rate_of", None)
    if base is None:
        return
    other = lookup("recipe", base, cards.recipes, f"{where}: recipe {recipe.name!r}, rate_of")
    if (further := getattr(other, "rate_of", None)) is not None:
        raise CardError(f"{where}: recipe {recipe.name!r}: rate_of = {base!r} is a variant of {further!r}")


def _check_derivation(suite: Suite, target: Target, card: DatasetCard, where: str) -> None:
    derived = card.derived
    if derived is None and not target.derived:
        return
    if derived is None or not target.derived:
        raise CardError(
            f"{where}: transforms and severities belong to derived datasets; see {target.dataset!r}"
        )
    if derived.shortcut != (suite.source.planted if derived.generator == "planted" else None):
        raise CardError(
            f"{where}: {target.dataset!r} moves the shortcut {derived.shortcut!r}: expected it "
            f"under [source] as `planted`, got {suite.source.planted!r}"
        )
    if derived.source != suite.source.test:
        raise CardError(
            f"{where}: {target.dataset!r} is made from {derived.source!r}, "
            f"but the suite's test set is {suite.source.test!r}"
        )
    lookup(f"transform of {target.dataset}", target.transform, dict.fromkeys(derived.transforms), where)
    if target.severity not in derived.severities:
        raise CardError(
            f"{where}: {target.dataset!r} has severities {derived.severities}, got {target.severity}"
        )


def _check_reference(suite: Suite, cards: Cards, where: str) -> None:
    families = {name: card.family for name, card in cards.architectures.items()}
    seen: dict[str, str] = {}
    for name in suite.reference.members:
        if (family := families[name]) in seen:
            raise CardError(
                f"{where}: reference members {seen[family]!r} and {name!r} share the family {family!r}"
            )
        seen[family] = name
    members, reserves = (
        [(name, families[name]) for name in names]
        for names in (suite.reference.members, suite.reference.reserves)
    )
    for family in dict.fromkeys(families[run.architecture] for run in suite.scored_runs()):
        try:
            choose_members(members, reserves, family)
        except InvalidInputError as error:
            raise CardError(f"{where}: {error}") from error
    recipe = cards.recipes[suite.reference.recipe]
    if getattr(recipe, "label_smoothing", 0) > 0:
        raise CardError(f"{where}: reference members must be trained without label smoothing")
    if blurring := [name for name in BLURRING if getattr(recipe, name, None) is not None]:
        raise CardError(
            f"{where}: reference members must be trained without {' and '.join(blurring)}, which blur "
            f"the classes: choose another recipe than {recipe.name!r}"
        )
