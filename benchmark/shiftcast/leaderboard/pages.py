"""The leaderboard as files: put together from its suites' parts, written atomically, checked for drift."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftcast.estimate.board_errors import FILE as RESIDUALS
from shiftcast.estimate.board_errors import residuals_text
from shiftcast.leaderboard.figures.picture import Picture, figure_hash
from shiftcast.leaderboard.legend import CONTENTS, HEAD, LEGEND, MARKER
from shiftcast.leaderboard.markup import escape
from shiftcast.util.files import write_atomic

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


def assemble(pages: Iterable[SuitePages], results: Path, out: Path) -> Files:
    """Return every file of the leaderboard from what its suites add; parameters as in `generate`."""
    ordered = sorted(pages, key=lambda one: (one.name, one.edition))
    files = {path: file for one in ordered for path, file in one.files.items()}
    if any(one.lasting for one in ordered) and results.resolve() == (out / "results").resolve():
        files[RESIDUALS] = residuals_text({o.name: o.residuals for o in ordered if o.residuals is not None})
    return {PAGE: render_board([(one.title, one.section) for one in ordered]), **files}


def render_board(sections: Sequence[tuple[str, str]]) -> str:
    """Return the leaderboard's Markdown from its suites' titles and sections, in their order."""
    contents = [f"- [{escape(title)}](#suite-{k})" for k, (title, _) in enumerate(sections, 1)]
    blocks = [f'<a id="suite-{k}"></a>\n\n{section}' for k, (_, section) in enumerate(sections, 1)]
    listed = ["\n".join([CONTENTS, "", *contents])] if len(contents) > 1 else []
    return "\n\n".join([HEAD, *listed, *blocks, LEGEND]) + "\n"


def write(files: Mapping[Path, File], root: Path) -> list[Path]:
    """Write the files below `root` that differ, atomically, and remove ours that no longer belong.

    Returns the paths of those that were written, in order.
    """
    from shiftcast.leaderboard.figures.draw import draw

    written = []
    for path, file in sorted(files.items()):
        text = draw(file) if isinstance(file, Picture) else file
        if _present(root / path) != text:
            write_atomic(root / path, text)
            written.append(path)
    for path in _left_over(files, root):
        (root / path).unlink(missing_ok=True)  # two may be at it
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
