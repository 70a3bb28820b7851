"""`shiftcast predict`: classify user images with a trained network from the cache."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from shiftcast.cli.options import (
    YOUR_MODEL,
    Device,
    OnDevice,
    Threads,
    echo,
    example,
    require_writable,
    text_table,
    workspace_of,
)
from shiftcast.errors import InvalidInputError, StoppedError, TrainingError, needs_extra
from shiftcast.util.arrays import class_indices, softmax
from shiftcast.util.files import write_npz
from shiftcast.util.text import BLANK, count, percent
from shiftcast.util.types import Integers

if TYPE_CHECKING:
    from shiftcast.training.checkpoints import Checkpoint, Wanted
    from shiftcast.workspace import Workspace

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

app = typer.Typer()


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example("predict resnet18_s2 --seed 0 --data images.npy --labels labels.npy"),
)
def predict(
    context: typer.Context,
    architecture: Annotated[
        str, typer.Argument(help="Architecture of the trained network; see: shiftcast list checkpoints")
    ],
    seed: Annotated[int, typer.Option(help="Use the training with this seed.")],
    data: Annotated[Path, typer.Option(help="Read images from this .npy of uint8 (n, 32, 32, 3).")],
    suite: Annotated[str | None, typer.Option(help="Use the training in this suite, if several fit.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Use the training with this recipe, if several fit.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Read labels from this .npy of integers (n,).")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Write predictions here [default: beside the images, .predictions.npz]."
        ),
    ] = None,
    device: OnDevice = Device.auto,
    threads: Threads = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Classify this many images at a time.")] = 512,
) -> None:
    """Classify images with a trained network of the benchmark.

    The file of predictions holds logits (n, K), predicted classes (n,) and the labels, if given, as
    `shiftcast estimate` reads them. Images are mapped, so there may be more than the memory holds.
    """
    with needs_extra("train"):
        from shiftcast.training.checkpoints import Wanted, choose_checkpoint, find_checkpoints, verify
        from shiftcast.training.job import choose_device, set_threads
    from shiftcast.workspace import cache_folder

    workspace, wanted = workspace_of(context), Wanted(architecture, seed, suite, recipe)
    try:
        checkpoints, complaints = find_checkpoints(cache_folder())
        chosen, notes = choose_checkpoint(checkpoints, workspace, wanted, cache_folder())
        for note in (*complaints, *notes):
            echo(f"note: {note}", err=True)
        classes = chosen.manifest.classes
        images = read_images(data)
        known = None if labels is None else read_labels(labels, len(images), len(classes))
        verify(chosen, workspace, wanted)
        where, _ = choose_device(device.value), set_threads(threads)
        file = _output_file(out, data, labels)
        logits = _logits(chosen, workspace, images, where, batch_size)
        _require_finite(logits, chosen.path, wanted, workspace)
        _write(file, logits, known)
    except KeyboardInterrupt as error:
        raise StoppedError("stopped; nothing was written") from error
    echo(f"{chosen.name} (trained on {chosen.machine}) on {data}: {count(len(images), 'image')}")
    echo(summary(logits, classes, known))
    echo(f"wrote {file}")
    echo(_next_step(file, known is not None))


def _logits(
    chosen: Checkpoint, workspace: Workspace, images: NDArray[np.uint8], device: str, batch_size: int
) -> Outputs:
    """Return the network's logits float32 (n, K)."""
    from shiftcast.training.evaluate import Network, evaluate
    from shiftcast.training.inference import load_network
    from shiftcast.training.network import memory_named
    from shiftcast.util.bars import ImageBar

    facts, name, card = chosen.manifest, str(chosen.manifest.key), chosen.card(workspace)
    with memory_named(name, device), ImageBar(name) as bar:
        model = load_network(card, len(facts.classes), chosen.path, device)
        network = Network(model, card, facts.mean, facts.std, device)
        return evaluate(network, {"": images}, batch_size, bar.show)[""]


def _require_finite(logits: Outputs, path: Path, wanted: Wanted, workspace: Workspace) -> None:
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise TrainingError(
            f"{path}: gives NaN or infinite logits for {int(bad.sum())} images, the first at index "
            f"{int(bad.argmax())}; the training has probably diverged. Lower its learning rate, delete the "
            f"file, and {wanted.how_to_train(workspace)}"
        )


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
    from shiftcast.data.readers.layouts import load_npy

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


def _output_file(out: Path | None, data: Path, labels: Path | None) -> Path:
    """Return where predictions go; nothing that was given is overwritten, and the folder can be written."""
    file = out or data.with_suffix(".predictions.npz")
    if file.suffix != ".npz":
        raise InvalidInputError(f"--out {file}: expected a name that ends in .npz")
    for given in filter(None, (data, labels)):
        if file.resolve() == given.resolve() or (file.exists() and file.samefile(given)):
            raise InvalidInputError(
                f"--out {file}: is the file that was given as {given}; name another one for the predictions"
            )
    require_writable(file.parent)
    return file


def _write(file: Path, logits: Outputs, labels: Integers | None) -> None:
    arrays: dict[str, Any] = {"logits": logits, "predicted": logits.argmax(axis=1)}
    if labels is not None:
        arrays["labels"] = labels
    write_npz(file, arrays)


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
    from shiftcast.statistics import wilson

    predicted = logits.argmax(axis=1)
    confidence = softmax(logits).max(axis=1)
    counts = np.bincount(predicted, minlength=len(classes))
    sums = np.bincount(predicted, weights=confidence, minlength=len(classes))
    rows = [
        {
            "class": name,
            "images": f"{n:,}",
            "share %": percent(n / len(logits)),
            "mean confidence %": percent(total / n) if n else BLANK,
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
    lines = [text_table(rows, align=align)]
    if labels is not None:
        right, n = int((predicted == labels).sum()), len(labels)
        low, high = wilson(right, n)
        lines.append(
            f"accuracy: {percent(right / n)} % ({right:,} of {n:,} right; 95 % Wilson interval "
            f"{percent(low)} to {percent(high)} %)"
        )
    return "\n".join(lines)


def _next_step(file: Path, labelled: bool) -> str:
    """Return the command that estimates an accuracy from these predictions and others of the network."""
    given = shlex.quote(str(file))
    files = f"--source {given} --target OTHER.npz" if labelled else f"--source OTHER.npz --target {given}"
    other = "unlabelled" if labelled else "labelled"
    return f"next, with its predictions on {other} images: shiftcast estimate {files}"
