"""Models by name or file, and folders of images as batches for them: what `shiftcast collect` runs."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from shiftcast.data.add import read_image, square
from shiftcast.errors import InvalidInputError, TrainingError, UnknownNameError, needs_extra
from shiftcast.training.resident import Channels, normalise

EXPORTED = (".pt2", ".pt", ".pth", ".ts", ".torchscript")
"""Endings of exported models; of the first `torch.export`'s, of the others TorchScript's."""
AHEAD = 2
"""Batches that are read while one is run."""

Prepare = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Normalised(nn.Module):
    """A model of images uint8 (b, C, H, W), C = 1 or 3, which it normalises on its device."""

    def __init__(self, model: nn.Module, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = (tuple(255 * value for value in values) for values in (mean, std))

    def extra_repr(self) -> str:
        """Return what tells this model from others of its weights; shards are known by it."""
        return f"mean={self.mean}, std={self.std}"

    def forward(self, pixels: Tensor) -> Any:
        """Return what the model returns."""
        return self.model(normalise(pixels.permute(0, 2, 3, 1), self.mean, self.std))


@dataclass(frozen=True)
class FolderBatches:
    """Batches of image files, read by threads: images uint8 (b, C, H, W), and labels (b,) where known.

    Parameters
    ----------
    dataset
        The files.
    labels
        Class of each, or None.
    prepare
        From an image uint8 (H, W, 3) of any size to what the model takes.
    batch_size
        Images a batch.
    """

    dataset: Sequence[Path]
    labels: Sequence[int] | None
    prepare: Prepare
    batch_size: int

    def __iter__(self) -> Iterator[Any]:
        """Yield batches; an image that cannot be read raises a `DataError` that names it."""
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        waiting: deque[tuple[int, list[Future[Tensor]]]] = deque()
        try:
            for start in range(0, len(self.dataset), self.batch_size):
                files = self.dataset[start : start + self.batch_size]
                waiting.append((start, [pool.submit(self._image, file) for file in files]))
                if len(waiting) > AHEAD:
                    yield self._batch(*waiting.popleft())
            while waiting:
                yield self._batch(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _image(self, file: Path) -> Tensor:
        return torch.from_numpy(np.array(self.prepare(read_image(file)[0])))  # Pillow's memory is read-only

    def _batch(self, start: int, images: list[Future[Tensor]]) -> Any:
        pixels = torch.stack([image.result() for image in images]).permute(0, 3, 1, 2)
        if self.labels is None:
            return pixels
        return pixels, torch.tensor(self.labels[start : start + len(images)])


def exported_model(file: Path, size: int, mean: Channels, std: Channels) -> tuple[nn.Module, Prepare]:
    """Return a model from a file of `torch.export` or TorchScript, for images `size` pixels wide and high.

    With one mean, for greyscale models, images become grey (luma, ITU-R 601-2).

    Raises
    ------
    InvalidInputError
        If there is no such file, or it holds no such model.
    """
    if not file.is_file():
        raise InvalidInputError(f"{file}: there is no such file")
    kind = "torch.export" if file.suffix.lower() == ".pt2" else "TorchScript"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, but people have such files
            if kind == "torch.export":
                model: Any = torch.export.load(file).module()
            else:
                model = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # anybody's bytes may raise anything
        raise InvalidInputError(
            f"{file}: cannot be read as a model of {kind} ({' '.join(str(error).split())[:200]}). Weights "
            "alone need the name of a timm model, and --checkpoint FILE"
        ) from error
    prepare = partial(square, filter_="bicubic", side=size)
    return Normalised(model, mean, std), _grey(prepare) if len(mean) == 1 else prepare


def _grey(prepare: Prepare) -> Prepare:
    """Return what makes one channel (H, W, 1) of three."""
    return lambda image: np.asarray(Image.fromarray(prepare(image)).convert("L"))[..., None]


def timm_model(name: str, checkpoint: Path | None) -> tuple[nn.Module, Prepare]:
    """Return a timm model with published weights, or those of a checkpoint, and its own preprocessing.

    Raises
    ------
    UnknownNameError
        If timm has no such model.
    TrainingError
        If its weights cannot be had, or do not fit.
    """
    with needs_extra("train"):
        import timm
        from timm.data import create_transform, resolve_model_data_config  # type: ignore[attr-defined]

    if not timm.is_model(name):
        raise UnknownNameError("timm model", name, timm.list_models(), "MODEL")
    try:
        if checkpoint is None:
            model = timm.create_model(name, pretrained=True)
        else:
            state: dict[str, Any] = timm.models.load_state_dict(str(checkpoint))
            config: Any = timm.create_model(name).default_cfg
            head = config["classifier"]
            head = head if isinstance(head, str) else head[0]
            model = timm.create_model(name, num_classes=len(state[f"{head}.weight"]))
            model.load_state_dict(state)
    except Exception as error:  # of the network, of whatever a file holds
        remedy = "give a file with --checkpoint" if checkpoint is None else "name the model that they are of"
        raise TrainingError(
            f"{checkpoint or name}: no weights for {name} ({' '.join(str(error).split())[:300]}); {remedy}"
        ) from error
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    transform = create_transform(**config, is_training=False, normalize=False)

    def prepare(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = transform(Image.fromarray(image)).permute(1, 2, 0).numpy()
        return pixels

    return Normalised(model, config["mean"], config["std"]), prepare
