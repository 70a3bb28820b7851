"""What `--help` shows: panels, examples that can be typed, and plain English."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command

from shiftcast.cli.app import app
from shiftcast.cli.options import PANELS
from support.command_line import typed

PRIVATE = re.compile(r"\b(odd|mend|had|nobody|anybody|twins?|outside|own|is no|came of)\b", re.IGNORECASE)
"""Words that the project's English leaves out."""


def commands(group=None, path=()):
    """Every command by its path, groups included."""
    group = group or get_command(app)
    found = {path: group} if path else {}
    for name, command in group.commands.items():
        inside = hasattr(command, "commands")
        found |= commands(command, (*path, name)) if inside else {(*path, name): command}
    return found


COMMANDS = commands()
LEAVES = {path: command for path, command in COMMANDS.items() if not hasattr(command, "commands")}


def test_commands_stand_in_panels_and_their_summaries_are_whole():
    text = typed("--help").stdout
    sections = [line.removesuffix(":") for line in text.splitlines() if re.fullmatch(r"\w.*:", line)]
    assert sections == ["Options", *PANELS]
    for command in get_command(app).commands:
        assert len(re.findall(rf"^  {command} +\S", text, re.MULTILINE)) == 1, command
    assert "..." not in text.split("Your model:")[1]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_plain_english_in_eighty_columns(path):
    done = typed(*path, "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80
    assert PRIVATE.findall(done.stdout) == []
    assert not re.search(r"\w\.\.\.$", done.stdout, re.MULTILINE), "a summary is cut"


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_examples_can_be_typed(path):
    lines = re.findall(r"^ +shiftcast (.*)$", LEAVES[path].epilog, re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert tuple(words[: len(path)]) == path
        LEAVES[path].make_context("example", words[len(path) :])  # raises if it cannot be parsed


def test_shells_complete_commands():
    code = "import sys; sys.argv[0] = 'shiftcast'; from shiftcast.cli import main; main()"
    asked = {"_SHIFTCAST_COMPLETE": "complete_bash", "COMP_WORDS": "shiftcast est", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["estimate"]
    assert "--install-completion" in typed("--help").stdout
