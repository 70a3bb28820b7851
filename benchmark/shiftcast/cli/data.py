"""The commands `shiftcast data get`, `list` and `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Get datasets, see which are here, and check that nothing has changed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def get(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Datasets, or 'all'; see: shiftcast list datasets")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Take archives, their folders or the files from here, not from the network.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Get what is here already again.")] = False,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Accept that files of this dataset, whose hash nobody states, are others now (repeatable).",
        ),
    ] = None,
) -> None:
    """Download, verify and unpack datasets; killed or stopped, the same command goes on where it was."""
    from shiftcast.cli.datasets import get_datasets

    get_datasets(context.obj, names, source, force, trust or [])


@app.command(name="list")
def list_(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which datasets are here, whose arrays they are, and where."""
    from shiftcast.cli.datasets import list_datasets

    list_datasets(context.obj, as_json)


@app.command()
def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Datasets [default: every one that is here].")
    ] = None,
) -> None:
    """Read and hash datasets again; exit 1 if one is damaged or has changed since it was got."""
    from shiftcast.cli.datasets import check_datasets

    check_datasets(context.obj, names or [])


@app.command()
def make(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Dataset that is made from another, as cifar10-c-regenerated.")],
    transform: Annotated[list[str] | None, typer.Option(help="Only this type (repeatable).")] = None,
    severity: Annotated[
        list[int] | None, typer.Option(min=1, max=5, help="Only this severity (repeatable).")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SUITE/ARCHITECTURE/RECIPE/seed-N",
            help="Measure this trained run's accuracy on every set (repeatable).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Store the sets here [default: nothing is stored]."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write what was measured to FILE.json and FILE.md.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a report that is there.")] = False,
) -> None:
    """Make a derived dataset a set at a time, and measure how far it is from the clean images."""
    from shiftcast.cli.make import make_dataset
    from shiftcast.workspace import find_workspace

    workspace = find_workspace(context.obj)
    make_dataset(workspace, name, transform or [], severity or [], model or [], out, report, replace)


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    path: Annotated[
        Path, typer.Argument(help="Folder of CLASS/images or of images, or .npz with 'images' and 'labels'.")
    ],
    like: Annotated[str, typer.Option(help="Dataset whose classes are wanted.")] = "cifar10-test",
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="Which class of yours is which (repeatable)."),
    ] = None,
    names: Annotated[
        str, typer.Option(metavar="A,B,…", help="Your classes in label order [default: those wanted].")
    ] = "",
    filter_: Annotated[
        str, typer.Option("--filter", help="box, bilinear, bicubic or lanczos, for images of another size.")
    ] = "box",
    title: Annotated[str, typer.Option(help="Title of the card [default: the name].")] = "",
    licence: Annotated[str, typer.Option(help="What may be done with the images.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a dataset of that name.")] = False,
) -> None:
    """Make a dataset of your own images: a card, and arrays in the data folder."""
    from shiftcast.cli.add import add_dataset
    from shiftcast.workspace import find_workspace

    workspace = find_workspace(context.obj)
    add_dataset(workspace, name, path, like, renamed or [], names, filter_, title, licence, replace)
