"""The `--device` of every command that runs networks."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
