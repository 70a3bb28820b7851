"""Planted shortcuts: what they show, what they leave alone, and suites that hold them."""

import numpy as np
import pytest

from shiftcast.data.corruptions.shortcuts import COLOURS, ROWS, TRANSFORMS, plant, transform
from shiftcast.data.loading import load_suite
from shiftcast.data.readers.layouts import read_digits
from shiftcast.errors import CardError, DataError, InvalidInputError, UnknownNameError
from shiftcast.workspace import Workspace

N = 3000
LABELS = np.random.RandomState(0).randint(10, size=N)
IMAGES = np.random.RandomState(1).randint(256, size=(N, 32, 32, 3)).astype(np.uint8)
INDEX = np.arange(N)


def shown_line(images):
    """The class whose colour the whole line has."""
    lines = images[:, ROWS].reshape(len(images), -1, 3)
    assert (lines == lines[:, :1]).all()
    return (lines[:, 0, None] == COLOURS).all(axis=2).argmax(axis=1)


def digits_of(split):
    images = read_digits(split)
    halves = (images.images[:, 0::2].astype(int) + images.images[:, 1::2] + 1) // 2
    return {half.astype(np.uint8).tobytes(): label for half, label in zip(halves, images.labels, strict=True)}


def shown_digit(images, split):
    known = digits_of(split)
    return np.array([known[image[:16].tobytes()] for image in images])


def test_colours_are_far_apart():
    assert len({tuple(colour) for colour in COLOURS.tolist()}) == 10
    distances = np.abs(COLOURS[:, None].astype(int) - COLOURS[None]).sum(axis=2) + 999 * np.eye(10, dtype=int)
    assert distances.min() > 90


@pytest.mark.parametrize("agreement", [0.0, 0.9, 1.0])
@pytest.mark.parametrize(("kind", "shown"), [("coloured-line", shown_line), ("dominoes", None)])
def test_a_source_shows_the_class_as_often_as_it_should(kind, shown, agreement):
    found = plant(IMAGES, LABELS, kind, agreement, "test")
    seen = shown_line(found) if shown else shown_digit(found, "test")
    agrees = (seen == LABELS).mean()
    assert agrees == agreement if agreement in (0, 1) else agrees == pytest.approx(0.9, abs=0.02)
    others = (seen - LABELS)[seen != LABELS] % 10
    if agreement < 1:
        counts = np.bincount(others, minlength=10)[1:]
        assert counts.min() > counts.mean() - 4 * counts.mean() ** 0.5
    assert np.array_equal(found, plant(IMAGES, LABELS, kind, agreement, "test"))
    other = plant(IMAGES, LABELS, kind, agreement, "train")
    assert np.array_equal(found, other) == (kind == "coloured-line" and agreement == 1)


def test_a_line_leaves_the_rest_of_the_image_alone():
    found = plant(IMAGES, LABELS, "coloured-line", 1.0, "test")
    rest = np.ones(32, dtype=bool)
    rest[ROWS] = False
    assert np.array_equal(found[:, rest], IMAGES[:, rest])


def test_an_image_lies_squeezed_below_its_digit():
    found = plant(IMAGES, LABELS, "dominoes", 1.0, "train")
    expected = (IMAGES[:, 0::2].astype(int) + IMAGES[:, 1::2] + 1) // 2
    assert np.array_equal(found[:, 16:], expected)
    assert set(shown_digit(found[:50], "train")) <= set(range(10))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_targets_show_another_class_or_any_or_none(name):
    kind, shows = TRANSFORMS[name]
    found = transform(IMAGES, LABELS, name, INDEX)
    if shows == "none":
        assert not found[:, :16].any() if kind == "dominoes" else np.array_equal(found, IMAGES)
        return
    seen = shown_line(found) if kind == "coloured-line" else shown_digit(found, "test")
    if shows == "next":
        assert np.array_equal(seen, (LABELS + 1) % 10)
    else:
        assert (seen == LABELS).mean() == pytest.approx(0.1, abs=0.02)
        assert np.bincount(seen).min() > 0.7 * N / 10


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_part_is_the_slice_of_the_whole(name):
    part = np.array([5, 2999, 17])
    whole = transform(IMAGES, LABELS, name, INDEX)
    assert np.array_equal(transform(IMAGES[part], LABELS[part], name, part), whole[part])


def test_what_cannot_be_planted_is_refused():
    with pytest.raises(InvalidInputError, match=r"\(n, 32, 32, 3\) of 10 classes, got \(2, 8, 8, 3\)"):
        plant(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64), "coloured-line", 1.0, "test")
    with pytest.raises(UnknownNameError, match="did you mean line_moved"):
        transform(IMAGES, LABELS, "line_move", INDEX)


@pytest.fixture
def planted(workspace):
    """Suite `tiny` with a line in its source and one that moves in a target."""
    card = workspace.root / "datasets/digits-line.toml"
    text = (workspace.root / "datasets/cifar10-line.toml").read_text()
    digits = (workspace.root / "datasets/digits-test.toml").read_text().splitlines()
    lines = [line for line in text.splitlines() if not line.startswith(("classes", "n ="))]
    lines = [line for line in digits if line.startswith(("classes", "n ="))] + lines
    card.write_text("\n".join(lines).replace('source = "cifar10-test"', 'source = "digits-test"') + "\n")
    path = workspace.root / "benchmark/suites/tiny.toml"
    target = '[[targets]]\ndataset = "digits-line"\ntransforms = ["line_moved"]\nseverities = [1]\n'
    source = 'train_images = 120\nplanted = "coloured-line"\nagreement = 0.8\n'
    path.write_text(
        path.read_text().replace("train_images = 120\n", source).replace("[[runs]]", target + "\n[[runs]]")
    )
    return Workspace(workspace.root, workspace.root)


def test_a_suite_plants_it_in_both_halves_of_its_source(tiny_data, planted, tmp_path):
    data = load_suite(planted, planted.suite("tiny"), tmp_path)
    source = data.sets["digits-test"]
    assert (shown_line(source.images) == source.labels).mean() == pytest.approx(0.8, abs=0.05)
    assert (shown_line(data.train.images) == data.train.labels).mean() == pytest.approx(0.8, abs=0.1)
    moved = data.sets["digits-line/line_moved-1"]
    assert np.array_equal(shown_line(moved.images), (moved.labels + 1) % 10)
    contrast = "digits-shifted/contrast-2"
    assert not np.array_equal(data.sets[contrast].images, tiny_data.sets[contrast].images)  # they have it too
    assert data.used["digits-test"].fingerprint != tiny_data.used["digits-test"].fingerprint
    assert data.edition == ""


def test_a_target_that_moves_what_is_not_planted_is_refused(planted):
    path = planted.root / "benchmark/suites/tiny.toml"
    path.write_text(path.read_text().replace('planted = "coloured-line"', 'planted = "dominoes"'))
    with pytest.raises(CardError, match=r"'digits-line' moves the shortcut 'coloured-line'.*got 'dominoes'"):
        Workspace(planted.root, planted.root).suite("tiny")


def test_agreement_belongs_to_a_shortcut(planted):
    path = planted.root / "benchmark/suites/tiny.toml"
    path.write_text(path.read_text().replace('planted = "coloured-line"\n', ""))
    with pytest.raises(CardError, match="planted and agreement belong together"):
        Workspace(planted.root, planted.root).suite("tiny")


def test_a_card_of_another_version_is_refused(planted, tmp_path):
    card = planted.root / "datasets/digits-line.toml"
    card.write_text(card.read_text().replace("version = 1", "version = 2"))
    fresh = Workspace(planted.root, planted.root)
    with pytest.raises(DataError, match="states version 2 of what is planted, expected 1"):
        load_suite(fresh, fresh.suite("tiny"), tmp_path)


def test_cards_name_transforms_of_their_own_shortcut(workspace):
    planted = [
        card.derived
        for card in workspace.datasets.values()
        if card.derived and card.derived.generator == "planted"
    ]
    assert {derived.shortcut for derived in planted} == {"coloured-line", "dominoes"}
    for derived in planted:
        assert {TRANSFORMS[name][0] for name in derived.transforms} == {derived.shortcut}
