"""SIGKILL at any point of a command: the same command again leaves what an undisturbed one does.

`make faults` kills a hundred times (SHIFTCAST_FAULTS), continuous integration a tenth of that.
"""

import os

import pytest

KILLS = int(os.environ.get("SHIFTCAST_FAULTS", "10"))
SEED = int(os.environ.get("SHIFTCAST_FAULTS_SEED", "0"))
COMMANDS = ("run", "leaderboard", "get", "submit", "page")


@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_killed_is_finished_by_the_same_command(harness, states, url, forge, tmp_path, name):
    template = tmp_path / "template"
    states.prepare(name, template, url)
    kills = KILLS // len(COMMANDS) + (COMMANDS.index(name) < KILLS % len(COMMANDS))
    account = harness.kill_often(forge, states.COMMANDS[name], template, kills, SEED)
    said = f"{name}: killed {account.kills} times, at any of {account.operations} changes of files"
    print(said)  # noqa: T201  the long form shows it
    assert account.kills == kills
    assert not account.wrong, "\n".join(account.wrong)
