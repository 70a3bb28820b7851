"""Files of tensors (safetensors): the library checks that the header fits the file before it makes arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from safetensors.numpy import load

from shiftcast.util.hashing import parse_json

MOST_TENSORS = 10_000
LARGEST_HEADER = 100_000_000
"""Bytes, as the library has it: what claims more is no such file."""


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
        if len(header) > MOST_TENSORS:
            raise ValueError(f"{len(header):,} tensors, expected at most {MOST_TENSORS:,}")
    except Exception as error:  # anybody's bytes may raise anything
        short = claimed_size(data) > len(data)
        said = "it is truncated" if short else f"it is truncated or something else ({error})"
        raise ValueError(f"{len(data):,} bytes: {said}") from error
    texts = header.pop("__metadata__", None) or {}
    return {name: tensors[name] for name in header}, texts  # the library gives them in any order


def claimed_size(data: bytes) -> int:
    """Return how many bytes a file has at least, as far as its header tells; 0 where that cannot be read."""
    first = first_byte(data)
    if len(data) < 8 or first > LARGEST_HEADER:
        return 8 if len(data) < 8 else 0
    if first > len(data):
        return first
    try:
        tensors = [entry for name, entry in read_header(data).items() if name != "__metadata__"]
        return first + max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
    except Exception:  # anybody's bytes may raise anything
        return 0
