"""From a workspace's results to the suites of a site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from shiftcast.board.assemble import score_suite
from shiftcast.board.build import build_board
from shiftcast.board.tables import SuiteScores
from shiftcast.cards.suite import Suite
from shiftcast.errors import InvalidInputError
from shiftcast.estimators import official_estimators
from shiftcast.runs.layout import results_folder, stored_suites
from shiftcast.runs.reading import read_pool
from shiftcast.runs.suite_runs import Pool
from shiftcast.site.html import slugs
from shiftcast.site.images import pictures
from shiftcast.site.outputs import read_outputs
from shiftcast.site.suite import Section
from shiftcast.workspace import Workspace, data_folder


def read_sections(
    workspace: Workspace,
    results: Path,
    names: Sequence[str],
    images: bool,
    *,
    tell: Callable[[str], object] | None = None,
) -> list[Section]:
    """Return the suites of a site, scored, in order of name.

    Parameters
    ----------
    workspace
        Where the cards are.
    results
        The results folder; a scratch suite that is named is read from its own when it is the workspace's.
    names
        Suites; every one that has results when empty.
    images
        Also show images whose licence does not let them be passed on.
    tell
        Is given a line before each suite is scored, which takes many seconds.

    Raises
    ------
    InvalidInputError
        If a suite has no results.
    """
    sections = []
    stored = _stored(workspace, results, names)
    for number, (place, suite, edition) in enumerate(stored, 1):
        if tell is not None:
            which = f" ({number} of {len(stored)})" if len(stored) > 1 else ""
            tell(f"reading and scoring {results_folder(Path(), suite, edition)}{which}")
        scores = score_suite(workspace, suite, place, edition)
        pool, _ = read_pool(workspace, suite, results_folder(place, suite, edition))
        sections.append(make_section(workspace, scores, pool, images))
    folders = slugs(section.folder for section in sections)
    alone = len(sections) == 1
    return [replace(section, folder=folders[section.folder], alone=alone) for section in sections]


def _stored(workspace: Workspace, results: Path, names: Sequence[str]) -> list[tuple[Path, Suite, str]]:
    """Return the results folder, suite and edition of everything that is to be shown."""
    if not names:
        return [(results, *found) for found in stored_suites(workspace, results)]
    stored = []
    for name in sorted(set(names)):
        suite = workspace.suite(name)
        place = workspace.results(suite) if results == workspace.results() else results
        found = [(place, *one) for one in stored_suites(workspace, place) if one[0].name == name]
        if not found:
            raise InvalidInputError(f"{place}: holds no {name}; make some with: shiftcast run {name}")
        stored += found
    return stored


def make_section(workspace: Workspace, scores: SuiteScores, pool: Pool, images: bool) -> Section:
    """Return what a suite's pages are made from: its scores, and what its runs say besides."""
    outputs = read_outputs(pool) if pool.scored else None
    shown, unseen = pictures(pool, outputs, data_folder(), images) if outputs else ({}, {})
    known = official_estimators()
    return Section(
        board=build_board(scores),
        folder=results_folder(Path(), scores.suite, scores.edition).as_posix(),
        outputs=outputs,
        cards=workspace.datasets,
        citations={name: estimator.citation for name, estimator in known.items()},
        pictures=shown,
        unseen=unseen,
    )
