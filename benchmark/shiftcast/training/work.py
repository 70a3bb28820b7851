"""One run from start to finish: train (or resume), evaluate on every set, write the two files."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from shiftcast.cards import ArchitectureCard, Recipe, RunKey, Suite, card_hash, recipe_hash
from shiftcast.data.loading import SuiteData
from shiftcast.errors import RunError, TrainingError
from shiftcast.files import hash_of, sha256, source_hash
from shiftcast.predictions import Integers
from shiftcast.runs import (
    PREDICTIONS_LIMIT,
    Epoch,
    Git,
    Measured,
    RunFolder,
    RunRecord,
    Seeds,
    StoredSet,
    TargetResult,
    encode_predictions,
    store_logits,
)
from shiftcast.training.checkpoints import write_manifest
from shiftcast.training.evaluate import evaluate
from shiftcast.training.features import FeatureScores
from shiftcast.training.loop import Progress, derive_seeds, load_checkpoint, seeded_model, train
from shiftcast.training.models import count_parameters, out_of_memory
from shiftcast.training.resident import ResidentImages
from shiftcast.workspace import Workspace, cache_folder

PACKAGES = ("numpy", "timm", "torch", "torchvision")


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that decides what one run will be."""

    suite: Suite
    key: RunKey
    role: str
    card: ArchitectureCard
    recipe: Recipe
    seeds: Seeds
    data: SuiteData
    classes: tuple[str, ...]
    device: str
    threads: int

    @property
    def fitted(self) -> ArchitectureCard:
        """The architecture card with the recipe's precision: what is built and trained."""
        return self.recipe.fitted(self.card)

    @property
    def identity(self) -> str:
        """Hash of what a checkpoint must agree with to be resumed."""
        train = self.data.used[self.suite.source.train].fingerprint
        subset = [self.suite.source.train_images, self.suite.source.seed]
        parts = [card_hash(self.card), recipe_hash(self.recipe), self.seeds.model_dump(), train, subset]
        return hash_of([*parts, self.device, self.threads])

    @property
    def checkpoint(self) -> Path:
        """Where the run's checkpoint is kept; nothing in `results/` relies on it."""
        folder = cache_folder() / "checkpoints" / self.suite.name / self.key.path
        return folder / f"{self.identity[:16]}.pt"

    @property
    def manifest(self) -> Path:
        """What the finished checkpoint is, beside it."""
        return self.checkpoint.with_suffix(".json")

    @property
    def lock(self) -> Path:
        """The file that says which process is at the run."""
        return self.checkpoint.with_name("run.lock")


def plan_job(
    workspace: Workspace, suite: Suite, key: RunKey, role: str, data: SuiteData, device: str, threads: int
) -> Job:
    """Return the job for one run of a suite."""
    return Job(
        suite=suite,
        key=key,
        role=role,
        card=workspace.architecture(key.architecture),
        recipe=workspace.resolved_recipe(key.architecture, key.recipe),
        seeds=derive_seeds(key.architecture, key.recipe, key.seed),
        data=data,
        classes=tuple(workspace.dataset(suite.source.test).classes),
        device=device,
        threads=threads,
    )


def choose_device(name: str) -> str:
    """Return "cpu" or "cuda" for `--device cpu|cuda|auto`.

    Raises
    ------
    TrainingError
        If CUDA was asked for and PyTorch sees no such device.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    if name == "cuda" and not available:
        raise TrainingError("--device cuda: PyTorch sees no CUDA device; use --device cpu or auto")
    return name


def set_threads(threads: int | None) -> int:
    """Set PyTorch's thread count (unchanged when None) and return it."""
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def perform(job: Job, folder: RunFolder, on_progress: Callable[[Progress], None] | None = None) -> RunRecord:
    """Train or resume the job's run, evaluate it on every set and write its folder.

    Raises
    ------
    TrainingError
        If the loss or the logits stop being finite, or memory does not suffice.
    """
    try:
        return _perform(job, folder, on_progress)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
    raise TrainingError(f"{job.key}: memory on {job.device} does not suffice: {reason}")


def _perform(job: Job, folder: RunFolder, on_progress: Callable[[Progress], None] | None) -> RunRecord:
    images = job.data.train
    resident = ResidentImages(images.images, cast("Integers", images.labels), job.device)
    mean, std = resident.statistics
    card = job.fitted
    model = seeded_model(card, classes_of(job), job.seeds.weights).to(job.device)
    earlier = _earlier(folder) if has_final_checkpoint(job) else None
    start = time.perf_counter()
    epochs = train(model, card, resident, job.recipe, job.seeds, job.device, job.checkpoint, on_progress)
    trained = time.perf_counter()
    write_manifest(job, mean, std, package_versions(), git_state())
    sets = {name: entry.images for name, entry in job.data.sets.items()}
    scores = FeatureScores(job.suite, cast("Integers", job.data.sets[job.suite.source.test].labels))
    logits = evaluate(model, card, sets, mean, std, job.device, on_features=scores.add)
    stored = {
        name: replace(
            store_logits(f"{job.key} on {name}", logits[name].astype(np.float64), entry.labels),
            clusters=entry.clusters,
        )
        for name, entry in job.data.sets.items()
    }
    seen = len(images.images) * job.recipe.epochs
    measured = Measured(
        train_seconds=earlier.train_seconds if earlier else round(trained - start, 3),
        evaluate_seconds=round(time.perf_counter() - trained, 3),
        images_per_second=earlier.images_per_second
        if earlier
        else round(seen / max(trained - start, 1e-9), 1),
        peak_memory_mib=round(_peak_memory(job.device) / 2**20, 1),
    )
    return _write(job, folder, stored, epochs, count_parameters(model), scores.found, measured)


def _peak_memory(device: str) -> int:
    """Return the most bytes held at once: on the GPU, or by this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _earlier(folder: RunFolder) -> Measured | None:
    """Return what was measured when the run was trained, if it is only to be evaluated again."""
    try:
        return folder.read_record().measured
    except RunError:
        return None


def classes_of(job: Job) -> int:
    """Return the number of classes of the suite's training labels."""
    return int(cast("Integers", job.data.train.labels).max()) + 1


def _write(
    job: Job,
    folder: RunFolder,
    stored: Mapping[str, StoredSet],
    epochs: list[Epoch],
    parameters: int,
    scores: dict[str, dict[str, dict[str, float]]],
    measured: Measured,
) -> RunRecord:
    predictions = encode_predictions(stored)
    if len(predictions) > PREDICTIONS_LIMIT and not job.suite.scratch:
        raise TrainingError(
            f"{job.key}: its predictions take {len(predictions):,} bytes, above the {PREDICTIONS_LIMIT:,} "
            "that one run may take in results/; lower `images` of the suite's derived targets"
        )
    record = RunRecord(
        suite=job.suite.name,
        suite_version=job.suite.version,
        edition=job.data.edition,
        role="reference" if job.role == "reference" else "scored",
        key=job.key,
        family=job.card.family,
        card_hash=card_hash(job.card),
        recipe_hash=recipe_hash(job.recipe),
        recipe=job.recipe,
        seeds=job.seeds,
        source=job.suite.source.test,
        datasets=dict(job.data.used),
        targets={name: TargetResult(n=len(s.logits), accuracy=s.accuracy) for name, s in stored.items()},
        epochs=epochs,
        parameters=parameters,
        device=job.device,
        precision=job.fitted.precision,
        threads=job.threads,
        packages=package_versions(),
        git=git_state(),
        source_hash=source_hash(),
        predictions_sha256=sha256(predictions),
        feature_scores=scores,
        measured=measured,
    )
    folder.write(record, predictions)
    return record


def has_final_checkpoint(job: Job) -> bool:
    """Whether the run's trained weights are in the cache, so that it can be evaluated again."""
    saved = load_checkpoint(job.checkpoint)
    return saved is not None and len(saved["epochs"]) == job.recipe.epochs


def package_versions() -> dict[str, str]:
    """Return the versions of what a run's numbers depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES} | {
        "python": platform.python_version()
    }


def git_state() -> Git | None:
    """Return the checkout's commit and whether it has changes outside `results/`; None without git."""
    here = Path(__file__).resolve().parent

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()  # noqa: S603

    try:
        top = ask("rev-parse", "--show-toplevel")
        if Path(top) / "benchmark" / "shiftcast" not in here.parents:
            return None  # installed into somebody else's checkout
        commit = ask("rev-parse", "HEAD")
        changes = ask("-C", top, "status", "--porcelain", "--", ".", ":!results", ":!leaderboard.md")
    except (OSError, subprocess.SubprocessError):
        return None
    return Git(commit=commit, dirty=bool(changes))
