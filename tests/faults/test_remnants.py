"""What killed processes leave: temporary files and half a site, found by whoever comes next."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shiftcast.cli.site import _tidy
from shiftcast.errors import HeldError
from shiftcast.site.build import LIST, previous
from shiftcast.util.files import sweep, write_atomic
from shiftcast.util.locks import locked

WRITER = """
import os, sys, time
from pathlib import Path
from shiftcast.util.files import write_atomic
os.fsync = lambda _: (print("writing", flush=True), time.sleep(60))
write_atomic(Path(sys.argv[1]), "mine")
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the midst of writing `a.txt`."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout.readline() == "writing\n"
        yield started
        started.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_temporary_file_of_a_killed_process_is_removed_by_the_next(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(names(tmp_path)) == 1
    write_atomic(tmp_path / "a.txt", "ours")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "ours"


def test_a_file_that_somebody_is_writing_is_left_alone(tmp_path, writer):
    (tmp_path / ".b.txt.1.part").write_text("another file's")
    sweep(tmp_path / "a.txt")
    write_atomic(tmp_path / "a.txt", "ours")
    assert [name.split(".")[1] for name in names(tmp_path) if name.endswith(".part")] == ["a", "b"]


def test_a_temporary_file_that_is_swept_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    import fcntl

    real, calls = fcntl.flock, []

    def late(handle, how):
        if not calls:
            calls.append(handle)
            next(tmp_path.glob(".a.txt.*")).unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomic(tmp_path / "a.txt", "ours")
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_names_the_file_and_not_the_temporary_one(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomic(tmp_path / "a.txt", "ours")
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert names(tmp_path) == []


def test_a_lock_that_a_full_disk_does_not_let_say_whose_it_is_holds(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with locked(tmp_path / "run.lock", print), pytest.raises(HeldError, match="held by another process"):
        locked(tmp_path / "run.lock", None).__enter__()
    assert names(tmp_path) == []


@pytest.mark.parametrize("left", [[], [".files.txt.1.part"]])
def test_a_folder_that_a_site_was_about_to_be_written_to_is_taken(tmp_path, left):
    place = (tmp_path / LIST).parent
    place.mkdir()
    for name in left:
        (place / name).touch()
    _tidy(tmp_path / LIST)
    assert previous(tmp_path) == set()
    assert names(tmp_path) == []
