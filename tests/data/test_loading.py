import hashlib

import numpy as np
import pytest
from PIL import Image

from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.suite import Target
from shiftcast.data import corrupt, fingerprint, read_digits, stratified_halves
from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.data.loading import edition_tag, fingerprint_of, load_dataset, load_suite
from shiftcast.data.sampling import base_index
from shiftcast.errors import CardError, DataError, MissingDataError
from shiftcast.util.hashing import hash_of
from shiftcast.workspace import Workspace

CLASSES = ["airplane", "bird"]


def card(**changes):
    values = {
        "name": "small",
        "title": "t",
        "description": "d",
        "layout": "arrays",
        "path": "small",
        "files": ["images.npy", "labels.npy"],
        "classes": CLASSES,
        "n": 4,
        "shift": "natural",
        "citation": "c",
        "licence": "l",
        "obtain": "make it",
    }
    return DatasetCard.model_validate(values | changes)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small").mkdir()
    np.save(tmp_path / "small" / "images.npy", np.arange(4 * 3072, dtype=np.uint8).reshape(4, 32, 32, 3))
    np.save(tmp_path / "small" / "labels.npy", np.array([0, 1, 1, 0]))
    return tmp_path


def test_arrays_are_loaded_and_withheld_labels_are_not(folder):
    assert load_dataset(card(), folder).labels.tolist() == [0, 1, 1, 0]
    assert load_dataset(card(labels="withheld"), folder).labels is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"n": 5}, "the card says 5 images, the files hold 4"), ({"classes": ["a", "b"]}, "")],
)
def test_arrays_that_are_not_as_the_card_says_are_refused(folder, changes, message):
    if message:
        with pytest.raises(DataError, match=message):
            load_dataset(card(**changes), folder)
    np.save(folder / "small" / "labels.npy", np.array([0, 1, 2, 0]))
    with pytest.raises(DataError, match=r"labels reach 2, but the card has 2 classes|the files hold 4"):
        load_dataset(card(**changes), folder)


def test_missing_data_names_files_place_and_remedy(tmp_path):
    with pytest.raises(MissingDataError, match=r"'small'.*images\.npy.*To get it: make it") as caught:
        load_dataset(card(), tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_an_edition_is_known_by_its_fingerprint(folder):
    images = load_dataset(card(), folder)
    digest = fingerprint(images.images, images.labels)
    other = {"recovered": {"fingerprint": "0" * 64, "description": "d"}}
    assert card(fingerprint=digest).edition(digest) == "publisher"
    assert card(editions=other).edition("0" * 64) == "recovered"
    assert card(editions=other).edition(digest) == digest[:12]
    images.images[0, 0, 0, 0] ^= 1
    assert card(fingerprint=digest).edition(fingerprint(images.images, images.labels)) != "publisher"


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [20, 101])
def test_a_derived_subset_takes_equally_many_from_both_halves(seed, count):
    labels = np.random.RandomState(7).randint(10, size=1000)
    target = Target(id="x/fog-1", dataset="x", group="fog", level="required", transform="fog", images=count)
    index = base_index(target, labels, seed)
    first, second = stratified_halves(labels, seed)
    assert len(index) == len(set(index.tolist())) == count
    assert abs(np.isin(index, first).sum() - np.isin(index, second).sum()) <= 1
    assert np.array_equal(index, np.sort(index))


def test_a_suite_is_loaded_with_its_derived_targets(workspace, tiny_data):
    suite = workspace.suite("tiny")
    assert len(tiny_data.train) == 120
    assert list(tiny_data.sets) == ["digits-test", *(t.id for t in suite.unfolded_targets())]
    assert tiny_data.edition == ""
    target = next(t for t in suite.unfolded_targets() if t.transform == "contrast" and t.severity == 5)
    test = tiny_data.sets["digits-test"]
    index = base_index(target, test.labels, 0)
    made = tiny_data.sets[target.id]
    assert np.array_equal(made.images, corrupt(test.images[index], "contrast", 5, index))
    assert np.array_equal(made.labels, test.labels[index])


PUBLISHED = """
title = "Published"
description = "d"
layout = "cifar10-c"
path = "C"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
n = 898
shift = "synthetic"
citation = "c"
licence = "l"
obtain = "look in $SHIFTCAST_DATA"
fingerprint = "{fingerprint}"

[derived]
source = "digits-test"
generator = "published"
version = 1
transforms = ["fog", "snow"]
stated_by = "the test"
md5 = {{ fog = "{md5}" }}
"""

TARGET = """
[[targets]]
dataset = "published-c"
transforms = ["fog"]
severities = [1, 4]
images = 50
"""


@pytest.fixture
def fog(tmp_path):
    """Files in CIFAR-10-C's layout, made of the digits: severity s adds s to every value."""
    test = read_digits("test")
    made = np.concatenate([test.images + np.uint8(severity) for severity in range(1, 6)])
    (tmp_path / "C").mkdir()
    np.save(tmp_path / "C" / "fog.npy", made)
    np.save(tmp_path / "C" / "labels.npy", np.tile(test.labels, 5).astype(np.uint8))
    return tmp_path


@pytest.fixture
def with_published(workspace, fog):
    md5 = hashlib.md5((fog / "C" / "fog.npy").read_bytes(), usedforsecurity=False).hexdigest()
    text = PUBLISHED.format(md5=md5, fingerprint=hash_of({"fog": md5}))
    (workspace.root / "datasets" / "published-c.toml").write_text(text)
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    suite.write_text(suite.read_text() + TARGET)
    return Workspace(workspace.root, workspace.home)


def test_published_corruptions_load_like_ours(with_published, fog):
    suite = with_published.suite("tiny")
    data = load_suite(with_published, suite, fog)
    target = next(t for t in suite.unfolded_targets() if t.id == "published-c/fog-4")
    assert target.derived
    assert target.group == "fog"
    test = data.sets["digits-test"]
    index, made = base_index(target, test.labels, 0), data.sets[target.id]
    assert len(made) == 50
    assert np.array_equal(made.images, test.images[index] + np.uint8(4))
    assert np.array_equal(made.labels, test.labels[index])
    used = data.used[target.id]
    assert (used.edition, used.n) == ("publisher", 50)
    assert used.fingerprint == fingerprint(made.images, made.labels)
    assert data.edition == ""


def test_altered_files_are_one_edition_for_all_severities(with_published, fog):
    made = np.load(fog / "C" / "fog.npy")
    made[0, 0, 0, 0] ^= 1
    np.save(fog / "C" / "fog.npy", made)
    data = load_suite(with_published, with_published.suite("tiny"), fog)
    editions = {used.edition for name, used in data.used.items() if name.startswith("published-c")}
    assert editions == {data.edition}
    assert len(data.edition) == 12


def test_published_corruptions_of_another_test_set_are_refused(with_published, fog):
    np.save(fog / "C" / "labels.npy", np.load(fog / "C" / "labels.npy")[::-1])
    with pytest.raises(DataError, match="labels are not those of the in-distribution test set"):
        load_suite(with_published, with_published.suite("tiny"), fog)


def test_missing_published_files_come_with_the_remedy(with_published, fog):
    (fog / "C" / "fog.npy").unlink()
    with pytest.raises(MissingDataError, match=r"'published-c': missing fog\.npy.* look in ") as caught:
        load_suite(with_published, with_published.suite("tiny"), fog)
    assert f"look in {fog}" in str(caught.value)


def test_a_published_family_is_known_by_the_files_it_offers(with_published, fog):
    family = with_published.dataset("published-c")
    with pytest.raises(MissingDataError, match=r"missing snow\.npy"):
        fingerprint_of(family, fog)
    only = family.model_copy(update={"derived": family.derived.model_copy(update={"transforms": ["fog"]})})
    assert family.edition(fingerprint_of(only, fog)) == "publisher"
    with pytest.raises(DataError, match="one set for each transform and severity"):
        load_dataset(family, fog)


def test_a_fingerprint_is_that_of_the_arrays(folder):
    images = load_dataset(card(), folder)
    assert fingerprint_of(card(), folder) == fingerprint(images.images, images.labels)


def test_a_severity_that_a_card_does_not_offer_is_refused(with_published):
    path = with_published.root / "datasets" / "published-c.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 1\nseverities = [1, 2]"))
    again = Workspace(with_published.root, with_published.home)
    with pytest.raises(CardError, match=r"'published-c' has severities \[1, 2\], got 4"):
        again.suite("tiny")


def test_many_editions_make_a_short_tag(workspace):
    names = [f"set-{number}" for number in range(20)]
    used = {name: DatasetUsed(fingerprint="0" * 64, edition=name * 2, n=1) for name in names}
    tag = edition_tag(workspace.suite("tiny"), used)
    assert len(tag) == 12
    assert edition_tag(workspace.suite("tiny"), dict(list(used.items())[:2])) == "set-0set-0+set-1set-1"


@pytest.mark.parametrize(
    ("changes", "files"),
    [
        ({"layout": "npz", "files": ["all.npz"], "keys": ["x", "y"]}, "all.npz"),
        ({"layout": "image-folder", "files": [], "pattern": r"\d\.png"}, "bird/1.png"),
        (
            {
                "layout": "stl10-binary",
                "files": ["X.bin", "y.bin"],
                "publisher_classes": ["bird", "monkey", "plane"],
                "class_map": {"plane": "airplane", "bird": "bird"},
            },
            "X.bin",
        ),
    ],
)
def test_every_layout_is_read_as_its_card_says(tmp_path, changes, files):
    base = tmp_path / "small"
    (base / "bird").mkdir(parents=True)
    (base / "airplane").mkdir()
    images = np.random.RandomState(0).randint(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    np.savez(base / "all.npz", x=images, y=[0, 0, 1, 1])
    for name, image in zip(("airplane/1", "airplane/2", "bird/1", "bird/2"), images, strict=True):
        Image.fromarray(image).save(base / f"{name}.png")
    large = images[[0, 0, 1, 2, 3]].repeat(3, axis=1).repeat(3, axis=2)
    (base / "X.bin").write_bytes(large.transpose(0, 3, 2, 1).tobytes())
    (base / "y.bin").write_bytes(bytes([2, 3, 3, 1, 1]))
    data = load_dataset(card(**changes), tmp_path)
    assert np.array_equal(data.images, images)
    assert data.labels.tolist() == [0, 0, 1, 1]
    (base / files).unlink()
    with pytest.raises(DataError):
        load_dataset(card(**changes), tmp_path)


def add_target(workspace, level):
    (workspace.root / "datasets" / "far.toml").write_text(
        (workspace.root / "datasets" / "digits-test.toml")
        .read_text()
        .replace('layout = "digits"', 'layout = "arrays"')
        + 'path = "far"\nfiles = ["images.npy", "labels.npy"]\n'
    )
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    suite.write_text(suite.read_text() + f'\n[[targets]]\ndataset = "far"\nlevel = "{level}"\n')
    return Workspace(workspace.root, workspace.home)


def test_only_a_required_target_must_be_there(workspace, tmp_path):
    grown = add_target(workspace, "optional")
    data = load_suite(grown, grown.suite("tiny"), tmp_path)
    assert list(data.absent) == ["far"]
    assert "images.npy" in data.absent["far"]


def test_a_missing_required_target_stops_the_suite(workspace, tmp_path):
    grown = add_target(workspace, "required")
    with pytest.raises(MissingDataError, match="dataset 'far'"):
        load_suite(grown, grown.suite("tiny"), tmp_path)


def test_one_changed_pixel_makes_another_edition(workspace, tmp_path):
    grown = add_target(workspace, "optional")
    images = load_suite(grown, grown.suite("tiny"), tmp_path).sets["digits-test"]
    changed = images.images.copy()
    changed[0, 0, 0, 0] ^= 1
    (tmp_path / "far").mkdir()
    np.save(tmp_path / "far" / "images.npy", changed)
    np.save(tmp_path / "far" / "labels.npy", images.labels)
    data = load_suite(grown, grown.suite("tiny"), tmp_path)
    assert data.edition == data.used["far"].fingerprint[:12]
