"""A hook of MkDocs: pages that lie elsewhere in the repository, and links that work in both places.

In the repository, Markdown links to files by their path. On the site, a link to a file that is a page becomes
a link to that page, and a link to any other file becomes its path.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "reference/dataset-cards.md": "datasets/README.md",
    "reference/architecture-cards.md": "architectures/README.md",
    "reference/recipes-and-suites.md": "benchmark/README.md",
    "maintain/contributing.md": "CONTRIBUTING.md",
    "maintain/changelog.md": "CHANGELOG.md",
}
"""Pages of the site, and the files of the repository that they show."""
PAGES = {path: page for page, path in ELSEWHERE.items()}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside `docs/`."""
    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Point links to where the site has what they name."""
    source = ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return LINK.sub(lambda link: _on_site(link, source, page.file.src_uri), markdown)


def _on_site(link: re.Match[str], source: str, page: str) -> str:
    text, path, anchor = link[1], link[2], link[3] or ""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    shown = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    if shown:
        return f"[{text}]({posixpath.relpath(shown, posixpath.dirname(page) or '.')}{anchor})"
    return text if target in text else f"{text} (`{target}`)"
