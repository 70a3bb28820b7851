"""Code blocks and commands that Markdown pages quote."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from support import REPOSITORY


def pages() -> list[Path]:
    """Return the pages that people read first: the README, CONTRIBUTING and the documentation."""
    written = [page for page in sorted((REPOSITORY / "docs").rglob("*.md")) if page.name != "cli.md"]
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *written]


def blocks(page: Path, language: str) -> list[str]:
    """Return the content of a page's code blocks in one language."""
    fence = rf"^( *)```{language}\n(.*?)^\1```$"
    found = re.findall(fence, page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the arguments of each call of a program in a page's shell blocks."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == program:
                found.append([word for word in words[1:] if word != "&"])
    return found
