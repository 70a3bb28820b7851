"""Sites made of invented results, and a browser without a network to look at them."""

from __future__ import annotations

import dataclasses
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shiftcast.cli.site import page as write_page
from shiftcast.data.loading import load_suite
from shiftcast.site.build import site, vega_bundle, write_site
from shiftcast.site.outputs import NotableImage, Outputs, SetImages, answers
from shiftcast.site.suite import Section
from support.scores import build
from support.tiny import write_run
from support.workspaces import make_workspace

CHROMIUM = os.environ.get("SHIFTCAST_CHROMIUM") or shutil.which("chromium")
HOSTILE = '"><img src=x onerror="window.hacked=1">&</script><script>window.hacked=1</script>'


def make_outputs(scores, classes=("cat", "dog", "ship"), seed=0):
    """Answers of random logits on every labelled set of made-up scores, and images that stand out."""
    random = np.random.RandomState(seed)
    n, k = 60, len(classes)
    named = ["test-set", *(target.id for target in scores.targets if target.id != "unseen")]
    models = {}
    for key in scores.runs[["architecture", "recipe"]].drop_duplicates().itertuples(index=False):
        labels = random.randint(k, size=n)
        models[tuple(key)] = {name: answers(random.normal(size=(n, k)), labels) for name in named}
    hard = NotableImage(3, 3, 0.9, classes[0], classes[1], 0.25)
    hidden = dataclasses.replace(hard, true="", share=float("nan"))
    images = {
        target.id: SetImages([hidden if target.id == "unseen" else hard], [hard]) for target in scores.targets
    }
    return Outputs(list(classes), models, images)


def with_names(scores, architecture=HOSTILE, estimator=HOSTILE, shift=HOSTILE):
    """Made-up scores in which the first model, an estimator and the first shift have other names."""
    names = {"net-a": architecture, "ATC": estimator, "photos": shift}
    renamed = {}
    for field in ("runs", "accuracies", "table", "views", "label_views", "reported", "seeds"):
        renamed[field] = getattr(scores, field).replace(names)
    targets = [
        target.model_copy(update={"id": shift, "group": shift}) if target.id == "photos" else target
        for target in scores.targets
    ]
    natural = {names.get(name, name): kind for name, kind in scores.natural.items()}
    renamed["reported"] = reported(HOSTILE)
    suite = scores.suite.model_copy(update={"title": HOSTILE, "description": HOSTILE})
    return dataclasses.replace(scores, suite=suite, targets=targets, natural=natural, **renamed)


def reported(text):
    """A self-reported run of which a person wrote the name, the family and the note."""
    own = {"architecture": text, "seed": 0, "family": text, "parameters": 1, "note": text, "stale": ""}
    sets = {"test-set": 900, "sketches": 400}
    counts = {"n": 1000, "effective": 1000.0, "predicted": float("nan")}
    rows = [{**own, "set": name, "right": right, **counts} for name, right in sets.items()]
    return pd.DataFrame(rows).astype({"parameters": "Int64", "right": "Int64"})


@pytest.fixture(scope="session")
def bundle():
    """The JavaScript of Vega."""
    return vega_bundle()


@pytest.fixture(scope="session")
def section():
    """A suite of made-up scores with natural, synthetic and withheld shifts."""
    scores = build()
    return Section(scores, "sample", outputs=make_outputs(scores))


@pytest.fixture(scope="session")
def board(section, bundle, tmp_path_factory):
    """The folder of a site of made-up scores."""
    folder = tmp_path_factory.mktemp("board")
    write_site(site([section], bundle), folder)
    return folder


@pytest.fixture(scope="session")
def hostile(bundle, tmp_path_factory):
    """The folder of a site in which everything that people name tries to run a script."""
    scores = with_names(build())
    section = Section(scores, "sample", outputs=make_outputs(scores, (HOSTILE, "dog", "ship")))
    folder = tmp_path_factory.mktemp("hostile")
    write_site(site([section], bundle), folder)
    return folder


def invented(root, keep=lambda role, number: True):
    """Return a workspace with invented runs, those that are kept, of a suite of real digits."""
    workspace = make_workspace(root)
    suite = workspace.suite("tiny")
    data = load_suite(workspace, suite, root)
    runs = [("scored", key) for key in suite.scored_runs()]
    runs += [("reference", key) for key in suite.reference_runs()]
    for number, (role, key) in enumerate(runs):
        if keep(role, number):
            write_run(workspace, data, workspace.results(suite), key, role, number)
    return workspace


@pytest.fixture(scope="session")
def invent():
    """Make workspaces with invented runs."""
    return invented


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A workspace with invented runs of a suite of real digits, whose images may be shown."""
    return invented(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def digits(tiny, tmp_path_factory):
    """The folder of a site of the suite of digits, made as the command makes it."""
    folder = tmp_path_factory.mktemp("digits")
    write_page(SimpleNamespace(obj=tiny.root), folder, ["tiny"])
    return folder


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; skipped where there is none, unless SHIFTCAST_REQUIRE_CHROMIUM is set."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        lacking("playwright is not installed")
    if CHROMIUM is None:
        lacking("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def lacking(reason):
    if os.environ.get("SHIFTCAST_REQUIRE_CHROMIUM"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def visit(browser):
    """Open a page of a site; when the test ends, nothing may have gone wrong or over a network."""
    seen, contexts = [], []

    def open_page(folder, path="index.html", **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", lambda said: seen.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        page.on("requestfailed", lambda request: seen.append(f"failed: {request.url}"))
        page.on("request", lambda request: seen.extend(foreign(request.url, folder)))
        page.goto((folder / path).as_uri())
        drawn(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen == []


def foreign(url, folder):
    return [] if url.startswith((folder.as_uri(), "data:")) else [f"request: {url}"]


def drawn(page, times=1):
    """Wait until every chart has been drawn."""
    page.wait_for_function(
        "times => [...document.querySelectorAll('figure[data-chart]')]"
        ".every(figure => Number(figure.dataset.drawn || 0) >= times)",
        arg=times,
    )
