import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from shiftcast.util.locks import TAKEOVER_SECONDS, Holder, locked


def test_a_second_process_waits_and_is_told_who_holds_the_lock(tmp_path):
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


def test_a_lock_is_released_when_work_fails(tmp_path):
    try:
        with locked(tmp_path / "x.lock", print):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not list(tmp_path.iterdir())


def dead_process():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_dead_processs_lock_is_taken_over_by_one_of_many(tmp_path):
    path = tmp_path / "x.lock"
    path.write_text(json.dumps({"pid": dead_process(), "host": socket.gethostname()}))
    inside, most, count = 0, 0, 0
    guard = threading.Lock()

    def work():
        nonlocal inside, most, count
        with locked(path, lambda _: None):
            with guard:
                inside, count = inside + 1, count + 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, count) == (1, 8)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else tells when a process started")
def test_an_earlier_process_with_our_number_is_dead(tmp_path):
    path, said = tmp_path / "x.lock", []
    path.write_text(Holder(pid=os.getpid(), host=socket.gethostname(), started=1).model_dump_json())
    with locked(path, said.append):
        held = Holder.model_validate_json(path.read_bytes())
    assert not said
    assert held.started > 1
    assert not held.gone


def test_where_no_start_is_known_a_process_with_that_number_is_alive(monkeypatch):
    here = {"pid": os.getpid(), "host": socket.gethostname()}
    assert not Holder(**here).gone
    monkeypatch.setattr("shiftcast.util.locks._started", lambda _: None)
    assert not Holder(**here, started=1).gone


def test_an_unsigned_lock_and_an_unfinished_takeover_expire(tmp_path):
    path = tmp_path / "x.lock"
    for name in ("x.lock", "x.lock.takeover"):
        (tmp_path / name).touch()
        old = time.time() - TAKEOVER_SECONDS - 1
        os.utime(tmp_path / name, (old, old))
    with locked(path, print):
        pass
    assert not list(tmp_path.iterdir())


def test_another_machines_lock_stands(tmp_path):
    path, said = tmp_path / "x.lock", []
    path.write_text(json.dumps({"pid": dead_process(), "host": "elsewhere"}))

    def release(line):
        said.append(line)
        path.unlink()

    with locked(path, release):
        pass
    assert "on elsewhere" in said[0]
