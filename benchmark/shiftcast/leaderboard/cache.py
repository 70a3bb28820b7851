"""What suites add to the leaderboard, kept in the cache until anything that it is made from changes.

A suite's part is a pure function of its results, the cards and the code: its key is the hash of all
of these, so that a part of the same key is the same part. Checking never reads it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from shiftcast.cards.suite import Suite
from shiftcast.leaderboard.figures.picture import Picture
from shiftcast.leaderboard.front import Front
from shiftcast.leaderboard.pages import Files, SuitePages
from shiftcast.runs.layout import LEDGER, is_made, label_of, register_path, results_folder, stored_suites
from shiftcast.runs.soundness import is_being_written
from shiftcast.util.files import write_atomic
from shiftcast.util.hashing import canonical_json, hash_of, sha256, source_hash
from shiftcast.util.memory import give_back
from shiftcast.workspace import Workspace, cache_folder

Told = Callable[[str, int, int], None]
Progress = Callable[[int, int], None]
PACKAGES = ("matplotlib", "numpy", "pandas", "pydantic", "scipy")
"""Libraries whose versions may move a digit or a line."""


def board_pages(
    workspace: Workspace,
    results: Path,
    out: Path,
    *,
    cached: bool,
    jobs: int | None = None,
    sample: int | None = None,
    say: Callable[[str], object] = str,
    progress: Told | None = None,
) -> Iterator[SuitePages]:
    """Yield what each suite and edition in `results` adds to the leaderboard in `out`.

    One suite is scored at a time, so that memory does not grow with their number.

    Parameters
    ----------
    workspace, results, out
        As in `generate`.
    cached
        Whether what is known of unchanged suites is taken from the cache, and kept there.
    jobs
        Processes that score a suite, see `scored_runs`.
    sample
        How many runs of each suite are scored, see `score_suite`; only without the cache.
    say
        Is told before each suite that is scored, which may take minutes.
    progress
        Is told which suite is scored, and of how many of its runs that is done.
    """
    stored = stored_suites(workspace, results)
    alone = len(stored) == 1
    for number, (suite, edition) in enumerate(stored, start=1):
        place = _place(workspace, results, out, suite, edition)
        key = _key(workspace, results, out, suite, edition, alone) if cached else ""
        pages = _read(place, key) if cached else None
        if pages is None:
            label = label_of(suite.name, edition)
            say(f"Scoring {label} (suite {number} of {len(stored)}) …")
            told = None if progress is None else partial(progress, label)
            pages = _scored_pages(workspace, suite, edition, results, out, alone, jobs, told, sample)
            give_back()
            if cached:
                pages = _drawn(pages)
                with suppress(OSError):  # no space or no right to write: it is made again next time
                    write_atomic(place, _text(key, pages))
        yield pages


def _scored_pages(
    workspace: Workspace,
    suite: Suite,
    edition: str,
    results: Path,
    out: Path,
    alone: bool,
    jobs: int | None,
    progress: Progress | None,
    sample: int | None,
) -> SuitePages:
    from shiftcast.board.assemble import score_suite
    from shiftcast.board.build import build_board
    from shiftcast.board.stored import suite_files
    from shiftcast.leaderboard.generate import suite_pages  # a second, which unchanged suites save

    scores = score_suite(workspace, suite, results, edition, jobs=jobs, progress=progress, sample=sample)
    gc.collect()  # the pool is in cycles with what is kept of it
    give_back()  # what was read is let go of
    board = build_board(scores)
    pages = suite_pages(board, results, out, alone)
    if suite.scratch or not results.resolve().is_relative_to(out.resolve()):
        return pages
    home = results_folder(results.resolve().relative_to(out.resolve()), suite, edition)
    tables: Files = {home / path: text for path, text in suite_files(board, results, workspace).items()}
    return replace(pages, files=pages.files | tables)


def _place(workspace: Workspace, results: Path, out: Path, suite: Suite, edition: str) -> Path:
    """Return the file of a suite's part, one for each place that it is made from and for."""
    places = [str(path.resolve()) for path in (workspace.root, results, out)]
    folder = results_folder(Path(), suite, edition).name
    return cache_folder() / "board" / f"{folder}-{hash_of(places)[:16]}.json"


def _key(workspace: Workspace, results: Path, out: Path, suite: Suite, edition: str, alone: bool) -> str:
    """Return the hash of everything that a suite's part is made from, and of where it goes."""
    below = results.resolve().is_relative_to(out.resolve())
    place = results.resolve().relative_to(out.resolve()).as_posix() if below else "elsewhere"
    return hash_of([content_key(workspace, results, suite, edition), place, alone])


def content_key(workspace: Workspace, results: Path, suite: Suite, edition: str) -> str:
    """Return the hash of everything that a suite's scores come from: runs, ledger, cards, code, versions."""
    folder = results_folder(results, suite, edition)
    # What somebody else is writing just now, or left when it was killed, is no result.
    files = [
        path
        for path in folder.rglob("*")
        if not is_made(path.relative_to(folder).as_posix())
        and not is_being_written(path.name)
        and path.is_file()
    ]
    ledger = results / LEDGER
    registers = [register_path(results, target.dataset) for target in suite.targets]
    cards = workspace.card_files(suite)
    parts = {
        "source": source_hash(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "results": {path.relative_to(folder).as_posix(): _hash(path) for path in files},
        "ledger": _hash(ledger) if ledger.is_file() else "",
        "registers": {path.name: _hash(path) for path in registers if path.is_file()},
        "cards": {path.relative_to(workspace.root).as_posix(): _hash(path) for path in cards},
        "suite": [suite.name, edition],
    }
    return hash_of(parts)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _drawn(pages: SuitePages) -> SuitePages:
    """Return the same with its pictures drawn."""
    from shiftcast.leaderboard.figures.draw import draw

    files = {path: draw(file) if isinstance(file, Picture) else file for path, file in pages.files.items()}
    return replace(pages, files={**files})


def _text(key: str, pages: SuitePages) -> str:
    body = canonical_json(
        {
            "name": pages.name,
            "edition": pages.edition,
            "lasting": pages.lasting,
            "front": asdict(pages.front),
            "files": {path.as_posix(): file for path, file in pages.files.items()},
            "residuals": pages.residuals,
        }
    )
    return f"{key} {sha256(body.encode())}\n{body}"


def _read(place: Path, key: str) -> SuitePages | None:
    """Return the part of that key; None where there is none, or it is not what was written."""
    try:
        head, _, body = place.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if head != f"{key} {sha256(body.encode())}":
        return None
    found: dict[str, Any] = json.loads(body)
    files = {Path(path): file for path, file in found["files"].items()}
    return SuitePages(**(found | {"files": files, "front": Front(**found["front"])}))
