"""Files of tensors (safetensors): the library checks that the header fits the file before it makes arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load

from shiftcast.util.hashing import parse_json


def read_header(data: bytes) -> dict[str, Any]:
    """Return what the header of a file says of each tensor: `dtype`, `shape` and `data_offsets` after it."""
    header: dict[str, Any] = parse_json(data[8 : first_byte(data)])
    return header


def first_byte(data: bytes) -> int:
    """Return where the tensors of a file begin: after the length of its header, and the header."""
    return 8 + int.from_bytes(data[:8], "little")


def read_tensors(data: bytes) -> tuple[dict[str, NDArray[Any]], Mapping[str, str]]:
    """Return the arrays of a file and the texts beside them, by name.

    Raises
    ------
    ValueError
        If the file is truncated, or no such file.
    """
    try:
        tensors, header = load(data), read_header(data)
    except Exception as error:  # anybody's bytes may raise anything
        raise ValueError(f"{len(data):,} bytes: it is truncated or something else ({error})") from error
    return tensors, header.get("__metadata__") or {}
