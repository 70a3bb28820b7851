"""What every card has: a name, no unknown keys, and a reader that names each mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from shiftcast.errors import CardError, UnknownNameError
from shiftcast.util.strict import StrictModel

DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10)}
"""File names that Windows reserves, with any suffix."""


def _checked_out_everywhere(name: str) -> str:
    # A name becomes the name of a folder in results/, and Windows cannot check out every name.
    if name.split(".")[0] in DEVICES or name.endswith("."):
        raise ValueError("expected a name that Windows can store: not con, aux or nul, and no '.' at the end")
    return name


Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64),
    AfterValidator(_checked_out_everywhere),
]
Shortcut = Literal["coloured-line", "dominoes"]
"""What `data.planted` plants in images, so that a network can do without looking at what they show."""
SELF_REPORTED: Literal["self-reported"] = "self-reported"
"""In place of a recipe: the run was trained elsewhere."""
LARGEST_CARD = 1_000_000
"""Bytes of a card: those of a thousand classes take a few ten thousand."""


class Card(StrictModel):
    """Base of every card: frozen, unknown keys refused, named after its file."""

    name: Name


AnyCard = TypeVar("AnyCard", bound=Card)


def read_card(
    model: type[AnyCard], path: Path, kinds: Mapping[str, type[AnyCard]] = MappingProxyType({})
) -> AnyCard:
    """Read the TOML file at `path` as a card named after the file.

    Parameters
    ----------
    model
        What the card is.
    path
        The file.
    kinds
        By key, what a file that has it is instead.

    Raises
    ------
    CardError
        If the file is not TOML or not such a card; the message names the file and each key.
    """
    if (size := path.stat().st_size) > LARGEST_CARD:
        raise CardError(f"{path}: takes {size:,} bytes; a card takes at most {LARGEST_CARD:,}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise CardError(f"{path}: is not valid TOML: {error}") from error
    model = next((other for key, other in kinds.items() if key in values), model)
    try:
        return model.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise CardError(f"{path}: is not a valid {model.__name__}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Return a validation error as one sentence per key: where, what is wrong, what came."""
    sentences = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "the card"
        message = item["msg"].removeprefix("Value error, ")
        came = "" if isinstance(item["input"], dict | list) else f" (got {_shown(item['input'])})"
        sentences.append(f"{place}: {message}{came}")
    return "; ".join(sentences)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes out no whole number of more than 4,300 digits
        return "a whole number of thousands of digits"


AnyValue = TypeVar("AnyValue")


def lookup(kind: str, name: str, known: Mapping[str, AnyValue], where: str = "") -> AnyValue:
    """Return `known[name]`, or raise `UnknownNameError` with the nearest names."""
    if name not in known:
        raise UnknownNameError(kind, name, known, where)
    return known[name]
