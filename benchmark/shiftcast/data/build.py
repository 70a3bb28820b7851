"""Builders: from the archive of a publisher's image files to the arrays that a card describes.

Nothing here downloads, and no archive is unpacked to the disk. Arrays reach their folder whole or
not at all.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftcast.cards.dataset import Build, DatasetCard
from shiftcast.data.download.unpack import Member, members
from shiftcast.data.fingerprints import fingerprint
from shiftcast.data.readers.image_folders import decode_png
from shiftcast.data.readers.layouts import Images, read_bytes, refuse_html
from shiftcast.errors import DataError, MissingDataError
from shiftcast.util.hashing import sha256

SIDE = 32
"""Height and width of the images that are made, in pixels."""

MAX_BYTES = 16 * 2**20
"""Size of an image file in an archive: far above what publishers hold, far below what hurts."""

HASH_LINE = re.compile(r"(?P<hash>[0-9a-f]{16}) (?P<label>[0-9]{1,4})")

Report = Callable[[str], None]
Found = tuple[str, "re.Match[str]", bytes]


def build_dataset(
    card: DatasetCard,
    archive: Path,
    folder: Path,
    cards_folder: Path,
    report: Report = lambda _: None,
) -> None:
    """Make a dataset's `.npy` files from the archive that its card names.

    Files that are there already are replaced, all of them or none.

    Parameters
    ----------
    card
        Of a dataset with `[build]`.
    archive
        Zip or tar file, compressed or not.
    folder
        The data folder; the arrays go to `card.path` below it.
    cards_folder
        Where the card lies, and beside it a list of hashes.
    report
        Gets a sentence on what was left out.

    Raises
    ------
    MissingDataError
        If the archive or the list of hashes is not there.
    DataError
        If the archive or an image in it cannot be read, does not hold what the card says, or the
        arrays cannot be written. Nothing is written then.
    """
    if card.build is None:
        raise DataError(f"dataset {card.name!r}: its card has no [build], so there is nothing to make")
    if not archive.is_file():
        raise MissingDataError(f"missing {archive.name}; looked in {archive.parent.absolute()}")
    if card.build.kind == "selection":
        made = _select(card, card.build, archive, cards_folder / card.build.hashes)
    else:
        made = _gather(card, card.build, archive, report)
    _write(card, made, folder / card.path)


def _select(card: DatasetCard, build: Build, archive: Path, hashes: Path) -> Images:
    """Return the images whose hashes are listed, in the list's order; stop as soon as all are found."""
    wanted = _read_hashes(card, hashes)
    labels = np.array([label for _, label in wanted], dtype=np.int64)
    images = np.zeros((card.n, SIDE, SIDE, 3), dtype=np.uint8)
    left = {pair: row for row, pair in enumerate(wanted)}
    for path, match, data in _members(archive, build.pattern):
        label = card.label_of.get(match["class"])
        if label is None:
            continue
        pixels = _exact(data, f"{archive}, {path}")
        row = left.pop((sha256(pixels.tobytes())[:16], label), None)
        if row is not None:
            images[row] = pixels
        # The rest of the archive may be gigabytes.
        if not left:
            break
    if left:
        raise DataError(
            f"{archive}: holds {card.n - len(left)} of the {card.n} images that {hashes.name} lists; "
            f"{len(left)} are missing. It is another or a damaged archive; obtain it again"
        )
    if card.fingerprint not in (None, fingerprint(images, labels)):
        raise DataError(
            f"{hashes}: lists other images, or in another order, than the card's fingerprint says"
        )
    return Images(images, labels)


def _gather(card: DatasetCard, build: Build, archive: Path, report: Report) -> Images:
    """Return every image whose class is kept, in order of path, shrunk to 32 pixels."""
    kept, skipped = [], Counter[str]()
    for path, match, data in _members(archive, build.pattern):
        label = card.label_of.get(match["class"])
        if label is None:
            skipped[match["class"]] += 1
            continue
        shown = (label, match["cluster"] if card.clusters else path)
        kept.append((path, label, shown, _shrunk(data, f"{archive}, {path}")))
    left_out = _left_out(skipped)
    if len(kept) != card.n:
        raise DataError(
            f"{archive}: expected {card.n} images of the classes of {card.name!r}, got {len(kept)}; "
            f"{left_out}. It is another or a damaged archive; obtain it again"
        )
    report(left_out)
    # By path: archives of the same files come in any order.
    kept.sort(key=lambda entry: entry[0])
    numbers: dict[tuple[int, str], int] = {}
    clusters = [numbers.setdefault(shown, len(numbers)) for _, _, shown, _ in kept]
    return Images(
        np.stack([pixels for *_, pixels in kept]),
        np.array([label for _, label, _, _ in kept], dtype=np.int64),
        np.array(clusters, dtype=np.int64) if card.clusters else None,
    )


def _left_out(skipped: Counter[str]) -> str:
    if not skipped:
        return "no image was left out for its class"
    named = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
    return f"{skipped.total()} images of {len(skipped)} classes without a counterpart were left out ({named})"


def _members(archive: Path, pattern: str) -> Iterator[Found]:
    """Yield path, match and bytes of every file whose whole path matches, in the archive's order."""
    refuse_html(archive, read_bytes(archive, 512))
    try:
        for member in members(archive):
            match = re.fullmatch(pattern, member.name)
            if match and member.kind == "file":
                yield member.name, match, _read(archive, member)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{archive}: cannot be read as a zip or tar archive ({error}). "
            "It is damaged or not whole; obtain it again"
        ) from error


def _read(archive: Path, member: Member) -> bytes:
    if member.size > MAX_BYTES:
        raise DataError(
            f"{archive}, {member.name}: expected an image file of at most {MAX_BYTES} bytes, "
            f"got {member.size}"
        )
    with member.open() as stream:
        return stream.read(member.size)


def _exact(data: bytes, where: str) -> NDArray[np.uint8]:
    image = decode_png(data, where)
    if image.size != (SIDE, SIDE):
        raise DataError(
            f"{where}: expected an image of {SIDE} x {SIDE} pixels, got {image.width} x {image.height}"
        )
    return np.asarray(image)


def _shrunk(data: bytes, where: str) -> NDArray[np.uint8]:
    image = decode_png(data, where)
    if image.width != image.height or image.width < SIDE:
        raise DataError(
            f"{where}: expected a square image of at least {SIDE} pixels a side, "
            f"got {image.width} x {image.height}"
        )
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def _read_hashes(card: DatasetCard, path: Path) -> list[tuple[str, int]]:
    """Return hash and label of each image, in order: 16 hexadecimal digits, a space, a number."""
    if not path.is_file():
        raise MissingDataError(f"missing {path.name}; looked in {path.parent}. It comes with the card")
    listed = []
    for number, line in enumerate(read_bytes(path).decode("ascii", "replace").splitlines(), start=1):
        match = HASH_LINE.fullmatch(line)
        if match is None or int(match["label"]) >= len(card.classes):
            raise DataError(
                f"{path}: line {number}: expected 16 hexadecimal digits, a space and a label below "
                f"{len(card.classes)}, got {line[:40]!r}"
            )
        listed.append((match["hash"], int(match["label"])))
    if len(listed) != card.n or len(set(listed)) != card.n:
        distinct = len(set(listed))
        raise DataError(
            f"{path}: expected {card.n} distinct lines, got {len(listed)}, {distinct} of them distinct"
        )
    return listed


def _write(card: DatasetCard, made: Images, folder: Path) -> None:
    # The images last: a folder without them is refused, so that arrays of two makings never mix.
    arrays: dict[str, NDArray[Any] | None] = {
        card.files[1]: made.labels,
        card.clusters: made.clusters,
        card.files[0]: made.images,
    }
    written = {name: array for name, array in arrays.items() if array is not None}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".build.", suffix=".part") as name:
            temporary = Path(name)
            for file, array in written.items():
                np.save(temporary / file, array, allow_pickle=False)
            (folder / card.files[0]).unlink(missing_ok=True)
            for file in written:
                (temporary / file).replace(folder / file)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to ({error.strerror or error})") from error
