"""Stratified choices: exact sizes, proportions and stability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftcast.data import stratified_halves, stratified_subset
from shiftcast.errors import InvalidInputError

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array)


@given(LABELS, st.integers(0, 2**32 - 1), st.data())
def test_subset_has_exactly_count_images_in_proportion(labels, seed, data):
    count = data.draw(st.integers(1, len(labels)))
    index = stratified_subset(labels, count, seed)
    assert index.dtype == np.int64
    assert len(index) == count
    assert (np.diff(index) > 0).all()
    shares = count * np.bincount(labels, minlength=6) / len(labels)
    assert (np.abs(np.bincount(labels[index], minlength=6) - shares) < 1).all()


@given(LABELS, st.integers(0, 2**32 - 1))
def test_halves_partition_the_images_and_share_out_each_class(labels, seed):
    labels = np.concatenate([labels, labels])  # at least two of each
    first, second = stratified_halves(labels, seed)
    assert first.dtype == second.dtype == np.int64
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()
    assert sorted([*first, *second]) == list(range(len(labels)))
    difference = np.bincount(labels[first], minlength=6) - np.bincount(labels[second], minlength=6)
    assert (difference == 0).all()


def test_odd_images_alternate_between_the_halves():
    labels = np.repeat([0, 1, 2], 3)
    first, second = stratified_halves(labels, 0)
    assert np.bincount(labels[first]).tolist() == [2, 1, 2]
    assert np.bincount(labels[second]).tolist() == [1, 2, 1]


def test_largest_remainder_by_hand():
    # Shares of 5 of 10 images: 3.5, 1 and 0.5. The tie of the halves goes to the lower class.
    labels = np.repeat([0, 1, 2], [7, 2, 1])
    assert np.bincount(labels[stratified_subset(labels, 5, 3)], minlength=3).tolist() == [4, 1, 0]


def test_choices_are_stable():
    # Made once and written down: RandomState's stream is frozen, so these hold for any numpy.
    labels = np.arange(20) % 2
    assert stratified_subset(labels, 6, 7).tolist() == [0, 5, 13, 14, 16, 17]
    assert stratified_halves(labels, 7)[0].tolist() == [0, 2, 3, 4, 5, 7, 10, 11, 16, 19]


def test_seeds_differ_and_repeat():
    labels = np.arange(100) % 10
    assert (stratified_subset(labels, 30, 1) == stratified_subset(labels, 30, 1)).all()
    assert (stratified_subset(labels, 30, 1) != stratified_subset(labels, 30, 2)).any()
    assert (stratified_halves(labels, 1)[0] != stratified_halves(labels, 2)[0]).any()


@pytest.mark.parametrize("count", [0, -1, 5, 2.0, True])
def test_counts_outside_the_images_are_refused(count):
    with pytest.raises(InvalidInputError, match="count: expected an integer from 1 to 4"):
        stratified_subset(np.array([0, 0, 1, 1]), count, 0)


def test_a_class_of_one_image_has_no_halves():
    with pytest.raises(InvalidInputError, match="class 1 has 1 image"):
        stratified_halves(np.array([0, 0, 1]), 0)


@pytest.mark.parametrize("labels", [np.zeros(4), np.zeros((2, 2), int), np.array([], int)])
def test_other_labels_are_refused(labels):
    with pytest.raises(InvalidInputError, match="labels"):
        stratified_halves(labels, 0)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True])
def test_seeds_outside_their_range_are_refused(seed):
    with pytest.raises(InvalidInputError, match="seed"):
        stratified_subset(np.array([0, 0]), 1, seed)
