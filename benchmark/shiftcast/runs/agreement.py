"""Whether runs of a suite are of the same images: what is known of each set, and what contradicts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from shiftcast.data.fingerprints import DatasetUsed
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import StoredSet, true_ranks
from shiftcast.runs.problems import Problem
from shiftcast.runs.suite_runs import ReportedRun, StoredRun
from shiftcast.util.types import Integers


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a set's images.

    Parameters
    ----------
    n
        How many there are.
    labels
        True classes (n,); None where they are withheld.
    clusters
        Which object each image shows (n,), or None.
    used
        The arrays that stand behind the set's name; None where they were not made.
    said_by
        The dataset, or the run, that says so.
    from_run
        Whether a run says so: other runs then know as much of the labels.
    """

    n: int
    labels: Integers | None
    clusters: Integers | None
    used: DatasetUsed | None
    said_by: str
    from_run: bool = True


def learn(known: dict[str, Known], run: StoredRun) -> None:
    """Add what a run says of sets of which nothing is known."""
    for name, stored in run.sets.items():
        if name not in known:
            used = run.record.datasets[name]
            known[name] = Known(stored.n, stored.labels, stored.clusters, used, str(run.key))


def contradictions(folder: RunFolder, run: StoredRun, known: Mapping[str, Known]) -> Iterator[Problem]:
    """Give what of a run's sets is not as it is known to be."""
    for name, stored in run.sets.items():
        if name not in known or known[name].said_by == str(run.key):
            continue
        fingerprint = run.record.datasets[name].fingerprint
        for what, expected, found in _differences(stored, fingerprint, known[name], run):
            yield Problem(
                f"{folder.path}, {name}, {what}",
                f"{expected}, as {known[name].said_by} says",
                found,
                f"use the images of suite {run.record.suite!r} in their order; {run.record.remedy}",
            )


def _differences(
    stored: StoredSet, fingerprint: str, known: Known, run: StoredRun
) -> Iterator[tuple[str, str, str]]:
    """Give in what a set is not the one that is known: what, expected, found."""
    if stored.n != known.n:
        yield "images", f"{known.n:,}", f"{stored.n:,}"
        return
    if known.used is not None and fingerprint != known.used.fingerprint:
        yield "fingerprint", f"{known.used.fingerprint[:12]}…", f"{fingerprint[:12]}…"
    if known.labels is None:
        if known.from_run and stored.true_rank is not None:
            yield "accuracy", "none: the labels are withheld", f"{stored.accuracy:.6f}"
    elif stored.true_rank is not None:
        ranks = true_ranks(stored.logits, known.labels)
        if wrong := int((ranks != stored.true_rank).sum()):
            found = f"{stored.accuracy:.6f}, with other true classes of {wrong:,} images"
            yield "accuracy", f"accuracy {(ranks == 0).mean():.6f}", found
    elif not isinstance(run, ReportedRun):  # those of self-reported runs follow from the labels
        yield "accuracy", "ranks of the true classes", "none"
    one, other = stored.clusters, known.clusters
    same = np.array_equal(one, other) if one is not None and other is not None else one is other
    if not same and (known.used is not None or (one is not None and other is not None)):
        yield "cluster", "the objects that the images show", "others"
