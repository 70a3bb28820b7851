"""`shiftcast data add`: user images become a dataset with a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import echo, example, workspace_of
from shiftcast.errors import InvalidInputError
from shiftcast.util.text import count, printable

if TYPE_CHECKING:
    from shiftcast.data.add import Fitted

app = typer.Typer()
Images = Annotated[
    Path, typer.Argument(help="Folder of CLASS/images or of images, or .npz with 'images' and 'labels'.")
]
Renamed = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="THEIRS=OURS", help="Map a class to a known one (repeatable)."),
]
Names = Annotated[
    str,
    typer.Option(metavar="A,B,…", help="Name the classes in label order [default: those of --like]."),
]
Filter = Annotated[
    str,
    typer.Option("--filter", help="Resize with this filter: box, bilinear, bicubic or lanczos."),
]


@app.command(epilog=example("data add my-photos photos/ --map car=automobile"))
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the new dataset.")],
    path: Images,
    like: Annotated[str, typer.Option(help="Take the classes of this dataset.")] = "cifar10-test",
    renamed: Renamed = None,
    names: Names = "",
    filter_: Filter = "box",
    title: Annotated[str, typer.Option(help="Set the card's title [default: the name].")] = "",
    licence: Annotated[str, typer.Option(help="State the licence of the images.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a dataset of that name.")] = False,
) -> None:
    """Make a dataset of your images: a card, and arrays.

    The card goes to the workspace's datasets/, the arrays to the data folder.
    """
    from shiftcast.cards.base import lookup
    from shiftcast.data.add import FILTERS, fit, read_own, write_dataset
    from shiftcast.workspace import data_folder

    workspace = workspace_of(context)
    cards = workspace.cards_to_write("datasets")
    lookup("filter", filter_, FILTERS)
    _check_name(name)
    known = workspace.dataset(like).classes
    if names and path.is_dir():
        raise InvalidInputError(
            "--names: is for labels that are numbers, but folders name their classes; say which is which "
            "with --map THEIRS=OURS"
        )
    images = read_own(path, _class_names(names) or known, filter_)
    fitted = fit(images, known, _pairs(renamed or ()))
    texts = {
        "title": title or name,
        "description": _description(path, fitted, filter_),
        "shift": "natural",
        "licence": licence or "Unstated: local use only",
        "citation": "None stated.",
    }
    written, arrays = write_dataset(name, fitted, known, texts, cards, data_folder(), replace)
    _report(name, fitted, filter_)
    for what, number in images.skipped.items():
        echo(f"  skipped {number:,}: {printable(what)}")
    echo(f"wrote {written} and {arrays}")
    echo(
        f'name it under [[targets]] in a suite (dataset = "{name}"); shiftcast run SUITE then evaluates '
        "what is trained"
    )


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from shiftcast.cards.base import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise InvalidInputError(
            f"{name!r}: expected a name of small letters, digits, '.', '-' and '_', at most 64, that Windows "
            "can store (not con, aux or nul, and no '.' at the end)"
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
    echo(f"{name}: {len(fitted.images):,} images")
    for theirs, ours in sorted(fitted.mapped.items()):
        if theirs != ours:
            echo(f"  {printable(theirs)} -> {ours}")
    for theirs, number in fitted.left_out.items():
        images = count(number, "image")
        echo(
            f"  left out, no class of ours: {printable(theirs)} ({images}); to keep it, again with --replace "
            f"--map {printable(theirs)}=OURS"
        )
    if fitted.labels is None:
        echo("  no labels: estimators predict accuracy on it, and nothing says how right they are")
    if fitted.resized:
        echo(
            f"  {fitted.resized:,} images cropped to their middle square and resized to 32 x 32 "
            f"(Pillow's {filter_.upper()}); another filter is another shift: --filter"
        )
