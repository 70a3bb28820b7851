"""`shiftcast data get`, `list` and `check`, as people type them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from shiftcast.cli import bars
from shiftcast.cli import data as commands
from shiftcast.cli.app import app
from shiftcast.cli.bars import TransferBar
from shiftcast.data.fingerprints import fingerprint
from shiftcast.errors import (
    CheckFailedError,
    DataError,
    InvalidInputError,
    MissingDataError,
    ShiftcastError,
    StoppedError,
    UnknownNameError,
)

CARD = """
title = "t"
description = "d"
layout = "arrays"
path = "{name}"
files = ["images.npy", "labels.npy"]
classes = ["a", "b"]
n = 4
shift = "natural"
citation = "c"
licence = "l"
obtain = "ask for it"
{more}
"""
DOWNLOAD = '[[downloads]]\nfile = "{name}.tar"\nurls = ["http://127.0.0.1:9/{name}"]\nmembers = ["*"]'

IMAGES = np.random.RandomState(0).randint(256, size=(4, 32, 32, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "data"


@pytest.fixture
def root(workspace, folder):
    """A workspace with few datasets: one to get, one that nobody answers for, one that is not public."""
    for path in (workspace.root / "datasets").glob("*.toml"):
        if not path.stem.startswith("digits"):
            path.unlink()
    known = f'fingerprint = "{fingerprint(IMAGES, LABELS)}"'
    cards = {
        "good": f"{known}\n{DOWNLOAD.format(name='good')}",
        "gone": DOWNLOAD.format(name="gone"),
        "secret": "public = false",
    }
    for name, more in cards.items():
        (workspace.root / f"datasets/{name}.toml").write_text(CARD.format(name=name, more=more))
    return workspace.root


@pytest.fixture
def disk(tmp_path):
    for name, array in (("images", IMAGES), ("labels", LABELS)):
        (tmp_path / "disk/good").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"disk/good/{name}.npy", array)
    return tmp_path / "disk"


def data(root, *arguments):
    return CliRunner().invoke(app, ["--workspace", str(root), "data", *map(str, arguments)])


def test_get_list_and_check_go_together(root, folder, disk):
    done = data(root, "get", "good", "--from", disk)
    assert done.exit_code == 0
    assert "good: here; publisher's arrays" in done.stderr
    again = data(root, "get", "good")
    assert "already here" in again.stderr
    table = data(root, "list").stdout
    row = next(line for line in table.splitlines() if line.startswith("good"))
    assert "here" in row
    assert "verified (publisher)" in row
    assert str(folder) in table
    states = {one["name"]: one for one in json.loads(data(root, "list", "--json").stdout)}
    assert states["good"]["status"] == "here"
    assert states["good"]["arrays"] == "publisher"
    assert states["good"]["fingerprint"] == fingerprint(IMAGES, LABELS)
    assert states["good"]["size"] == sum(path.stat().st_size for path in (folder / "good").iterdir())
    assert states["good"]["where"] == str(folder / "good")
    assert (states["gone"]["status"], states["secret"]["note"]) == ("missing", "not public")
    assert states["digits-test"]["status"] == "built in"
    checked = data(root, "check")
    assert checked.exit_code == 0
    assert checked.stdout.startswith("good: here; publisher's arrays")
    assert "gone" not in checked.stdout


def test_check_fails_when_something_has_changed(root, folder, disk):
    data(root, "get", "good", "--from", disk)
    np.save(folder / "good/labels.npy", LABELS[::-1])
    done = data(root, "check", "good")
    assert isinstance(done.exception, CheckFailedError)
    assert done.exception.exit_code == 1
    assert "good/labels.npy: recorded on" in done.stdout
    assert "shiftcast data get good --force" in str(done.exception)
    assert "changed" in data(root, "list").stdout


def test_check_fails_in_a_fresh_folder_where_a_bit_has_flipped(root, folder, disk):
    (folder / "good").mkdir(parents=True)
    for name in ("images.npy", "labels.npy"):
        content = bytearray((disk / "good" / name).read_bytes())
        content[-8] ^= name == "labels.npy"
        (folder / "good" / name).write_bytes(content)
    done = data(root, "check")
    assert isinstance(done.exception, CheckFailedError)
    assert "good: arrays: the card states" in done.stdout
    assert str(done.exception).endswith("shiftcast data get good --force")


def test_check_fails_for_one_that_is_named_and_missing(root):
    done = data(root, "check", "gone")
    assert isinstance(done.exception, CheckFailedError)
    assert data(root, "check").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["get", "secret"], DataError, r"not public\. ask for it"),
        (["get", "goood"], UnknownNameError, "did you mean good"),
        (["get", "good", "--from", "/nowhere"], MissingDataError, "no such folder"),
        (["get", "good", "--trust", "gone"], InvalidInputError, "not among the datasets"),
        (["get", "secret", "--trust", "secret"], DataError, "nothing to trust"),
        (["check", "goood"], UnknownNameError, "did you mean good"),
    ],
)
def test_mistakes_are_named(root, folder, arguments, error, message):
    done = data(root, *arguments)
    assert isinstance(done.exception, error)
    assert done.exception.exit_code == 2
    with pytest.raises(ShiftcastError, match=message):
        raise done.exception
    assert not list(folder.rglob("*.npy"))


def test_all_skips_what_is_not_public_goes_on_and_lists_failures(root, folder, monkeypatch):
    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(DataError) as caught:
        commands.get(SimpleNamespace(obj=root), ["all"])
    assert "secret: skipped, not public" in said.getvalue()
    assert "digits" not in said.getvalue()
    assert set(str(caught.value).removeprefix("2 of 2 datasets could not be got: ").split(", ")) == {
        "gone",
        "good",
    }
    for name in ("good", "gone"):  # once each, where it happened
        assert said.getvalue().count(f"{name}: failed: ") == 1
        assert f"http://127.0.0.1:9/{name}: no connection" in said.getvalue().replace("\n", "")


def test_built_in_and_several_at_once(root, disk):
    done = data(root, "get", "digits-test", "digits-shifted", "good", "--from", disk)
    assert done.exit_code == 0
    for line in (
        "digits-test: built in; included in scikit-learn",
        "digits-shifted: built in; made in memory",
    ):
        assert line in done.stderr


def test_ctrl_c_says_what_to_do(root, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("shiftcast.data.download.obtain.obtain", interrupt)
    done = data(root, "get", "good")
    assert isinstance(done.exception, StoppedError)
    assert "the same command continues from there" in str(done.exception)


def test_progress_is_plain_lines_without_a_terminal(monkeypatch):
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(bars.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with TransferBar(Console(file=out, width=20)) as terminal:
        for done in range(1_000_000, 10_000_001, 1_000_000):
            terminal.transferred("set.tar", done, 10_000_000)
        terminal.transferred("other.tar", 5_000, None)
        terminal.transferred("other.tar", 10_000, None)
        terminal.transferred("other.tar", 15_000, None)
    lines = out.getvalue().rstrip().splitlines()  # older Rich ends in an empty line
    assert lines[0] == "set.tar: 3.0 MB of 10.0 MB (30 %), 200.0 kB/s, 35 s left"
    assert lines[-1] == "other.tar: 15.0 kB, 1.0 kB/s"
    assert len(lines) == 5


def test_progress_is_a_bar_with_speed_on_a_terminal():
    out = io.StringIO()
    with TransferBar(Console(file=out, force_terminal=True, width=120)) as terminal:
        terminal.transferred("set.tar", 1_000_000, 10_000_000)
        terminal.transferred("set.tar", 5_000_000, 10_000_000)
        terminal.note("[a] slow source")
        terminal.line("set: here")
    assert "set.tar" in out.getvalue()
    assert "1.0/10.0 MB" in out.getvalue()
    assert "note: [a] slow source" in out.getvalue()


def test_no_torch_is_imported(root, disk):
    arguments = ["shiftcast", "--workspace", str(root), "data", "get", "good", "--from", str(disk)]
    script = (
        f"import sys\nfrom shiftcast.cli import main\nsys.argv = {arguments!r}\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
