"""The command `shiftcast`: it gathers the commands, each of which is declared in a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shiftcast.cli.bench import app as bench
from shiftcast.cli.blind import app as blind
from shiftcast.cli.collect import app as collect
from shiftcast.cli.compare import app as compare
from shiftcast.cli.data import app as data
from shiftcast.cli.diff import app as diff
from shiftcast.cli.difficulty import app as difficulty
from shiftcast.cli.estimate import app as estimate
from shiftcast.cli.labels import app as labels
from shiftcast.cli.leaderboard import app as leaderboard
from shiftcast.cli.list import app as listing
from shiftcast.cli.monitor import app as monitor
from shiftcast.cli.options import PANELS
from shiftcast.cli.predict import app as predict
from shiftcast.cli.run import app as run
from shiftcast.cli.score import app as score
from shiftcast.cli.site import app as site
from shiftcast.cli.submit import app as submit
from shiftcast.cli.tune import app as tune
from shiftcast.cli.validate import app as validate

COMMANDS = (
    estimate,
    collect,
    monitor,
    compare,
    labels,
    score,
    predict,
    difficulty,
    run,
    tune,
    listing,
    data,
    site,
    diff,
    bench,
    submit,
    validate,
    leaderboard,
    blind,
)
"""In the order in which each panel of the help shows them; those without a name hold one or two commands."""


class Panels(TyperGroup):
    """A group whose help lists commands in panels, as plain text: loading Rich would double the time."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  click passes it
        """Write a section for each panel; all have the same first column."""
        widest = max(map(len, self.commands))
        limit = formatter.width - widest - 6
        for panel in PANELS:
            rows = [
                (name.ljust(widest), command.get_short_help_str(limit))
                for name, command in self.commands.items()
                if getattr(command, "rich_help_panel", None) == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    name="shiftcast",
    cls=Panels,
    help="Estimate how accurate an image classifier is on data without labels.",
    epilog="`shiftcast COMMAND --help` shows the options of a command, with an example.",
    no_args_is_help=True,
    rich_markup_mode=None,  # markup would swallow "[default: …]"
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.add_typer(command)


def _version(asked: bool) -> None:
    if asked:
        from shiftcast import __version__

        typer.echo(f"shiftcast {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            help="Use this folder with architectures/ and benchmark/suites/ [default: the one around the "
            "current folder, else the installed package's]."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  the callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep the workspace for the command."""
    context.obj = workspace
