"""What is true of the images of a suite's sets: as the datasets say that are here, else as other runs do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import cast

from shiftcast.cards.suite import RunKey, Suite
from shiftcast.data.loading import edition_tag, load_natural, load_sets
from shiftcast.data.sampling import base_index
from shiftcast.errors import DataError, InvalidInputError, MissingDataError, RunError
from shiftcast.runs.agreement import Known
from shiftcast.runs.reading import read_pool
from shiftcast.util.types import Integers
from shiftcast.workspace import Workspace, data_folder


@dataclass
class Truth:
    """What is known of each set, and why of some nothing is known from the data.

    Parameters
    ----------
    data
        By set's id, what the datasets that are here say.
    runs
        What complete runs say.
    absent
        Why the dataset of a set says nothing.
    """

    data: dict[str, Known] = field(default_factory=dict)
    runs: dict[str, Known] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def read_data(workspace: Workspace, suite: Suite, edition: str, names: Sequence[str], folder: Path) -> Truth:
    """Return what the datasets that are here say of sets of a suite.

    Derived sets are not made again: their labels are those of the images that they are made from.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and the suite.
    edition
        Which arrays the runs were made on; empty for those that the suite names.
    names
        Ids of sets.
    folder
        The data folder.
    """
    truth = Truth()
    if edition:
        truth.absent = dict.fromkeys(names, "other editions are not compared with the data")
        return truth
    targets = {target.id: target for target in suite.unfolded_targets()}

    @cache
    def load(name: str) -> Known | str:
        try:
            images, used = load_natural(workspace, suite, name, folder)
        except MissingDataError:
            return f"dataset {name} is not here"
        except DataError as error:
            return str(error)
        if used.edition != suite.editions.get(name, "publisher"):
            return f"dataset {name} is here as another edition, {used.edition}"
        said_by = f"dataset {name}"
        return Known(len(images), images.labels, images.clusters, used, said_by, from_run=False)

    for name in names:
        target = targets.get(name)
        derived = target is not None and target.derived
        known = load(suite.source.test if derived or target is None else target.dataset)
        if isinstance(known, str):
            truth.absent[name] = known
        elif target is not None and derived:
            labels = cast("Integers", known.labels)
            index = base_index(target, labels, suite.source.seed)
            truth.data[name] = Known(len(index), labels[index], None, None, known.said_by, from_run=False)
        else:
            truth.data[name] = known
    return truth


def known_sets(
    workspace: Workspace, suite: Suite, folder: Path, names: list[str], replaced: RunKey | None = None
) -> dict[str, Known]:
    """Return what outputs on each of the sets must fit.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and the suite.
    folder
        The suite's folder of results.
    names
        Ids of sets of the suite.
    replaced
        A run that is to be replaced, and is not asked if it is damaged.

    Raises
    ------
    RunError
        If another run in `folder` is damaged.
    MissingDataError
        If no complete run holds a set, and its dataset is not at hand.
    InvalidInputError
        If the dataset at hand is another edition than the one the suite names.
    """
    try:
        pool, _ = read_pool(workspace, suite, folder)
    except RunError:
        if replaced is None:
            raise
        pool, _ = read_pool(workspace, suite, folder, without=replaced)
    known = {name: pool.known[name] for name in names if name in pool.known}
    if left := [name for name in names if name not in known]:
        known |= _from_datasets(workspace, suite, folder, left)
    return known


def _from_datasets(workspace: Workspace, suite: Suite, folder: Path, names: list[str]) -> dict[str, Known]:
    why = f"no complete run in {folder} holds {', '.join(names)}, so that the datasets must say what it is"
    try:
        data = load_sets(workspace, suite, data_folder(), only=names)
    except MissingDataError as error:
        raise MissingDataError(f"{why}: {error}") from error
    absent = [name for name in names if name in data.absent]
    if absent:
        raise MissingDataError(f"{why}: {data.absent[absent[0]]}; or leave {', '.join(absent)} away")
    if other := edition_tag(suite, {name: data.used[name] for name in (suite.source.test, *names)}):
        raise InvalidInputError(
            f"{why}, but those at hand are another edition ({other}) than suite {suite.name!r} is about; "
            "get the right one with: shiftcast data get"
        )
    sets = {name: data.sets[name] for name in names}
    return {
        name: Known(len(one), one.labels, one.clusters, data.used[name], f"dataset {name}", from_run=False)
        for name, one in sets.items()
    }
