"""Seeded, stratified choices of images: which ones, never what is done with them.

Everything draws from `numpy.random.RandomState`, whose streams numpy has frozen, so an index made
today is the index made by any later numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shiftcast.cards.suite import Target
from shiftcast.errors import InvalidInputError
from shiftcast.util.types import Integers

Index = NDArray[np.int64]

SUBSET = 2
"""Mixed into the seed of subsets: at equal seeds, none may coincide with one of the halves."""


def stratified_halves(labels: NDArray[Any], seed: int) -> tuple[Index, Index]:
    """Split images into two halves with the same class proportions.

    Parameters
    ----------
    labels
        Integer class of each image (n,).
    seed
        Of the `RandomState`, 0 to 2**32 - 1.

    Returns
    -------
    Two sorted int64 index arrays that together hold each image once. Each class is shared out
    evenly; the odd image of a class goes to the smaller half (to the first when they are equal),
    so the halves differ by one image at most.

    Raises
    ------
    InvalidInputError
        If the labels are not integers (n,), n >= 1, a class has a single image, or the seed is
        outside its range.
    """
    random = np.random.RandomState(_checked_seed(seed))
    halves: tuple[list[Index], list[Index]] = ([], [])
    surplus = 0  # how many images the first half is ahead
    for name, members in _members(labels):
        if len(members) < 2:
            raise InvalidInputError(f"labels: class {name} has 1 image; each half needs at least one")
        shuffled = random.permutation(members)
        half, odd = divmod(len(shuffled), 2)
        cut = half + (odd if surplus == 0 else 0)
        surplus += 2 * cut - len(shuffled)
        halves[0].append(shuffled[:cut])
        halves[1].append(shuffled[cut:])
    return _sorted(halves[0]), _sorted(halves[1])


def stratified_subset(labels: NDArray[Any], count: int, seed: int) -> Index:
    """Choose `count` images with the class proportions of the whole.

    Parameters
    ----------
    labels
        Integer class of each image (n,).
    count
        How many images to choose, 1 to n.
    seed
        Of the `RandomState`, 0 to 2**32 - 1.

    Returns
    -------
    Sorted int64 index (count,). Each class gets its proportional share rounded down or up, by
    largest remainder; equal remainders are settled in class order.

    Raises
    ------
    InvalidInputError
        If the labels are not integers (n,), n >= 1, or count or seed is outside its range.
    """
    # See SUBSET: equal streams would choose the members of one half.
    random = np.random.RandomState([SUBSET, _checked_seed(seed)])
    members = _members(labels)
    n = len(labels)
    if not _is_integer(count) or not 1 <= count <= n:
        raise InvalidInputError(
            f"count: expected an integer from 1 to {n} (the images there are), got {count!r}"
        )
    quotas = _largest_remainder([len(positions) for _, positions in members], int(count))
    chosen = [
        random.permutation(positions)[:quota] for (_, positions), quota in zip(members, quotas, strict=True)
    ]
    return _sorted(chosen)


def _largest_remainder(sizes: list[int], count: int) -> list[int]:
    """Share `count` out in proportion to `sizes`, in exact integers."""
    n = sum(sizes)
    quotas = [count * size // n for size in sizes]
    # Exact: with floats, equal remainders would be settled by rounding.
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-(count * sizes[i] % n), i))
    for i in by_remainder[: count - sum(quotas)]:
        quotas[i] += 1
    return quotas


def _members(labels: NDArray[Any]) -> list[tuple[int, Index]]:
    """Return each class that occurs, in order, with the positions of its images."""
    array = np.asarray(labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"labels: expected integers of shape (n,), got {array.dtype} of shape {array.shape}"
        )
    if not len(array):
        raise InvalidInputError("labels: are empty; at least one image is needed")
    return [(int(name), np.flatnonzero(array == name).astype(np.int64)) for name in np.unique(array)]


def _sorted(parts: list[Index]) -> Index:
    return np.sort(np.concatenate(parts))


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _checked_seed(seed: int) -> int:
    if not _is_integer(seed) or not 0 <= seed < 2**32:
        raise InvalidInputError(f"seed: expected an integer from 0 to 4294967295, got {seed!r}")
    return int(seed)


def base_index(target: Target, labels: Integers, seed: int) -> Integers:
    """Return the positions in the test set (n',), sorted, that a derived target is made from.

    A subset takes equally many images from both halves of the source, so that fitting on one half
    and predicting what is made from the other loses none.

    Parameters
    ----------
    target
        A derived target.
    labels
        Labels of the whole in-distribution test set (n,).
    seed
        The suite's source seed.
    """
    if target.images is None:
        return np.arange(len(labels))
    first, second = stratified_halves(labels, seed)
    shares = (target.images - target.images // 2, target.images // 2)
    chosen = [
        half[stratified_subset(labels[half], share, seed)]
        for half, share in zip((first, second), shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
