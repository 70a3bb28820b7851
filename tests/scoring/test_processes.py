"""Scoring in several processes: the same rows, whatever happens to a process."""

import multiprocessing
import os
import signal
import sys
from functools import partial

import pandas as pd
import pytest

from shiftcast.errors import InvalidInputError
from shiftcast.estimators import official_estimators
from shiftcast.estimators.baselines import NoShift
from shiftcast.runs.reading import read_pool
from shiftcast.scoring import processes as workers
from shiftcast.scoring.rows import score_pool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


@pytest.fixture
def pool(workspace, make_results, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # other tests load it
    suite = workspace.suite("tiny")
    return read_pool(workspace, suite, make_results() / "tiny")[0]


def rows(pool, estimators, jobs):
    table, skipped = score_pool(pool, estimators, jobs)
    return table.drop(columns="seconds"), skipped


def test_processes_give_the_same_rows_in_the_same_order(pool):
    alone, several = (rows(pool, official_estimators(), jobs) for jobs in (1, 3))
    pd.testing.assert_frame_equal(alone[0], several[0])
    pd.testing.assert_frame_equal(alone[1], several[1])


def test_others_do_the_work(pool, tmp_path):
    class Told(NoShift):
        def _predict(self, target):
            (tmp_path / str(os.getpid())).touch()
            return super()._predict(target)

    rows(pool, {"NoShift": Told()}, 2)
    seen = {path.name for path in tmp_path.iterdir() if path.name.isdigit()}
    assert len(seen) == 2
    assert str(os.getpid()) not in seen


def test_runs_of_a_killed_process_are_scored_all_the_same(pool):
    own = os.getpid()

    class Fatal(NoShift):
        def _predict(self, target):
            if os.getpid() != own:
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._predict(target)

    table, _ = rows(pool, {"NoShift": Fatal()}, 2)
    expected, _ = rows(pool, {"NoShift": NoShift()}, 1)
    pd.testing.assert_frame_equal(table, expected)


def test_workers_are_ended_in_silence(pool, capfd, monkeypatch):
    def answer(*_):
        raise KeyboardInterrupt("the command's own answer")

    before = signal.signal(signal.SIGTERM, answer)
    try:
        score = partial(workers._told, pool, {"NoShift": NoShift()}, ["actual"], None)
        with workers._Workers(pool, score, 2) as started:
            next(started.told())  # the others' answers are not waited for
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capfd.readouterr().err == ""
    assert not multiprocessing.active_children()


def test_errors_are_raised_here_as_they_are(pool):
    class Wrong(NoShift):
        def _predict(self, target):
            raise InvalidInputError("no such thing")

    with pytest.raises(InvalidInputError, match="no such thing"):
        score_pool(pool, {"NoShift": Wrong()}, 2)


def test_no_process_outlives_an_error(pool):
    class Late(NoShift):
        def _predict(self, target):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_pool(pool, {"NoShift": Late()}, 2)
    assert not multiprocessing.active_children()


def test_small_boards_and_programs_with_threads_keep_to_one_process(pool, monkeypatch):
    assert workers.usual_jobs(workers.MANY_RUNS - 1) == 1
    assert 1 <= workers.usual_jobs(workers.MANY_RUNS) <= workers.MOST_JOBS
    monkeypatch.setitem(sys.modules, "torch", object())
    monkeypatch.setattr(workers, "_Workers", None)  # using it would fail
    assert len(rows(pool, {"NoShift": NoShift()}, 4)[0])
