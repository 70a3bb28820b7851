"""`shiftcast blind`: commit to withheld labels, register predictions about them, open them once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Sets whose labels are withheld until predictions are final.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="Dataset whose labels are withheld.")]
Labels = Annotated[
    Path, typer.Option(help="Labels of its images in order: .npy of integers.", dir_okay=False)
]
Results = Annotated[
    Path | None, typer.Option(file_okay=False, help="Results folder [default: the workspace's].")
]


@app.command()
def seal(context: typer.Context, name: Name, labels: Labels) -> None:
    """Put a salted commitment to the labels into the set's card; the salt is kept beside the labels."""
    from shiftcast.blind.seal import salt_path
    from shiftcast.blind.seal import seal as commit
    from shiftcast.workspace import find_workspace

    found = commit(find_workspace(context.obj), name, labels)
    typer.echo(f"sealed {name}: {found}")
    typer.echo(
        f"keep {labels} and {salt_path(labels)} secret and safe: without both the set cannot be opened"
    )
    typer.echo(f"commit datasets/{name}.toml, so that others can see when it was sealed")


@app.command()
def register(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Blind sets [default: all].")] = None,
    results: Results = None,
) -> None:
    """Append every prediction and every estimate about blind sets to results/blind/NAME.jsonl."""
    from shiftcast.blind.register import open_names, register_all
    from shiftcast.workspace import find_workspace

    workspace = find_workspace(context.obj)
    for name in names or []:
        workspace.dataset(name)
    chosen = names or open_names(workspace)
    for name, new in register_all(workspace, results or workspace.results(), chosen):
        counts = f"{new['predictions']:,} predictions of models and {new['estimates']:,} sets of estimates"
        typer.echo(f"{name}: registered {counts}" if any(new.values()) else f"{name}: nothing new")
        if workspace.dataset(name).seal is None:
            typer.echo(f"  {name} is not sealed: nothing shows that its labels were settled before")
    typer.echo(
        "commit results/blind/: the chain of hashes guards what stands before its last line, not its end"
    )


@app.command("open")
def open_(
    context: typer.Context,
    name: Name,
    labels: Labels,
    unregistered: Annotated[
        bool, typer.Option("--unregistered", help="Open even if predictions are not registered.")
    ] = False,
    results: Results = None,
) -> None:
    """Check revealed labels against the seal and fill in the actual accuracies."""
    from shiftcast.blind.seal import open_set
    from shiftcast.workspace import find_workspace

    workspace = find_workspace(context.obj)
    opening = open_set(workspace, results or workspace.results(), name, labels, unregistered)
    typer.echo(f"{name}: the labels are those that were sealed")
    typer.echo(
        f"registered before: {opening.predictions:,} predictions of models, "
        f"{opening.estimates:,} sets of estimates"
    )
    typer.echo(f"accuracies filled in for {len(opening.runs):,} runs; {len(opening.already):,} had them")
    if opening.unregistered:
        typer.echo("not registered before, so not blind: " + ", ".join(opening.unregistered))
    typer.echo("renew the board with: shiftcast leaderboard")
