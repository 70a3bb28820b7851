import os
import signal
import socket
import threading
import time

import pytest

from shiftcast.errors import HeldError
from shiftcast.util.locks import locked
from support.held_lock import hold_elsewhere


@pytest.fixture
def other():
    """Have another process hold a lock until a line is sent to it."""
    begun = []

    def hold(path):
        begun.append(hold_elsewhere(path))
        return begun[-1]

    yield hold
    for process in begun:
        process.kill()
        process.communicate()


def test_whoever_waits_is_told_who_holds_the_lock(tmp_path):
    path, said, order = tmp_path / "locks" / "x.lock", [], []

    def second():
        with locked(path, said.append):
            order.append("second")

    with locked(path, said.append):
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert len(said) == 1
    for part in (str(os.getpid()), socket.gethostname(), str(path)):
        assert part in said[0]
    assert not list(path.parent.iterdir())


def test_who_does_not_wait_is_told_too(tmp_path, other):
    path = tmp_path / "x.lock"
    process = other(path)
    with pytest.raises(HeldError, match=f"held by process {process.pid} on "), locked(path, None):
        pass
    process.communicate("\n")
    with locked(path, None):
        pass


def test_a_lock_is_released_when_work_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "x.lock", print):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_killed_processs_lock_goes_to_one_of_many(tmp_path, other):
    path = tmp_path / "x.lock"
    process = other(path)
    inside, most, count = 0, 0, 0
    guard, said = threading.Lock(), []

    def work():
        nonlocal inside, most, count
        with locked(path, said.append):
            with guard:
                inside, count = inside + 1, count + 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(said) < 8:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert (most, count) == (1, 8)
    assert not list(tmp_path.iterdir())


def test_a_file_that_a_killed_process_left_keeps_nobody_waiting(tmp_path, other):
    path = tmp_path / "x.lock"
    process = other(path)
    process.kill()
    process.wait()
    assert path.exists()
    with locked(path, pytest.fail):
        assert path.read_text().split()[0] == str(os.getpid())
    assert not list(tmp_path.iterdir())


def test_a_lock_that_nobody_has_signed_is_held_all_the_same(tmp_path, other):
    path = tmp_path / "x.lock"
    other(path)
    path.write_text("")
    with pytest.raises(HeldError, match="held by another process, which"), locked(path, None):
        pass
