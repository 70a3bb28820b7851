"""`shiftcast blind`: commit to withheld labels, register predictions about them, open them once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftcast.cli.options import MAINTAIN, Results, example, workspace_of

app = typer.Typer(name="blind", no_args_is_help=True)


@app.callback(rich_help_panel=MAINTAIN)
def blind() -> None:
    """Withhold the labels of a set until predictions are final."""


Name = Annotated[str, typer.Argument(help="Dataset whose labels are withheld.")]
Labels = Annotated[
    Path, typer.Option(help="Read the labels, in the order of the images, from this .npy.", dir_okay=False)
]


@app.command(epilog=example("blind seal blind-a --labels secret/blind-a.npy"))
def seal(context: typer.Context, name: Name, labels: Labels) -> None:
    """Put a salted commitment to the labels into the card.

    The salt is written beside the labels.
    """
    from shiftcast.blind.seal import salt_path
    from shiftcast.blind.seal import seal as commit

    commitment = commit(workspace_of(context), name, labels)
    typer.echo(f"sealed {name}: {commitment}")
    typer.echo(
        f"keep {labels} and {salt_path(labels)} secret and safe: without both the set cannot be opened"
    )
    typer.echo(f"commit datasets/{name}.toml, so that others can see when it was sealed")


@app.command(epilog=example("blind register", "blind register blind-a"))
def register(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Names of blind sets [default: all].")] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(help="Register the estimates of this estimator alone (repeatable) [default: all]."),
    ] = None,
    results: Results = None,
) -> None:
    """Register predictions and estimates about blind sets.

    They are appended to results/blind/NAME.jsonl.
    """
    from shiftcast.blind.register import open_names, register_all

    workspace = workspace_of(context)
    for name in names or []:
        workspace.dataset(name)
    chosen = names or open_names(workspace)
    for name, new in register_all(workspace, results or workspace.results(), chosen, estimator or ()):
        counts = f"{new['predictions']:,} predictions of models and {new['estimates']:,} sets of estimates"
        typer.echo(f"{name}: registered {counts}" if any(new.values()) else f"{name}: nothing new")
        if workspace.dataset(name).seal is None:
            typer.echo(f"  {name} is not sealed: nothing shows that its labels were fixed before")
    typer.echo(
        "commit results/blind/: the chain of hashes guards what stands before its last line, not its end"
    )


@app.command("open", epilog=example("blind open blind-a --labels secret/blind-a.npy"))
def open_(
    context: typer.Context,
    name: Name,
    labels: Labels,
    unregistered: Annotated[
        bool, typer.Option("--unregistered", help="Open even if predictions are not registered.")
    ] = False,
    unsealed: Annotated[bool, typer.Option("--unsealed", help="Open a set that has no seal.")] = False,
    results: Results = None,
) -> None:
    """Check revealed labels, and fill in the actual accuracies."""
    from shiftcast.blind.seal import open_set

    workspace = workspace_of(context)
    folder = results or workspace.results()
    opening = open_set(
        workspace, folder, name, labels, allow_unregistered=unregistered, allow_unsealed=unsealed
    )
    if workspace.dataset(name).seal is None:
        typer.echo(f"{name}: is not sealed: nothing here shows that its labels were fixed before")
    else:
        typer.echo(f"{name}: the labels are those that were sealed")
    typer.echo(
        f"registered before: {opening.predictions:,} predictions of models, "
        f"{opening.estimates:,} sets of estimates"
    )
    typer.echo(f"accuracies filled in for {len(opening.runs):,} runs; {len(opening.already):,} had them")
    if opening.unregistered:
        typer.echo("not registered before, so not blind: " + ", ".join(opening.unregistered))
    typer.echo("renew the board with: shiftcast leaderboard")
