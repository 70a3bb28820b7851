"""The leaderboard as files: put together from its suites' parts, written atomically, checked for drift."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftcast.estimate.board_errors import FILE as RESIDUALS
from shiftcast.estimate.board_errors import residuals_text
from shiftcast.leaderboard.figures.picture import Picture, figure_hash
from shiftcast.leaderboard.front import Front, render_front
from shiftcast.leaderboard.legend import MARKER
from shiftcast.runs.layout import BOARD_PAGE, LEGEND_PAGE, MADE, is_table
from shiftcast.util.files import write_atomic
from shiftcast.util.text import count

PAGE = Path("leaderboard.md")
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
        Of the suite, and of the arrays; suites are ordered by them.
    lasting
        Whether it belongs in the file of residuals' folder at all: not a scratch suite.
    front
        What the front page says of it.
    files
        Its pages and pictures, by path below the leaderboard's folder.
    residuals
        Its part of the file of residuals; None where it has none.
    """

    name: str
    edition: str
    lasting: bool
    front: Front
    files: Files
    residuals: Json | None


def assemble(pages: Iterable[SuitePages], results: Path, out: Path) -> Files:
    """Return every file of the leaderboard from what its suites add; parameters as in `generate`."""
    ordered = sorted(pages, key=lambda one: (one.name, one.edition))
    files = {path: file for one in ordered for path, file in one.files.items()}
    if any(one.lasting for one in ordered) and results.resolve() == (out / "results").resolve():
        files[RESIDUALS] = residuals_text({o.name: o.residuals for o in ordered if o.residuals is not None})
    return {PAGE: render_front([one.front for one in ordered]), **files}


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
        if is_table(path):
            lines += _table_drift(path, present, file if isinstance(file, str) else "")
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


def _table_drift(path: Path, present: str, text: str) -> list[str]:
    """Return how many lines of a table differ: there may be thousands."""
    old, new = Counter(present.split("\n")), Counter(text.split("\n"))
    if present == text:
        return []
    wrong, missing = (old - new).total(), (new - old).total()
    return [f"{path.as_posix()}: {count(wrong, 'line')} not expected, {missing:,} missing"]


def _drift(path: Path, present: str, text: str) -> list[str]:
    name = path.as_posix()
    # splitlines() would drop \r and form feeds, and so let a changed file pass.
    old, new = present.split("\n"), text.split("\n")
    return list(difflib.unified_diff(old, new, f"{name} (present)", f"{name} (expected)", lineterm=""))


def _left_over(files: Iterable[Path], root: Path) -> list[Path]:
    """Return generated files that nothing makes any more: pictures by their hash, and pages by their mark.

    They are looked for in the folders of the suites and in those beside them, where other suites had theirs.
    """
    wanted, patterns = set(files), set()
    for home in {path.parent for path in wanted if path.name == BOARD_PAGE}:
        patterns |= {(home / made).as_posix() for made in MADE}
        if home.parts:  # what lies beside the root is not ours
            patterns |= {(home.parent / "*" / made).as_posix() for made in MADE}
            patterns.add((home.parent / LEGEND_PAGE).as_posix())
    present = {path.relative_to(root) for pattern in patterns for path in root.glob(pattern)}
    return [
        path
        for path in sorted(present - wanted)
        if is_table(path) or _ours((root / path).read_text(errors="replace"))
    ]


def _ours(text: str) -> bool:
    return bool(figure_hash(text)) or text.startswith(MARKER)
