"""The site as files: from a workspace's results to every page and script, and what is written where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path, PurePosixPath

from shiftcast.board.assemble import score_suite
from shiftcast.board.build import build_board
from shiftcast.board.columns import ESTIMATORS, Column
from shiftcast.board.tables import SuiteScores
from shiftcast.cards.suite import Suite
from shiftcast.errors import InvalidInputError, MissingExtraError
from shiftcast.estimators import official_estimators
from shiftcast.runs.layout import label_of, results_folder, stored_suites
from shiftcast.runs.reading import read_pool
from shiftcast.runs.suite_runs import Pool
from shiftcast.site.board import board_page, kinds_there
from shiftcast.site.chart_data import suite_script
from shiftcast.site.charts import specs
from shiftcast.site.estimators import estimator_pages
from shiftcast.site.html import Child, script_text, slugs, tag
from shiftcast.site.images import pictures
from shiftcast.site.layout import ASSETS, SITE, page, paragraph, section
from shiftcast.site.links import link
from shiftcast.site.models import model_pages
from shiftcast.site.outputs import read_outputs
from shiftcast.site.shifts import shift_pages
from shiftcast.site.suite import Section
from shiftcast.site.tables import table
from shiftcast.util.files import write_atomic
from shiftcast.workspace import Workspace, data_folder

OWN = ("charts.js", "page.css", "page.js")
"""Files of ours that go to the site as they are."""
LIST = f"{ASSETS}/files.txt"
"""Names the site's files, so that the next one can take away what it does not make."""
NOTICE = "/* Vega, Vega-Lite and Vega-Embed, BSD 3-Clause Licence, https://vega.github.io */\n"

SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the bundle hands to our scripts."""

Files = dict[str, str]
"""Text by path below the site's root."""


def read_sections(
    workspace: Workspace,
    results: Path,
    names: Sequence[str],
    images: bool,
    *,
    tell: Callable[[str], object] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
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
    progress
        Is told which suite is scored, how many of its runs are done, and of how many.

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
        told = None if progress is None else partial(progress, label_of(suite.name, edition))
        scores = score_suite(workspace, suite, place, edition, progress=told)
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


def site(sections: Sequence[Section], bundle: str) -> Files:
    """Return every file of the site.

    Parameters
    ----------
    sections
        The suites.
    bundle
        JavaScript of Vega, Vega-Lite and Vega-Embed, see `vega_bundle`.
    """
    made: Files = {f"{ASSETS}/vega.js": NOTICE + bundle}
    for name in OWN:
        made[f"{ASSETS}/{name}"] = (files("shiftcast.site") / ASSETS / name).read_text(encoding="utf-8")
    made[f"{ASSETS}/specs.js"] = f"window.SHIFTCAST_SPECS={script_text(specs())};\n"
    if len(sections) != 1:
        made["index.html"] = _start(sections)
    for suite in sections:
        made[suite.start] = board_page(suite)
        made[suite.data] = suite_script(suite.board, suite.names.seen_from(f"{suite.folder}/"))
        for pages in (model_pages(suite), estimator_pages(suite), shift_pages(suite)):
            made |= {f"{suite.folder}/{path}": text for path, text in pages.items()}
    made[LIST] = "".join(f"{path}\n" for path in sorted([*made, LIST]))
    return made


def _start(sections: Sequence[Section]) -> str:
    """Return the start page of several suites."""
    rows = []
    for suite in sections:
        shared = {"suite": suite, "links": suite.names.seen_from(f"{suite.folder}/").cells, "estimator": ""}
        there = [tables for tables in suite.board.kinds if tables.kind in kinds_there(suite.board)]
        rows += [{**shared, "kind": tables.kind, **(tables.best or {})} for tables in there]
        rows += [] if there else [{**shared, "kind": ""}]
    columns = [
        Column("suite", "suite"),
        Column("name", "name", lambda row: row["suite"].folder),
        Column("kind", "shifts"),
        replace(ESTIMATORS["architectures"], large_first=True),
        replace(
            ESTIMATORS["mae"],
            heading="lowest MAE",
            help="mean absolute error of the best ranked estimator, in percentage points",
        ),
        Column("estimator", "by"),
    ]
    cells = {
        "suite": lambda row: link(row["suite"].board.title, row["suite"].start),
        "estimator": lambda row: row["links"]["estimator"](row),
    }
    blocks: list[Child] = [
        tag("h1", SITE),
        paragraph(
            "How accurate is an image classifier on images without labels? Each estimator predicts "
            "it from labels of in-distribution images only. This site compares the predictions with the "
            "measured accuracies.",
            class_="lead",
        ),
        section("Suites", table("suites", "Suites", columns, rows, cells=cells, search="Find in suites")),
    ]
    return page(SITE, blocks, depth=0)


def vega_bundle() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed, which needs nothing else.

    Raises
    ------
    MissingExtraError
        If vl-convert, which carries it, is not installed.
    """
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        raise MissingExtraError("page", "vl-convert-python") from error
    return str(vl_convert.javascript_bundle(SNIPPET))


def write_site(made: Mapping[str, str], out: Path) -> None:
    """Write a site; files of the one that was there before and that nothing makes any more are removed.

    Raises
    ------
    InvalidInputError
        If the folder holds something else.
    """
    before = previous(out)
    for path in sorted(made, key=lambda path: (path == LIST, path == "index.html", path)):
        write_atomic(out / path, made[path])
    for path in sorted(before - set(made)):
        (out / path).unlink(missing_ok=True)


def previous(out: Path) -> set[str]:
    """Return the files of the site in a folder; empty where there is none yet.

    Raises
    ------
    InvalidInputError
        If the folder is a file, or holds files and no site of ours.
    """
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"--out {out}: is a file; name a folder for the site")
    try:
        names = (out / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()):
            raise InvalidInputError(
                f"--out {out}: is not empty and holds no site of ours; name a new folder, or empty it"
            ) from None
        return set()
    safe = [name for name in names if name and ".." not in PurePosixPath(name).parts]
    return {name for name in safe if not PurePosixPath(name).is_absolute()}
