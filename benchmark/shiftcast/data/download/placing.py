"""From `.partial/` into place: files one by one, a dataset's folder whole.

Nothing of a person's own is lost on the way: links, and files that are not the dataset's, are replaced
only where that was asked for.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.download.inventory import scan
from shiftcast.data.download.records import Store, contents
from shiftcast.errors import DataError

NAMED = 5
"""Files that a message names at most."""


def check_links(folder: Path, places: Iterable[str], force: str, say: Callable[[str], None]) -> None:
    """Refuse to write over or through links unless that was asked for; if it was, say what is done.

    Parameters
    ----------
    folder
        The data folder, which may itself be a link.
    places
        What is to be written, below the folder.
    force
        How to ask for it, or empty where that was done.
    say
        Is called with a line for people.

    Raises
    ------
    DataError
        If a link leads nowhere, or something would be replaced that is a link or behind one.
    """
    said: dict[str, None] = {}
    for name in places:
        path = folder / name
        link = next((parent for parent in _above(folder, path) if parent.is_symlink()), None)
        if link is not None and not link.is_dir():
            raise DataError(f"{link}: is a link that does not lead to a folder; repair it or remove it")
        replaced = path.is_symlink() or (link is not None and path.exists())
        what = f"{path} -> {path.readlink()}" if path.is_symlink() else f"{path} (behind the link {link})"
        if replaced and force:
            raise DataError(
                f"{what}: would be replaced. Move or remove it yourself, or replace it with: {force}"
            )
        if path.is_symlink():
            said[f"the link {what} is replaced; the files behind it stay"] = None
        elif link is not None:
            said[f"{link} is a link: files are written to {link.resolve()}"] = None
    for line in said:
        say(line)


def _above(folder: Path, path: Path) -> list[Path]:
    """Return the folders between the data folder and a place, the outermost first."""
    return [parent for parent in reversed(path.parents) if parent != folder and parent.is_relative_to(folder)]


def check_strangers(
    card: DatasetCard, staging: Path, store: Store, force: str, say: Callable[[str], None]
) -> None:
    """Refuse to replace a folder that holds files which the dataset does not have, unless asked to.

    Parameters
    ----------
    card
        The dataset.
    staging
        Where its files are, laid out as in the data folder.
    store
        The data folder.
    force
        How to ask for it, or empty where that was done.
    say
        Is called with a line for people.

    Raises
    ------
    DataError
        Naming the files.
    """
    for place in contents(card):
        new, old = staging / place, store.folder / place
        if not new.is_dir() or not old.is_dir() or old.is_symlink():
            continue
        strange = sorted({name for name, _, _ in scan(old)} - {name for name, _, _ in scan(new)})
        more = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
        named = ", ".join(strange[:NAMED]) + more
        if strange and force:
            raise DataError(
                f"{old}: would be replaced as a whole, but holds files that do not belong to {card.name!r}: "
                f"{named}. Move them elsewhere, or delete them with: {force}"
            )
        if strange:
            say(f"{old} is replaced, including files that are not part of the dataset: {named}")


def put(card: DatasetCard, staging: Path, folder: Path) -> None:
    """Move a dataset's files, or its folder, and nothing else from `staging` into the data folder."""
    for name in contents(card):
        swap(staging / name, folder / name)


def swap(source: Path, target: Path) -> None:
    """Move a file or folder to `target` in place of what is there, which stands until then.

    A link is replaced, not followed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        _move(source, target)
        return
    old = target.with_name(f".{target.name}.old")
    _remove(old)  # what a killed run left
    replaced = target.is_symlink() or target.exists()
    # Moved aside and not deleted: it comes back if the new one cannot be put there.
    if replaced:
        _move(target, old)
    try:
        _move(source, target)
    except OSError:
        if replaced:
            _move(old, target)
        raise
    _remove(old)


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The target is on another disk, behind a link: copied there first, so that it is never half there.
        new = target.with_name(f".{target.name}.new")
        _remove(new)
        _copy(source, new)
        new.replace(target)
        _remove(source)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
