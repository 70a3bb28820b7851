"""Manifests of finished checkpoints: what a file of weights in the cache is, and how to find it.

Beside each finished `IDENTITY.pt` stands an `IDENTITY.json` that says what was trained, how, and what
images must be normalised with, so that the network can be used without its training data. Nothing
here loads weights or needs torch (see `inference`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import Field, ValidationError

from shiftcast.cards.architecture import ArchitectureCard, ClassicalCard, Precision, card_hash
from shiftcast.cards.base import explain, lookup
from shiftcast.cards.recipe import recipe_hash
from shiftcast.cards.suite import RunKey
from shiftcast.errors import InvalidInputError, RunError, UnknownNameError
from shiftcast.runs.record import Seeds
from shiftcast.util.files import write_atomic
from shiftcast.util.git import Git
from shiftcast.util.hashing import file_hash
from shiftcast.util.strict import StrictModel
from shiftcast.workspace import Workspace

if TYPE_CHECKING:
    from shiftcast.training.job import Job

SCHEMA = 1
SHOWN = 12
"""Names that a message lists at most."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Levels = tuple[float, float, float]


class Manifest(StrictModel):
    """What a finished checkpoint is.

    `classes` are the names of the network's outputs in order, `mean` and `std` the grey levels that
    images are normalised with, `train_fingerprint` says on which arrays it was trained, `sha256` and
    `size` (bytes) are those of the `.pt` file.
    """

    schema_version: Literal[1] = 1
    suite: str
    key: RunKey
    role: Literal["scored", "reference"]
    family: str
    card_hash: Hash
    recipe_hash: Hash
    seeds: Seeds
    identity: Hash
    device: str
    threads: int
    precision: Precision
    epochs: int
    classes: list[str] = Field(min_length=2)
    mean: Levels
    std: Levels
    train_fingerprint: str
    sha256: Hash
    size: int
    packages: dict[str, str]
    git: Git | None


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights in the cache and its manifest; the file may have gone or changed since."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """`suite/architecture/recipe/seed-n`."""
        return f"{self.manifest.suite}/{self.manifest.key}"

    @property
    def machine(self) -> str:
        """The device and thread count of the training."""
        threads = self.manifest.threads
        return f"{self.manifest.device}, {threads} {'thread' if threads == 1 else 'threads'}"

    def unusable(self, workspace: Workspace) -> str:
        """Return why the weights cannot be used, or an empty string; the file is not read."""
        card = workspace.architectures.get(self.manifest.key.architecture)
        if card is None:
            return "card is gone"
        if card_hash(card) != self.manifest.card_hash:
            return "card has changed"
        try:
            size = self.path.stat().st_size
        except OSError:
            return "file is missing"
        return "" if size == self.manifest.size else "file is damaged"

    def card(self, workspace: Workspace) -> ArchitectureCard:
        """Return the card of the network, with the precision that it was trained in."""
        card = workspace.network(self.manifest.key.architecture)
        return card.model_copy(update={"precision": self.manifest.precision})


def write_manifest(
    job: Job, mean: Sequence[float], std: Sequence[float], packages: Mapping[str, str], git: Git | None
) -> Manifest:
    """Write the manifest beside a job's finished checkpoint, atomically, and return it.

    Where the file has a manifest already, as when a run is only evaluated again, packages and git stay
    those of the training.

    Parameters
    ----------
    job
        The job, whose training is done.
    mean, std
        Channel statistics of the training images, in grey levels, 3 each.
    packages, git
        Versions of packages and the state of the checkout.
    """
    manifest = Manifest(
        suite=job.suite.name,
        key=job.key,
        role="reference" if job.role == "reference" else "scored",
        family=job.card.family,
        card_hash=card_hash(job.card),
        recipe_hash=recipe_hash(job.recipe),
        seeds=job.seeds,
        identity=job.identity,
        device=job.device,
        threads=job.threads,
        precision=job.fitted.precision,
        epochs=job.training.epochs_run,
        classes=list(job.classes),
        mean=cast("Levels", tuple(mean)),
        std=cast("Levels", tuple(std)),
        train_fingerprint=job.data.used[job.suite.training_set].fingerprint,
        sha256=file_hash(job.checkpoint),
        size=job.checkpoint.stat().st_size,
        packages=dict(packages),
        git=git,
    )
    path = job.manifest
    # The same weights were trained once, by the packages that trained them.
    with suppress(RunError):
        earlier = read_manifest(path)
        if earlier.sha256 == manifest.sha256:
            manifest = manifest.model_copy(update={"packages": earlier.packages, "git": earlier.git})
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text + "\n")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    RunError
        If it cannot be read, is not JSON, of another schema, not valid, or that of another file.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: is not a readable manifest of a checkpoint: {error}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA:
        raise RunError(
            f"{path}: schema_version is {version!r}, but this version of Shiftcast reads {SCHEMA}; "
            "use the version that wrote it, or train the network again"
        )
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        raise RunError(f"{path}: {explain(error)}") from error
    if manifest.identity[:16] != path.stem:
        raise RunError(f"{path}: is the manifest of another file, {manifest.identity[:16]}.pt")
    return manifest


def find_checkpoints(cache: Path) -> tuple[list[Checkpoint], list[str]]:
    """Return every checkpoint in a cache folder that has a manifest, by suite and name, and complaints.

    A manifest that cannot be read is complained about and left out.
    """
    found, complaints = [], []
    for path in sorted((cache / "checkpoints").glob("*/*/*/seed-*/*.json")):
        try:
            found.append(Checkpoint(path.with_suffix(".pt"), read_manifest(path)))
        except RunError as error:
            complaints.append(str(error))
    return sorted(found, key=_order), complaints


def _order(checkpoint: Checkpoint) -> tuple[str, str, str, int, Path]:
    key = checkpoint.manifest.key
    return checkpoint.manifest.suite, key.architecture, key.recipe, key.seed, checkpoint.path


@dataclass(frozen=True)
class Wanted:
    """Which network is asked for; a suite or recipe of None is any."""

    architecture: str
    seed: int
    suite: str | None = None
    recipe: str | None = None

    def __str__(self) -> str:
        """Return the request in words."""
        where = f" in suite {self.suite}" if self.suite else ""
        under = f" under recipe {self.recipe}" if self.recipe else ""
        return f"{self.architecture} with seed {self.seed}{where}{under}"

    def fits(self, suite: str, key: RunKey) -> bool:
        """Whether a run is what is asked for."""
        return (
            (key.architecture, key.seed) == (self.architecture, self.seed)
            and self.suite in (None, suite)
            and self.recipe in (None, key.recipe)
        )

    def how_to_train(self, workspace: Workspace, option: str = "--checkpoints") -> str:
        """Return the commands that train what is asked for, or which runs of the architecture there are."""
        runs = [
            (suite.name, key)
            for suite in workspace.suites.values()
            if not suite.contributed
            for key in (*suite.reference_runs(), *suite.scored_runs())
        ]
        suites = dict.fromkeys(suite for suite, key in runs if self.fits(suite, key))
        if suites:
            return "train it with: " + ", or: ".join(
                f"shiftcast run {suite} --only {self.architecture} --seed {self.seed} {option}"
                for suite in suites
            )
        others = [f"{suite}/{key}" for suite, key in runs if key.architecture == self.architecture]
        offered = f"; they train {_some(others)}" if others else f", nor {self.architecture} at all"
        return f"no suite trains {self}{offered}"


def choose_checkpoint(
    checkpoints: Sequence[Checkpoint], workspace: Workspace, wanted: Wanted, cache: Path
) -> tuple[Checkpoint, list[str]]:
    """Return the one checkpoint that is asked for, and what is worth knowing about the choice.

    Of one suite and recipe, on whatever device and thread count, the newest usable file is taken.

    Raises
    ------
    UnknownNameError
        If there is neither a checkpoint nor a card of the architecture.
    InvalidInputError
        If several suites or recipes fit.
    RunError
        If there is none, or none that can be used.
    """
    fitting = [entry for entry in checkpoints if wanted.fits(entry.manifest.suite, entry.manifest.key)]
    if not fitting:
        raise _missing(checkpoints, workspace, wanted, cache)
    # What another suite has taken over is the same network: the newest usable file of each stands for all.
    order = sorted(fitting, key=lambda entry: (not entry.unusable(workspace), _written(entry)))
    fitting = list({entry.manifest.identity: entry for entry in order}.values())
    if len({entry.name for entry in fitting}) > 1:
        listed = "; ".join(
            f"--suite {entry.manifest.suite} --recipe {entry.manifest.key.recipe} "
            f"(trained on {entry.machine})"
            for entry in fitting
        )
        raise InvalidInputError(f"several checkpoints fit {wanted}; choose one: {listed}")
    usable = [entry for entry in fitting if not entry.unusable(workspace)]
    chosen = max(usable or fitting, key=_written)
    _refuse_unusable(chosen, workspace, wanted)
    notes = []
    if len(fitting) > 1:
        others = "; ".join(_apart(entry, chosen, workspace) for entry in fitting if entry is not chosen)
        notes.append(
            f"the newest usable of {len(fitting)} checkpoints is taken ({chosen.machine}), not: {others}"
        )
    if _recipe_has_changed(chosen, workspace):
        notes.append(f"recipe {chosen.manifest.key.recipe} has changed since this network was trained")
    return chosen, notes


def verify(chosen: Checkpoint, workspace: Workspace, wanted: Wanted) -> None:
    """Hold a checkpoint's bytes against its manifest.

    Raises
    ------
    RunError
        If they differ.
    """
    if (came := file_hash(chosen.path)) != chosen.manifest.sha256:
        raise RunError(
            f"{chosen.path}: is damaged, or a training is writing it: expected SHA-256 "
            f"{chosen.manifest.sha256[:16]}…, as its manifest says, got {came[:16]}…; if no training is at "
            f"it, delete it and {wanted.how_to_train(workspace)}"
        )


def _refuse_unusable(chosen: Checkpoint, workspace: Workspace, wanted: Wanted) -> None:
    name = chosen.manifest.key.architecture
    card = lookup("architecture", name, workspace.architectures, f"{chosen.path}: its card is gone")
    if (hash_now := card_hash(card)) != chosen.manifest.card_hash:
        raise RunError(
            f"{chosen.path}: architectures/{name}.toml has changed since this network was trained: expected "
            f"the card_hash {chosen.manifest.card_hash[:16]}…, got {hash_now[:16]}…; put the card back, or "
            f"{wanted.how_to_train(workspace, '--retrain')}"
        )
    if reason := chosen.unusable(workspace):
        gone = "" if reason == "file is missing" else "delete it and "
        raise RunError(f"{chosen.path}: the {reason}; {gone}{wanted.how_to_train(workspace)}")


def _missing(
    checkpoints: Sequence[Checkpoint], workspace: Workspace, wanted: Wanted, cache: Path
) -> RunError | UnknownNameError:
    if wanted.suite is not None:
        lookup(
            "suite",
            wanted.suite,
            {**workspace.suites, **{entry.manifest.suite: None for entry in checkpoints}},
        )
    if wanted.recipe is not None:
        lookup(
            "recipe",
            wanted.recipe,
            {**workspace.recipes, **{entry.manifest.key.recipe: None for entry in checkpoints}},
        )
    name = wanted.architecture
    trained = [
        f"{entry.name} ({entry.machine})" for entry in checkpoints if entry.manifest.key.architecture == name
    ]
    if not trained and name not in workspace.architectures:
        return UnknownNameError("architecture", name, workspace.architectures)
    if not trained and isinstance(workspace.architectures[name], ClassicalCard):
        return RunError(
            f"{name} is a classifier of scikit-learn, of which nothing but its predictions is kept: expected "
            "a network"
        )
    held = f"of {name} it holds {_some(trained)}" if trained else f"it holds none of {name}"
    if not trained and checkpoints:
        held += f", but of {_some(sorted({entry.manifest.key.architecture for entry in checkpoints}))}"
    bare = [
        path
        for path in (cache / "checkpoints").glob(f"*/{name}/*/seed-{wanted.seed}/*.pt")
        if not path.with_suffix(".json").exists()
    ]
    if bare:
        held += (
            f". There is a file without a manifest, {_some(sorted(map(str, bare)))}: a training that has not "
            "ended, was not evaluated or is of an earlier version, which the same command finishes from there"
        )
    return RunError(
        f"no checkpoint of {wanted} is in the cache {cache}: {held}; {wanted.how_to_train(workspace)}"
    )


def _apart(other: Checkpoint, chosen: Checkpoint, workspace: Workspace) -> str:
    """Return what sets another checkpoint of the same run apart from the chosen one."""
    differs = other.manifest.train_fingerprint != chosen.manifest.train_fingerprint
    facts = [other.machine, "trained on other images" if differs else "", other.unusable(workspace)]
    return ", ".join(filter(None, facts))


def _recipe_has_changed(chosen: Checkpoint, workspace: Workspace) -> bool:
    key = chosen.manifest.key
    if key.recipe not in workspace.recipes:
        return True
    return recipe_hash(workspace.training(key.architecture, key.recipe)) != chosen.manifest.recipe_hash


def _written(checkpoint: Checkpoint) -> float:
    try:
        return checkpoint.path.stat().st_mtime
    except OSError:
        return 0.0


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
