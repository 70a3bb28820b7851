"""Checkpoints as they are read: whole and of known content, or not at all."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

from shiftcast.training.network import out_of_memory

logger = logging.getLogger(__name__)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint's content, or None if there is none that can be read.

    Returns
    -------
    dict or None
        `identity`, `epochs` (the log so far), `model`, `optimiser` and, where the recipe averages weights,
        `ema`. A damaged file is left where it is, with a logged warning. Nothing but tensors and plain
        values is ever unpickled.

    Raises
    ------
    RuntimeError, OSError
        If memory does not suffice, or the file is there and cannot be read: neither says that it is damaged.
    """
    if not path.exists():
        return None
    try:
        refuse_changed(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"identity", "epochs", "model", "optimiser"} - set(state)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    # A disk that fails says nothing about the file.
    except OSError:
        raise
    except Exception as error:  # PyTorch's reader meets what is no checkpoint with errors of every kind
        if out_of_memory(error):
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
        logger.warning("%s: is damaged (%s)", path, reason)
        return None
    return state


def refuse_changed(path: Path) -> None:
    """Raise `ValueError` for bytes that are not those that were written: PyTorch's reader takes them."""
    with zipfile.ZipFile(path) as archive:
        changed = archive.testzip()
    if changed is not None:
        raise ValueError(f"the bytes of {changed} have changed")
