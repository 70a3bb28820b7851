"""What goes into the leaderboard's files, from scores."""

from __future__ import annotations

from collections.abc import Iterable
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from shiftcast.board.build import Board, build_board
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.confusion_page import render_confusion
from shiftcast.leaderboard.figures.board_data import figures
from shiftcast.leaderboard.figures.confusion_data import confusion_figures
from shiftcast.leaderboard.front_section import front
from shiftcast.leaderboard.legend_page import render_legend
from shiftcast.leaderboard.pages import PAGE, File, Files, SuitePages, assemble
from shiftcast.leaderboard.shifts import render_shifts
from shiftcast.leaderboard.suite_page import render_suite
from shiftcast.runs.layout import BOARD_PAGE, CONFUSION_PAGE, FIGURES, LEGEND_PAGE, SHIFTS, results_folder


def generate(all_scores: Iterable[SuiteScores], results: Path, out: Path) -> Files:
    """Return every file of the leaderboard, as text or as a picture to draw, by its path below `out`.

    Parameters
    ----------
    all_scores
        Scores of each suite and edition; they come in order of name.
    results
        The folder that the scores were read from. A suite's pages and pictures go beside its runs when these
        lie below `out`. Elsewhere (another folder, or a scratch suite's own outputs) they go beside
        `leaderboard.md`, in a folder for each suite if there are several. The file of residuals is made where
        it is `out`'s own `results/`.
    out
        The folder that `leaderboard.md` is for.
    """
    boards = [build_board(scores) for scores in all_scores]
    return assemble([suite_pages(one, results, out, len(boards) == 1) for one in boards], results, out)


def suite_pages(board: Board, results: Path, out: Path, alone: bool) -> SuitePages:
    """Return what one suite adds; parameters as in `generate`, `alone` if there is no other suite."""
    scores = board.scores
    home = _home(scores, results, out, alone)
    legend = (home.parent if home.parts else home) / LEGEND_PAGE
    drawn = {f"{FIGURES}/{name}.svg": picture for name, picture in figures(board).items()}
    links = {Path(path).stem: path for path in drawn}
    pages: dict[str, File] = {
        BOARD_PAGE: render_suite(board, links, _above(home, PAGE, legend)),
        **render_shifts(board, _above(home / SHIFTS, PAGE, legend, home / BOARD_PAGE)),
        **_confusion(scores, _above(home, PAGE, legend, home / BOARD_PAGE)),
    }
    from_root = {name: (home / path).as_posix() for name, path in links.items()}
    return SuitePages(
        name=scores.suite.name,
        edition=scores.edition,
        lasting=not scores.suite.scratch,
        front=front(board, from_root, (home / BOARD_PAGE).as_posix(), legend.as_posix()),
        files={legend: render_legend(), **{home / path: file for path, file in {**drawn, **pages}.items()}},
        residuals=board.residuals,
    )


def _above(folder: Path, page: Path, legend: Path, board: Path | None = None) -> str:
    """Return the line of links at the head of a page in `folder`."""
    links = {
        "Leaderboard": page,
        **({"Full board": board} if board else {}),
        "How to read the tables": legend,
    }
    return " · ".join(
        f"[{text}]({quote(Path(relpath(to, folder)).as_posix())})" for text, to in links.items()
    )


def _confusion(scores: SuiteScores, above: str) -> dict[str, File]:
    """Return the page about confusion and its pictures by path below the folder of the suite."""
    if scores.confusion is None:
        return {}
    drawn = {
        f"{FIGURES}/{name}.svg": picture
        for name, picture in confusion_figures(scores, scores.confusion).items()
    }
    links = {Path(path).stem: path for path in drawn}
    return {CONFUSION_PAGE: render_confusion(scores, scores.confusion, links, above), **drawn}


def _home(scores: SuiteScores, results: Path, out: Path, alone: bool) -> Path:
    """Return the folder of a suite's pages below `out`."""
    suite = results_folder(Path(), scores.suite, scores.edition)
    if results.resolve().is_relative_to(out.resolve()) and not scores.suite.scratch:
        return results.resolve().relative_to(out.resolve()) / suite
    return Path() if alone else suite


def tidy_csv(scores: SuiteScores) -> str:
    """Return the table of predictions as CSV, in a fixed order, seconds included."""
    keys = ["architecture", "recipe", "seed", "target", "estimator", "protocol"]
    return scores.table.sort_values(keys).to_csv(index=False, lineterminator="\n")
