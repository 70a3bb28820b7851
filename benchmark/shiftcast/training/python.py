"""`shiftcast.collect`: from a torch model to outputs that `shiftcast estimate` reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError, in_words, needs_extra
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import looks_like_probabilities, softmax
from shiftcast.util.files import write_npz
from shiftcast.util.types import Integers

if TYPE_CHECKING:
    from shiftcast.training.collect import Plan

TYPES = 4
"""Corruptions where `corrupt` is True, at three severities each."""
LABELS = {"auto": None, True: True, False: False}


def collect(
    model: Any,
    loader: Iterable[Any],
    *,
    labels: bool | Literal["auto"] = "auto",
    device: str = "auto",
    precision: str = "auto",
    ensemble: Sequence[Any] = (),
    corrupt: bool | int = False,
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    shards: str | Path | None = None,
    out: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    logits_of: Callable[[Any], Any] | None = None,
    progress: bool = True,
) -> Any:
    """Collect a torch model's outputs on every image of a loader, in its order.

    Parameters
    ----------
    model
        A `torch.nn.Module`, or any function of images, that gives logits (b, K).
    loader
        Gives `(images, labels)`, images, or a mapping (`pixel_values`, `images`, `image`; `labels`, `label`).
    labels
        True to refuse batches without labels, False to read none.
    device, precision
        Where to run, and "float32" or "bfloat16". "auto" is where each model lies, in bfloat16 on CUDA.
    ensemble
        Other models for the same pass; their probabilities become `reference`.
    corrupt
        True, or how many types: run the model also on corrupted copies, of three severities a type.
    mean, std
        Read for `corrupt`: by which the loader normalised images in [0, 1], (x - mean) / std.
    shards
        Folder that keeps outputs on the way; the same call goes on after an interruption.
    out, class_names
        `.npz` file to write for `shiftcast estimate`, and the K names in it; corrupted copies go beside it.
    logits_of
        Returns the logits of what the model returns.
    progress
        Whether to show a bar on a terminal.

    Returns
    -------
    Predictions; with `corrupt` a pair of them and the list of those on corrupted copies, `others` of `fit`.

    Raises
    ------
    InvalidInputError, TrainingError
        If a batch, label or output is refused (by number), or the model fails, or `shards` do not fit.
    """
    if not isinstance(ensemble, list | tuple):
        raise InvalidInputError(f"ensemble: expected a list of models, got a {type(ensemble).__name__}")
    names = _names(class_names)
    plan = _plan(labels, device, precision, corrupt, mean, std, shards, len(names or ()), logits_of)
    return _collect([model, *ensemble], loader, plan, _file(out), names, progress)


def _plan(
    labels: Any,
    device: str,
    precision: str,
    corrupt: bool | int,
    mean: ArrayLike,
    std: ArrayLike,
    shards: str | Path | None,
    names: int,
    logits_of: Callable[[Any], Any] | None,
) -> Plan:
    with needs_extra("train"):
        from shiftcast.training.collect import Plan
    from shiftcast.data.corruptions.scaled import scaled_sets

    read = _option("labels", labels, LABELS)
    _option("precision", precision, dict.fromkeys(("auto", "float32", "bfloat16")))
    if not isinstance(corrupt, bool | int | np.integer):
        raise InvalidInputError(f"corrupt: expected True, False or a number of types, got {corrupt!r}")
    sets = scaled_sets(TYPES if corrupt is True else int(corrupt)) if corrupt else []
    scale = _channels("mean", mean), _channels("std", std)
    if (scale[1] <= 0).any():
        raise InvalidInputError(f"std: expected numbers above 0, got {std!r}")
    folder = None if shards is None else Path(shards)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"shards: {folder} is a file; name a folder")
    return Plan(True if sets else read, device, precision, sets, *scale, folder, logits_of, names)


def _collect(
    models: list[Any],
    loader: Iterable[Any],
    plan: Plan,
    file: Path | None,
    class_names: Sequence[str] | None,
    progress: bool,
) -> Any:
    from shiftcast.data.corruptions.scaled import PREFIX
    from shiftcast.training.collect import gather
    from shiftcast.util.bars import ImageBar

    called, sets, size = file.name if file else "collected", plan.sets, len(models)
    with ImageBar(called) as bar:
        outputs, truth = gather(models, loader, plan, bar.show if progress else None)
    reference = np.stack([_probabilities(member) for member in outputs[1:size]]) if size > 1 else None
    source = _predictions(called, outputs[0], truth, reference=reference)
    others = [
        _predictions(f"{PREFIX}{kind}-{severity}", logits, truth, group=f"{PREFIX}{kind}")
        for (kind, severity), logits in zip(sets, outputs[size:], strict=True)
    ]
    if file is not None:
        _write(file, source, others, class_names)
    return (source, others) if sets else source


def _option(name: str, given: Any, known: dict[Any, Any]) -> Any:
    if not isinstance(given, str | bool) or given not in known:
        raise InvalidInputError(f"{name}: expected {', '.join(map(repr, known))}, got {given!r}")
    return known[given]


def _channels(name: str, given: ArrayLike) -> NDArray[Any]:
    """Return a number for all channels or one for each of three, or refuse it by name."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in ((), (1,), (3,)) or not np.isfinite(values).all():
        raise InvalidInputError(f"{name}: expected a number, or one for each of 3 channels, got {given!r}")
    return values


def _names(given: Sequence[str] | None) -> list[str] | None:
    if given is None:
        return None
    names = [] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(f"class_names: expected a list of texts, got {given!r:.80}")
    if len(set(names)) != len(names):
        raise InvalidInputError("class_names: a name stands there twice")
    return names


def _file(out: str | Path | None) -> Path | None:
    """Return where to write, or refuse it before hours of computing."""
    if out is None:
        return None
    file = Path(out)
    if file.suffix != ".npz":
        raise InvalidInputError(f"out: expected a name that ends in .npz, got {str(out)!r}")
    if file.is_dir():
        raise InvalidInputError(f"out: {file} is a folder; name a file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise InvalidInputError(f"out: {in_words(error)}; name a file in another folder") from error
    return file


def _predictions(name: str, outputs: NDArray[Any], labels: Integers | None, **more: Any) -> Predictions:
    """Return predictions of outputs whose values say whether a softmax is part of the model."""
    kind = "probabilities" if looks_like_probabilities(outputs) else None
    return Predictions(name, outputs, kind, labels=labels, **more)  # type: ignore[arg-type]


def _probabilities(outputs: NDArray[Any]) -> NDArray[Any]:
    return outputs if looks_like_probabilities(outputs) else softmax(outputs)


def corrupted_file(file: Path) -> Path:
    """Return where outputs on corrupted copies go, beside those on the images themselves."""
    return file.with_suffix(".corrupted.npz")


def _write(
    file: Path, source: Predictions, others: Sequence[Predictions], class_names: Sequence[str] | None
) -> None:
    """Write what `shiftcast estimate` reads: `--source` or `--target`, and beside it `--others`."""
    more: dict[str, Any] = {} if source.labels is None else {"labels": source.labels}
    if class_names is not None:
        more["class_names"] = np.array(class_names)
    key = "logits" if source.kind == "logits" else "probs"
    if others:
        sets = {f"{key}/{other.name}": other.logits.astype(np.float32) for other in others}
        write_npz(corrupted_file(file), {**sets, **more})
    write_npz(file, {key: source.logits.astype(np.float32), **more})
