"""What goes into the leaderboard's files, from scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shiftcast.board.build import Board, build_board
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.confusion_page import render_confusion
from shiftcast.leaderboard.figures.board_data import figures
from shiftcast.leaderboard.figures.confusion_data import confusion_figures
from shiftcast.leaderboard.pages import CONFUSION_PAGE, Files, SuitePages, assemble
from shiftcast.leaderboard.suite_section import render_section
from shiftcast.runs.layout import results_folder


def generate(all_scores: Iterable[SuiteScores], results: Path, out: Path) -> Files:
    """Return every file of the leaderboard, as text or as a picture to draw, by its path below `out`.

    Parameters
    ----------
    all_scores
        Scores of each suite and edition; sections come in order of name.
    results
        The folder that the scores were read from. Pictures go beside a suite's runs when it lies
        below `out`, else (another place, or a scratch suite's own outputs) to `figures/`. The file of
        residuals is made where it is `out`'s own `results/`.
    out
        The folder that `leaderboard.md` is for.
    """
    boards = [build_board(scores) for scores in all_scores]
    return assemble([suite_pages(one, results, out, len(boards) == 1) for one in boards], results, out)


def suite_pages(board: Board, results: Path, out: Path, alone: bool) -> SuitePages:
    """Return what one suite adds; parameters as in `generate`, `alone` if there is no other suite."""
    scores = board.scores
    folder = _figures_folder(scores, results, out, alone)
    drawn = {name: (folder / f"{name}.svg", picture) for name, picture in figures(board).items()}
    links = {name: path.as_posix() for name, (path, _) in drawn.items()}
    page, own = _confusion(scores, folder)
    return SuitePages(
        name=scores.suite.name,
        edition=scores.edition,
        lasting=not scores.suite.scratch,
        title=board.title,
        section=render_section(board, links, page.as_posix() if own else ""),
        files={**dict(drawn.values()), **own},
        residuals=board.residuals,
    )


def _confusion(scores: SuiteScores, folder: Path) -> tuple[Path, Files]:
    """Return where the page about confusion is, and the page with its pictures by path."""
    home = folder.parent if folder.name == "figures" else folder
    page = home / CONFUSION_PAGE
    if scores.confusion is None:
        return page, {}
    drawn = confusion_figures(scores, scores.confusion)
    links = {name: (folder / f"{name}.svg").relative_to(home).as_posix() for name in drawn}
    pictures = {folder / f"{name}.svg": picture for name, picture in drawn.items()}
    return page, {page: render_confusion(scores, scores.confusion, links), **pictures}


def _figures_folder(scores: SuiteScores, results: Path, out: Path, alone: bool) -> Path:
    suite = results_folder(Path(), scores.suite, scores.edition)
    if results.resolve().is_relative_to(out.resolve()) and not scores.suite.scratch:
        return results.resolve().relative_to(out.resolve()) / suite / "figures"
    return Path("figures") if alone else Path("figures") / suite


def tidy_csv(scores: SuiteScores) -> str:
    """Return the table of predictions as CSV, in a fixed order, seconds included."""
    keys = ["architecture", "recipe", "seed", "target", "estimator", "protocol"]
    return scores.table.sort_values(keys).to_csv(index=False, lineterminator="\n")
