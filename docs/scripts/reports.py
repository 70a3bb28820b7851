"""Reports of the other scripts in their places on pages of the documentation."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def put_report(page: Path, script: str, text: str) -> None:
    """Write a report between `<!-- result of SCRIPT report -->` and the next `<!-- end of result -->`."""
    head, end = f"<!-- result of {script} report -->", "<!-- end of result -->"
    place = re.compile(f"{re.escape(head)}.*?{re.escape(end)}", re.DOTALL)
    page.write_text(place.sub(lambda _: f"{head}\n\n{text.strip()}\n\n{end}", page.read_text(), count=1))


def command(about: str | None, words: Mapping[str, Callable[[], object]]) -> int:
    """Do what the one word on the command line names; return the exit code."""
    if len(sys.argv) != 2 or sys.argv[1] not in words:
        sys.stderr.write(str(about))
        return 2
    words[sys.argv[1]]()
    return 0
