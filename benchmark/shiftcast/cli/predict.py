"""`shiftcast predict`: a trained network from the cache on somebody's own images."""

from __future__ import annotations

import io
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from tabulate import tabulate

from shiftcast.cli.bars import Bars
from shiftcast.data.readers.layouts import load_npy
from shiftcast.errors import InvalidInputError, TrainingError, needs_extra
from shiftcast.statistics import wilson
from shiftcast.training.checkpoints import Wanted, choose_checkpoint, find_checkpoints, verify
from shiftcast.util.arrays import class_indices, softmax
from shiftcast.util.files import write_atomic
from shiftcast.util.text import count, percent
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace, cache_folder

SIZE = 32
"""Side of the images that networks take, in pixels."""
LOOKED_AT = 1000
"""Images whose values say what may have gone wrong with the others."""

OTHER_FILES = {
    b"PK\x03\x04": "a zip archive, as numpy.savez writes it (.npz)",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x80": "a pickle, which is never read",
}
"""What else people have, by its first bytes."""

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """Where and how networks run; `threads` of None is PyTorch's own default."""

    device: str = "auto"
    threads: int | None = None
    batch_size: int = 512


def predict_images(
    workspace: Workspace,
    wanted: Wanted,
    data: Path,
    labels: Path | None,
    out: Path | None,
    settings: Settings,
) -> Path:
    """Classify images with a network from the cache, print a summary and return the file of predictions.

    Parameters
    ----------
    workspace
        Where the cards are.
    wanted
        Which network.
    data
        `.npy` of uint8 images (n, 32, 32, 3); it is mapped, so it may be larger than the memory.
    labels
        `.npy` of integers (n,), or None.
    out
        `.npz` to write: `logits` float32 (n, K), `predicted` (n,) and, where given, `labels` (n,), as
        `shiftcast estimate` reads them. Beside `data` when None.
    settings
        Where and how to run.

    Raises
    ------
    MissingExtraError
        If torch or timm is not installed.
    InvalidInputError
        If images, labels or the file to write are refused, or several networks fit.
    DataError
        If a file cannot be read as what it should be.
    RunError
        If there is no such network in the cache, or not one that can be used.
    TrainingError
        If the network gives no finite logits, or memory does not suffice.
    """
    with needs_extra("train"):
        from shiftcast.training.evaluate import Network, evaluate
        from shiftcast.training.inference import load_network
        from shiftcast.training.job import choose_device, set_threads
        from shiftcast.training.network import memory_named
    cache = cache_folder()
    found, complaints = find_checkpoints(cache)
    chosen, notes = choose_checkpoint(found, workspace, wanted, cache)
    for note in (*complaints, *notes):
        typer.echo(f"note: {note}", err=True)
    facts = chosen.manifest
    images = read_images(data)
    known = None if labels is None else read_labels(labels, len(images), len(facts.classes))
    verify(chosen, workspace, wanted)
    device, _ = choose_device(settings.device), set_threads(settings.threads)
    card = chosen.card(workspace)
    place = _place(out, data, labels)
    with memory_named(str(facts.key), device), _Bar(str(facts.key)) as bar:
        model = load_network(card, len(facts.classes), chosen.path, device)
        network = Network(model, card, facts.mean, facts.std, device)
        logits = evaluate(network, {"": images}, settings.batch_size, bar.show)[""]
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise TrainingError(
            f"{chosen.path}: gives NaN or infinite logits for {int(bad.sum())} images, the first at index "
            f"{int(bad.argmax())}; the training has probably diverged. Lower its learning rate, delete the "
            f"file, and {wanted.how_to_train(workspace)}"
        )
    _write(place, logits, known)
    typer.echo(f"{chosen.name} (trained on {chosen.machine}) on {data}: {count(len(images), 'image')}")
    typer.echo(summary(logits, facts.classes, known))
    typer.echo(f"wrote {place}")
    typer.echo(_next_step(place, known is not None))
    return place


def read_images(path: Path) -> NDArray[np.uint8]:
    """Return images uint8 (n, 32, 32, 3), n >= 1, mapped and read-only.

    Raises
    ------
    DataError
        If the file is no readable `.npy` array, is cut short, or needs pickle.
    InvalidInputError
        If it is missing, or the array has another type or shape; the message says how to change it.
    """
    array = _load(path)
    hints = [_type_hint(array), _shape_hint(array.shape)] if array.size else []
    if array.dtype != np.uint8 or array.shape[1:] != (SIZE, SIZE, 3) or not len(array):
        advice = "; then ".join(filter(None, hints)) or "give at least one image"
        raise InvalidInputError(
            f"{path}: expected images uint8 (n, {SIZE}, {SIZE}, 3), n >= 1, got {array.dtype} {array.shape}; "
            f"{advice}"
        )
    return array


def read_labels(path: Path, n: int, classes: int) -> Integers:
    """Return labels int64 (n,) in [0, classes), or refuse them by name."""
    return class_indices(str(path), _load(path), (n,), classes)


def _load(path: Path) -> NDArray[Any]:
    if path.is_dir():
        raise InvalidInputError(
            f"{path}: is a folder; expected a .npy file. shiftcast data add makes arrays of image files"
        )
    if not path.is_file():
        raise InvalidInputError(f"{path}: there is no such file; name a .npy file")
    with path.open("rb") as stream:
        begin = stream.read(8)
    kind = next((what for magic, what in OTHER_FILES.items() if begin.startswith(magic)), "")
    if kind:
        raise InvalidInputError(f"{path}: is {kind}; expected one array, as numpy.save writes it (.npy)")
    return load_npy(path)


def _type_hint(array: NDArray[Any]) -> str:
    """Return how to make an array of another type uint8; empty where it is that."""
    if array.dtype == np.uint8:
        return ""
    if array.dtype.kind not in "fiub":
        return "save numbers: grey levels from 0 to 255"
    if array.dtype.kind == "b":
        return "give grey levels from 0 to 255; of black and white, images.astype(numpy.uint8) * 255"
    some = np.atleast_1d(array)[:LOOKED_AT]
    if array.dtype.kind == "f" and np.isnan(some).any():
        return "some values are NaN: replace them, then give grey levels from 0 to 255"
    low, high = some.min(), some.max()
    if low < 0 or high > 255:
        return (
            f"values span {low:.4g} to {high:.4g}: undo the normalisation, to grey levels from 0 to 255, and "
            "round: numpy.rint(images).astype(numpy.uint8)"
        )
    if array.dtype.kind == "f" and high <= 1:
        return "multiply by 255 and round: numpy.rint(images * 255).astype(numpy.uint8)"
    return (
        "round: numpy.rint(images).astype(numpy.uint8)"
        if array.dtype.kind == "f"
        else "convert grey levels from 0 to 255 with images.astype(numpy.uint8)"
    )


def _shape_hint(shape: Sequence[int]) -> str:
    """Return how to bring an array into the form (n, 32, 32, 3); empty where it is that."""
    if tuple(shape[1:]) == (SIZE, SIZE, 3):
        return ""
    if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
        resize = "" if tuple(shape[2:]) == (SIZE, SIZE) else f", and resize to {SIZE} x {SIZE} pixels"
        return f"move the channels to the end: numpy.transpose(images, (0, 2, 3, 1)){resize}"
    if len(shape) == 3 and shape[2] == 3:
        return "a single image is images[None]"
    if len(shape) == 3:
        return "repeat grey levels for three channels: numpy.repeat(images[..., None], 3, axis=3)"
    if len(shape) == 4 and shape[3] == 1:
        return "repeat grey levels for three channels: numpy.repeat(images, 3, axis=3)"
    if len(shape) == 4 and shape[3] == 4:
        return "drop the fourth channel: images[..., :3]"
    if len(shape) == 4 and shape[3] == 3:
        return f"resize each image to {SIZE} x {SIZE} pixels, for instance with Pillow's Image.resize"
    return "give one image of three channels an entry of the first axis"


def _place(out: Path | None, data: Path, labels: Path | None) -> Path:
    """Return where predictions go; nothing that was given is overwritten, and the folder can be written."""
    place = out or data.with_suffix(".predictions.npz")
    if place.suffix != ".npz":
        raise InvalidInputError(f"--out {place}: expected a name that ends in .npz")
    for given in filter(None, (data, labels)):
        if place.resolve() == given.resolve() or (place.exists() and place.samefile(given)):
            raise InvalidInputError(
                f"--out {place}: is the file that was given as {given}; name another one for the predictions"
            )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=place.parent):
        pass  # a folder that cannot be written is found now, not after minutes of computing
    return place


def _write(place: Path, logits: Outputs, labels: Integers | None) -> None:
    arrays: dict[str, Any] = {"logits": logits, "predicted": logits.argmax(axis=1)}
    if labels is not None:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(place, buffer.getvalue())


def summary(logits: Outputs, classes: Sequence[str], labels: Integers | None) -> str:
    """Return as text how many images go to each class and, with labels, the accuracy.

    Parameters
    ----------
    logits
        float32 (n, K), finite.
    classes
        Names of the K classes.
    labels
        True classes (n,), or None.
    """
    predicted = logits.argmax(axis=1)
    confidence = softmax(logits).max(axis=1)
    counts = np.bincount(predicted, minlength=len(classes))
    sums = np.bincount(predicted, weights=confidence, minlength=len(classes))
    rows = [
        {
            "class": name,
            "images": f"{n:,}",
            "share %": percent(n / len(logits)),
            "mean confidence %": percent(total / n) if n else "–",
        }
        for name, n, total in zip(classes, counts.tolist(), sums.tolist(), strict=True)
    ]
    rows.append(
        {
            "class": "all",
            "images": f"{len(logits):,}",
            "share %": percent(1),
            "mean confidence %": percent(float(confidence.mean())),
        }
    )
    align = ("left", "right", "right", "right")
    lines = [str(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True, colalign=align))]
    if labels is not None:
        right, n = int((predicted == labels).sum()), len(labels)
        low, high = wilson(right, n)
        lines.append(
            f"accuracy: {percent(right / n)} % ({right:,} of {n:,} right; 95 % Wilson interval "
            f"{percent(low)} to {percent(high)} %)"
        )
    return "\n".join(lines)


def _next_step(place: Path, labelled: bool) -> str:
    """Return the command that estimates an accuracy from these predictions and others of the network."""
    own = shlex.quote(str(place))
    files = f"--source {own} --target OTHER.npz" if labelled else f"--source OTHER.npz --target {own}"
    other = "unlabelled" if labelled else "labelled"
    return f"next, with its predictions on {other} images: shiftcast estimate {files}"


class _Bar(Bars):
    """A bar over the images; nothing where there is no terminal."""

    def __init__(self, name: str) -> None:
        super().__init__(
            None,
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            terminal_only=True,
        )
        self._task = self._bars.add_task(name, total=None)

    def show(self, done: int, total: int) -> None:
        """Show how many images are done."""
        self._bars.update(self._task, completed=done, total=total)
