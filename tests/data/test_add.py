"""A person's own images: read, mapped by name, brought to size, and written with a card."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shiftcast.cards.base import read_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.add import SUFFIXES, fit, read_own, write_dataset
from shiftcast.data.loading import load_dataset
from shiftcast.errors import DataError, InvalidInputError, MissingDataError

CLASSES = ["airplane", "automobile", "bird"]
RANDOM = np.random.default_rng(0)
TEXTS = {
    "title": 'A "title" \\ with\nmarks',
    "description": "d",
    "shift": "natural",
    "licence": "l",
    "citation": "c",
}


def picture(side=32, width=None):
    return RANDOM.integers(0, 256, (side, width or side, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two cars, a bird of another size and case, and a tree."""
    place = tmp_path / "mine"
    held = {
        "car/b.png": picture(),
        "car/a.png": picture(),
        "Bird/x.png": picture(64, 96),
        "tree/t.png": picture(),
    }
    for name, pixels in held.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name)
    (place / "car" / "notes.txt").write_text("no image")
    return place, held


def test_classes_are_mapped_by_name_and_the_others_reported(folder):
    place, held = folder
    fitted = fit(read_own(place, CLASSES), CLASSES, {"car": "automobile"})
    assert fitted.labels.tolist() == [2, 1, 1]
    assert fitted.left_out == {"tree": 1}
    assert fitted.mapped == {"Bird": "bird", "car": "automobile"}
    assert fitted.resized == 1
    assert (fitted.images[1] == held["car/a.png"]).all()
    assert (fitted.images[2] == held["car/b.png"]).all()
    middle = held["Bird/x.png"][:, 16:80].astype(float)
    means = middle.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(fitted.images[0] - means).max() <= 1


def test_the_filter_is_the_persons_choice(folder):
    place, held = folder
    for name, number in (("bilinear", Image.Resampling.BILINEAR), ("lanczos", Image.Resampling.LANCZOS)):
        expected = Image.fromarray(held["Bird/x.png"]).crop((16, 0, 80, 64)).resize((32, 32), number)
        assert (read_own(place, CLASSES, name).images[0] == np.asarray(expected)).all()


def test_a_folder_of_images_has_no_labels(tmp_path):
    for name in ("b.png", "a.png"):
        Image.fromarray(picture()).save(tmp_path / name)
    own = read_own(tmp_path, CLASSES)
    assert own.names is None
    assert (own.images[0] == np.asarray(Image.open(tmp_path / "a.png"))).all()
    assert fit(own, CLASSES, {}).labels is None


def test_turned_and_transparent_images_are_read_as_they_are_looked_at(tmp_path):
    (tmp_path / "bird").mkdir()
    exif = Image.Exif()
    exif[274] = 6  # the camera lay on its side
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255
    Image.fromarray(pixels).save(tmp_path / "bird" / "a.png", exif=exif)
    clear = np.zeros((32, 32, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "bird" / "b.png")
    images = read_own(tmp_path, CLASSES).images
    assert images[0][0, 0].tolist() == [0, 0, 0]
    assert images[0][0, 31].tolist() == [255, 255, 255]
    assert (images[1] == 255).all()


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a.png", np.full((32, 32), 40_000, np.uint16)),
        ("a.pgm", np.full((32, 32), 40_000, np.uint16)),
        ("a.tif", np.full((32, 32), 0.5, np.float32)),
        ("a.tiff", np.full((32, 32), 40_000, np.int32)),
    ],
)
def test_values_beyond_a_byte_are_not_clipped(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: expected values of 8 bits, got an image of mode [IF]"):
        read_own(tmp_path, CLASSES)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_values_of_a_byte_are_read_in_every_mode(tmp_path, mode):
    name = "a.tif" if mode == "CMYK" else "a.png"
    Image.new("RGB", (32, 32), "white").convert(mode).save(tmp_path / name)
    assert (read_own(tmp_path, CLASSES).images == 255).all()


def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path, monkeypatch):
    Image.fromarray(picture()).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")

    def run(*_, **__):
        raise AssertionError("another program was run")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image \(cannot identify"):
        read_own(tmp_path, CLASSES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_that_is_offered_is_read(tmp_path, suffix):
    grey = Image.new("L" if suffix == ".pgm" else "RGB", (32, 32), "white")
    grey.save(tmp_path / f"a{suffix}")
    assert (read_own(tmp_path, CLASSES).images == 255).all()


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (np.array([0, 2]), CLASSES, [0, 2]),
        (np.array([1, 0]), ["bird", "airplane"], [0, 2]),
        (np.array(["bird", "Airplane"]), CLASSES, [2, 0]),
    ],
)
def test_arrays_with_numbers_or_names(tmp_path, labels, names, expected):
    images = np.stack([picture(), picture()])
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    fitted = fit(read_own(tmp_path / "own.npz", names), CLASSES, {})
    assert fitted.labels.tolist() == expected
    assert (fitted.images == images).all()


def test_what_is_written_is_what_is_read(folder, tmp_path):
    place, _ = folder
    fitted = fit(read_own(place, CLASSES), CLASSES, {"car": "automobile"})
    cards, data = tmp_path / "cards", tmp_path / "data"
    cards.mkdir()
    path, _ = write_dataset("mine", fitted, CLASSES, TEXTS, cards, data)
    card = read_card(DatasetCard, path)
    assert card.title == TEXTS["title"]
    assert not card.public
    images = load_dataset(card, data)
    assert (images.images == fitted.images).all()
    assert (images.labels == fitted.labels).all()
    with pytest.raises(InvalidInputError, match="is there already; choose another name"):
        write_dataset("mine", fitted, CLASSES, TEXTS, cards, data)
    write_dataset("mine", fitted, CLASSES, TEXTS, cards, data, replace=True)


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"car": "lorry"}, "--map: 'lorry' is none of the classes airplane, automobile, bird"),
        ({"cart": "automobile"}, "the images have no class 'cart'; they have Bird, car, tree"),
    ],
)
def test_maps_that_cannot_be_are_refused(folder, renamed, message):
    with pytest.raises(InvalidInputError, match=message):
        fit(read_own(folder[0], CLASSES), CLASSES, renamed)


def test_no_known_class_is_refused(folder):
    with pytest.raises(InvalidInputError, match="none of the classes Bird, car, tree is one of x, y"):
        fit(read_own(folder[0], CLASSES), ["x", "y"], {})


def test_what_is_no_set_of_images_is_refused(folder, tmp_path):
    place, _ = folder
    with pytest.raises(MissingDataError, match="there is no such folder or file"):
        read_own(tmp_path / "none", CLASSES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="neither it nor its folders hold images"):
        read_own(tmp_path / "empty", CLASSES)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(InvalidInputError, match="expected a folder of images, or an"):
        read_own(tmp_path / "a.zip", CLASSES)
    (place / "car" / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(DataError, match=r"broken\.png: cannot be read as an image"):
        read_own(place, CLASSES)
    (place / "tree" / "worse.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"2 of 6 images cannot be used:\n.*broken\.png.*\n.*worse\.jpg"):
        read_own(place, CLASSES)
    (place / "tree" / "worse.jpg").unlink()
    (place / "car" / "broken.png").unlink()
    Image.fromarray(picture()).save(place / "loose.png")
    with pytest.raises(InvalidInputError, match="beside folders of images"):
        read_own(place, CLASSES)
    np.savez(tmp_path / "far.npz", images=np.stack([picture()]), labels=np.array([3]))
    with pytest.raises(InvalidInputError, match="labels reach 3, but there are 3 class names"):
        read_own(tmp_path / "far.npz", CLASSES)
    np.savez(tmp_path / "bare.npz", pictures=np.stack([picture()]))
    with pytest.raises(DataError, match="images"):
        read_own(tmp_path / "bare.npz", CLASSES)


def held(place, *names):
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture()).save(place / name)
    return place


def test_what_is_not_read_is_counted_with_the_reason(tmp_path):
    held(tmp_path, "cat/tabby/1.png", "cat/tabby/2.png", "bird/1.png", "bird/young/3.jpg", ".cache/cat/1.png")
    (tmp_path / "bird/notes.txt").write_text("a")
    (tmp_path / "bird/raw.heic").write_bytes(b"a")
    (tmp_path / "bird/._1.png").write_bytes(b"a")
    (tmp_path / "bird/2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "frog").mkdir()
    frames = [Image.fromarray(picture()) for _ in range(3)]
    frames[0].save(tmp_path / "bird/moving.gif", save_all=True, append_images=frames[1:])
    own = read_own(tmp_path, CLASSES)
    assert len(own.images) == 2
    assert own.skipped == {
        "images below cat/, whose folders are not looked into": 2,
        "images below bird/, whose folders are not looked into": 1,
        "files whose names are not those of images (.txt)": 1,
        "files whose names are not those of images (.heic)": 1,
        "hidden files": 2,
        "links that lead nowhere": 1,
        "folders without images of their own: cat, frog": 2,
        "frames of images after their first": 2,
    }


def test_folders_below_images_alone_are_counted(tmp_path):
    own = read_own(held(tmp_path, "1.png", "a/b/2.png"), CLASSES)
    assert own.names is None
    assert own.skipped == {"images below a/, whose folders are not looked into": 1}


def test_where_classes_lie_deeper_is_said(tmp_path):
    with pytest.raises(MissingDataError, match=r"skipped 1: images below train/"):
        read_own(held(tmp_path, "train/cat/1.png", "val/cat/1.png"), CLASSES)


def test_arrays_that_are_not_read_are_named(tmp_path):
    images = np.stack([picture(), picture()])
    np.savez(tmp_path / "a.npz", images=images, label=[0, 1], ids=[7, 8])
    own = read_own(tmp_path / "a.npz", CLASSES)
    assert own.names is None
    assert own.skipped == {"arrays that are neither 'images' nor 'labels': label, ids": 2}
    np.savez(tmp_path / "a.npz", images=images, labels=[0, 1])
    assert read_own(tmp_path / "a.npz", CLASSES).skipped == {}
