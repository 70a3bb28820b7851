"""One pass of models over a loader: logits of every image, and of corrupted copies.

`shiftcast.collect` is what people call; `batches` reads what loaders give and models return.
"""

from __future__ import annotations

import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.data import (
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from shiftcast.data.corruptions.scaled import corrupt_scaled
from shiftcast.errors import InvalidInputError, TrainingError, with_line
from shiftcast.training.batches import checked_labels, digest, from_bytes, logits_from, split_batch, to_bytes
from shiftcast.training.job import choose_device
from shiftcast.training.network import out_of_memory
from shiftcast.training.shards import Shards
from shiftcast.util.locks import locked
from shiftcast.util.types import Integers

AT_ONCE = 16
"""Batches whose outputs wait on the device, and of which a shard is made."""

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)

Outputs = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plan:
    """How to collect; see `shiftcast.collect`."""

    labels: bool | None
    device: str
    precision: str
    sets: Sequence[tuple[str, int]]
    mean: NDArray[Any]
    std: NDArray[Any]
    shards: Path | None
    logits_of: Callable[[Any], Any] | None
    names: int
    """How many classes are named; 0 where none is."""


def gather(
    models: Sequence[Any],
    loader: Iterable[Any],
    plan: Plan,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Outputs, Integers | None]:
    """Return outputs float32 (R, n, K) and labels (n,), or None where batches have none.

    The R passes are the models on the images, then the first model on each corrupted set.

    Parameters
    ----------
    models
        Modules or functions that give logits (b, K).
    loader
        Gives batches that `split_batch` reads.
    plan
        How to collect.
    progress
        Is told how many images are done, and of how many where that is known.

    Raises
    ------
    InvalidInputError
        If a batch, label or output is refused, the loader is empty, or shards are of something else.
    TrainingError
        If a model fails on a batch.
    """
    _check_loader(loader)
    samplers = [getattr(one, "sampler", None) for one in (loader, getattr(loader, "batch_sampler", None))]
    shuffled = any(isinstance(one, SHUFFLING) for one in samplers)
    if shuffled and plan.shards is not None:
        raise InvalidInputError("shards: the loader shuffles, so it cannot be resumed; use shuffle=False")
    if shuffled:
        warnings.warn(
            "the loader shuffles: labels follow their images, but what is collected in another pass (outputs "
            "of other models, slices) has other images in its rows; give other models as ensemble=, or use "
            "shuffle=False",
            stacklevel=3,
        )
    with ExitStack() as stack:
        if plan.shards is not None:
            stack.enter_context(locked(plan.shards / "collection.lock", None))
        stack.enter_context(_evaluating(models))
        stack.enter_context(_moved(models, plan.device))
        stack.enter_context(torch.inference_mode())
        run = _Run(models, plan)
        for model in models if run.lowered else ():
            stack.enter_context(_head_in_float32(model))
        try:
            run.over(loader, progress)
        finally:
            run.flush()  # what is done of an interrupted pass
    return run.result()


class _Run:
    """The state of one pass."""

    def __init__(self, models: Sequence[Any], plan: Plan) -> None:
        self.models, self.plan = models, plan
        self.devices = [_device_of(model) for model in models]
        floats = (
            (tensor.dtype for tensor in _tensors(model) if tensor.is_floating_point()) for model in models
        )
        self.kinds = [next(kinds, None) for kinds in floats]
        on_gpu = all(device.type == "cuda" for device in self.devices) and torch.cuda.is_bf16_supported()
        self.lowered = plan.precision == "bfloat16" or (plan.precision == "auto" and on_gpu)
        self.classes, self.labelled = 0, plan.labels
        self.most: int | None = None
        """Images that memory suffices for, once it did not."""
        self.waiting: list[tuple[int, list[Tensor], Integers | None, bytes]] = []
        self.parts: list[tuple[Outputs, Integers | None]] = []
        self.shards = None if plan.shards is None else Shards(plan.shards, self._identity())
        for part in () if self.shards is None else self.shards.parts:
            self.parts.append((part["outputs"], part.get("labels")))
            self.classes = part["outputs"].shape[2]
            self.labelled = "labels" in part

    def _identity(self) -> dict[str, Any]:
        """Return what decides the outputs, besides the data."""
        return {
            "models": [_fingerprint(model) for model in self.models],
            "corrupted": [list(pair) for pair in self.plan.sets],
            "normalisation": [self.plan.mean.tolist(), self.plan.std.tolist()],
            "labels": self.plan.labels,
            "class_names": self.plan.names,
            "precision": "bfloat16" if self.lowered else "float32",
            "device": [device.type for device in self.devices],
            "logits_of": _code_of(self.plan.logits_of),
        }

    def over(self, loader: Iterable[Any], progress: Callable[[int, int | None], None] | None) -> None:
        """Run the models over all batches."""
        total = _length(getattr(loader, "dataset", None))
        known = [] if self.shards is None else self.shards.digests
        done = number = 0
        for number, batch in enumerate(loader, 1):
            what = f"batch {number - 1}"
            images, labels = split_batch(batch, what)
            mark = b"" if self.shards is None else digest(images, labels)
            if number <= len(known) and self.shards is not None:
                self.shards.check(number - 1, mark)
            else:
                outputs = self._outputs(images, done, what)
                self.waiting.append((number - 1, outputs, self._labels(labels, len(images), what), mark))
                if len(self.waiting) == AT_ONCE:
                    self.flush()
            done += len(images)
            if progress is not None:
                progress(done, total)
        if number < len(known):
            raise InvalidInputError(
                f"{self.plan.shards}: holds {len(known)} batches, but the loader gave {number}, so it is of "
                "other data; name another folder, or delete this one"
            )
        if not done:
            raise InvalidInputError("the loader is empty: it gave no images")

    def _labels(self, labels: Any, n: int, what: str) -> Integers | None:
        if self.labelled is None:
            self.labelled = labels is not None
        if not self.labelled:
            if labels is not None and self.plan.labels is None:
                raise InvalidInputError(f"{what}: has labels, but those before it had none")
            return None
        if labels is None:
            raise InvalidInputError(
                f"{what}: has no labels, which the batches before it had, or labels=True or corrupt needs; "
                "the loader must give (images, labels), or a dict with 'labels'"
            )
        return checked_labels(labels, what, n, self.classes)

    def _outputs(self, images: Tensor, first: int, what: str) -> list[Tensor]:
        """Return the logits of a batch, float32 (b, K) on the device, of every pass."""
        plan = self.plan
        outputs = [self._logits(number, images, what) for number in range(len(self.models))]
        pixels = to_bytes(images, plan.mean, plan.std, what) if plan.sets else None
        for name, severity in plan.sets:
            assert pixels is not None  # noqa: S101  for mypy
            changed = corrupt_scaled(pixels, name, severity, np.arange(first, first + len(images)))
            outputs.append(self._logits(0, from_bytes(changed, images, plan.mean, plan.std), what))
        return outputs

    def _logits(self, number: int, images: Tensor, what: str) -> Tensor:
        pieces: list[Tensor] = []
        start = 0
        while start < len(images):
            piece = images[start : start + (self.most or len(images))]
            logits = self._piece(number, piece, what)
            if logits is None:
                self.most = len(piece) // 2
                warnings.warn(
                    f"{what}: {len(piece)} images do not fit into the memory of {self.devices[number]}; "
                    f"going on with at most {self.most} at a time",
                    stacklevel=6,
                )
                continue
            pieces.append(logits)
            start += len(piece)
        logits = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        self.classes = self.classes or logits.shape[1]
        if self.plan.names not in (0, self.classes):
            raise InvalidInputError(
                f"class_names: {self.plan.names} classes are named, but the model has {self.classes}; name "
                "all of them, in the order of its outputs (the command: --classes FILE)"
            )
        if logits.shape[1] != self.classes:
            which = f"model {number}, {what}" if number else what
            raise InvalidInputError(f"{which}: {logits.shape[1]} classes, but {self.classes} before")
        return logits

    def _piece(self, number: int, images: Tensor, what: str) -> Tensor | None:
        """Return a model's logits float32 (b, K), or None where memory does not suffice."""
        model, device, kind = self.models[number], self.devices[number], self.kinds[number]
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.lowered):
                output = model(
                    images.to(device, kind if images.is_floating_point() else None, non_blocking=True)
                )
        except Exception as error:  # a model is anybody's code
            if out_of_memory(error) and len(images) > 1:
                return None
            raise TrainingError(
                f"{what}: the model fails on images {tuple(images.shape)} of {images.dtype}: {_reason(error)}"
            ) from error
        if self.plan.logits_of is not None:
            try:
                output = self.plan.logits_of(output)
            except Exception as error:
                came = f"what the model returned, a {type(output).__name__}"
                raise InvalidInputError(f"{what}: logits_of fails on {came}: {with_line(error)}") from error
        return logits_from(output, len(images), f"model {number}, {what}" if number else what).float()

    def flush(self) -> None:
        """Take what waits from the device, and write a shard of it."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        passes = zip(*(outputs for _, outputs, _, _ in waiting), strict=True)
        outputs = np.stack([torch.cat(parts).cpu().numpy() for parts in passes])
        sizes = [len(logits[0]) for _, logits, _, _ in waiting]
        bad = np.split(~np.isfinite(outputs).all(axis=(0, 2)), np.cumsum(sizes)[:-1])
        for (number, *_), images in zip(waiting, bad, strict=True):
            if images.any():
                raise InvalidInputError(
                    f"batch {number}: NaN or infinite logits for {int(images.sum())} of its {len(images)} "
                    f"images, the first at place {int(images.argmax())}; look at that image, or use "
                    "precision='float32'"
                )
        known = [labels for *_, labels, _ in waiting if labels is not None]
        labels = np.concatenate(known) if self.labelled else None
        self.parts.append((outputs, labels))
        if self.shards is not None:
            self.shards.write(outputs, labels, [mark for *_, mark in waiting], sizes)

    def result(self) -> tuple[Outputs, Integers | None]:
        """Return all outputs and labels."""
        labels = [part for _, part in self.parts if part is not None]
        outputs = np.concatenate([part for part, _ in self.parts], axis=1)
        return outputs, np.concatenate(labels) if labels else None


def _reason(error: BaseException) -> str:
    """Return an error in words; of TorchScript's, which holds two tracebacks, the last line."""
    if "TorchScript interpreter" in str(error):
        return str(error).strip().splitlines()[-1]
    return with_line(error)


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):  # of a stream
        return None


def _tensors(model: Any) -> Iterator[Tensor]:
    if isinstance(model, nn.Module):
        yield from itertools.chain(model.parameters(), model.buffers())


def _device_of(model: Any) -> torch.device:
    return next((tensor.device for tensor in _tensors(model)), torch.device("cpu"))


def _fingerprint(model: Any) -> str:
    """Return a SHA-256 of a model's structure and weights."""
    if not isinstance(model, nn.Module):
        raise InvalidInputError(
            f"shards: expected a torch.nn.Module, to know the model again, got a {type(model).__name__}"
        )
    known = hashlib.sha256(repr(model).encode())
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            known.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            known.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return known.hexdigest()


def _code_of(function: Any) -> str | None:
    """Return a SHA-256 of what a function does, as far as its code says it."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None if function is None else type(function).__name__
    constants = [one for one in code.co_consts if not hasattr(one, "co_code")]
    return hashlib.sha256(code.co_code + repr((constants, code.co_names)).encode()).hexdigest()


def _check_loader(loader: Any) -> None:
    """Refuse what gives no batches.

    Raises
    ------
    InvalidInputError
        If it is none that can be gone through, or it gives single images.
    """
    single = isinstance(loader, Tensor | np.ndarray)
    single |= isinstance(loader, Dataset) and not isinstance(loader, IterableDataset)
    if single or not isinstance(loader, Iterable):
        raise InvalidInputError(
            f"loader: expected batches, as of torch.utils.data.DataLoader(dataset, batch_size=64), got a "
            f"{type(loader).__name__}"
        )


@contextmanager
def _evaluating(models: Sequence[Any]) -> Iterator[None]:
    """Hold networks in evaluation mode; each of their modules gets its own mode back.

    Networks that functions call, or that modules keep in lists, are met when they run.
    """
    modes: dict[nn.Module, bool] = {}

    def hold(module: nn.Module) -> None:
        for one in module.modules():
            if hasattr(one, "training"):
                modes.setdefault(one, one.training)
        with suppress(NotImplementedError):  # a program of torch.export has one mode for ever
            module.eval()

    def meet(module: nn.Module, _: Any) -> None:
        if getattr(module, "training", False):
            hold(module)

    compiled = any(hasattr(model, "_orig_mod") for model in models)  # torch.compile knows no such hook
    hook = None if compiled else register_module_forward_pre_hook(meet)
    try:
        for model in models:
            if isinstance(model, nn.Module):
                hold(model)
        yield
    finally:
        if hook is not None:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _moved(models: Sequence[Any], device: str) -> Iterator[None]:
    """Hold models on a device; each goes back to its own."""
    there = None if device == "auto" else _checked_device(device)
    moved = [] if there is None else [model for model in models if isinstance(model, nn.Module)]
    homes = [_device_of(model) for model in moved]
    try:
        for model in moved:
            try:
                model.to(there)
            except (RuntimeError, AssertionError) as error:
                raise InvalidInputError(f"device: no model can be moved to {there}: {error}") from error
        yield
    finally:
        for model, home in zip(moved, homes, strict=True):
            model.to(home)


def _checked_device(given: Any) -> torch.device:
    try:
        device = torch.device(given)
    except (RuntimeError, TypeError):
        device = torch.device("meta")
    if device.type == "meta":
        raise InvalidInputError(f"device: expected 'auto', 'cpu' or 'cuda', got {given!r}")
    if device.type == "cuda":
        choose_device("cuda")
    return device


@contextmanager
def _head_in_float32(model: Any) -> Iterator[None]:
    """Compute a model's last linear layer in float32: bfloat16 would round its logits to three digits."""
    layers = (
        [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        if isinstance(model, nn.Module)
        else []
    )
    if not layers or layers[-1].weight.dtype != torch.float32:
        yield
        return
    device = layers[-1].weight.device.type

    def before(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        torch.set_autocast_enabled(device, False)
        return tuple(value.float() if isinstance(value, Tensor) else value for value in given)

    def after(*_: Any) -> None:
        torch.set_autocast_enabled(device, True)

    hooks = [layers[-1].register_forward_pre_hook(before)]
    hooks.append(layers[-1].register_forward_hook(after, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
