"""From `.partial/` into place: files one by one, a dataset's folder whole.

Links, what is behind them, and files that are not the dataset's are replaced only where that was asked for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from shiftcast.cards.dataset import DatasetCard
from shiftcast.data.download.inventory import scan
from shiftcast.data.download.records import Store, contents
from shiftcast.errors import DataError

NAMED = 5
"""Files that a message names at most."""


def check_links(folder: Path, places: Iterable[str], force: str) -> None:
    """Refuse to replace links, and files behind them, unless asked to: a person put them there.

    Parameters
    ----------
    folder
        The data folder, which may itself be a link.
    places
        What is to be written, below the folder.
    force
        How to ask for it, or empty where that was done.

    Raises
    ------
    DataError
        If a link leads nowhere, or something would be replaced that is a link or behind one.
    """
    for name in places:
        path = folder / name
        inside = [part for part in (path, *path.parents) if part != folder and part.is_relative_to(folder)]
        link = next((part for part in reversed(inside) if part.is_symlink()), None)
        if link is None:
            continue
        if link != path and not link.is_dir():
            raise DataError(f"{link}: is a link that does not lead to a folder; repair it or remove it")
        if force and os.path.lexists(path):
            raise DataError(
                f"{path}: would be replaced, and {link} is a link to {link.readlink()}. Move or remove it "
                f"yourself, or replace it with: {force}"
            )


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
    """Move a file or folder to `target` in place of what is there, which comes back if that fails.

    A link is replaced, not followed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.old")
    _remove(old)  # what a killed run left
    replaced = os.path.lexists(target)
    if replaced:
        target.rename(old)
    try:
        shutil.move(source, target)  # which copies to another disk, behind a link
    except OSError:
        if replaced:
            _remove(target)
            old.rename(target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
