"""All corruptions in turn: distances, fingerprints, accuracies, and files only where they are asked for."""

import numpy as np
import pytest

from shiftcast.data import corrupt, fingerprint
from shiftcast.data.corruptions.measure import BLOCK, regenerate
from shiftcast.errors import InvalidInputError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, 30)


def test_each_set_is_what_corrupt_makes(tmp_path):
    rows = list(
        regenerate(IMAGES, LABELS, ["contrast", "jpeg_75"], models={"zero": lambda x: np.zeros(len(x))})
    )
    assert [(row.name, row.severity) for row in rows] == [
        *(("contrast", s) for s in range(1, 6)),
        ("jpeg_75", 1),
    ]
    for row in rows:
        made = corrupt(IMAGES, row.name, row.severity, np.arange(30))
        difference = made.astype(float) - IMAGES
        assert row.mean_absolute == pytest.approx(np.abs(difference).mean())
        assert row.root_mean_square == pytest.approx(np.sqrt((difference**2).mean()))
        assert row.fingerprint == fingerprint(made, LABELS)
        assert row.accuracy == {"zero": (LABELS == 0).mean()}
    assert not list(tmp_path.iterdir())


def test_distances_are_summed_over_blocks():
    many = np.repeat(IMAGES, BLOCK // 30 + 2, axis=0)
    row = next(regenerate(many, np.zeros(len(many), int), ["brightness"], [5]))
    made = corrupt(many, "brightness", 5, np.arange(len(many)))
    assert row.mean_absolute == pytest.approx(np.abs(made.astype(float) - many).mean())


def test_stored_sets_have_the_published_layout(tmp_path):
    list(regenerate(IMAGES, LABELS, ["contrast"], out=tmp_path / "c"))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["contrast.npy", "labels.npy"]
    stored = np.load(tmp_path / "c" / "contrast.npy", allow_pickle=False)
    assert stored.shape == (150, 32, 32, 3)
    assert (stored[60:90] == corrupt(IMAGES, "contrast", 3, np.arange(30))).all()
    labels = np.load(tmp_path / "c" / "labels.npy", allow_pickle=False)
    assert labels.dtype == np.uint8
    assert (labels == np.tile(LABELS, 5)).all()
    with pytest.raises(InvalidInputError, match=r"contrast\.npy: is there already"):
        regenerate(IMAGES, LABELS, ["brightness", "contrast"], out=tmp_path / "c")
    assert not (tmp_path / "c" / "brightness.npy").exists()


def test_labels_fit_all_that_is_stored_beside_them(tmp_path):
    list(regenerate(IMAGES, LABELS, ["contrast"], [3, 1], out=tmp_path))
    before = (tmp_path / "labels.npy").read_bytes()
    for names, severities in ((["brightness"], [1]), (["jpeg_75"], [1]), (["brightness"], [1, 2, 3])):
        with pytest.raises(InvalidInputError, match=r"labels\.npy: is not the 30 labels [13] times"):
            regenerate(IMAGES, LABELS, names, severities, out=tmp_path)
    with pytest.raises(InvalidInputError, match="is not the 30 labels 2 times"):
        regenerate(IMAGES, LABELS[::-1], ["brightness"], [1, 3], out=tmp_path)
    list(regenerate(IMAGES, LABELS, ["brightness"], [1, 3], out=tmp_path))
    assert (tmp_path / "labels.npy").read_bytes() == before
    with pytest.raises(InvalidInputError, match=r"unlike numbers of severities \(contrast 5, jpeg_75 1\)"):
        regenerate(IMAGES, LABELS, ["contrast", "jpeg_75"], out=tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_severities_are_made_once_and_in_order(tmp_path):
    rows = list(regenerate(IMAGES, LABELS, ["contrast", "contrast"], [4, 2, 4], out=tmp_path))
    assert [row.severity for row in rows] == [2, 4]
    stored = np.load(tmp_path / "contrast.npy", allow_pickle=False)
    assert stored.shape == (60, 32, 32, 3)
    assert (stored[30:] == corrupt(IMAGES, "contrast", 4, np.arange(30))).all()


@pytest.mark.parametrize(
    ("names", "severities", "message"),
    [
        (["jpeg_75"], [3], "severity 3: jpeg_75 has 1"),
        (["contrast"], [], "severity none: contrast has 1, 2, 3, 4, 5"),
        ([], [1], "no types are named"),
    ],
)
def test_nothing_selected_is_refused(tmp_path, names, severities, message):
    with pytest.raises(InvalidInputError, match=message):
        regenerate(IMAGES, LABELS, names, severities, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_type_without_the_severity_is_left_out(tmp_path):
    list(regenerate(IMAGES, LABELS, ["jpeg_75", "contrast"], [3], out=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contrast.npy", "labels.npy"]
