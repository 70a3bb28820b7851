"""How far a training is and how long it takes: the seconds of each epoch, kept beside its checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shiftcast.util.files import write_atomic

PAUSE_SECONDS = 60.0
PAUSE_FACTOR = 10.0
"""A step that takes longer than both, the latter times the usual, is taken for a pause."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Parameters
    ----------
    epoch, epochs
        Epochs begun, from 1, and in all.
    step, steps
        Optimiser steps taken and in all.
    loss
        Mean training loss of this epoch so far.
    images_per_second
        Speed since the training began or was resumed, without pauses and what is done between epochs.
    eta
        Seconds left at that speed.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    eta: float


class Pace:
    """A stopwatch over the steps of a training, on the wall clock.

    A step in which the process stood still (SIGSTOP) counts as a usual one; shorter pauses, and the time
    that other programs take from the processor, count in full.

    Parameters
    ----------
    clock
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds: list[float] = []
        """Of each epoch done, whichever process did it; NaN where it is unknown."""
        self.total = 0.0
        """Of the steps taken in this process."""
        self._steps = 0
        self._before, self._last = 0.0, clock()

    @property
    def expected(self) -> float:
        """Seconds that the next epoch is likely to take: as the last one; 0 where it is unknown."""
        return self.seconds[-1] if self.seconds and math.isfinite(self.seconds[-1]) else 0.0

    def begin(self) -> None:
        """Start the clock of an epoch."""
        self._before, self._last = self.total, self._clock()

    def step(self) -> None:
        """Count the time since the last step."""
        now = self._clock()
        took, self._last = now - self._last, now
        # A laptop that was closed overnight must not make an epoch look eight hours long.
        usual = self.total / max(self._steps, 1)
        if self._steps and took > max(PAUSE_SECONDS, PAUSE_FACTOR * usual):
            took = usual
        self.total += took
        self._steps += 1

    def end(self) -> None:
        """Note how long the epoch took."""
        self.seconds.append(self.total - self._before)

    def save(self, checkpoint: Path) -> None:
        """Write the seconds beside a checkpoint, which itself is the same whatever they are."""
        write_atomic(_beside(checkpoint), json.dumps(self.seconds).encode())

    def resume(self, checkpoint: Path, epochs: int) -> None:
        """Take up the seconds of the epochs that a checkpoint has done."""
        known = seconds_of(checkpoint)[:epochs]
        self.seconds = known + [math.nan] * (epochs - len(known))


def seconds_of(checkpoint: Path) -> list[float]:
    """Return the seconds of each epoch, as far as they are known, beside a checkpoint."""
    try:
        return [float(value) for value in json.loads(_beside(checkpoint).read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def forget_seconds(checkpoint: Path) -> None:
    """Remove the seconds beside a checkpoint: the run's record has them."""
    _beside(checkpoint).unlink(missing_ok=True)


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".seconds")
