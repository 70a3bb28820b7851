"""Files that a person already has: found by name, verified like downloads, linked or copied.

`--from DIR` may hold the publisher's archives, the folder they unpack to, or the dataset's files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from shiftcast.cards.dataset import DatasetCard, Download
from shiftcast.data.download.fetch import Fetched, wrong_bytes
from shiftcast.data.download.records import contents
from shiftcast.errors import MissingDataError
from shiftcast.util.hashing import file_hash

DEPTH = 2
"""Folders below the one that is named that are searched too."""


def find_download(download: Download, source: Path, expected: str | None) -> tuple[Fetched | None, list[str]]:
    """Look for a publisher's file below `source`.

    Returns
    -------
    The first one with the right bytes, or None; and what is wrong with those that have its name.
    """
    problems = []
    for folder in _folders(source):
        path = folder / download.file
        if os.path.isfile(path):  # noqa: PTH113  False of what may not be looked at
            if not (problem := wrong_bytes(path, download, expected)):
                return Fetched(path, path.resolve().as_uri(), file_hash(path)), []
            problems.append(problem)
    return None, problems


def find_contents(card: DatasetCard, source: Path) -> Iterator[tuple[bool, dict[str, Path]]]:
    """Look below `source` for all of a dataset's files, or for its folder.

    Yields
    ------
    Whether a folder's name, or the person, says that they are this dataset's (those come first); and
    the files or folders at hand, by their places below the data folder.
    """
    parts, places = Path(card.path).parts, contents(card)
    candidates = []
    for folder in _folders(source):
        for start in range(len(parts) + 1):
            base = folder.joinpath(*parts[start:])
            paths = {name: base / Path(name).relative_to(card.path) for name in places}
            named = base.resolve().name == Path(card.path).name or (bool(card.files) and base == source)
            if (named or card.files) and all(map(os.path.exists, paths.values())):
                candidates.append((named, paths))
    yield from sorted(candidates, key=lambda candidate: not candidate[0])


def place(source: Path, target: Path) -> None:
    """Copy a file or folder to `target`: through a hard link, a person's own file could be changed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def require_folder(source: Path) -> None:
    """Refuse a folder that is none."""
    if source.is_file():
        raise MissingDataError(f"--from {source}: is a file; name the folder that holds it: {source.parent}")
    if not source.is_dir():
        raise MissingDataError(f"--from {source}: no such folder; name the one that holds the files")
    if not os.access(source, os.R_OK | os.X_OK):
        raise MissingDataError(f"--from {source}: you may not look into this folder")


def _folders(source: Path) -> Iterator[Path]:
    """Yield a folder and those below it, but for those that may not be looked into, as lost+found."""
    for folder, below, _ in os.walk(source, followlinks=True):
        deepest = len(Path(folder).relative_to(source).parts) == DEPTH
        below[:] = [] if deepest else sorted(name for name in below if not name.startswith("."))
        yield Path(folder)
