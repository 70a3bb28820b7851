import numpy as np
import pytest

from shiftcast.cards import DatasetCard, Target
from shiftcast.data import corrupt, fingerprint, stratified_halves
from shiftcast.data.loading import base_index, load_dataset, load_suite
from shiftcast.errors import DataError, MissingDataError
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
