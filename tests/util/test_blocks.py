"""Work on rows in blocks gives what work on all of them gives."""

import numpy as np

from shiftcast.util import blocks
from shiftcast.util.arrays import softmax
from shiftcast.util.blocks import in_blocks


def test_blocks_and_threads_change_nothing(monkeypatch):
    array = np.random.default_rng(0).normal(size=(1000, 30))
    places = np.arange(1000)
    rows = lambda one, place: np.sort(one, axis=1)[:, 0] + place  # noqa: E731
    expected = rows(array, places)
    monkeypatch.setattr(blocks, "BLOCK", 700)
    assert (in_blocks(rows, array, places) == expected).all()
    monkeypatch.setattr(blocks, "LARGE", 1)
    monkeypatch.setattr(blocks, "SMALL_BLOCK", 70)
    monkeypatch.setattr(blocks, "_threads", lambda: 3)
    assert (in_blocks(rows, array, places) == expected).all()
    out = np.empty(1000)
    assert in_blocks(rows, array, places, out=out) is out
    assert (out == expected).all()


def test_float32_comes_as_float64():
    assert in_blocks(lambda rows: rows.sum(axis=1), np.ones((4, 3), np.float32)).dtype == np.float64


def test_the_softmax_of_many_classes_is_that_of_few(monkeypatch):
    logits = np.random.default_rng(1).normal(size=(50, 300)) * 9
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(logits), expected, rtol=1e-12)
    np.testing.assert_allclose(softmax(logits.astype(np.float32)), expected, rtol=1e-4)
