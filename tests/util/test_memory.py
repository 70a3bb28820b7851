"""What is remembered of arrays that cannot change, and of no other."""

import gc

import numpy as np

from shiftcast.difficulty import difficulty, vote_shares
from shiftcast.predictions import Predictions
from shiftcast.util import memory
from shiftcast.util.memory import remembered


def frozen(values):
    return memory.fix(np.array(values, dtype=np.float64))


def test_a_read_only_array_is_computed_once_under_each_name():
    calls = []
    array = frozen([1, 2])

    def compute():
        calls.append(1)
        return array * 2

    assert remembered(array, "double", compute) is remembered(array, "double", compute)
    assert len(calls) == 1
    remembered(array, "other", compute)
    assert len(calls) == 2
    assert not remembered(array, "double", compute).flags.writeable


def test_a_writeable_array_is_computed_afresh():
    array = np.array([1.0])
    assert remembered(array, "x", lambda: float(array[0])) == 1
    array[0] = 2
    assert remembered(array, "x", lambda: float(array[0])) == 2


def test_memories_go_with_their_array():
    array = frozen([1, 2])
    remembered(array, "x", lambda: "kept")
    key = (id(array), "x")
    assert key in memory._known
    del array
    gc.collect()
    assert key not in memory._known


def test_what_is_known_from_elsewhere_is_not_computed():
    array, open_to_all = frozen([1, 2]), np.array([1.0])
    assert not memory.remember(array, "sum", np.array([3.0])).flags.writeable
    assert remembered(array, "sum", lambda: np.array([-1.0]))[0] == 3
    memory.remember(open_to_all, "sum", 7)  # it may change: nothing is kept
    assert remembered(open_to_all, "sum", lambda: 1) == 1


def test_an_array_that_is_its_own_result_is_not_held():
    array = frozen(np.full((3, 5, 4), 0.25))
    assert Predictions("x", np.zeros((5, 4)), reference=array).reference is array
    key = (id(array), "probabilities")
    assert key in memory._known
    assert Predictions("x", np.zeros((5, 4)), reference=array).reference is array
    del array
    gc.collect()
    assert key not in memory._known


def test_a_read_only_view_of_what_can_be_written_is_computed_afresh():
    array = np.array([1.0, 2.0])
    view = array[:]
    view.flags.writeable = False
    assert remembered(view, "sum", lambda: float(view.sum())) == 3
    array[0] = 13
    assert remembered(view, "sum", lambda: float(view.sum())) == 15


def test_an_array_whose_owner_can_open_it_again_is_computed_afresh():
    array = np.array([1.0, 2.0])
    array.flags.writeable = False
    assert remembered(array, "sum", lambda: float(array.sum())) == 3
    array.flags.writeable = True
    array[0] = 13
    array.flags.writeable = False
    assert remembered(array, "sum", lambda: float(array.sum())) == 15
    assert memory.is_fixed(np.frombuffer(bytes(16)))


def test_scores_of_read_only_members_equal_those_of_others():
    members = np.random.RandomState(0).dirichlet(np.ones(4), size=(3, 50))
    fixed = frozen(members)
    for kind in ("entropy", "vote_gini"):
        np.testing.assert_array_equal(difficulty(fixed, kind), difficulty(members, kind))
        assert difficulty(fixed, kind) is difficulty(fixed, kind)
    assert vote_shares(fixed) is vote_shares(fixed)


def test_read_only_members_are_shared_and_others_copied():
    members = np.random.RandomState(0).dirichlet(np.ones(4), size=(3, 50))
    fixed = frozen(members)
    logits = np.zeros((50, 4))
    assert Predictions("x", logits, reference=fixed).reference is fixed
    copied = Predictions("x", logits, reference=members).reference
    members[:] = 0
    assert copied.sum() > 0
