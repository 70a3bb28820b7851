"""All stored results as tidy pandas tables: what other people's analyses start from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # read when tables are asked for: importing the package takes no pandas
    import pandas as pd

    from shiftcast.board.tables import SuiteScores
    from shiftcast.cards.suite import Suite
    from shiftcast.runs.signals import Signals
    from shiftcast.workspace import Workspace

SUITE = ("suite", "edition")
"""First columns of every table."""
EVERY = 5
"""Runs between two lines of progress."""
Named = tuple[str, str, "Mapping[str, pd.DataFrame]"]
"""A suite's name, edition and tables."""


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
    boards
        The leaderboard's own figures: one row per kind of shift and estimator, see
        `shiftcast.board.stored.board_figures`; `board` gives those of one suite.
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
    boards: pd.DataFrame

    def board(self, suite: str | None = None, kind: str = "natural") -> pd.DataFrame:
        """Return the leaderboard's figures of each estimator, by track and rank.

        Errors are percentage points: means over the cells (model x shift) in which the estimator answers,
        as the leaderboard has them. A mean over the rows of `estimates` is another figure: `error` there has
        a sign, models with more seeds count more often, and answers from which the estimator abstains count.

        Parameters
        ----------
        suite
            Its name, with `@EDITION` where the arrays are others; the only one when None.
        kind
            "natural" or "synthetic".

        Returns
        -------
        DataFrame
            `estimator`, `track`, `rank`, `mae` with `mae_low` and `mae_high`, `bias`, `coverage` and
            `abstained` (shares), `cells` of `all_cells`, and the other columns of `boards`.

        Raises
        ------
        InvalidInputError
            If there is no such suite or kind, or there are several suites and none is named.
        """
        import numpy as np

        from shiftcast.errors import InvalidInputError
        from shiftcast.runs.layout import label_of

        pairs = zip(self.boards["suite"], self.boards["edition"], strict=True)
        labels = np.array([label_of(*pair) for pair in pairs], dtype=object)
        known = sorted(set(labels))
        if suite is None and len(known) == 1:
            suite = known[0]
        kinds = sorted(set(self.boards["kind"]))
        if suite not in known or kind not in kinds:
            raise InvalidInputError(
                f"board(suite={suite!r}, kind={kind!r}): expected a suite among {', '.join(known) or 'none'} "
                f"and a kind among {', '.join(kinds) or 'none'}"
            )
        chosen = self.boards[(labels == suite) & (self.boards["kind"] == kind)]
        first = ["estimator", "track", "rank", "mae", "mae_low", "mae_high", "bias", "coverage", "abstained"]
        first += ["cells", "all_cells"]
        hidden = {"suite", "edition", "kind"}
        rest = [name for name in chosen if name not in hidden.union(first)]
        figures: pd.DataFrame = chosen[[*first, *rest]].reset_index(drop=True)
        return figures

    def __repr__(self) -> str:
        """Return the names of the tables and how many rows each has."""
        sizes = (f"{one.name}={len(getattr(self, one.name)):,} rows" for one in fields(self))
        return f"{type(self).__name__}({', '.join(sizes)})"


def load_results(
    folder: str | Path | None = None,
    suite: str | Sequence[str] | None = None,
    workspace: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Results:
    """Return every table of what is stored; needs no images and no torch.

    Tables that `shiftcast leaderboard` wrote are read, in seconds. Where there are none of just these runs
    and cards, the suite is scored, which takes minutes for a large one. In tables that are read, numbers have
    six decimals and `seconds` are NaN.

    Parameters
    ----------
    folder
        The folder of results; the workspace's own `results/` when None.
    suite
        Name of one suite or names of several; all that have results when None.
    workspace
        Folder of the cards; found as by the command line when None.
    progress
        Is given a line now and then while a suite is scored; on a terminal, they are printed when None.

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
    >>> results.board("cifar10-cpu")[["estimator", "mae", "cells", "abstained"]]  # doctest: +SKIP
    """
    from shiftcast.errors import InvalidInputError
    from shiftcast.runs.layout import stored_suites
    from shiftcast.workspace import find_workspace

    place = find_workspace(None if workspace is None else Path(workspace))
    if isinstance(folder, str) and folder in place.suites and not Path(folder).is_dir():
        raise InvalidInputError(
            f"load_results: {folder!r} is a suite, not a folder; write load_results(suite={folder!r})"
        )
    chosen: list[Suite | None] = [place.suite(name) for name in _names(suite)]
    found = []
    for one in chosen or [None]:
        results = place.results(one) if folder is None else Path(folder)
        stored = [own for own in stored_suites(place, results) if one is None or own[0].name == one.name]
        if one is not None and not stored:
            raise InvalidInputError(
                f"{results}: holds no results of suite {one.name!r}; make some: shiftcast run"
            )
        found += [_tables(place, results, *own, progress) for own in stored]
    return joined(found)


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


def _tables(
    workspace: Workspace, results: Path, suite: Suite, edition: str, progress: Callable[[str], None] | None
) -> Named:
    """Return the tables of one suite: those that are kept, or else scored anew."""
    from shiftcast.board.assemble import score_suite
    from shiftcast.board.stored import read_files
    from shiftcast.runs.layout import label_of

    kept = read_files(workspace, results, suite, edition)
    if kept is not None:
        return suite.name, edition, kept
    label, tell = label_of(suite.name, edition), progress or _tell_terminal

    def say(done: int, total: int) -> None:
        if done == 1 or done % EVERY == 0 or done == total:
            tell(f"scoring {label}: {done} of {total} runs")

    return tables_of(score_suite(workspace, suite, results, edition, progress=say))


def _tell_terminal(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"{line}\n")


def tables_of(scores: SuiteScores) -> Named:
    """Return a suite's name, edition and tables from its scores."""
    from shiftcast.board.build import build_board
    from shiftcast.board.stored import board_figures

    named = {field.name: "table" if field.name == "estimates" else field.name for field in fields(Results)}
    made = {"boards": board_figures(build_board(scores))}
    tables = {name: made[name] if name in made else getattr(scores, own) for name, own in named.items()}
    return scores.suite.name, scores.edition, tables


def joined(suites: Sequence[Named]) -> Results:
    """Return the tables of several suites as one each."""
    ordered = sorted(suites, key=lambda suite: suite[:2])
    return Results(**{field.name: _joined(ordered, field.name) for field in fields(Results)})


def _joined(suites: Sequence[Named], name: str) -> pd.DataFrame:
    """Return one table of all suites, one below the other."""
    import pandas as pd

    frames = []
    for suite, edition, tables in suites:
        own = tables[name]
        own = own.drop(columns=[column for column in SUITE if column in own])
        if name == "estimates":
            own = own.assign(error=own["predicted"].astype(float) - own["actual"].astype(float))
        own.insert(0, SUITE[0], suite)
        own.insert(1, SUITE[1], edition)
        frames.append(own)
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    whole: pd.DataFrame = pd.concat(filled, ignore_index=True)
    return whole
