"""What is true of the images of a suite's sets: as the datasets say that are here, else as other runs do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import cast

from shiftcast.cards import Suite
from shiftcast.data.loading import base_index, load_natural
from shiftcast.errors import DataError, MissingDataError
from shiftcast.pool import StoredRun
from shiftcast.predictions import Integers
from shiftcast.runs import DatasetUsed
from shiftcast.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a set's images.

    Parameters
    ----------
    labels
        True classes (n,); None where they are withheld.
    clusters
        Which object each image shows (n,), or None.
    fingerprint
        Of the arrays; empty where it was not computed.
    said_by
        The dataset, or the run, that says so.
    """

    labels: Integers | None
    clusters: Integers | None
    fingerprint: str
    said_by: str


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

    def learn(self, run: StoredRun) -> None:
        """Take what a run says of sets that no earlier one holds."""
        used: Mapping[str, DatasetUsed] = run.record.datasets
        for name, stored in run.sets.items():
            if name not in self.runs and name in used:
                known = Known(stored.labels, stored.clusters, used[name].fingerprint, str(run.key))
                self.runs[name] = known


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
        return Known(images.labels, images.clusters, used.fingerprint, f"dataset {name}")

    for name in names:
        target = targets.get(name)
        derived = target is not None and target.derived
        found = load(suite.source.test if derived or target is None else target.dataset)
        if isinstance(found, str):
            truth.absent[name] = found
        elif target is not None and derived:
            labels = cast("Integers", found.labels)
            index = base_index(target, labels, suite.source.seed)
            truth.data[name] = Known(labels[index], None, "", found.said_by)
        else:
            truth.data[name] = found
    return truth
