"""What a safetensors file claims to hold, held against its size before any array is made.

A file begins with the length of its header (eight bytes, little-endian), then the header, JSON that gives
type, shape and place of each tensor, then the tensors' bytes. Nothing here imports or runs anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from shiftcast.util.hashing import parse_json

LARGEST_HEADER = 1_000_000
"""Bytes of a header: one of a hundred sets takes thirty thousand."""
MOST_TENSORS = 10_000
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4}
SIZES |= {"U64": 8, "I64": 8, "F64": 8}
"""Bytes of one value of each type."""
METADATA = "__metadata__"


class Mismatch(NamedTuple):
    """What was expected somewhere, and what was found."""

    expected: str
    found: str

    def __str__(self) -> str:
        """Return both in one line."""
        return f"expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Claim:
    """One tensor as a header describes it: its type's name, its shape, and its bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Claims:
    """What a header says, and what is wrong with it.

    Parameters
    ----------
    tensors
        By name, those whose description can be read.
    metadata
        What is written beside them.
    problems
        Everything that is wrong; a file with any is not to be read further.
    truncated
        Whether the one thing that is wrong is that the file ends too early.
    """

    tensors: Mapping[str, Claim]
    metadata: Mapping[str, str]
    problems: Sequence[Mismatch]
    truncated: bool = False


def read_claims(start: bytes, size: int) -> Claims:
    """Return what a safetensors file claims to hold.

    Parameters
    ----------
    start
        The file from its beginning: all of it, or at least eight bytes and the header.
    size
        Bytes of the whole file.
    """
    length = int.from_bytes(start[:8], "little")
    if size < 8:
        return Claims({}, {}, [Mismatch("8 bytes or more", f"{size} bytes: it is truncated")], truncated=True)
    if size - 8 < length <= LARGEST_HEADER:
        return Claims({}, {}, [_short_of(f"{8 + length:,} bytes or more", size)], truncated=True)
    if length < 2 or length > min(size - 8, LARGEST_HEADER):
        expected = f"a header of 2 to {min(max(size - 8, 2), LARGEST_HEADER):,} bytes"
        return Claims({}, {}, [Mismatch(expected, f"one of {length:,}")])
    try:
        header = parse_json(start[8 : 8 + length])
    except ValueError as error:
        return Claims({}, {}, [Mismatch("a header of valid JSON", str(error))])
    if not isinstance(header, dict) or len(header) > MOST_TENSORS:
        found = f"{len(header):,}" if isinstance(header, dict) else type(header).__name__
        return Claims({}, {}, [Mismatch(f"a header of at most {MOST_TENSORS:,} tensors by name", found)])
    metadata = header.pop(METADATA, {})
    problems: list[Mismatch] = []
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        problems.append(Mismatch("metadata of texts by name", _short(metadata)))
        metadata = {}
    tensors = {}
    for name, entry in header.items():
        claim = _claim(entry)
        if isinstance(claim, Claim):
            tensors[name] = claim
        else:
            problems.append(Mismatch(f"{_short(name)}: {claim.expected}", claim.found))
    problems += _misplaced(tensors, size - 8 - length)
    end = 8 + length + max((claim.end for claim in tensors.values()), default=0)
    if end <= size:
        return Claims(tensors, metadata, problems)
    return Claims(tensors, metadata, [*problems, _short_of(f"{end:,} bytes", size)], truncated=not problems)


def _short_of(claimed: str, size: int) -> Mismatch:
    return Mismatch(f"{claimed}, as the file's header tells", f"{size:,} bytes: it is truncated")


def _claim(entry: Any) -> Claim | Mismatch:
    """Return one tensor's description, or what is wrong with it."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return Mismatch("dtype, shape and data_offsets", _short(entry))
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        return Mismatch(f"a dtype of {', '.join(SIZES)}", _short(dtype))
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > 8:
        return Mismatch("whole numbers as shape and two as data_offsets", _short([shape, offsets]))
    if prod(shape) * SIZES[dtype] != offsets[1] - offsets[0]:
        return Mismatch(
            f"{prod(shape) * SIZES[dtype]:,} bytes for {dtype} {tuple(shape)}", f"data_offsets {offsets}"
        )
    return Claim(dtype, tuple(shape), *offsets)


def _counts(value: Any) -> bool:
    """Whether a value is a list of whole numbers from 0 on, none of them enormous."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**48 for item in value)


def _misplaced(tensors: Mapping[str, Claim], room: int) -> list[Mismatch]:
    """Return tensors that overlap or leave gaps, and bytes that are left over."""
    problems, end = [], 0
    for name, claim in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if claim.start != end:
            what = "overlaps the one before" if claim.start < end else "leaves a gap before it"
            expected = f"{_short(name)} to begin at byte {end:,}"
            problems.append(Mismatch(expected, f"{claim.start:,}: it {what}"))
        end = max(end, claim.end)
    if end < room:
        problems.append(Mismatch(f"tensors of {end:,} bytes", f"{room:,} bytes after the header"))
    return problems


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:80]}…"
