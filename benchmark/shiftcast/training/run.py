"""One run from start to finish: train (or resume), evaluate on every set, write the two files."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from shiftcast.cards.architecture import ArchitectureCard, ClassicalCard, ModelCard, card_hash
from shiftcast.cards.recipe import AnyRecipe, FitRecipe, Recipe, recipe_hash
from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.loading import SuiteData
from shiftcast.errors import CardError, InvalidInputError, RunError, TrainingError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import PREDICTIONS_LIMIT, StoredSet, encode_predictions, store_logits
from shiftcast.runs.record import Epoch, LabelViewAccuracy, Measured, RunRecord, Seeds, TargetResult
from shiftcast.runs.signals import SIGNALS_LIMIT, encode_signals
from shiftcast.training.augment import training_set
from shiftcast.training.checkpoints import write_manifest
from shiftcast.training.evaluate import Outputs
from shiftcast.training.features import FeatureScores
from shiftcast.training.loop import Progress, derive_seeds, seeded_model, train
from shiftcast.training.network import build_model, check_resolutions, count_parameters, memory_named
from shiftcast.training.pace import forget_seconds, seconds_of
from shiftcast.training.probes import BATCH
from shiftcast.training.resident import Channels, ResidentImages
from shiftcast.training.saved import load_checkpoint
from shiftcast.training.signals import Network, Recording, earlier_signals
from shiftcast.training.snapshots import Snapshots
from shiftcast.util.files import write_atomic
from shiftcast.util.git import git_state
from shiftcast.util.hashing import hash_of, sha256, source_hash
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace, cache_folder

CARD_CLASSES = 10
"""Classes of the network whose parameters cards state."""
PACKAGES = ("numpy", "timm", "torch", "torchvision")


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that decides what one run will be."""

    suite: Suite
    key: RunKey
    role: str
    card: ModelCard
    recipe: AnyRecipe
    seeds: Seeds
    data: SuiteData
    classes: tuple[str, ...]
    device: str
    threads: int

    @property
    def is_network(self) -> bool:
        """Whether the run trains a network, which has a checkpoint, or fits a model that is none."""
        return isinstance(self.card, ArchitectureCard)

    @property
    def training(self) -> Recipe:
        """The recipe of a network."""
        return cast("Recipe", self.recipe)

    @property
    def fitted(self) -> ArchitectureCard:
        """The architecture card of a network with the recipe's precision: what is built and trained."""
        return self.training.fitted(cast("ArchitectureCard", self.card))

    @property
    def identity(self) -> str:
        """Hash of what a checkpoint must agree with to be resumed."""
        train = self.data.used[self.suite.training_set].fingerprint
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
    recipe = workspace.resolved_recipe(key.architecture, key.recipe)
    return Job(
        suite=suite,
        key=key,
        role=role,
        card=workspace.architecture(key.architecture),
        recipe=recipe,
        seeds=derive_seeds(key.architecture, getattr(recipe, "seeds_of", None) or key.recipe, key.seed),
        data=data,
        classes=tuple(workspace.dataset(suite.source.test).classes),
        device=device,
        threads=threads,
    )


def broken_cards(jobs: Iterable[Job]) -> dict[tuple[str, str], CardError]:
    """Return why cards cannot be trained, by architecture and recipe; found in moments, before a training."""
    found: dict[tuple[str, str], CardError] = {}
    for name, job in {(job.key.architecture, job.key.recipe): job for job in jobs if job.is_network}.items():
        try:
            check_card(job.fitted, classes_of(job), job.training)
        except CardError as error:
            found[name] = error
    return found


def check_card(card: ArchitectureCard, classes: int, recipe: Recipe | None = None) -> None:
    """Build a card's network without memory for it, and hold it against its card and recipe.

    Raises
    ------
    CardError
        If it does not build, does not run on 32 x 32 images or those of the recipe's resolutions, or has
        another number of parameters.
    """
    model = build_model(card, classes, "meta")
    came = count_parameters(model)
    if classes == CARD_CLASSES and came != card.parameters:
        raise CardError(
            f"architectures/{card.name}.toml: parameters: expected {came:,}, which {card.timm!r} has with "
            f"{classes} classes, got {card.parameters:,}; correct the number, or what makes the network"
        )
    if recipe is not None:
        check_resolutions(model, card, recipe)


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
    """Set the threads of PyTorch, linear algebra and OpenMP (unchanged when None); return PyTorch's count."""
    if threads is not None:
        torch.set_num_threads(threads)
        threadpool_limits(threads)
    return torch.get_num_threads()


def perform(
    job: Job,
    folder: RunFolder,
    on_progress: Callable[[Progress], None] | None = None,
    may_begin: Callable[[float], bool] | None = None,
) -> RunRecord:
    """Train or resume the job's run, evaluate it on every set and write its folder.

    Raises
    ------
    TrainingError
        If the loss or the logits stop being finite, or memory does not suffice.
    OutOfTimeError
        If another epoch may not begin.
    """
    with memory_named(str(job.key), job.device), _cleared(job.device):
        return _perform(job, folder, on_progress, may_begin) if job.is_network else _fit(job, folder)


def train_network(
    job: Job,
    on_progress: Callable[[Progress], None] | None = None,
    may_begin: Callable[[float], bool] | None = None,
) -> None:
    """Train or resume the job's network for the cache alone; raises as `perform` does."""
    with memory_named(str(job.key), job.device), _cleared(job.device):
        trained = _trained(job, on_progress, may_begin)
        forget_seconds(job.checkpoint)
        write_manifest(job, trained.mean, trained.std, package_versions(), git_state())


@contextmanager
def _cleared(device: str) -> Iterator[None]:
    """Measure a GPU's peak memory afresh, and give back what is held once the work is done."""
    if device != "cuda":
        yield
        return
    torch.cuda.reset_peak_memory_stats()
    try:
        yield
    finally:
        torch.cuda.empty_cache()


class _Trained(NamedTuple):
    """A trained network, its log, and the channel statistics of its images.

    `seen` is how many images an epoch sees, `seconds` what each epoch took, as far as that is known, `chosen`
    the images and labels that it was trained on.
    """

    model: nn.Module
    epochs: list[Epoch]
    mean: Channels
    std: Channels
    seen: int
    seconds: list[float]
    chosen: ResidentImages


def _trained(
    job: Job,
    on_progress: Callable[[Progress], None] | None,
    may_begin: Callable[[float], bool] | None,
    snapshots: Snapshots | None = None,
) -> _Trained:
    if snapshots is None or not snapshots.folder.exists():  # else its own training is what has learned epochs
        _take_over(job)
    if snapshots is not None:
        snapshots.prepare()
    images = job.data.train
    resident = ResidentImages(images.images, cast("Integers", images.labels), job.device)
    chosen = training_set(resident, job.recipe, job.seeds)
    model = seeded_model(job.fitted, classes_of(job), job.seeds.weights).to(job.device)
    epochs = train(
        model,
        job.fitted,
        resident,
        job.training,
        job.seeds,
        job.device,
        job.checkpoint,
        on_progress,
        may_begin=may_begin,
        on_epoch=None if snapshots is None else snapshots.keep,
    )
    known = [seconds for seconds in seconds_of(job.checkpoint) if math.isfinite(seconds)]
    return _Trained(model, epochs, *chosen.statistics, len(chosen), known, chosen)


def _perform(
    job: Job,
    folder: RunFolder,
    on_progress: Callable[[Progress], None] | None,
    may_begin: Callable[[float], bool] | None,
) -> RunRecord:
    earlier = _earlier(folder)
    snapshots = Snapshots(job.checkpoint, job.recipe.epochs_run) if job.training.signals else None
    model, epochs, mean, std, seen, seconds, chosen = _trained(job, on_progress, may_begin, snapshots)
    trained = time.perf_counter()
    sets = {name: entry.images for name, entry in job.data.sets.items()}
    scores = FeatureScores(job.suite, cast("Integers", job.data.sets[job.suite.source.test].labels))

    def add(name: str, logits: Outputs, features: Outputs) -> None:
        if not (np.isfinite(logits).all() and np.isfinite(features).all()):
            raise TrainingError(
                f"{job.key} on {name}: gives NaN or infinite values; the training has diverged. Lower "
                f"learning_rate under [train.{job.recipe.name}] in architectures/{job.card.name}.toml"
            )
        scores.add(name, logits, features)

    network = Network(model, job.fitted, mean, std, job.device)
    if snapshots is None:
        stored, signals, more = _stored(job, network.logits(sets, add)), None, None
    else:
        stored, signals, more = _with_signals(job, network, chosen, sets, snapshots, folder, add)
    write_manifest(job, mean, std, package_versions(), git_state())
    took = (round(sum(seconds), 3), round(seen * len(seconds) / max(sum(seconds), 1e-9), 1))
    if not seconds:  # it was done before, or for another suite
        took = _known_seconds(job, earlier)
    forget_seconds(job.checkpoint)
    measured = Measured(
        train_seconds=took[0],
        evaluate_seconds=round(time.perf_counter() - trained - (more or 0.0), 3),
        images_per_second=took[1],
        peak_memory_mib=round(_peak_memory(job.device) / 2**20, 1),
        signals_seconds=None if more is None else round(more, 3),
    )
    parameters = count_parameters(model)
    record = _write(job, folder, stored, epochs, parameters, scores.found, measured, signals)
    if snapshots is not None:
        snapshots.forget()
    return record


def _with_signals(
    job: Job,
    network: Network,
    chosen: ResidentImages,
    sets: Mapping[str, NDArray[np.uint8]],
    snapshots: Snapshots,
    folder: RunFolder,
    add: Callable[[str, Outputs, Outputs], None],
) -> tuple[dict[str, StoredSet], bytes, float]:
    """Evaluate a network on every set; return the outputs, the signals, and the seconds that these took."""
    recording = Recording(job.suite, network, chosen)
    with recording.watching():
        stored = _stored(job, network.logits(sets, add, BATCH))
    predicted = {name: one.logits.argmax(axis=1) for name, one in stored.items()}
    taken = recording.finish(sets, predicted, snapshots, earlier_signals(folder.signals_path))
    signals = encode_signals(taken)
    if len(signals) > SIGNALS_LIMIT and not job.suite.scratch:
        raise TrainingError(
            f"{job.key}: its signals take {len(signals):,} bytes, above the {SIGNALS_LIMIT:,} that one run "
            "may take in results/; lower `images` of the suite's derived targets"
        )
    return stored, signals, recording.seconds


def _known_seconds(job: Job, earlier: RunRecord | None) -> tuple[float, float]:
    """Return seconds and images a second of the training of an earlier record; zeros if it had another."""
    if earlier is None or earlier.seeds != job.seeds:
        return 0.0, 0.0
    if (earlier.card_hash, earlier.recipe_hash) != (card_hash(job.card), recipe_hash(job.recipe)):
        return 0.0, 0.0
    return earlier.measured.train_seconds, earlier.measured.images_per_second


def _fit(job: Job, folder: RunFolder) -> RunRecord:
    """Fit a model that is no network, on the CPU; nothing of it is kept but its predictions."""
    from shiftcast.training.classical import Classical

    images = job.data.train
    start = time.perf_counter()
    chosen = training_set(
        ResidentImages(images.images, cast("Integers", images.labels)), job.recipe, job.seeds
    )
    mean, std = chosen.statistics
    card = cast("ClassicalCard", job.card)
    model = Classical(card, classes_of(job), mean, std, job.seeds.weights, job.threads)
    model.fit(chosen.source, chosen.labels.numpy())
    fitted = time.perf_counter()
    stored = _stored(job, {name: model.logits(entry.images) for name, entry in job.data.sets.items()})
    measured = Measured(
        train_seconds=round(fitted - start, 3),
        evaluate_seconds=round(time.perf_counter() - fitted, 3),
        images_per_second=round(len(chosen) / max(fitted - start, 1e-9), 1),
        peak_memory_mib=round(_peak_memory("cpu") / 2**20, 1),
    )
    return _write(job, folder, stored, [], 0, {name: {} for name in stored}, measured)


def _stored(job: Job, logits: Mapping[str, NDArray[Any]]) -> dict[str, StoredSet]:
    try:
        return {
            name: replace(
                store_logits(f"{job.key} on {name}", logits[name].astype(np.float64), entry.labels),
                clusters=entry.clusters,
            )
            for name, entry in job.data.sets.items()
        }
    except InvalidInputError as error:
        raise TrainingError(str(error)) from error


def _peak_memory(device: str) -> int:
    """Return the most bytes held at once: on the GPU, or by this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _earlier(folder: RunFolder) -> RunRecord | None:
    """Return what stands in the run's folder, if it is only to be evaluated again or replaced."""
    try:
        return folder.read_record()
    except RunError:
        return None


def _earlier_views(job: Job, folder: RunFolder, stored: StoredSet) -> dict[str, LabelViewAccuracy]:
    """Return the label views of the run that is replaced, if it says the same about the same images."""
    try:
        record, sets = folder.read()
    except RunError:
        return {}
    source = job.suite.source.test
    same = record.source == source and record.datasets.get(source) == job.data.used[source]
    same = same and source in sets and np.array_equal(sets[source].logits, stored.logits)
    return record.label_views if same else {}


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
    signals: bytes | None = None,
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
        recipe=cast("Recipe | FitRecipe", job.recipe),
        seeds=job.seeds,
        source=job.suite.source.test,
        datasets=dict(job.data.used),
        targets={name: TargetResult(n=len(s.logits), accuracy=s.accuracy) for name, s in stored.items()},
        epochs=epochs,
        parameters=parameters,
        device=job.device if job.is_network else "cpu",
        precision=job.fitted.precision if job.is_network else "float32",
        threads=job.threads,
        packages=package_versions(() if job.is_network else ("scikit-learn", "scipy")),
        git=git_state(),
        source_hash=source_hash(),
        predictions_sha256=sha256(predictions),
        feature_scores=scores,
        label_views=_earlier_views(job, folder, stored[job.suite.source.test]),
        signals_sha256=None if signals is None else sha256(signals),
        measured=measured,
    )
    folder.write(record, predictions, signals)
    return record


def final_checkpoint(job: Job) -> Path | None:
    """Return where the run's trained weights are in the cache; None if they are not.

    The same training in another suite counts: same card, recipe, seeds, images and machine.
    """
    if not job.is_network:
        return None
    elsewhere = f"*/{job.key.path.as_posix()}/{job.checkpoint.name}"
    for path in (job.checkpoint, *sorted((cache_folder() / "checkpoints").glob(elsewhere))):
        with suppress(OSError):  # gone meanwhile, or unreadable
            if _is_final(job, path):
                return path
    return None


def _take_over(job: Job) -> None:
    """Copy what the same training left in another suite; without space for it, it is trained again."""
    found = final_checkpoint(job)
    if found is not None and found != job.checkpoint:
        with suppress(OSError):
            write_atomic(job.checkpoint, found.read_bytes())


def _is_final(job: Job, path: Path) -> bool:
    saved = load_checkpoint(path)
    return saved is not None and len(saved["epochs"]) == job.training.epochs_run


def package_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of what a run's numbers depend on, and of `more` packages."""
    found = {name: importlib.metadata.version(name) for name in (*PACKAGES, *more)}
    return dict(sorted(found.items())) | {"python": platform.python_version()}
