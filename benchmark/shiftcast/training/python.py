"""`shiftcast.collect`: from a torch model to outputs that `shiftcast estimate` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shiftcast.errors import InvalidInputError, needs_extra
from shiftcast.predictions import Predictions
from shiftcast.util.arrays import looks_like_probabilities, softmax
from shiftcast.util.files import write_npz
from shiftcast.util.types import Integers

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
    name: str = "",
    progress: bool = True,
) -> Any:
    """Collect a torch model's outputs on every image of a loader.

    The model runs in evaluation mode and without gradients; afterwards every module has its own mode and
    device back. Rows are in the loader's order.

    Parameters
    ----------
    model
        A `torch.nn.Module`, or any function of images. It returns logits (b, K), or has them under `logits`
        or first in a tuple.
    loader
        Gives batches: `(images, labels)`, images alone, or a mapping with `pixel_values`, `images` or `image`
        and perhaps `labels` or `label`.
    labels
        Whether to read labels: True to refuse batches without, "auto" to read those that are there.
    device
        Where to run; "auto" is where each model lies.
    precision
        "float32", "bfloat16" (autocast; the last linear layer stays in float32), or "auto": bfloat16 on
        CUDA devices that have it.
    ensemble
        Other models for the same images in the same pass; their probabilities become `reference`.
    corrupt
        True, or a number of types (up to 10): run the model also on corrupted copies of the images, at
        three severities a type, which takes 1 + 3 x types passes. Strengths are scaled to the size of the
        images (`shiftcast.data.corruptions.scaled`). Needs labels.
    mean, std
        By which the loader normalised images, (x - mean) / std with x in [0, 1]; read for `corrupt` alone.
    shards
        Folder for outputs while they are collected, a file every 16 batches. The same call goes on after an
        interruption. It is refused for another model or other data. Finished batches are loaded again, but
        not run.
    out
        Also write this `.npz` file, as `shiftcast estimate --source` and `--target` read it; with `corrupt`,
        also `OUT.corrupted.npz` for `--others`.
    class_names
        Names of the K classes, in the order of the outputs, for `out`.
    logits_of
        Returns the logits of what a model returns, where that is something else.
    name
        What the predictions are called; by default `out`, or "collected".
    progress
        Whether to show a bar on a terminal.

    Returns
    -------
    Predictions, or with `corrupt` those and a list of them for the corrupted copies: `others` of `fit`.

    Raises
    ------
    InvalidInputError
        If a batch, an output or a label is not as it should be (named by batch), or `shards` are of another
        collection.
    TrainingError
        If the model fails on a batch, or memory does not suffice for a single image. A batch that is too
        large for the memory is split.

    Examples
    --------
    >>> import shiftcast
    >>> source = shiftcast.collect(model, validation_loader, out="val.npz")  # doctest: +SKIP
    """
    with needs_extra("train"):
        from shiftcast.training.collect import Plan, gather
    from shiftcast.data.corruptions.scaled import PREFIX, scaled_sets
    from shiftcast.util.bars import ImageBar

    read = _option("labels", labels, LABELS)
    _option("precision", precision, dict.fromkeys(("auto", "float32", "bfloat16")))
    sets = scaled_sets(TYPES if corrupt is True else int(corrupt)) if corrupt else []
    file = _file(out)
    if class_names is not None and len(set(class_names)) != len(class_names):
        raise InvalidInputError("class_names: a name stands there twice")
    scale = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    folder = None if shards is None else Path(shards)
    plan = Plan(
        True if sets else read, device, precision, sets, *scale, folder, logits_of, len(class_names or ())
    )
    called = name or (file.name if file else "collected")
    with ImageBar(called) as bar:
        outputs, truth = gather([model, *ensemble], loader, plan, bar.show if progress else None)
    names = [PREFIX + kind for kind, _ in sets]
    members = outputs[1 : 1 + len(ensemble)]
    reference = np.stack([_probabilities(one) for one in members]) if ensemble else None
    source = _predictions(called, outputs[0], truth, reference=reference)
    others = [
        _predictions(f"{group}-{severity}", one, truth, group=group)
        for group, (_, severity), one in zip(names, sets, outputs[1 + len(ensemble) :], strict=True)
    ]
    if file is not None:
        _write(file, source, others, class_names)
    return (source, others) if sets else source


def _option(name: str, given: Any, known: dict[Any, Any]) -> Any:
    if not isinstance(given, str | bool) or given not in known:
        raise InvalidInputError(f"{name}: expected {', '.join(map(repr, known))}, got {given!r}")
    return known[given]


def _file(out: str | Path | None) -> Path | None:
    if out is not None and Path(out).suffix != ".npz":
        raise InvalidInputError(f"out: expected a name that ends in .npz, got {str(out)!r}")
    return None if out is None else Path(out)


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
        sets = {f"{key}/{one.name}": one.logits.astype(np.float32) for one in others}
        write_npz(corrupted_file(file), {**sets, **more})
    write_npz(file, {key: source.logits.astype(np.float32), **more})
