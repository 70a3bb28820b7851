"""The documentation builds without a warning, loads nothing from the network, and has no dead links."""

import doctest
import importlib.util
import os
import re
import subprocess
import sys

import pytest

import shiftcast
from shiftcast.estimators import official_estimators
from support import REPOSITORY
from support.markdown import blocks, pages

REQUIRED = os.environ.get("SHIFTCAST_REQUIRE_DOCS")
CARDS = [
    REPOSITORY / folder / "README.md" for folder in ("architectures", "datasets", "benchmark", "results")
]
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href|srcset)=[\"']?(?:https?:)?//[^>]*", re.I
)
STYLES = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\s]*", re.I)
PRIVATE = re.compile(r"\b(odd|mend|mends|mended|had|nobody|anybody|twins?|came of|is no)\b", re.I)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built pages; skipped where the extra `docs` is missing, unless SHIFTCAST_REQUIRE_DOCS is set."""
    missing = [name for name in ("mkdocs", "material", "mkdocstrings") if not importlib.util.find_spec(name)]
    if missing and not REQUIRED:
        pytest.skip(f"needs {', '.join(missing)}: pip install '.[docs]'")
    assert not missing, f"SHIFTCAST_REQUIRE_DOCS is set, but these are missing: {', '.join(missing)}"
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    built = list(site.rglob("*.html"))
    assert len(built) > 20
    assert {page.name: found for page in built if (found := LOADED.findall(page.read_text()))} == {}
    styles = site.rglob("*.css")
    assert {style.name: found for style in styles if (found := STYLES.findall(style.read_text()))} == {}


@pytest.mark.slow
def test_public_names_and_estimators_are_in_the_reference(site):
    text = (site / "reference" / "api.html").read_text()
    homes = {name: f"estimate.python.{name}" for name in ("estimate", "plan", "sample")}
    names = [name for name in shiftcast.__all__ if f'id="shiftcast.{homes.get(name, name)}"' not in text]
    assert names == ["__version__"]
    text = (site / "reference" / "estimators.html").read_text()
    classes = {type(estimator).__name__ for estimator in official_estimators().values()}
    assert {name for name in classes if f'id="shiftcast.estimators.{name}"' not in text} == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["api", "estimators", "calibration-and-difficulty"])
def test_examples_of_the_reference_run(name, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    page = REPOSITORY / "docs" / "reference" / f"{name}.md"
    test = doctest.DocTestParser().get_doctest("\n".join(blocks(page, "pycon")), {}, name, str(page), 0)
    failures = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(test, out=failures.append).failed == 0, "".join(failures)


@pytest.mark.parametrize("page", [*pages(), *CARDS], ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_words(page):
    """CONTRIBUTING has the rules; the table there quotes what not to write."""
    text = page.read_text().split("| instead of | write |")[0]
    assert PRIVATE.findall(text) == []


def test_contributing_is_short_and_its_map_is_the_tree():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    assert len(text.split()) <= 900
    (tree,) = blocks(REPOSITORY / "CONTRIBUTING.md", "text")
    package = REPOSITORY / "benchmark" / "shiftcast"
    named = tree.split("lowest layer first:")[1].split("docs/")[0]
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert set(re.findall(r"\b([a-z_]+)/", named)) == folders
    assert [name for name in re.findall(r"\b[a-z_]+\.py", named) if not (package / name).is_file()] == []
