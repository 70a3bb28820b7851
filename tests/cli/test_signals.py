"""How commands end when they are stopped: 130 on Ctrl-C, 143 on SIGTERM."""

import os
import signal
import time

import pytest

from shiftcast.estimate import inputs
from support.command_line import typed

FILES = ("--source", "val.npz", "--target", "prod.npz")
COMMANDS = (
    "run tiny",
    "submit tiny --predictions x.npz --architecture x",
    "validate results",
    "ledger results --level reproduced",
    "leaderboard --check",
    "diff HEAD",
    "page --out site",
    "score x.py:X",
    "difficulty tiny",
    "list suites",
    "data get all",
    "data list",
    "data check",
    "data make cifar10-c-regenerated",
    "data add mine photos",
    "blind register",
    "bench train test_resnet",
)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_by_its_exit_code_what_stopped_it(monkeypatch, command, sent, code):
    def stopped(*_):
        os.kill(os.getpid(), sent)
        time.sleep(60)

    monkeypatch.setattr("shiftcast.workspace.find_workspace", stopped)
    assert typed(*command.split()).returncode == code


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_so_does_one_that_needs_no_workspace(monkeypatch, sent, code):
    def stopped(*_, **__):
        os.kill(os.getpid(), sent)
        time.sleep(60)

    monkeypatch.setattr(inputs, "read_set", stopped)
    assert typed("estimate", *FILES).returncode == code


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_that_says_how_to_go_on_does_so_and_ends_alike(monkeypatch, workspace, tmp_path, sent, code):
    def stopped(*_, **__):
        os.kill(os.getpid(), sent)
        time.sleep(60)

    monkeypatch.setattr("shiftcast.engines.local.run_suite", stopped)
    done = typed("--workspace", workspace.root, "run", "tiny", "--results", tmp_path / "results")
    assert (done.returncode, "the same command completes the rest" in done.stderr) == (code, True)
