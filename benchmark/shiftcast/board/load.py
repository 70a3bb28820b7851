"""All stored results as tidy pandas tables: what other people's analyses start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # read when tables are asked for: importing the package takes no pandas
    import pandas as pd

    from shiftcast.board.tables import SuiteScores
    from shiftcast.cards.suite import Suite
    from shiftcast.runs.signals import Signals

SUITE = ("suite", "edition")
"""First columns of every table."""


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """Every table of the stored suites, one below the other.

    Each has the columns `suite` and `edition` ("" where the arrays are those that the suite names),
    then those that `SuiteScores` lists under the same name (`estimates` is its `table`). Accuracies are
    shares in [0, 1], errors percentage points where the name says so.

    Parameters
    ----------
    estimates
        One row per scored run, target, estimator and protocol: predicted and actual accuracy.
    runs
        One row per run that a suite lists, with its status.
    accuracies
        One row per complete run and set of images.
    skipped
        Estimators that gave no row, and why.
    seeds
        The spread of models with at least four seeds.
    views, label_views
        Accuracies on parts of sets, and under other labels.
    controls
        Stated expectations and what was seen.
    signals
        Means of what was recorded of each image, one row per run and set; `load_signals` gives the values.
    reported
        Self-reported runs.
    """

    estimates: pd.DataFrame
    runs: pd.DataFrame
    accuracies: pd.DataFrame
    skipped: pd.DataFrame
    seeds: pd.DataFrame
    views: pd.DataFrame
    label_views: pd.DataFrame
    controls: pd.DataFrame
    signals: pd.DataFrame
    reported: pd.DataFrame

    def __repr__(self) -> str:
        """Return the names of the tables and how many rows each has."""
        sizes = (f"{one.name}={len(getattr(self, one.name)):,} rows" for one in fields(self))
        return f"{type(self).__name__}({', '.join(sizes)})"


def load_results(
    folder: str | Path | None = None,
    suite: str | Sequence[str] | None = None,
    workspace: str | Path | None = None,
) -> Results:
    """Score what is stored and return every table; needs no images and no torch.

    Parameters
    ----------
    folder
        The folder of results; the workspace's own `results/` when None.
    suite
        Name of one suite or names of several; all that have results when None. Scoring all takes
        nearly two minutes.
    workspace
        Folder of the cards; found as by the command line when None.

    Raises
    ------
    InvalidInputError
        If there are no results, or none of a suite, or `suite` is neither a name nor names.
    UnknownNameError
        If there is no such suite.

    Examples
    --------
    >>> import shiftcast
    >>> results = shiftcast.load_results(suite="cifar10-cpu")  # doctest: +SKIP
    >>> results.estimates.query("natural").groupby("estimator")["error"].mean()  # doctest: +SKIP
    """
    from shiftcast.board.assemble import score_suite
    from shiftcast.errors import InvalidInputError
    from shiftcast.runs.layout import stored_suites
    from shiftcast.workspace import find_workspace

    place = find_workspace(None if workspace is None else Path(workspace))
    if isinstance(folder, str) and folder in place.suites and not Path(folder).is_dir():
        raise InvalidInputError(
            f"load_results: {folder!r} is a suite, not a folder; write load_results(suite={folder!r})"
        )
    chosen: list[Suite | None] = [place.suite(name) for name in _names(suite)]
    scored = []
    for one in chosen or [None]:
        results = place.results(one) if folder is None else Path(folder)
        stored = [own for own in stored_suites(place, results) if one is None or own[0].name == one.name]
        if one is not None and not stored:
            raise InvalidInputError(
                f"{results}: holds no results of suite {one.name!r}; make some: shiftcast run"
            )
        scored += [score_suite(place, own, results, edition) for own, edition in stored]
    return tables_of(scored)


def load_signals(run: str | Path) -> Signals | None:
    """Return what a run recorded of each image, without labels: arrays by set; needs no images and no torch.

    Parameters
    ----------
    run
        The run's folder, `results/SUITE/ARCHITECTURE/RECIPE/seed-N`.

    Returns
    -------
    Signals or None
        `blocks`, the names of the probed blocks, and `sets`, an `ImageSignals` by set; its images are in
        the order of the set's arrays. None for a run whose recipe asked for none.

    Raises
    ------
    RunError
        If the folder holds no complete run, or its files are damaged.

    Examples
    --------
    >>> import shiftcast
    >>> signals = shiftcast.load_signals(
    ...     "results/cifar10/resnet10_w64/strong-16/seed-0"
    ... )  # doctest: +SKIP
    >>> signals.sets["cifar10-test"].depth  # doctest: +SKIP
    """
    from shiftcast.runs.folder import RunFolder

    place = RunFolder(Path(run))
    return place.read_signals(*place.read(filed=True))


def _names(suite: object) -> list[str]:
    """Return the suites that are asked for, each once; none for all."""
    from shiftcast.errors import InvalidInputError

    if suite is None:
        return []
    given = [suite] if isinstance(suite, str) else suite
    names = list(given) if isinstance(given, list | tuple) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(
            f"suite={suite!r}: expected the name of a suite, a list of names, or None for all with results"
        )
    return list(dict.fromkeys(names))


def tables_of(all_scores: list[SuiteScores]) -> Results:
    """Return the tables of several suites as one each."""
    named = {field.name: "table" if field.name == "estimates" else field.name for field in fields(Results)}
    return Results(**{name: _joined(all_scores, source) for name, source in named.items()})


def _joined(all_scores: list[SuiteScores], name: str) -> pd.DataFrame:
    """Return one table of all suites, one below the other."""
    import pandas as pd

    frames = []
    for scores in sorted(all_scores, key=lambda scores: (scores.suite.name, scores.edition)):
        own = getattr(scores, name)
        own = own.drop(columns=[column for column in SUITE if column in own])
        if name == "table":
            own = own.assign(error=own["predicted"].astype(float) - own["actual"].astype(float))
        own.insert(0, SUITE[0], scores.suite.name)
        own.insert(1, SUITE[1], scores.edition)
        frames.append(own)
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    whole: pd.DataFrame = pd.concat(filled, ignore_index=True)
    return whole
