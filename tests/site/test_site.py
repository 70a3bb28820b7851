"""The site as files: what is written, where links lead, and what is refused."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from shiftcast.board.build import build_board
from shiftcast.cli.site import page as write_page
from shiftcast.errors import InvalidInputError, MissingExtraError, UnknownNameError
from shiftcast.site import build
from shiftcast.site.build import previous, site, vega_bundle, write_site
from shiftcast.site.captions import CAPTIONS
from shiftcast.site.charts import specs
from shiftcast.site.html import script_text
from shiftcast.site.images import may_be_shown
from shiftcast.site.suite import Section
from shiftcast.workspace import Workspace
from support import REPOSITORY

CSS = REPOSITORY / "benchmark/shiftcast/site/assets/page.css"
OUTSIDE = re.compile(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(""")


class Links(HTMLParser):
    """Collects what a page loads and links to."""

    def __init__(self, text):
        super().__init__()
        self.found, self.ids, self.elements = [], [], []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        given = dict(attributes)
        self.elements.append((name, given))
        self.ids += [given["id"]] if "id" in given else []
        self.found += [given[key] for key in ("href", "src") if key in given]


@pytest.mark.parametrize("which", ["board", "digits", "hostile"])
def test_every_link_leads_to_a_file_of_the_site(which, request):
    folder = request.getfixturevalue(which)
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        links = Links(page.read_text())
        assert len(links.ids) == len(set(links.ids)), page
        for link in links.found:
            if link.startswith("data:"):
                continue
            path, _, fragment = link.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.is_relative_to(folder.resolve()), (page, link)
            assert there.is_file(), (page, link)
            assert not fragment or fragment in links.ids, (page, link)


@pytest.mark.parametrize("which", ["board", "digits", "hostile"])
def test_nothing_is_loaded_from_elsewhere(which, request):
    folder = request.getfixturevalue(which)
    for path in [*folder.rglob("*.html"), folder / "assets/page.css"]:
        assert not OUTSIDE.search(path.read_text()), path


def test_each_page_says_what_it_must(board, digits):
    model = (digits / "tiny/models/test_resnet--tiny.html").read_text()
    for chart in ("bins", "reliability", "matrix", "drop"):
        assert f'data-chart="{chart}"' in model
    estimator = (board / "sample/estimators/ATC.html").read_text()
    for chart in ("predicted", "errors", "coverage"):
        assert f'data-chart="{chart}"' in estimator
    shift = next((digits / "tiny/shifts").glob("contrast.html")).read_text()
    assert 'data-chart="histogram"' in shift
    assert "Hardest" in shift
    assert "Most agreed wrong" in shift
    assert "data:image/png" in shift, "the digits may be shown"
    hidden = (board / "sample/shifts/unseen.html").read_text()
    assert "labels are withheld" in hidden
    assert "<img" not in (board / "sample/shifts/photos.html").read_text()


def test_the_same_input_gives_the_same_bytes(section):
    again = Section(build_board(section.scores), "sample", outputs=section.outputs)
    one, other = site([section], "bundle"), site([again], "bundle")
    assert one == other


def test_seconds_that_scoring_took_change_nothing(section):
    import dataclasses

    table = section.scores.table.assign(seconds=1.0).sample(frac=1, random_state=0)
    scores = dataclasses.replace(section.scores, table=table)
    assert site([Section(build_board(scores), "sample", outputs=section.outputs)], "") == site([section], "")


def test_two_runs_of_the_command_write_the_same_bytes(tiny, digits, tmp_path, capsys):
    write_page(SimpleNamespace(obj=tiny.root), tmp_path / "again", ["tiny"])
    assert capsys.readouterr().err == "reading and scoring tiny\n"
    first = {path.relative_to(digits): path.read_bytes() for path in digits.rglob("*") if path.is_file()}
    again = tmp_path / "again"
    assert first == {
        path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    "keep",
    [lambda role, number: number == 0, lambda role, number: role == "reference"],
    ids=["one run", "no scored run"],
)
def test_incomplete_results_make_a_site_that_says_so(keep, invent, tmp_path):
    workspace = invent(tmp_path / "workspace", keep)
    write_page(SimpleNamespace(obj=workspace.root), tmp_path / "site")
    text = (tmp_path / "site/index.html").read_text()
    assert "What is missing" in text
    assert "test_vit/tiny/seed-0" in text
    model = (tmp_path / "site/tiny/models/test_vit--tiny.html").read_text()
    assert "test_vit is not ranked: seeds 0, 1: missing." in model


def test_several_suites_share_a_start_page(section):
    other = Section(build_board(section.scores), "other", alone=False)
    one = Section(build_board(section.scores), "sample", alone=False)
    made = site([one, other], "")
    assert {"index.html", "sample/index.html", "other/index.html"} <= set(made)
    assert 'href="sample/index.html"' in made["index.html"]
    assert "vega.js" not in made["index.html"], "the start page has no charts"
    assert '<html lang="en" data-root="../">' in made["other/index.html"]


def test_every_chart_has_a_specification_and_a_caption():
    assert set(CAPTIONS) == set(specs()) - {"back"}
    assert "http" not in script_text(specs()).replace("https://vega.github.io/schema/vega-lite/v6.json", "")


def test_a_site_before_is_replaced_and_other_files_are_refused(tmp_path):
    out = tmp_path / "site"
    write_site(
        {"index.html": "a", "old/page.html": "b", "assets/files.txt": "index.html\nold/page.html\n"}, out
    )
    assert previous(out) == {"index.html", "old/page.html"}
    write_site({"index.html": "c", "assets/files.txt": "index.html\n"}, out)
    assert (out / "index.html").read_text() == "c"
    assert not (out / "old/page.html").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="holds no site of ours"):
        write_site({"index.html": "a"}, tmp_path / "mine")
    with pytest.raises(InvalidInputError, match="is a file"):
        previous(tmp_path / "mine" / "thesis.txt")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["thesis.txt"]


def test_a_list_of_files_cannot_name_files_elsewhere(tmp_path):
    out = tmp_path / "site"
    (out / "assets").mkdir(parents=True)
    (out / "assets/files.txt").write_text("../victim\n/etc/passwd\nindex.html\n")
    assert previous(out) == {"index.html"}


def test_without_the_extra_the_command_to_install_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'shiftcast\[page\]'"):
        vega_bundle()


def test_what_takes_long_is_said_before_and_counted(section, tiny, monkeypatch, tmp_path, capsys):
    """Two suites of which the scoring takes a hundred seconds each."""
    clock = [0.0]

    def scored(*_, **__):
        clock[0] += 100
        return section.scores

    suite = tiny.suite("tiny")
    monkeypatch.setattr(build, "_stored", lambda *_: [(Path(), suite, ""), (Path(), suite, "other")])
    monkeypatch.setattr(build, "score_suite", scored)
    monkeypatch.setattr(build, "read_pool", lambda *_: (SimpleNamespace(scored=[]), None))
    monkeypatch.setattr("shiftcast.cli.site.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    write_page(SimpleNamespace(obj=tiny.root), tmp_path / "site")
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "reading and scoring tiny (1 of 2)",
        "reading and scoring tiny@other (2 of 2)",
    ]
    assert "in 200.0 s" in said.out


def test_unknown_and_empty_suites_are_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean tiny"):
        write_page(SimpleNamespace(obj=tiny.root), tmp_path / "site", ["tinny"])
    with pytest.raises(InvalidInputError, match="holds no results"):
        write_page(SimpleNamespace(obj=tiny.root), tmp_path / "site", ["tiny"], results=tmp_path / "nothing")
    assert not (tmp_path / "site").exists()


def test_only_sets_of_open_licences_are_shown():
    cards = Workspace(REPOSITORY, REPOSITORY).datasets
    shown = {name for name, card in cards.items() if may_be_shown(card)}
    assert shown == {"cifar10-g", "digits-shifted", "digits-test", "digits-train", "style-transfer"}


def test_making_pages_imports_no_torch_and_help_imports_no_charts():
    code = (
        "import sys, contextlib, io\n"
        "import shiftcast.cli.site, shiftcast.site.build\n"
        "assert not {'torch', 'timm', 'vl_convert', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Colours


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def themes():
    light, dark = (dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", part)) for part in _parts())
    return {"light": light, "dark": light | dark}


def _parts():
    text = CSS.read_text()
    start = text.index("@media (prefers-color-scheme: dark)")
    return text[:start], text[start : text.index("*, *::before")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_readable_contrast(theme):
    colours = themes()[theme]
    grounds = ("ground", "panel")
    pairs = [(text, ground) for text in ("text", "soft", "link") for ground in grounds]
    pairs += [("on-accent", "accent"), ("text", "heat-low"), ("text", "heat-high")]
    for one, other in pairs:
        assert contrast(colours[one], colours[other]) >= 4.5, (one, other)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_and_controls_stand_out(theme):
    colours = themes()[theme]
    for name in (*(f"c{k}" for k in range(1, 8)), "axis", "rule", "focus"):
        assert contrast(colours[name], colours["ground"]) >= 3, name


def test_no_colour_stands_outside_the_themes():
    body = CSS.read_text().split("*, *::before")[1]
    assert not re.search(r"#[0-9a-f]{3,8}\b", body.replace("#vg-tooltip-element", ""))
    assert np.all([name in themes()["light"] for name in re.findall(r"var\(--([a-z0-9-]+)\)", body)])


def test_a_suite_of_contributed_runs_has_a_site(zoo, tmp_path):
    for number in range(3):
        zoo.submit(f"net-{number}", zoo.logits(number), family=f"family-{number}")
    zoo.submit("classes-only", zoo.classes(7), family="other")
    write_page(SimpleNamespace(obj=zoo.root), tmp_path / "site", ["zoo"], results=zoo.results)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert any("classes-only" in page.name for page in pages)
    model = next(page for page in pages if "classes-only" in page.name and "models" in str(page)).read_text()
    assert 'data-chart="reliability"' not in model
    assert 'data-chart="matrix"' in model
