"""What `shiftcast list` shows, as rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from shiftcast.cards.architecture import ArchitectureCard, ModelCard
from shiftcast.cards.recipe import AnyRecipe, Recipe
from shiftcast.workspace import Workspace, cache_folder

Rows = list[dict[str, Any]]


def rows_of(what: str, workspace: Callable[[], Workspace]) -> Rows:
    """Return the rows of one listing; the workspace is only looked for where cards are listed."""
    plain: dict[str, Callable[[], Rows]] = {"estimators": estimators, "difficulty": difficulty}
    cards: dict[str, Callable[[Workspace], Rows]] = {
        "architectures": architectures,
        "datasets": datasets,
        "recipes": recipes,
        "suites": suites,
        "checkpoints": checkpoints,
    }
    return plain[what]() if what in plain else cards[what](workspace())


def architectures(workspace: Workspace) -> Rows:
    """Return a row per architecture card."""
    return [
        {"architecture": card.name, "family": card.family, **_model(card)}
        for card in workspace.architectures.values()
    ]


def _model(card: ModelCard) -> dict[str, str]:
    if not isinstance(card, ArchitectureCard):
        return {"timm": "", "parameters": "", "final map": "", "fit": "scikit-learn", "precision": ""}
    return {
        "timm": card.timm,
        "parameters": f"{card.parameters:,}",
        "final map": " x ".join(map(str, card.feature_map)),
        "fit": f"input {card.input_size}" if card.input_size != 32 else f"unstride {card.unstride}",
        "precision": card.precision,
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
    if not isinstance(recipe, Recipe):
        return {"epochs": "", "batch": "", "optimiser": "", "learning rate": ""}
    return {
        "epochs": recipe.epochs_run,
        "batch": recipe.batch_size,
        "optimiser": recipe.optimiser,
        "learning rate": f"{recipe.learning_rate:g}",
    }


def suites(workspace: Workspace) -> Rows:
    """Return a row per suite."""
    return [
        {
            "suite": suite.name,
            "version": suite.version,
            "source": suite.source.test,
            "targets": len(suite.unfolded_targets()),
            "scored runs": len(suite.scored_runs()) or "contributed",
            "reference": f"{len(suite.reference.members)} + {len(suite.reference.reserves)} in reserve",
            "title": suite.title,
        }
        for suite in workspace.suites.values()
    ]


def checkpoints(workspace: Workspace) -> Rows:
    """Return a row per trained network in the cache; say on standard error which manifests are damaged."""
    from shiftcast.training.checkpoints import find_checkpoints

    found, complaints = find_checkpoints(cache_folder())
    none = (
        []
        if found
        else [
            f"no trained network with a manifest is in the cache {cache_folder()}; shiftcast run trains some"
        ]
    )
    for complaint in (*complaints, *none):
        typer.echo(complaint, err=True)
    return [
        {
            "suite": one.manifest.suite,
            "architecture": one.manifest.key.architecture,
            "recipe": one.manifest.key.recipe,
            "seed": one.manifest.key.seed,
            "device": one.manifest.device,
            "threads": one.manifest.threads,
            "MB": f"{one.manifest.size / 1e6:.1f}",
            "usable": one.unusable(workspace) or "ok",
        }
        for one in found
    ]


def estimators() -> Rows:
    """Return a row per estimator, outside ones included; say on standard error which of those are broken."""
    from shiftcast.estimators import load_outside, official_estimators

    outside = load_outside()
    for complaint in outside.complaints():
        typer.echo(complaint, err=True)
    return [
        {
            "estimator": name,
            "track": estimator.track,
            "needs": ", ".join(sorted(estimator.requires)),
            "citation": estimator.citation,
        }
        for name, estimator in {**official_estimators(), **outside.estimators}.items()
    ]


def difficulty() -> Rows:
    """Return a row per difficulty score."""
    from shiftcast.difficulty import KINDS, MORE_KINDS

    return [
        {"score": name, "is": (kind.__doc__ or "").strip().splitlines()[0]}
        for name, kind in {**KINDS, **MORE_KINDS}.items()
    ]
