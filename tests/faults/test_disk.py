"""Disks that are full or read-only: the message says where and what to do, and nothing is lost."""

import os
import shutil
import subprocess

import pytest

PLACES = {
    "run": ("results", "cache"),
    "leaderboard": ("workspace/results", "workspace"),
    "get": ("data",),
    "submit": ("workspace/results",),
    "page": ("site",),
}
"""Folders that each command writes to and cannot do without."""
LONG = int(os.environ.get("SHIFTCAST_FAULTS", "10")) > 10
CASES = [(name, place) for name, places in PLACES.items() for place in (places if LONG else places[:1])]


@pytest.fixture
def mount():
    """Make a folder a disk of its own, with what was in it; skipped where nothing can be mounted."""
    mounted = []

    def at(folder, free=8192):
        held = folder.with_name(f"{folder.name}-held")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, held)
        command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(held)
            pytest.skip(f"no disk can be mounted here, which takes root: {done.stderr.strip()}")
        mounted.append(folder)
        shutil.copytree(held, folder, dirs_exist_ok=True)
        shutil.rmtree(held)
        disk = os.statvfs(folder)
        remount(folder, f"size={(disk.f_blocks - disk.f_bfree) * disk.f_frsize + free}")

    yield at
    for folder in reversed(mounted):
        subprocess.run(["umount", folder], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.mark.parametrize(("name", "place"), CASES)
def test_on_a_full_disk_nothing_is_lost(harness, states, forge, start, mount, undisturbed, name, place):
    expected, folder = undisturbed(name), start(name)
    mount(folder / place)
    before = harness.snapshot(folder)
    assert forge.run(states.COMMANDS[name])["code"] == 2
    said = forge.said.read_text()
    assert "Traceback" not in said
    assert str(folder / place) in said or place in said
    assert "make room" in said.lower()
    after = harness.snapshot(folder)
    assert before.items() <= after.items() | {(k, v) for k, v in before.items() if v == "an empty folder"}
    assert not [path for path in after if path.endswith((".part", ".lock"))]
    remount(folder / place, "size=64m")
    assert forge.run(states.COMMANDS[name])["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_read_only_folder_is_named(harness, states, forge, start, mount, undisturbed, name, place):
    expected, folder = undisturbed(name), start(name)
    mount(folder / place, free=64 << 20)
    remount(folder / place, "ro")
    assert forge.run(states.COMMANDS[name])["code"] == 2
    said = forge.said.read_text()
    assert "Read-only file system; name a folder that you may write to" in said
    assert "Traceback" not in said
    remount(folder / place, "rw")
    assert forge.run(states.COMMANDS[name])["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(folder)) == ""


@pytest.mark.parametrize("options", ["ro", "size=4096"])
def test_the_board_does_without_its_cache(harness, states, forge, start, mount, undisturbed, options):
    expected, folder = undisturbed("leaderboard"), start("leaderboard")
    mount(folder / "cache")
    remount(folder / "cache", options)
    assert forge.run(states.COMMANDS["leaderboard"])["code"] == 0, forge.said.read_text()
    board = {name: one for name, one in expected.items() if not name.startswith("cache/")}
    assert board.items() <= harness.snapshot(folder).items()


def test_complete_runs_on_a_read_only_disk_are_read(harness, states, forge, start, mount, undisturbed):
    expected, folder = undisturbed("run"), start("run")
    assert forge.run(states.COMMANDS["run"])["code"] == 0, forge.said.read_text()
    mount(folder / "results", free=64 << 20)
    remount(folder / "results", "ro")
    assert forge.run(states.COMMANDS["run"])["code"] == 0, forge.said.read_text()
    assert harness.differences(expected, harness.snapshot(forge.folder)) == ""
