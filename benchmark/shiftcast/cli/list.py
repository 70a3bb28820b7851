"""`shiftcast list`: the cards of the workspace, estimators, difficulty scores and trained networks."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import BENCHMARK, echo, example, workspace_of

if TYPE_CHECKING:
    from shiftcast.cards.architecture import ModelCard
    from shiftcast.cards.recipe import AnyRecipe
    from shiftcast.workspace import Workspace

Rows = list[dict[str, Any]]

app = typer.Typer()


class Kind(StrEnum):
    """Kinds of items that can be listed."""

    architectures = "architectures"
    datasets = "datasets"
    recipes = "recipes"
    suites = "suites"
    estimators = "estimators"
    difficulty = "difficulty"
    checkpoints = "checkpoints"


@app.command(name="list", rich_help_panel=BENCHMARK, epilog=example("list suites", "list recipes"))
def list_(context: typer.Context, kind: Annotated[Kind, typer.Argument(help="Kind of item.")]) -> None:
    """List suites, models, datasets, estimators and more."""
    without_cards: dict[str, Callable[[], Rows]] = {"estimators": estimators, "difficulty": difficulty}
    of_workspace: dict[str, Callable[[Workspace], Rows]] = {
        "architectures": architectures,
        "datasets": datasets,
        "recipes": recipes,
        "suites": suites,
        "checkpoints": checkpoints,
    }
    plain = without_cards.get(kind)
    from shiftcast.cli.terminal import fitting_table  # rich is for the commands that print tables

    rows = of_workspace[kind](workspace_of(context)) if plain is None else plain()
    echo(fitting_table(rows))


def architectures(workspace: Workspace) -> Rows:
    """Return a row per architecture card."""
    return [
        {"architecture": card.name, "family": card.family, **_model(card)}
        for card in workspace.architectures.values()
    ]


def _model(card: ModelCard) -> dict[str, str]:
    from shiftcast.cards.architecture import ArchitectureCard

    if not isinstance(card, ArchitectureCard):
        return {"parameters": "", "fit": "scikit-learn", "timm": "", "precision": "", "final map": ""}
    return {
        "parameters": f"{card.parameters:,}",
        "fit": f"input {card.input_size}" if card.input_size != 32 else f"unstride {card.unstride}",
        "timm": card.timm,
        "precision": card.precision,
        "final map": " x ".join(map(str, card.feature_map)),
    }


def datasets(workspace: Workspace) -> Rows:
    """Return a row per dataset card."""
    return [
        {
            "dataset": card.name,
            "images": f"{card.n:,}",
            "shift": card.shift,
            "labels": card.labels,
            "licence": card.licence,
            "title": card.title,
        }
        for card in workspace.datasets.values()
    ]


def recipes(workspace: Workspace) -> Rows:
    """Return a row per recipe."""
    return [
        {"recipe": recipe.name, **_training(recipe), "title": recipe.title}
        for recipe in workspace.recipes.values()
    ]


def _training(recipe: AnyRecipe) -> dict[str, Any]:
    from shiftcast.cards.recipe import Recipe

    headings = ("epochs", "batch", "optimiser", "learning rate", "resolutions", "signals")
    if not isinstance(recipe, Recipe):
        return dict.fromkeys(headings, "")
    values = (
        recipe.epochs_run,
        recipe.batch_size,
        recipe.optimiser,
        f"{recipe.learning_rate:g}",
        ", ".join(map(str, recipe.resolutions or ())),
        "yes" if recipe.signals else "",
    )
    return dict(zip(headings, values, strict=True))


def suites(workspace: Workspace) -> Rows:
    """Return a row per suite."""
    return [
        {
            "suite": suite.name,
            "version": suite.version,
            "source": suite.source.test,
            "targets": len(suite.unfolded_targets()),
            "runs": len(suite.scored_runs()) or "contributed",
            "ensemble": f"{len(suite.reference.members)} + {len(suite.reference.reserves)} reserves",
            "title": suite.title,
        }
        for suite in workspace.suites.values()
    ]


def checkpoints(workspace: Workspace) -> Rows:
    """Return a row per trained network in the cache; damaged manifests are named on standard error."""
    from shiftcast.training.checkpoints import find_checkpoints
    from shiftcast.workspace import cache_folder

    cache = cache_folder()
    networks, complaints = find_checkpoints(cache)
    none = f"the cache {cache} holds no trained network with a manifest; shiftcast run trains some"
    for complaint in (*complaints, *([] if networks else [none])):
        echo(complaint, err=True)
    return [
        {
            "suite": network.manifest.suite,
            "architecture": network.manifest.key.architecture,
            "recipe": network.manifest.key.recipe,
            "seed": network.manifest.key.seed,
            "device": network.manifest.device,
            "threads": network.manifest.threads,
            "MB": f"{network.manifest.size / 1e6:.1f}",
            "usable": network.unusable(workspace) or "ok",
        }
        for network in networks
    ]


def estimators() -> Rows:
    """Return a row per estimator, with plugins; those that are broken are named on standard error."""
    from shiftcast.estimators import load_outside, official_estimators, unranked_estimators

    plugins = load_outside()
    for complaint in plugins.complaints():
        echo(complaint, err=True)
    return [
        {
            "estimator": name,
            "track": estimator.track,
            "role": estimator.role,
            "citation": estimator.citation,
            "needs": ", ".join(sorted(estimator.requires)),
        }
        for name, estimator in {
            **official_estimators(),
            **unranked_estimators(),
            **plugins.estimators,
        }.items()
    ]


def _formula(kind: Callable[..., Any]) -> str:
    """Return what a function says that it returns."""
    text = (kind.__doc__ or "").strip().splitlines()[0].removeprefix("Return ")
    return text[:1].upper() + text[1:]


def difficulty() -> Rows:
    """Return a row per difficulty score."""
    from shiftcast.difficulty import KINDS, MORE_KINDS

    return [{"score": name, "formula": _formula(kind)} for name, kind in {**KINDS, **MORE_KINDS}.items()]
