"""`shiftcast collect`: a user's network on a folder of images, to files that `shiftcast estimate` reads."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import YOUR_MODEL, Device, OnDevice, echo, example, keep_apart, require_writable
from shiftcast.errors import InvalidInputError, StoppedError, needs_extra
from shiftcast.util.text import count, percent

if TYPE_CHECKING:
    from shiftcast.predictions import Predictions

MEAN, STD = "0.485,0.456,0.406", "0.229,0.224,0.225"
"""Of ImageNet's channels, by which most networks on photographs are normalised."""

app = typer.Typer()


Model = Annotated[
    str,
    typer.Argument(
        help="Name of a timm model, or a file of torch.export (.pt2) or TorchScript (.pt), from someone you "
        "trust"
    ),
]
Folder = Annotated[
    Path, typer.Argument(help="Images, in a folder for each class, or without labels, directly")
]
Out = Annotated[Path, typer.Option(dir_okay=False, help="Write outputs to this .npz file.")]
Weights = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Read weights of the timm model from here.")
]
Classes = Annotated[
    Path | None,
    typer.Option(
        help="Read the model's classes from this text file, a line each, in its order [default: the folders' "
        "names, sorted]."
    ),
]
Size = Annotated[
    int | None, typer.Option(min=1, help="Width and height of the images that a model file takes.")
]
Mean = Annotated[
    str, typer.Option(help="Channel means of a model file's images, in [0, 1]: three, or one for greyscale.")
]
Std = Annotated[str, typer.Option(help="Their standard deviations.")]
Corrupt = Annotated[
    bool,
    typer.Option("--corrupt", help="Also run 12 corrupted copies, for estimate --others (13 times as long)."),
]
Kept = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Keep outputs here on the way; the same command then resumes."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Classify this many images at a time.")]


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example(
        "collect resnet50.a1_in1k validation/ --out val.npz --corrupt",
        "collect model.pt2 production/ --size 224 --out prod.npz",
    ),
)
def collect(
    model: Model,
    folder: Folder,
    out: Out,
    checkpoint: Weights = None,
    classes: Classes = None,
    size: Size = None,
    mean: Mean = MEAN,
    std: Std = STD,
    corrupt: Corrupt = False,
    shards: Kept = None,
    batch_size: BatchSize = 64,
    device: OnDevice = Device.auto,
) -> None:
    """Collect your model's outputs on a folder of images.

    `shiftcast estimate` reads them. Images are preprocessed as the timm model asks for. For a model file,
    the middle square of each image is resized to --size.
    """
    keep_apart([checkpoint, classes, Path(model)], [out])
    require_writable(out.parent)
    with needs_extra("train"):
        from shiftcast.training.images import FolderBatches
        from shiftcast.training.job import choose_device
    from shiftcast.training.python import collect as collect_outputs
    from shiftcast.training.python import corrupted_file

    files, labels, names = _images(folder, classes, corrupt)
    network, prepare = _network(model, checkpoint, size, mean, std)
    loader = FolderBatches(files, labels, prepare, batch_size)
    given: dict[str, Any] = {"class_names": names, "shards": shards, "corrupt": corrupt, "out": out}
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: echo(f"note: {message}", err=True)
            outputs = collect_outputs(network, loader, device=choose_device(device.value), **given)
    except KeyboardInterrupt as error:
        again = "the same command goes on" if shards else "with --shards DIR, the same command could go on"
        raise StoppedError(f"stopped; {again}") from error
    echo(_summary(model, folder, outputs[0] if corrupt else outputs))
    written = [out, corrupted_file(out)] if corrupt else [out]
    for file in written:
        echo(f"wrote {file}")
    if labels is not None:
        source, *others = (shlex.quote(str(file)) for file in written)
        options = "".join(f" --others {file}" for file in others)
        command = f"shiftcast estimate --source {source} --target OTHER.npz{options}"
        echo(f"next, with outputs on unlabelled images: {command}")


def _images(
    folder: Path, classes: Path | None, corrupt: bool
) -> tuple[list[Path], list[int] | None, list[str] | None]:
    """Return image files, their labels, and the names of all classes, where these are known."""
    from shiftcast.data.add import folder_images

    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: there is no such folder; name one with images")
    files, kinds, empty, skipped = folder_images(folder)
    for what, number in skipped.items():
        echo(f"note: not read: {number:,} {what}", err=True)
    names = None if classes is None else classes.read_text("utf-8-sig", "replace").split("\n")
    names = None if names is None else [name.strip() for name in names if name.strip()]
    if kinds is None:
        if corrupt:
            raise InvalidInputError(f"{folder}: --corrupt needs labels, a folder for each class")
        return files, None, names
    names = sorted({*kinds, *empty}) if names is None else names
    if strange := sorted(set(kinds) - set(names)):
        raise InvalidInputError(f"{classes}: has no class {strange[0]!r}, which is a folder in {folder}")
    places = {name: position for position, name in enumerate(names)}
    return files, [places[kind] for kind in kinds], names


def _network(model: str, checkpoint: Path | None, size: int | None, mean: str, std: str) -> tuple[Any, Any]:
    from shiftcast.training.images import EXPORTED, exported_model, timm_model

    file = Path(model)
    if file.suffix.lower() not in EXPORTED and not file.is_file():
        if size is not None or (mean, std) != (MEAN, STD):
            raise InvalidInputError("--size, --mean, --std: are for model files; a timm model has its own")
        return timm_model(model, checkpoint)
    if size is None or checkpoint is not None:
        what = "--checkpoint: is for timm models" if size else "--size: is needed for a model file"
        raise InvalidInputError(what)
    means, deviations = _channels("--mean", mean), _channels("--std", std)
    if len(means) != len(deviations):
        raise InvalidInputError("--mean, --std: expected a number for each channel in both: three, or one")
    return exported_model(file, size, means, deviations)


def _channels(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or (option == "--std" and min(values) <= 0):
        raise InvalidInputError(
            f"{option}: expected three numbers, such as {MEAN}, or one for greyscale, got {text!r}"
        )
    return values


def _summary(model: str, folder: Path, outputs: Predictions) -> str:
    right = "" if outputs.labels is None else f", {percent(outputs.accuracy)} % right"
    return f"{model} on {folder}: {count(len(outputs), 'image')}, {outputs.classes} classes{right}"
