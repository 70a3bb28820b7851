"""Write what the documentation takes from the program: references of commands and estimators, and outputs.

    .venv/bin/python docs/scripts/generate.py            # write
    .venv/bin/python docs/scripts/generate.py --check    # exit 1 if a file is not what this would write

In Markdown, the code block after `<!-- output of COMMAND; first N lines -->` is replaced by the first N lines
that the command prints at 80 columns, in a folder with the files of `example_predictions.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import typer
from example_predictions import write_example
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.estimators import official_estimators

ROOT = Path(__file__).parents[2]
COMMANDS = ROOT / "docs" / "reference" / "cli.md"
ESTIMATORS = ROOT / "docs" / "reference" / "estimators.md"
QUOTING = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OUTPUT = re.compile(
    r"(<!-- output of (shiftcast [^;>]+?)(?:; first (\d+) lines)? -->\n\n?```text\n).*?(?=```\n)", re.S
)
LISTED = re.compile(r"(?<=<!-- estimators by track -->\n).*", re.S)
TRACKS = {
    "T1": "The model's own outputs",
    "T2": "A reference ensemble",
    "T3": "Other models",
    "T4": "Features or corrupted source images",
    "T5": "Labels of other shifts",
}
WIDTH = "80"

HEAD = """# Commands

What `shiftcast --help` and `shiftcast COMMAND --help` print. This page is generated:
`.venv/bin/python docs/scripts/generate.py`.
"""


def reference() -> str:
    """Return the page with the help of every command."""
    parts = [HEAD, _help([])]
    for path in _commands(typer.main.get_command(app), []):
        parts += [f"\n{'#' * (1 + len(path))} shiftcast {' '.join(path)}\n", _help(path)]
    return "\n".join(parts)


def estimators() -> str:
    """Return a section for each track, with its estimators' names on the board and their classes."""
    parts = [""]
    for track, title in TRACKS.items():
        of_track = {
            name: type(one).__name__ for name, one in official_estimators().items() if one.track == track
        }
        names = ", ".join(of_track)
        parts += [f"## {title}\n\nTrack {track}: {names}.\n"]
        parts += [f"::: shiftcast.estimators.{name}\n" for name in dict.fromkeys(of_track.values())]
    return "\n".join(parts)


def quoted(text: str, folder: Path) -> str:
    """Return Markdown with its quoted outputs renewed."""
    return OUTPUT.sub(lambda match: match[1] + _output(match[2], int(match[3] or 0), folder), text)


def _commands(command: click.Command, path: list[str]) -> list[list[str]]:
    children = getattr(command, "commands", {})
    found = [path] if path else []
    for name, child in children.items():
        if not child.hidden:
            found += _commands(child, [*path, name])
    return found


def _help(path: list[str]) -> str:
    done = CliRunner().invoke(app, [*path, "--help"], prog_name="shiftcast", env={"COLUMNS": WIDTH})
    return f"```text\n{_tidy(done.output)}```"


def _output(command: str, lines: int, folder: Path) -> str:
    environment = os.environ | {"COLUMNS": WIDTH, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from shiftcast.cli import main; main()"
    program = [sys.executable, "-c", code, *command.split()[1:]]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    printed = _tidy(done.stdout).splitlines()
    kept = printed[:lines] if lines else printed
    return "\n".join([*kept, *(["…"] if len(kept) < len(printed) else []), ""])


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"


def main() -> int:
    """Write the files, or compare them; return the exit code."""
    text = ESTIMATORS.read_text()
    wanted = {COMMANDS: reference(), ESTIMATORS: LISTED.sub(lambda _: estimators(), text)}
    with tempfile.TemporaryDirectory() as folder:
        write_example(Path(folder))
        for path in QUOTING:
            if OUTPUT.search(text := path.read_text()):
                wanted[path] = quoted(text, Path(folder))
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date: run docs/scripts/generate.py\n")
        return int(bool(stale))
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
