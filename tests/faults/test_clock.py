"""Clocks that jump, and two of the same command at once: the end is that of one on an ordinary day."""

import os
import time

import pytest

from shiftcast.util.locks import locked

DAY, YEAR = 86_400.0, 365 * 86_400.0
JUMPS = [0.0, -DAY, 3600.0, -YEAR, YEAR, 0.0, 1e-3]
COMMANDS = ("run", "leaderboard", "get", "submit", "page")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_clock_that_jumps_changes_nothing(harness, states, forge, start, undisturbed, name):
    expected, folder = undisturbed(name), start(name)
    assert forge.run(states.COMMANDS[name], clock=JUMPS)["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


def test_files_of_tomorrow_are_read_like_others(harness, states, forge, start, undisturbed):
    expected, folder = undisturbed("leaderboard"), start("leaderboard")
    for path in folder.rglob("*"):
        os.utime(path, (time.time() + YEAR,) * 2)
    assert forge.run(states.COMMANDS["leaderboard"])["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize("offset", [-YEAR, YEAR])
def test_a_lock_file_that_a_killed_process_left_is_nobodys_whatever_its_time(tmp_path, offset):
    """The clock was set back since, or never was right."""
    path = tmp_path / "run.lock"
    path.touch()
    os.utime(path, (time.time() + offset,) * 2)
    with locked(path, pytest.fail):
        assert path.read_bytes()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["run", "leaderboard", "get", "submit"])
def test_two_of_a_command_at_once_share_the_work(harness, states, forge, start, undisturbed, name):
    expected, folder = undisturbed(name), start(name)
    assert forge.run(states.COMMANDS[name], copies=2)["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


def test_two_boards_remove_what_is_left_over_at_once(harness, states, forge, start, undisturbed):
    expected, folder = undisturbed("leaderboard"), start("leaderboard")
    assert forge.run(states.COMMANDS["leaderboard"])["code"] == 0
    figure = next((folder / "workspace/results/zoo/figures").glob("*.svg"))
    for number in range(40):
        (figure.parent / f"left-{number}.svg").write_bytes(figure.read_bytes())
    assert forge.run(states.COMMANDS["leaderboard"], copies=3)["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""
