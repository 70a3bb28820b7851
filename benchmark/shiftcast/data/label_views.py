"""Other people's labels of the same images: reviewed label errors and human label shares.

Both files are about the CIFAR-10 test images in their official order and stay with their publishers;
where a person has them, accuracy under each view is stated beside that under the given labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from shiftcast.cards.dataset import DatasetCard, LabelViewCard
from shiftcast.data.readers.layouts import load_npy
from shiftcast.errors import DataError
from shiftcast.util.types import Floats, Integers

REVIEWERS_NEEDED = 3
"""Of five reviewers, how many must agree on a label."""


@dataclass(frozen=True, eq=False)
class LabelView:
    """What each answer is worth under one view of the labels.

    Parameters
    ----------
    credit
        float64 (n, K) in [0, 1]: what predicting class k for image i counts.
    kept
        bool (n,): images that have a label under this view.
    differs
        How many kept images have another (most likely) label than the given one.
    """

    credit: Floats
    kept: NDArray[np.bool_]
    differs: int

    def accuracy(self, predicted: Integers) -> float:
        """Return the mean credit of predicted classes (n,) over the kept images, in [0, 1]."""
        earned = self.credit[np.arange(len(predicted)), predicted]
        return float(earned[self.kept].mean())


def read_label_views(card: DatasetCard, folder: Path, labels: Integers) -> dict[str, LabelView]:
    """Return the views of a dataset's labels whose files are present, by name.

    Parameters
    ----------
    card
        The dataset, with `label_views`.
    folder
        The data folder.
    labels
        The given labels (n,).

    Raises
    ------
    DataError
        If a file is there but not what the card says.
    """
    views = {}
    for name, view in card.label_views.items():
        path = folder / view.file
        if path.is_file():
            views[name] = _view(view, path, labels, len(card.classes))
    return views


def _view(view: LabelViewCard, path: Path, labels: Integers, classes: int) -> LabelView:
    everyone = np.ones(len(labels), dtype=bool)
    if view.format == "review":
        corrected, kept = corrected_labels(path, labels, classes)
        return LabelView(np.eye(classes)[corrected], kept, int((corrected != labels)[kept].sum()))
    shares = read_shares(path, len(labels), classes)
    differs = int((shares.argmax(axis=1) != labels).sum())
    if view.format == "shares":
        return LabelView(shares, everyone, differs)
    # Where people are divided evenly, each of the labels counts in part.
    highest = shares == shares.max(axis=1, keepdims=True)
    return LabelView(highest / highest.sum(axis=1, keepdims=True), everyone, differs)


def read_shares(path: Path, n: int, classes: int) -> Floats:
    """Return human label shares float64 (n, K), each row summing to one.

    Raises
    ------
    DataError
        If the file is no such array.
    """
    shares = load_npy(path)
    fits = shares.shape == (n, classes) and shares.dtype.kind == "f"
    if not fits or not (shares.min() >= 0 and np.abs(shares.sum(axis=1) - 1).max() <= 1e-3):
        raise DataError(
            f"{path}: expected label shares ({n}, {classes}), each row summing to one, "
            f"got {shares.dtype} {shares.shape}"
        )
    exact: Floats = shares.astype(np.float64)
    return exact


@dataclass(frozen=True)
class Review:
    """What five reviewers said of one image whose label was doubted."""

    position: int
    guessed: int
    for_given: int
    for_guessed: int


def read_reviews(path: Path, labels: Integers, classes: int) -> list[Review]:
    """Return the reviews of doubted labels (Northcutt et al. 2021), in the file's order.

    Raises
    ------
    DataError
        If the file is no such list, is about images with other given labels (n,), or guesses a label
        that is none of the `classes` labels from 0.
    """
    try:
        entries = json.loads(path.read_bytes())
        reviews = [_review(path, entry, labels, classes) for entry in entries]
    except (ValueError, KeyError, TypeError, IndexError, OSError, RecursionError) as error:
        raise DataError(f"{path}: is not a list of reviewed labels: {error!r}") from error
    return reviews


def _review(path: Path, entry: Mapping[str, object], labels: Integers, classes: int) -> Review:
    position, given = (int(cast("int", entry[key])) for key in ("id", "given_original_label"))
    if position < 0 or given != labels[position]:
        raise DataError(
            f"{path}: image {position} is said to be labelled {given}, but the test set says "
            f"{labels[position]}: it is about another set or order"
        )
    votes = cast("Mapping[str, int]", entry["mturk"])
    guessed = int(cast("int", entry["our_guessed_label"]))
    if not 0 <= guessed < classes:
        raise DataError(
            f"{path}: image {position}: expected a guessed label from 0 to {classes - 1}, got {guessed}"
        )
    return Review(position, guessed, int(votes["given"]), int(votes["guessed"]))


def corrected_labels(path: Path, labels: Integers, classes: int) -> tuple[Integers, NDArray[np.bool_]]:
    """Return labels after review (n,), and which images have one.

    The guessed label stands where three of five reviewers prefer it; an image for which fewer than
    three stand by either label has none.

    Raises
    ------
    DataError
        As `read_reviews`, or if nothing was corrected.
    """
    corrected, kept = labels.copy(), np.ones(len(labels), dtype=bool)
    for review in read_reviews(path, labels, classes):
        if review.for_guessed >= REVIEWERS_NEEDED:
            corrected[review.position] = review.guessed
        elif review.for_given < REVIEWERS_NEEDED:
            kept[review.position] = False
    if (corrected == labels).all():
        raise DataError(
            f"{path}: no label in it is corrected by {REVIEWERS_NEEDED} reviewers; expected at least one"
        )
    return corrected, kept
