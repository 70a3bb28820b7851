"""Seconds of epochs: pauses do not count, and what is kept beside a checkpoint is taken up again."""

import math

from shiftcast.training.pace import Pace, forget_seconds, seconds_of


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self):
        return self.now


def epoch(pace, clock, *steps):
    pace.begin()
    for seconds in steps:
        clock.now += seconds
        pace.step()
    pace.end()


def test_an_epoch_takes_what_its_steps_take():
    clock = Clock()
    pace = Pace(clock)
    assert pace.expected == 0
    epoch(pace, clock, 1, 2, 3)
    clock.now += 50  # between epochs, others work
    epoch(pace, clock, 4, 4)
    assert pace.seconds == [6, 8]
    assert (pace.total, pace.expected) == (14, 8)


def test_a_pause_counts_as_one_step():
    clock = Clock()
    pace = Pace(clock)
    epoch(pace, clock, 2, 2, 3600, 2)
    assert pace.seconds == [8]
    epoch(pace, clock, 30)  # slow, but no pause
    assert pace.seconds == [8, 30]


def test_slow_steps_are_no_pauses():
    clock = Clock()
    pace = Pace(clock)
    epoch(pace, clock, 100, 200, 300)
    assert pace.seconds == [600]


def test_seconds_stand_beside_the_checkpoint(tmp_path):
    clock, checkpoint = Clock(), tmp_path / "run.pt"
    pace = Pace(clock)
    epoch(pace, clock, 5)
    epoch(pace, clock, 6)
    pace.save(checkpoint)
    assert seconds_of(checkpoint) == [5, 6]
    resumed = Pace(clock)
    resumed.resume(checkpoint, 1)  # killed before the second epoch's checkpoint was written
    assert (resumed.seconds, resumed.expected, resumed.total) == ([5], 5, 0)
    forget_seconds(checkpoint)
    assert list(tmp_path.iterdir()) == []
    forget_seconds(checkpoint)
    resumed.resume(checkpoint, 2)
    assert all(map(math.isnan, resumed.seconds))
    assert (len(resumed.seconds), resumed.expected) == (2, 0)


def test_seconds_that_cannot_be_read_are_not_known(tmp_path):
    for content in (b"", b"\xff", b"[1, null]", b"7", b'["x"]'):
        (tmp_path / "run.seconds").write_bytes(content)
        assert seconds_of(tmp_path / "run.pt") == []
