"""Reviewed labels and human label shares: what each answer is worth under them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.label_views import read_label_views
from shiftcast.errors import DataError

LABELS = np.array([0, 1, 2, 0, 1])
SHARES = np.array([[0.9, 0.1, 0], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8], [0.5, 0.5, 0], [0, 1, 0]])


def view(file, form):
    return {"title": form, "file": file, "format": form, "citation": "c", "licence": "l"}


CARD = DatasetCard(
    name="five",
    title="t",
    description="d",
    layout="arrays",
    files=["images.npy", "labels.npy"],
    classes=["a", "b", "c"],
    n=5,
    shift="none",
    citation="c",
    licence="l",
    obtain="o",
    label_views={
        "corrected": view("reviews/reviews.json", "review"),
        "human-majority": view("shares.npy", "majority"),
        "human-shares": view("shares.npy", "shares"),
    },
)


def review(position, given, guessed, votes):
    names = ("given", "guessed", "neither", "both")
    return {
        "id": position,
        "given_original_label": given,
        "our_guessed_label": guessed,
        "mturk": dict(zip(names, votes, strict=True)),
    }


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "shares.npy", SHARES)
    (tmp_path / "reviews").mkdir()
    reviews = [
        review(0, 0, 2, (4, 1, 0, 0)),
        review(1, 1, 2, (1, 3, 1, 0)),
        review(3, 0, 1, (2, 0, 1, 2)),
    ]
    (tmp_path / "reviews" / "reviews.json").write_text(json.dumps(reviews))
    return tmp_path


def test_accuracies_by_hand(folder):
    views = read_label_views(CARD, folder, LABELS)
    predicted = np.array([0, 2, 2, 1, 0])
    assert views["corrected"].kept.tolist() == [True, True, True, False, True]
    assert views["corrected"].differs == 1
    assert views["corrected"].accuracy(predicted) == pytest.approx(3 / 4)
    assert views["human-majority"].accuracy(predicted) == pytest.approx((1 + 1 + 1 + 0.5 + 0) / 5)
    assert views["human-shares"].accuracy(predicted) == pytest.approx((0.9 + 0.6 + 0.8 + 0.5 + 0) / 5)
    assert views["human-shares"].differs == 1


def test_only_files_that_are_there_are_read(folder):
    (folder / "shares.npy").unlink()
    assert list(read_label_views(CARD, folder, LABELS)) == ["corrected"]


@pytest.mark.parametrize("array", [SHARES[:4], SHARES * 2, -SHARES, SHARES.astype(int), SHARES * np.nan])
def test_shares_that_are_none_are_refused(folder, array):
    np.save(folder / "shares.npy", array)
    with pytest.raises(DataError, match=r"shares\.npy: expected label shares \(5, 3\)"):
        read_label_views(CARD, folder, LABELS)


@pytest.mark.parametrize(
    ("reviews", "message"),
    [
        ([review(2, 1, 0, (5, 0, 0, 0))], "image 2 is said to be labelled 1, but the test set says 2"),
        ([review(-1, 1, 0, (5, 0, 0, 0))], "another set or order"),
        ([review(9, 1, 0, (5, 0, 0, 0))], "is not a list of reviewed labels"),
        ([review(0, 0, 1, (5, 0, 0, 0))], "no label in it is corrected"),
        ([review(0, 0, 3, (0, 5, 0, 0))], "image 0: expected a guessed label from 0 to 2, got 3"),
        ([review(0, 0, -1, (0, 5, 0, 0))], "image 0: expected a guessed label from 0 to 2, got -1"),
        ({"id": 3}, "is not a list of reviewed labels"),
        (7, "is not a list of reviewed labels"),
    ],
)
def test_reviews_that_are_none_are_refused(folder, reviews, message):
    (folder / "reviews" / "reviews.json").write_text(json.dumps(reviews))
    with pytest.raises(DataError, match=message):
        read_label_views(CARD, folder, LABELS)


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=200), name=st.sampled_from(["shares.npy", "reviews.json"]))
def test_random_bytes_end_in_our_errors_only(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("random")
    (folder / "reviews").mkdir()
    path = folder / "reviews" / name if name.endswith("json") else folder / name
    path.write_bytes(data)
    with pytest.raises(DataError):
        read_label_views(CARD, folder, LABELS)
