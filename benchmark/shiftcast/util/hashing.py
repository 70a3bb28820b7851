"""Hashes, and the JSON that is hashed."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no white space: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-serialisable value's canonical form."""
    return sha256(canonical_json(value).encode())


def parse_json(data: bytes) -> Any:
    """Return the value of JSON from an untrusted source; a key twice, NaN and infinity are refused.

    Raises
    ------
    ValueError
        If it is no such JSON, or nested too deeply.
    """
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it holds the key {next(key for key in keys if keys.count(key) > 1)[:80]!r} twice")
    return values


def _no_number(name: str) -> Any:
    raise ValueError(f"it holds {name}, which JSON does not allow")


@cache
def source_hash() -> str:
    """Return the SHA-256 over the package's Python files: which code made a result."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        # With its path: a file that was moved is other code. The zero byte ends both.
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()
