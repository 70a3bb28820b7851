"""The leaderboard as files: made from scores, written atomically, and checked for drift."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftcast.files import write_atomic
from shiftcast.leaderboard.confusion import MARKER, render_confusion
from shiftcast.leaderboard.confusion_figures import confusion_figures
from shiftcast.leaderboard.figures import Picture, figure_hash, figures
from shiftcast.leaderboard.markdown import render_board, render_section, suite_title
from shiftcast.leaderboard.residuals import residuals_text, suite_residuals
from shiftcast.residuals import FILE as RESIDUALS
from shiftcast.scores import SuiteScores
from shiftcast.status import results_folder

PAGE = Path("leaderboard.md")
CONFUSION_PAGE = "confusion.md"
File = str | Picture
"""A file's text, or the picture that is still to be drawn."""
Files = dict[Path, File]
Json = dict[str, Any]


@dataclass(frozen=True)
class SuitePages:
    """What one suite and edition adds to the leaderboard.

    Parameters
    ----------
    name, edition
        Of the suite, and of the arrays; sections are ordered by them.
    lasting
        Whether it belongs in the file of residuals' folder at all: not a scratch suite.
    title, section
        Its part of `leaderboard.md`: what it is called, and the Markdown.
    files
        Its pictures and its page about confusion, by path below the leaderboard's folder.
    residuals
        Its part of the file of residuals; None where it has none.
    """

    name: str
    edition: str
    lasting: bool
    title: str
    section: str
    files: Files
    residuals: Json | None


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
    scores = list(all_scores)
    return assemble([suite_pages(one, results, out, len(scores) == 1) for one in scores], results, out)


def suite_pages(scores: SuiteScores, results: Path, out: Path, alone: bool) -> SuitePages:
    """Return what one suite adds; parameters as in `generate`, `alone` if there is no other suite."""
    folder = _figures_folder(scores, results, out, alone)
    drawn = {name: (folder / f"{name}.svg", picture) for name, picture in figures(scores).items()}
    links = {name: path.as_posix() for name, (path, _) in drawn.items()}
    page, own = _confusion(scores, folder)
    return SuitePages(
        name=scores.suite.name,
        edition=scores.edition,
        lasting=not scores.suite.scratch,
        title=suite_title(scores),
        section=render_section(scores, links, page.as_posix() if own else ""),
        files={**dict(drawn.values()), **own},
        residuals=suite_residuals(scores),
    )


def assemble(pages: Iterable[SuitePages], results: Path, out: Path) -> Files:
    """Return every file of the leaderboard from what its suites add; parameters as in `generate`."""
    ordered = sorted(pages, key=lambda one: (one.name, one.edition))
    files = {path: file for one in ordered for path, file in one.files.items()}
    if any(one.lasting for one in ordered) and results.resolve() == (out / "results").resolve():
        files[RESIDUALS] = residuals_text({o.name: o.residuals for o in ordered if o.residuals is not None})
    return {PAGE: render_board([(one.title, one.section) for one in ordered]), **files}


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


def write(files: Mapping[Path, File], root: Path) -> list[Path]:
    """Write the files below `root` that differ, atomically, and remove ours that no longer belong.

    Returns the paths of those that were written, in order.
    """
    written = []
    for path, file in sorted(files.items()):
        text = file.svg() if isinstance(file, Picture) else file
        if _present(root / path) != text:
            write_atomic(root / path, text)
            written.append(path)
    for path in _left_over(files, root):
        (root / path).unlink()
    return written


def _present(path: Path) -> str | None:
    try:
        return path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return None


def check(files: Mapping[Path, File], root: Path) -> list[str]:
    """Return the lines that say how the files below `root` differ; empty when they do not.

    Text is compared as it is, pictures by the hash of their data.
    """
    lines: list[str] = []
    for path, file in sorted(files.items()):
        present = _present(root / path)
        if present is None:
            lines.append(f"{path.as_posix()}: missing")
            continue
        lines += (
            _picture_drift(path, present, file) if isinstance(file, Picture) else _drift(path, present, file)
        )
    return [*lines, *(f"{path.as_posix()}: left over; nothing makes it" for path in _left_over(files, root))]


def _picture_drift(path: Path, present: str, picture: Picture) -> list[str]:
    found, expected = figure_hash(present), picture.hash
    if found == expected:
        return []
    return [
        f"{path.as_posix()}: figure data differs (found {found[:12] or 'none'}, expected {expected[:12]})"
    ]


def _drift(path: Path, present: str, text: str) -> list[str]:
    name = path.as_posix()
    # splitlines() would drop \r and form feeds, and so let a changed file pass.
    old, new = present.split("\n"), text.split("\n")
    return list(difflib.unified_diff(old, new, f"{name} (present)", f"{name} (expected)", lineterm=""))


def _left_over(files: Iterable[Path], root: Path) -> list[Path]:
    """Files of ours that nothing makes any more: pictures, by their hash, and pages, by their mark."""
    wanted = set(files)
    folders = {path.parent for path in wanted if path.suffix == ".svg"}
    siblings = {path.parents[1].as_posix() + "/*/figures/*.svg" for path in folders if len(path.parts) > 2}
    patterns = siblings | {f"{folder.as_posix()}/*.svg" for folder in folders}
    found = {path.relative_to(root) for pattern in patterns for path in root.glob(pattern)}
    for home in {folder.parent if folder.name == "figures" else folder for folder in folders}:
        pages = set((root / home).glob(CONFUSION_PAGE))
        if home.parts:  # pages of other suites lie beside it, those of the root's neighbours are not ours
            pages |= set((root / home).parent.glob(f"*/{CONFUSION_PAGE}"))
        found |= {path.relative_to(root) for path in pages}
    return [path for path in sorted(found - wanted) if _ours((root / path).read_text(errors="replace"))]


def _ours(text: str) -> bool:
    return bool(figure_hash(text)) or text.startswith(MARKER)


def tidy_csv(scores: SuiteScores) -> str:
    """Return the table of predictions as CSV, in a fixed order, seconds included."""
    keys = ["architecture", "recipe", "seed", "target", "estimator", "protocol"]
    return scores.table.sort_values(keys).to_csv(index=False, lineterminator="\n")
