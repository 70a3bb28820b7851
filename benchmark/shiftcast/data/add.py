"""A person's own images: from a folder or a file of arrays to a dataset with a card.

Knows folders of images (`DIR/CLASS/*`, or `DIR/*` without labels) and `.npz` files with `images` and,
perhaps, `labels`. Nothing is downloaded, and the originals are left alone.
"""

from __future__ import annotations

import io
import itertools
import os
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shiftcast.cards.base import read_card
from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.download.records import Store
from shiftcast.data.fingerprints import fingerprint
from shiftcast.data.readers.image_folders import EIGHT_BITS, opened_image
from shiftcast.data.readers.layouts import checked_images, read_bytes
from shiftcast.errors import DataError, InvalidInputError, MissingDataError
from shiftcast.intake.archives import read_arrays, unread
from shiftcast.util.arrays import class_indices
from shiftcast.util.files import write_atomic
from shiftcast.util.types import Integers

FILTERS: Mapping[str, Image.Resampling] = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What files with these suffixes may hold: Pillow would open others too, with other people's programs."""

MODES = (*EIGHT_BITS, "PA", "CMYK", "YCbCr")
"""Pillow's modes whose values fit a byte; it would clip the others."""

MAX_SIDE = 20_000
"""Pixels. Larger images are refused before they are unpacked: a file of some bytes can promise any."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class OwnImages:
    """A person's images at the wanted size, with the person's own class names.

    Parameters
    ----------
    images
        uint8 (n, side, side, 3).
    resized
        Which of them had another size, bool (n,).
    names
        Class of each image, or None where there are no labels.
    skipped
        How much was not read, by what it is and why.
    """

    images: Bytes
    resized: NDArray[np.bool_]
    names: Sequence[str] | None
    skipped: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Images of a suite's classes.

    Parameters
    ----------
    images
        uint8 (n, side, side, 3), in the order in which they came.
    labels
        int64 (n,) in our class order, or None.
    left_out
        How many images each class has that is none of ours.
    mapped
        Which of the person's classes became which of ours.
    resized
        How many images had another size.
    """

    images: Bytes
    labels: Integers | None
    left_out: Mapping[str, int]
    mapped: Mapping[str, str]
    resized: int


def read_own(path: Path, names: Sequence[str], filter_: str = "box", side: int = 32) -> OwnImages:
    """Read a folder of images or an `.npz` file, each image brought to size as it is read.

    Parameters
    ----------
    path
        A folder with a folder of images for each class; a folder of images without labels; or an
        `.npz` file with `images` uint8 (n, H, W, 3) and perhaps `labels`: integers or names (n,).
    names
        The person's classes in label order, for integer labels.
    filter_
        A key of `FILTERS`. Images of another size are cropped to their middle square and resized.
    side
        Wanted height and width in pixels.

    Raises
    ------
    MissingDataError
        If nothing is there.
    DataError
        If a file cannot be read.
    InvalidInputError
        If the path is neither, or integer labels go beyond `names`.
    """
    if path.is_dir():
        return _read_folder(path, filter_, side)
    if not path.is_file():
        raise MissingDataError(f"{path}: there is no such folder or file")
    if path.suffix.lower() != ".npz":
        raise InvalidInputError(
            f"{path}: expected a folder of images, or an .npz file with the array 'images'"
        )
    return _read_npz(path, names, filter_, side)


def _read_folder(folder: Path, filter_: str, side: int) -> OwnImages:
    files, names, empty, skipped = folder_images(folder)
    if empty:
        skipped[f"folders without images of their own: {_some(empty)}"] = len(empty)
    return OwnImages(*_sized(_all_pixels(files, skipped), filter_, side), names, skipped)


def folder_images(folder: Path) -> tuple[list[Path], list[str] | None, list[str], Counter[str]]:
    """Return a folder's image files, what is known of them, and what is not read.

    Parameters
    ----------
    folder
        With a folder of images for each class, or with images alone.

    Returns
    -------
    The files, by class and name; the class of each, the name of its folder, or None where images are alone;
    folders without images; and how much is not read, by why.

    Raises
    ------
    MissingDataError
        If there is no image.
    InvalidInputError
        If there are images beside folders of images.
    """
    kinds = sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    by_kind = [(kind.name, _image_files(kind)) for kind in kinds]
    loose = _image_files(folder)
    named = [(name, file) for name, files in by_kind for file in files]
    if loose and named:
        raise InvalidInputError(
            f"{folder}: holds images ({loose[0].name}, …) beside folders of images; "
            "expected a folder for each class, or images alone"
        )
    files = loose or [file for _, file in named]
    skipped = _skipped(folder, files)
    if not files:
        below = "".join(f"; skipped {number:,}: {what}" for what, number in skipped.items())
        raise MissingDataError(
            f"{folder}: neither it nor its folders hold images ({', '.join(SUFFIXES)}){below}"
        )
    if loose:
        return files, None, [], skipped
    return files, [name for name, _ in named], [name for name, below in by_kind if not below], skipped


def _skipped(folder: Path, read: Sequence[Path]) -> Counter[str]:
    """Count the files below a folder that are not read, by why they are not."""
    known, found = set(read), Counter[str]()
    tops = [folder, *(entry for entry in folder.iterdir() if entry.is_symlink() and entry.is_dir())]
    for place, below, names in itertools.chain.from_iterable(map(os.walk, tops)):
        inside = Path(place).relative_to(folder)
        for link in (Path(place, name) for name in below):
            if link.is_symlink() and link not in tops:
                found["links to folders, which are not followed"] += 1
        for path in sorted(Path(place, name) for name in names if Path(place, name) not in known):
            suffix = path.suffix.lower()
            if any(part.startswith(".") for part in (*inside.parts, path.name)):
                found["hidden files"] += 1
            elif not path.exists():
                found["links that lead nowhere"] += 1
            elif suffix in SUFFIXES:
                found[f"images below {inside.parts[0]}/, whose folders are not looked into"] += 1
            else:
                found[f"files whose names are not those of images ({suffix or 'without ending'})"] += 1
    return found


def _all_pixels(files: Sequence[Path], skipped: Counter[str]) -> Iterator[Bytes]:
    """Yield each image and count further frames; name all that cannot be read, not the first alone."""
    broken = []
    for file in files:
        try:
            pixels, frames = read_image(file)
        except DataError as error:
            broken.append(str(error))
            continue
        if frames > 1:
            skipped["frames of images after their first"] += frames - 1
        if not broken:
            yield pixels
    if broken:
        more = f"\n… and {len(broken) - 10} more" if len(broken) > 10 else ""
        listed = "\n".join(broken[:10]) + more
        raise DataError(f"{len(broken)} of {len(files)} images cannot be used:\n{listed}")


def _image_files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
    return sorted(file for file in files if file.is_file())


def read_image(path: Path) -> tuple[Bytes, int]:
    """Return an image as it is looked at (turned as its camera says, on white), and its frames."""
    with opened_image(read_bytes(path), path, FORMATS, MODES, MAX_SIDE) as image:
        frames = getattr(image, "n_frames", 1)
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB")), frames


def _read_npz(path: Path, names: Sequence[str], filter_: str, side: int) -> OwnImages:
    arrays, held = read_arrays(path, ("images", "labels"), (".npz",))
    if "images" not in arrays:
        raise DataError(f"{path}: expected an array named 'images', and perhaps 'labels'; it holds {held}")
    images, labels = checked_images(path, arrays["images"]), arrays.get("labels")
    sized, others = _sized(images, filter_, side), unread(path, ("images", "labels"))
    skipped = (
        {f"arrays that are neither 'images' nor 'labels': {_some(others)}": len(others)} if others else {}
    )
    if labels is None:
        return OwnImages(*sized, None, skipped)
    if labels.dtype.kind in "SU":
        if labels.shape != (len(images),):
            raise DataError(
                f"{path}: expected one label per image, shape ({len(images)},), got {labels.shape}"
            )
        return OwnImages(*sized, _texts(path, labels), skipped)
    if labels.dtype.kind in "iu" and labels.size and labels.min() >= 0 and labels.max() >= len(names):
        from_one = "; if they count from 1, subtract 1" if labels.min() == 1 else ""
        raise InvalidInputError(
            f"{path}: labels reach {labels.max()}, but there are {len(names)} class names; give your own in "
            f"label order with --names a,b,c{from_one}"
        )
    numbers = class_indices(f"{path}: labels", labels, (len(images),), len(names))
    return OwnImages(*sized, [names[number] for number in numbers], skipped)


def _texts(path: Path, labels: NDArray[Any]) -> list[str]:
    try:
        texts = np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: labels: not in UTF-8: {error}") from error
    return [str(text) for text in texts]


def fit(own: OwnImages, classes: Sequence[str], renamed: Mapping[str, str]) -> Fitted:
    """Map classes by name.

    Parameters
    ----------
    own
        Images of any classes.
    classes
        Our classes, in label order.
    renamed
        The person's name of a class -> ours, beside those that are spelled alike (case aside).

    Raises
    ------
    InvalidInputError
        If no image is of one of our classes, or `renamed` names a class that does not exist.
    """
    if strange := sorted(set(renamed.values()) - set(classes)):
        raise InvalidInputError(f"--map: {strange[0]!r} is none of the classes {', '.join(classes)}")
    if own.names is None:
        return Fitted(own.images, None, {}, {}, int(own.resized.sum()))
    theirs = sorted(set(own.names))
    if strange := sorted(set(renamed) - set(theirs)):
        raise InvalidInputError(f"--map: the images have no class {strange[0]!r}; they have {_some(theirs)}")
    alike = {name.casefold(): name for name in classes}
    mapped = {name: alike[name.casefold()] for name in theirs if name.casefold() in alike} | dict(renamed)
    if not mapped:
        raise InvalidInputError(
            f"none of the classes {_some(theirs)} is one of {', '.join(classes)}; "
            "say which is which with --map THEIRS=OURS"
        )
    kept = [row for row, name in enumerate(own.names) if name in mapped]
    labels = np.array([classes.index(mapped[own.names[row]]) for row in kept], dtype=np.int64)
    left_out = Counter(name for name in own.names if name not in mapped)
    resized = int(own.resized[kept].sum())
    return Fitted(own.images[kept], labels, dict(sorted(left_out.items())), mapped, resized)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _sized(images: Iterable[Bytes], filter_: str, side: int) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return images at one size (n, side, side, 3), and which of them had another."""
    sized, resized = [], []
    for image in images:
        height, width = image.shape[:2]
        resized.append((height, width) != (side, side))
        sized.append(square(image, filter_, side) if resized[-1] else image)
    return np.stack(sized), np.array(resized)


def square(image: Bytes, filter_: str, side: int) -> Bytes:
    """Return the middle square of an image (H, W, 3), resized with a filter of `FILTERS`."""
    height, width = image.shape[:2]
    shorter = min(height, width)
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = Image.fromarray(image).crop((left, top, left + shorter, top + shorter))
    return np.asarray(square.resize((side, side), FILTERS[filter_]))


def write_dataset(
    name: str,
    fitted: Fitted,
    classes: Sequence[str],
    texts: Mapping[str, str],
    cards: Path,
    folder: Path,
    replace: bool = False,
) -> tuple[Path, Path]:
    """Write arrays to the data folder and a card beside the others; return the card's and the arrays' place.

    Parameters
    ----------
    name
        Of the dataset.
    fitted
        Its images.
    classes
        In label order.
    texts
        `title`, `description`, `shift`, `licence` and `citation` of the card.
    cards
        The workspace's folder of dataset cards.
    folder
        The data folder.
    replace
        Whether a card and arrays of that name may be replaced. What was recorded of them is forgotten.

    Raises
    ------
    CardError
        If the card would not be valid.
    InvalidInputError
        If one is there already, or is one that this function did not write, or is sealed.
    """
    path, place = cards / f"{name}.toml", folder / name
    _check_free(path, place, replace)
    card = _card_text(name, fitted, classes, texts)
    arrays: dict[str, NDArray[Any]] = {"images.npy": fitted.images}
    if fitted.labels is not None:
        arrays["labels.npy"] = fitted.labels
    # Before the arrays: a kill must not leave old records beside new files.
    Store(folder).forget(name)
    for file, array in arrays.items():
        stream = io.BytesIO()
        np.save(stream, np.asarray(array), allow_pickle=False)
        write_atomic(place / file, stream.getvalue())
    write_atomic(path, card)
    return path, place


def _check_free(path: Path, arrays: Path, replace: bool) -> None:
    """Refuse names that are taken: always by what this command did not make, or by what others rely on."""
    for taken in (path, arrays):
        if taken.exists() and not replace:
            raise InvalidInputError(f"{taken}: is there already; choose another name, or --replace it")
    if not path.exists():
        if arrays.exists():
            raise InvalidInputError(f"{arrays}: is there without a card of that name; choose another name")
        return
    card = read_card(DatasetCard, path)
    if not card.own:
        raise InvalidInputError(
            f"{path}: is not a set that shiftcast data add made, so it is not replaced; choose another name"
        )
    if card.seal:
        raise InvalidInputError(
            f"{path}: is sealed ({card.seal.sealed}); another set under its name would undo the seal. Choose "
            "another name"
        )


def _card_text(name: str, fitted: Fitted, classes: Sequence[str], texts: Mapping[str, str]) -> str:
    """Return a valid card's TOML."""
    labelled = fitted.labels is not None
    values: dict[str, Any] = {
        "title": texts["title"],
        "description": texts["description"],
        "layout": "arrays",
        "path": name,
        "files": ["images.npy", "labels.npy"] if labelled else ["images.npy"],
        "classes": list(classes),
        "n": len(fitted.images),
        "public": False,
        "own": True,
        "shift": texts["shift"],
        "labels": "given" if labelled else "withheld",
        "citation": texts["citation"],
        "licence": texts["licence"],
        "obtain": f'A set of your own (shiftcast data add); its arrays lie in "$SHIFTCAST_DATA"/{name}.',
        "fingerprint": fingerprint(fitted.images, fitted.labels),
    }
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    DatasetCard.model_validate({"name": name, **tomllib.loads(text)})
    return text


def _toml(value: Any) -> str:
    """Return a value as TOML: strings, booleans, integers and lists of strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c for c in escaped) + '"'
