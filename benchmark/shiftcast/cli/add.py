"""`shiftcast data add`: a person's own images become a dataset with a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from shiftcast.cards.base import Name, lookup
from shiftcast.data.add import FILTERS, Fitted, fit, read_own, write_dataset
from shiftcast.errors import InvalidInputError
from shiftcast.util.text import count, printable
from shiftcast.workspace import Workspace, data_folder


def add_dataset(
    workspace: Workspace,
    name: str,
    path: Path,
    like: str,
    renamed: Sequence[str],
    names: str,
    filter_: str,
    title: str,
    licence: str,
    replace: bool,
) -> None:
    """Read images, fit them to the classes of a known dataset, and write arrays and a card.

    Parameters
    ----------
    workspace
        Gets the card.
    name
        Of the new dataset.
    path
        Folder of images, or an `.npz` file.
    like
        The dataset whose classes are wanted.
    renamed
        `THEIRS=OURS` pairs.
    names
        The person's classes in label order, separated by commas; for integer labels.
    filter_
        A key of `FILTERS`.
    title, licence
        Of the card.
    replace
        Whether a dataset of that name may be replaced.

    Raises
    ------
    WorkspaceError
        If cards cannot be written, because those of the installed package are in use.
    InvalidInputError
        If the name or a pair cannot be used, or no class is known.
    """
    place = workspace.cards_to_write("datasets")
    lookup("filter", filter_, FILTERS)
    _check_name(name)
    card = workspace.dataset(like)
    own = read_own(path, _class_names(names) or card.classes, filter_)
    fitted = fit(own, card.classes, _pairs(renamed))
    texts = {
        "title": title or name,
        "description": _description(path, fitted, filter_),
        "shift": "natural",
        "licence": licence or "Unstated: local use only",
        "citation": "None stated.",
    }
    written, arrays = write_dataset(name, fitted, card.classes, texts, place, data_folder(), replace)
    _report(name, fitted, filter_)
    typer.echo(f"wrote {written} and {arrays}")
    typer.echo(
        f'name it under [[targets]] in a suite (dataset = "{name}"); shiftcast run SUITE then evaluates '
        "what is trained"
    )


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise InvalidInputError(
            f"{name!r}: expected a name of small letters, digits, '.', '-' and '_', at most 64"
        ) from error


def _class_names(given: str) -> list[str]:
    """Return the names of an option, without the spaces around them."""
    names = [name.strip() for name in given.split(",")] if given else []
    if twice := [name for name in names if not name or names.count(name) > 1]:
        raise InvalidInputError(
            f"--names: expected different names with commas, got {twice[0]!r} twice or empty"
        )
    return names


def _pairs(renamed: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for pair in renamed:
        theirs, equals, ours = pair.partition("=")
        if theirs in pairs:
            raise InvalidInputError(f"--map {pair}: {theirs!r} is mapped twice; keep one")
        if not (theirs and equals and ours):
            raise InvalidInputError(f"--map {pair}: expected THEIRS=OURS, as in --map car=automobile")
        pairs[theirs] = ours
    return pairs


def _description(path: Path, fitted: Fitted, filter_: str) -> str:
    text = f"{len(fitted.images):,} images from {path.name}, added by hand."
    if fitted.resized:
        text += (
            f" {fitted.resized:,} of them were cropped to their middle square and resized to 32 pixels with "
            f"Pillow's {filter_.upper()} filter."
        )
    if fitted.left_out:
        text += f" Classes left out: {', '.join(fitted.left_out)}."
    return text


def _report(name: str, fitted: Fitted, filter_: str) -> None:
    typer.echo(f"{name}: {len(fitted.images):,} images")
    for theirs, ours in sorted(fitted.mapped.items()):
        if theirs != ours:
            typer.echo(f"  {printable(theirs)} -> {ours}")
    for theirs, number in fitted.left_out.items():
        images = count(number, "image")
        typer.echo(
            f"  left out, no class of ours: {printable(theirs)} ({images}); to keep it, again with --replace "
            f"--map {printable(theirs)}=OURS"
        )
    if fitted.labels is None:
        typer.echo("  no labels: estimators predict accuracy on it, and nothing says how right they are")
    if fitted.resized:
        typer.echo(
            f"  {fitted.resized:,} images cropped to their middle square and resized to 32 x 32 "
            f"(Pillow's {filter_.upper()}); another filter is another shift: --filter"
        )
