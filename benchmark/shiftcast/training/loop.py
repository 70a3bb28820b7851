"""The training loop: seeds, learning rate, optimiser, epochs, checkpoints. Read it top to bottom.

Training is deterministic for a given device, thread count and PyTorch version, and resuming from a
checkpoint gives the weights of an uninterrupted training bit for bit on a CPU: every random choice
of an epoch is drawn from (seed, epoch) alone, and checkpoints are written between epochs.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from timm.optim import Muon, param_groups_weight_decay  # type: ignore[attr-defined]
from timm.optim import muon as timm_muon
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from shiftcast.cards.architecture import ArchitectureCard, card_hash
from shiftcast.cards.recipe import Recipe, recipe_hash
from shiftcast.errors import OutOfTimeError, TrainingError
from shiftcast.runs.record import Epoch, Seeds
from shiftcast.training.augment import Mixing, RandAugment, training_set
from shiftcast.training.network import build_model, has_bfloat16, logits_of, out_of_memory
from shiftcast.training.pace import Pace, Progress
from shiftcast.training.resident import Augmentation, ResidentImages, epoch_seed
from shiftcast.training.saved import load_checkpoint
from shiftcast.util.files import write_atomic
from shiftcast.util.hashing import hash_of

WARMUP_START = 1 / 25
"""First learning rate as a share of the peak."""
REPORT_SECONDS = 0.5
"""How often the loss is read from the device, which stalls it."""

logger = logging.getLogger(__name__)


def derive_seeds(architecture: str, recipe: str, seed: int) -> Seeds:
    """Return a run's seeds, one an axis.

    Each is the first 8 bytes (big-endian, modulo 2**63) of the SHA-256 of
    "shiftcast/1|AXIS|ARCHITECTURE|RECIPE|SEED", with AXIS one of weights, order, augmentation.
    """

    # One stream an axis: another order of the images leaves the weights as they were.
    def derived(axis: str) -> int:
        text = f"shiftcast/1|{axis}|{architecture}|{recipe}|{seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 2**63

    return Seeds(
        derivation=f"first 8 bytes of SHA-256('shiftcast/1|AXIS|{architecture}|{recipe}|{seed}') mod 2^63",
        weights=derived("weights"),
        order=derived("order"),
        augmentation=derived("augmentation"),
    )


def seeded_model(card: ArchitectureCard, classes: int, seed: int) -> nn.Module:
    """Build a card's network on the CPU with weights drawn from `seed`; the caller's stream stays."""
    # On the CPU whatever the device is: a GPU draws other numbers from the same seed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(card, classes)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of one step, a pure function of its position.

    It rises linearly from 1/25 of the peak over the first `recipe.warmup` of the steps, then falls
    towards zero: linearly for "one-cycle", along a half cosine for "cosine".

    Parameters
    ----------
    recipe
        A resolved recipe.
    step
        The step, from 0.
    steps
        Steps in the whole training.
    """
    rise = recipe.warmup * steps
    if step < rise:
        return recipe.learning_rate * (WARMUP_START + (1 - WARMUP_START) * step / rise)
    fallen = (step - rise) / (steps - rise)
    left = 1 - fallen if recipe.schedule == "one-cycle" else (1 + math.cos(math.pi * fallen)) / 2
    return recipe.learning_rate * left


def build_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser; weight decay spares norms, biases and what the model exempts."""
    exempt: set[str] = getattr(model, "no_weight_decay", set)()
    groups = param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=exempt)
    # Fused: small networks wait for the start of kernels more than for arithmetic.
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    if recipe.optimiser == "muon":
        return muon(model, recipe, exempt)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True
    )


def muon(model: nn.Module, recipe: Recipe, exempt: set[str]) -> torch.optim.Optimizer:
    """Return Muon for matrices and dense convolution filters, and AdamW with Nesterov momentum for the rest.

    The rest are norms, biases, embeddings, depthwise filters and the classifier. Steps of the matrices are
    scaled to the size of AdamW's, so that one learning rate and one decay suit both (Jordan et al. 2024,
    "Muon: an optimizer for hidden layers in neural networks"; Liu et al. 2025, arXiv:2502.16982).
    """
    network: Any = model
    last = network.get_classifier()
    heads = [name for name, module in model.named_modules() if module is last]
    groups = param_groups_weight_decay(
        model,
        recipe.weight_decay,
        no_weight_decay_list=exempt,
        fallback_list=[f"{name}.*" for name in heads],
    )
    on_cpu = next(model.parameters()).device.type == "cpu"
    kind = _Float32Muon if on_cpu and not has_bfloat16() else Muon
    return kind(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)


class _Float32Muon(Muon):
    """Muon that orthogonalises in float32: timm's is bound to bfloat16, which some processors emulate."""

    def step(self, closure: Any = None) -> Any:
        """Make one step; see `timm.optim.Muon`."""
        in_bfloat16 = timm_muon.zeropower_via_newtonschulz
        timm_muon.zeropower_via_newtonschulz = partial(in_bfloat16, dtype=torch.float32)
        try:
            return super().step(closure)  # type: ignore[no-untyped-call]
        finally:
            timm_muon.zeropower_via_newtonschulz = in_bfloat16


def train(
    model: nn.Module,
    card: ArchitectureCard,
    data: ResidentImages,
    recipe: Recipe,
    seeds: Seeds,
    device: str | torch.device,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_seconds: float = 5.0,
    may_begin: Callable[[float], bool] | None = None,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
) -> list[Epoch]:
    """Train a network in place, resuming from the checkpoint if there is a matching one.

    Where the recipe averages weights, the network ends with the average.

    Parameters
    ----------
    model, card
        The card's network, moved to `device`, and the architecture card.
    data
        Training images and labels on `device`, of which the recipe may choose a part or change labels
        (see `augment.training_set`, which says what images must be normalised with afterwards).
    recipe, seeds, device
        The recipe with the card's overrides, the run's seeds, and where to train.
    checkpoint, checkpoint_seconds
        File to resume from and save to, None to keep none; it is saved at the end of an epoch if the last
        save is at least so long ago, and at the end of the last.
    on_progress
        Called about twice a second and at the end of each epoch.
    may_begin
        Asked before each epoch, with the seconds that the one before it took (0 for the first epoch of
        this call); where it says no, the training is saved and ends. Always yes when None.
    on_epoch
        Called after each epoch, before it is saved, with its number from 1 and the network as it would be
        evaluated: the average, where the recipe averages weights. It must change nothing.

    Returns
    -------
    list
        Loss, training accuracy (augmented images, in training mode) and last learning rate of
        each epoch, and in how many parts its batches were computed. The accuracy counts the labels
        that came with the images: under mixup or CutMix that of each image before another was mixed
        into it, under label noise the noisy ones.

    Raises
    ------
    TrainingError
        If the loss stops being finite, or memory does not even suffice for two images at a time.
    OutOfTimeError
        If another epoch may not begin.
    """
    device = torch.device(device)
    model.to(device)
    data = training_set(data, recipe, seeds)
    with deterministic(device):
        training = Trainer(model, card, data, recipe, seeds, on_progress)
        training.run(checkpoint, checkpoint_seconds, may_begin, on_epoch)
    return training.log


class Trainer:
    """The state of one training: model, optimiser and the log of the epochs done.

    Takes what `train` takes; the network must be on the images' device. `batches` and `step` are
    what an epoch is made of, for those who time it.
    """

    def __init__(
        self,
        model: nn.Module,
        card: ArchitectureCard,
        data: ResidentImages,
        recipe: Recipe,
        seeds: Seeds,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.model, self.card, self.data = model, card, data
        self.recipe, self.seeds, self.on_progress = recipe, seeds, on_progress
        self.optimiser = build_optimiser(model, recipe)
        self.average: Any = (
            None if recipe.ema is None else ModelEmaV3(model, decay=recipe.ema, use_warmup=True)
        )
        self.proven = 0
        """In how many parts a batch has gone through; memory is not known to suffice for another number."""
        self.mixing = (
            None
            if recipe.mixup is None and recipe.cutmix is None
            else Mixing(recipe, cast("int", model.num_classes), seeds.augmentation)
        )
        self.parts = 1
        """In how many parts a batch is computed; its gradients are summed before the step."""
        self.kept = "there is no checkpoint of this training yet"
        self.sizes = data.batch_sizes(recipe.batch_size)
        self.log: list[Epoch] = []
        self.images_seen = self.taken = 0
        self.pace, self.reported = Pace(), time.monotonic()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.log)

    @property
    def stands(self) -> str:
        """Where the training stands, in words."""
        done = f"stopped after epoch {self.epoch} of {self.recipe.epochs_run}"
        return done if self.log else "not begun"

    @property
    def steps(self) -> int:
        """Optimiser steps that the schedule is planned for."""
        return len(self.sizes) * self.recipe.epochs

    @property
    def steps_run(self) -> int:
        """Optimiser steps of the whole training; fewer where the recipe stops early."""
        return len(self.sizes) * self.recipe.epochs_run

    def run(
        self,
        checkpoint: Path | None,
        checkpoint_seconds: float,
        may_begin: Callable[[float], bool] | None,
        on_epoch: Callable[[int, nn.Module], None] | None,
    ) -> None:
        """Train from the checkpoint on, if there is a matching one; arguments and errors are `train`'s."""
        if checkpoint is not None:
            self.resume(checkpoint)
        saved, kept, begun = time.monotonic(), self.epoch, self.epoch
        while self.epoch < self.recipe.epochs_run:
            # A first epoch is begun whatever it takes: else a call with little time would never get on.
            expected = self.pace.expected if self.epoch > begun else 0.0
            if may_begin is not None and not may_begin(expected):
                if checkpoint is not None and kept < self.epoch:
                    self.save(checkpoint)
                raise OutOfTimeError(self.stands)
            self.run_epoch()
            self.check_weights()
            # Before the save: no checkpoint may know of an epoch whose weights were not kept.
            if on_epoch is not None:
                on_epoch(self.epoch, self.model if self.average is None else self.average.module)
            last = self.epoch == self.recipe.epochs_run
            if checkpoint is not None and (last or time.monotonic() - saved >= checkpoint_seconds):
                self.save(checkpoint)
                saved, kept = time.monotonic(), self.epoch
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())

    def run_epoch(self) -> None:
        """Train for one epoch and log it."""
        device = self.data.device
        # Dropout draws from the global stream, which must not remember the epochs before.
        torch.manual_seed(epoch_seed(self.seeds.augmentation, self.epoch, "dropout"))
        self.model.train()
        self.pace.begin()
        # Sums stay on the device: reading one waits for everything queued there.
        losses = torch.zeros(len(self.sizes), device=device)
        right = torch.zeros((), dtype=torch.int64, device=device)
        for index, (images, labels) in enumerate(self.batches()):
            logits, loss = self.step(images, labels, self._rate(index))
            losses[index] = loss
            right += (logits.argmax(dim=1) == labels).sum()
            self.images_seen += len(labels)
            self.pace.step()
            if time.monotonic() - self.reported >= REPORT_SECONDS:
                self._report(losses[: index + 1])
        mean = self._report(losses)
        rate = self._rate(len(self.sizes) - 1)
        share = right.item() / len(self.data)
        self.pace.end()
        self.log.append(Epoch(loss=mean, accuracy=share, learning_rate=rate, parts=self.parts))

    def check_weights(self) -> None:
        """Refuse weights that are not finite: the loss of the step that made them was.

        Raises
        ------
        TrainingError
            If one is NaN or infinite.
        """
        if not all(bool(torch.isfinite(weights).all()) for weights in self.model.parameters()):
            self._refuse(len(self.sizes) - 1, "weights are NaN or infinite", epoch=self.epoch - 1)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the next epoch's batches: images float32 (b, 3, H, W), augmented, and labels (b,)."""
        recipe, seed = self.recipe, self.seeds.augmentation
        spec = recipe.rand_augment
        augmentation = Augmentation(
            *self.data.statistics,
            crop_padding=recipe.crop_padding,
            crop_fill=recipe.crop_fill,
            flip=recipe.flip,
            change=None if spec is None else RandAugment(len(self.data), spec, seed, self.epoch),
            cutout=recipe.cutout,
            resolution=recipe.resolution(self.epoch),
        )
        seeds = {"order_seed": self.seeds.order, "augmentation_seed": seed}
        return self.data.batches(recipe.batch_size, augmentation, **seeds, epoch=self.epoch)

    def _rate(self, index: int) -> float:
        return learning_rate(self.recipe, self.epoch * len(self.sizes) + index, self.steps)

    def step(self, images: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Take one optimiser step and return the logits (b, K) and the mean loss, both detached.

        Mixup and CutMix are part of the step. Where memory does not suffice, the batch is computed in
        twice as many parts, for good: the gradients are those of the whole batch, but batch
        normalisation sees the parts. A first batch that fails leaves no trace; a later one may have
        moved running statistics.

        Sharpness-aware minimisation takes the gradients of the same batch a second time, from where
        the first lead uphill, and steps with these from where it stood: each step costs two. Logits
        and loss are those of the first pass; dropout draws anew for the second.

        Raises
        ------
        TrainingError
            If memory does not suffice for parts of two images.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        targets = labels
        if self.mixing is not None:
            images, targets = self.mixing(images, labels, self.taken)
        outputs = self._summed(images, targets)
        if self.recipe.sam is not None:
            if not self.taken:
                self.proven = 0  # the second pass of the first step may want for memory as well
            with uphill(self.model, self.recipe.sam):
                self._summed(images, targets)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.model, step=self.taken)
        self.taken += 1
        return outputs

    def _summed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Leave the gradients of a batch in the network, in as many parts as memory asks for."""
        while (outputs := self._gradients(images, targets)) is None:
            self._halve(len(images))
        return outputs

    def _gradients(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """Sum the gradients of a batch's parts; None where memory does not suffice."""
        self.optimiser.zero_grad(set_to_none=True)
        pieces = max(1, min(self.parts, len(images) // 2))  # batch normalisation cannot train on one image
        before = None if self.parts == self.proven else _Passing(self.model, self.data.device)
        smoothing = 0.0 if self.mixing is not None else self.recipe.label_smoothing  # mixed targets have it
        logits, losses = [], []
        try:
            for some, expected in zip(images.tensor_split(pieces), targets.tensor_split(pieces), strict=True):
                output = logits_of(self.model, self.card, some)
                loss = cross_entropy(output, expected, label_smoothing=smoothing)
                # So that the parts add up to the mean over the whole batch.
                loss = loss * (len(expected) / len(targets)) if pieces > 1 else loss
                loss.backward()  # type: ignore[no-untyped-call]
                logits.append(output.detach())
                losses.append(loss.detach())
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if before is not None:
                before.restore()
            return None
        self.proven = self.parts
        return (torch.cat(logits), torch.stack(losses).sum()) if pieces > 1 else (logits[0], losses[0])

    def _halve(self, size: int) -> None:
        """Compute batches in twice as many parts from now on; `size` is that of the one that failed."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.data.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.parts >= size // 2:
            raise TrainingError(
                f"{self.card.name}: memory on {self.data.device} does not suffice for two images at a time; "
                "free some, or choose a smaller network"
            )
        self.parts *= 2
        logger.warning(
            "%s: out of memory with %d images at once; batches of %d are computed in %d parts from here on "
            "and their gradients summed, so that a step is still that of %d images (batch normalisation sees "
            "the parts)",
            self.card.name,
            math.ceil(size * 2 / self.parts),
            size,
            self.parts,
            size,
        )

    def _report(self, losses: Tensor) -> float:
        """Check this epoch's losses so far, tell the caller about them and return their mean."""
        values = losses.tolist()
        for index, value in enumerate(values):
            if not math.isfinite(value):
                self._refuse(index, f"the loss is {value}")
        mean = math.fsum(values) / len(values)
        self.reported = time.monotonic()
        if self.on_progress is not None:
            self.on_progress(self._progress(len(values), mean))
        return mean

    def _progress(self, index: int, loss: float) -> Progress:
        step = self.epoch * len(self.sizes) + index
        speed = self.images_seen / max(self.pace.total, 1e-9)
        done = self.epoch * len(self.data) + sum(self.sizes[:index])
        epochs = self.recipe.epochs_run
        left = epochs * len(self.data) - done
        return Progress(self.epoch + 1, epochs, step, self.steps_run, loss, speed, left / max(speed, 1e-9))

    def _refuse(self, index: int, what: str, epoch: int | None = None) -> None:
        """Say at which step of an epoch (the current one) the training has diverged."""
        at = self.epoch if epoch is None else epoch
        step = at * len(self.sizes) + index
        rate = learning_rate(self.recipe, step, self.steps)
        raise TrainingError(
            f"{self.card.name}: {what} at step {step + 1} of {self.steps_run} (epoch {at + 1} of "
            f"{self.recipe.epochs_run}, learning rate {rate:.4g}); {self.kept}. Lower learning_rate under "
            f"[train.{self.recipe.name}] in architectures/{self.card.name}.toml"
        )

    @property
    def identity(self) -> str:
        """Hash of what a checkpoint must share with this training to be its beginning."""
        parts = [card_hash(self.card), recipe_hash(self.recipe), self.seeds.model_dump()]
        machine = [torch.__version__, self.data.device.type, torch.get_num_threads()]
        return hash_of([*parts, *machine, len(self.data), self.data.statistics])

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically."""
        state = {
            "identity": self.identity,
            "epochs": [epoch.model_dump() for epoch in self.log],
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.average is not None:
            state["ema"] = self.average.module.state_dict()
        self.pace.save(path)
        # By way of memory: a kill while PyTorch writes must not cost the file that stands.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(path, buffer.getvalue())
        self._keeps(path)

    def resume(self, path: Path) -> None:
        """Take up a checkpoint of this very training; any other is ignored."""
        state = load_checkpoint(path)
        if state is None:
            if path.exists():
                logger.warning("%s: is discarded, training starts from the beginning", path)
                path.unlink()
            return
        # Not an error: the recipe or the machine has changed, and this training is a new one.
        if state["identity"] != self.identity:
            logger.warning("%s: is the checkpoint of another training; starting from the beginning", path)
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.module.load_state_dict(state["ema"])
        self.log = [Epoch.model_validate(epoch) for epoch in state["epochs"]]
        # Memory is as short as it was: the batch that did not fit is not tried again.
        self.parts = self.log[-1].parts if self.log else 1
        self.taken = self.epoch * len(self.sizes)
        self.pace.resume(path, self.epoch)
        self._keeps(path)

    def _keeps(self, path: Path) -> None:
        self.kept = f"the last good checkpoint, of epoch {self.epoch}, is {path}"


class _Passing:
    """What a forward pass changes: running statistics and the random stream."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.device = model, device
        self.buffers = [buffer.clone() for buffer in model.buffers()]
        self.random = torch.get_rng_state()
        self.random_there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        """Put everything back."""
        for buffer, value in zip(self.model.buffers(), self.buffers, strict=True):
            buffer.copy_(value)
        torch.set_rng_state(self.random)
        if self.random_there is not None:
            torch.cuda.set_rng_state(self.random_there, self.device)


@contextmanager
def uphill(model: nn.Module, rho: float) -> Iterator[None]:
    """Hold a network where its loss is highest, to first order, within a distance of `rho`.

    From weights w with gradients g that is w + rho g / ||g||, with the Euclidean norm over all
    weights (Foret et al. 2021, arXiv:2010.01412, equation 2 at p = 2). Afterwards weights and buffers
    are what they were, so that the statistics of batch normalisation know nothing of it, and the
    gradients are those found there.
    """
    weights = [(weight, weight.grad) for weight in model.parameters() if weight.grad is not None]
    held = [weight for weight, _ in weights] + list(model.buffers())
    before = [value.detach().clone() for value in held]
    scale = rho / nn.utils.get_total_norm([gradient for _, gradient in weights]).clamp(min=1e-12)
    with torch.no_grad():
        for weight, gradient in weights:
            weight.add_(gradient * scale)
    try:
        yield
    finally:
        with torch.no_grad():
            for value, original in zip(held, before, strict=True):
                value.copy_(original)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Run with deterministic kernels and a random stream of our own; restore both afterwards."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first use
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # On a GPU a few operations have no such kernel: they are named in a warning and run all the same.
        torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
        memory.fill_uninitialized_memory = False  # guards against bugs, costs time
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
            memory.fill_uninitialized_memory = fill
