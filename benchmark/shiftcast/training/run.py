"""One run from start to finish: train (or resume), evaluate on every set, write the two files."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from shiftcast.cards.architecture import ClassicalCard, card_hash
from shiftcast.cards.recipe import FitRecipe, Recipe, recipe_hash
from shiftcast.errors import InvalidInputError, RunError, TrainingError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import PREDICTIONS_LIMIT, StoredSet, encode_predictions, store_logits
from shiftcast.runs.record import Epoch, LabelViewAccuracy, Measured, RunRecord, TargetResult
from shiftcast.runs.signals import SIGNALS_LIMIT, encode_signals
from shiftcast.training.augment import training_set
from shiftcast.training.checkpoints import write_manifest
from shiftcast.training.evaluate import Network, Outputs, evaluate
from shiftcast.training.features import FeatureScores
from shiftcast.training.job import Job, classes_of
from shiftcast.training.loop import seeded_model, train
from shiftcast.training.network import count_parameters, memory_named
from shiftcast.training.pace import Progress, forget_seconds, seconds_of
from shiftcast.training.probes import BATCH
from shiftcast.training.resident import ResidentImages
from shiftcast.training.saved import load_checkpoint
from shiftcast.training.signals import Recording, earlier_signals
from shiftcast.training.snapshots import Snapshots
from shiftcast.util.files import write_atomic
from shiftcast.util.git import git_state
from shiftcast.util.hashing import sha256, source_hash
from shiftcast.util.types import Integers
from shiftcast.workspace import cache_folder

PACKAGES = ("numpy", "timm", "torch", "torchvision")


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
        write_manifest(job, trained.network.mean, trained.network.std, package_versions(), git_state())


@contextmanager
def _cleared(device: str) -> Iterator[None]:
    """Measure a GPU's peak memory afresh, and give back what is held once the work is done."""
    if device != "cuda":
        yield
        return
    # Else the record would state the peak of a run before.
    torch.cuda.reset_peak_memory_stats()
    try:
        yield
    finally:
        torch.cuda.empty_cache()


class _Trained(NamedTuple):
    """A trained network and its log.

    `seen` is how many images an epoch sees, `seconds` what each epoch took, as far as that is known, `chosen`
    the images and labels that it was trained on.
    """

    network: Network
    epochs: list[Epoch]
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
    # Epochs of an earlier process whose note was lost count neither as time nor as images.
    known = [seconds for seconds in seconds_of(job.checkpoint) if math.isfinite(seconds)]
    network = Network(model, job.fitted, *chosen.statistics, job.device)
    return _Trained(network, epochs, len(chosen), known, chosen)


def _perform(
    job: Job,
    folder: RunFolder,
    on_progress: Callable[[Progress], None] | None,
    may_begin: Callable[[float], bool] | None,
) -> RunRecord:
    # Read before this run takes its place.
    earlier = _earlier(folder)
    snapshots = Snapshots(job.checkpoint, job.recipe.epochs_run) if job.training.signals else None
    network, epochs, seen, seconds, chosen = _trained(job, on_progress, may_begin, snapshots)
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

    if snapshots is None:
        stored, signals, more = _stored(job, evaluate(network, sets, on_features=add)), None, None
    else:
        stored, signals, more = _with_signals(job, network, chosen, sets, snapshots, folder, add)
    # Before the record, so that whatever is complete has its manifest.
    write_manifest(job, network.mean, network.std, package_versions(), git_state())
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
    parameters = count_parameters(network.model)
    record = _write(job, folder, stored, epochs, parameters, scores.found, measured, signals)
    # Last: a run that is killed before is written from them once more.
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
        stored = _stored(job, evaluate(network, sets, BATCH, on_features=add))
    predicted = {name: outputs.logits.argmax(axis=1) for name, outputs in stored.items()}
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
    # Only the same training took that long.
    if earlier is None or earlier.seeds != job.seeds:
        return 0.0, 0.0
    if (earlier.card_hash, earlier.recipe_hash) != (card_hash(job.card), recipe_hash(job.recipe)):
        return 0.0, 0.0
    return earlier.measured.train_seconds, earlier.measured.images_per_second


def _fit(job: Job, folder: RunFolder) -> RunRecord:
    """Fit a model that is no network, on the CPU; nothing of it is kept but its predictions."""
    # Here, since scikit-learn takes a second to import and few runs need it.
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
    # Linux counts in KiB.
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
        # Written at once: a folder holds a whole run or none.
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
    # The name is the identity: one that is the same in another suite is this training.
    elsewhere = f"*/{job.key.path.as_posix()}/{job.checkpoint.name}"
    for path in (job.checkpoint, *sorted((cache_folder() / "checkpoints").glob(elsewhere))):
        with suppress(OSError):  # gone meanwhile, or unreadable
            if _is_final(job, path):
                return path
    return None


def _take_over(job: Job) -> None:
    """Copy what the same training left in another suite; without space for it, it is trained again."""
    path = final_checkpoint(job)
    if path is not None and path != job.checkpoint:
        with suppress(OSError):
            write_atomic(job.checkpoint, path.read_bytes())


def _is_final(job: Job, path: Path) -> bool:
    saved = load_checkpoint(path)
    return saved is not None and len(saved["epochs"]) == job.training.epochs_run


def package_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of what a run's numbers depend on, and of `more` packages."""
    versions = {name: importlib.metadata.version(name) for name in (*PACKAGES, *more)}
    return dict(sorted(versions.items())) | {"python": platform.python_version()}
