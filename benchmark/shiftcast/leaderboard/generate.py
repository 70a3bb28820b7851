"""The leaderboard as files: made from scores, written atomically, and checked for drift."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shiftcast.files import write_atomic
from shiftcast.leaderboard.confusion import MARKER, render_confusion
from shiftcast.leaderboard.confusion_figures import confusion_figures
from shiftcast.leaderboard.figures import Picture, figure_hash, figures
from shiftcast.leaderboard.markdown import render
from shiftcast.leaderboard.residuals import residuals_text
from shiftcast.residuals import FILE as RESIDUALS
from shiftcast.scores import SuiteScores
from shiftcast.status import results_folder

PAGE = Path("leaderboard.md")
CONFUSION_PAGE = "confusion.md"
File = str | Picture
"""A file's text, or the picture that is still to be drawn."""
Files = dict[Path, File]


def generate(all_scores: Sequence[SuiteScores], results: Path, out: Path) -> Files:
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
    ordered = sorted(all_scores, key=lambda scores: (scores.suite.name, scores.edition))
    files: Files = {}
    links, pages = [], []
    for scores in ordered:
        folder = _figures_folder(scores, results, out, alone=len(ordered) == 1)
        drawn = {name: (folder / f"{name}.svg", picture) for name, picture in figures(scores).items()}
        links.append({name: path.as_posix() for name, (path, _) in drawn.items()})
        files |= dict(drawn.values())
        page, own = _confusion(scores, folder)
        files |= own
        pages.append(page.as_posix() if own else "")
    lasting = any(not scores.suite.scratch for scores in ordered)
    if lasting and results.resolve() == (out / "results").resolve():
        files[RESIDUALS] = residuals_text(ordered)
    return {PAGE: render(ordered, links, pages), **files}


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


def write(files: Mapping[Path, File], root: Path) -> None:
    """Write the files below `root` atomically and remove pictures of ours that no longer belong."""
    for path, file in sorted(files.items()):
        write_atomic(root / path, file.svg() if isinstance(file, Picture) else file)
    for path in _left_over(files, root):
        (root / path).unlink()


def check(files: Mapping[Path, File], root: Path) -> list[str]:
    """Return the lines that say how the files below `root` differ; empty when they do not.

    Text is compared as it is, pictures by the hash of their data.
    """
    lines: list[str] = []
    for path, file in sorted(files.items()):
        try:
            present = (root / path).read_bytes().decode(errors="replace")
        except FileNotFoundError:
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
