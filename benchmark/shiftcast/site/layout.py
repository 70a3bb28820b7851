"""What every page shares: its head, navigation and foot, and the pieces that pages are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from shiftcast.errors import MissingExtraError
from shiftcast.site.html import Child, Html, joined, script_json, tag

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ModuleNotFoundError as error:
    raise MissingExtraError("page", "jinja2") from error

ASSETS = "assets"
SITE = "Shiftcast"
POLICY = (
    "default-src 'none'; script-src 'self' file: 'unsafe-eval'; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
)
"""Nothing is fetched and no script stands in the markup; Vega makes functions from its expressions."""

TEMPLATES = Environment(
    loader=PackageLoader("shiftcast.site"),
    autoescape=True,
    finalize=joined,  # which escapes, and takes out characters that no page shows
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
SHORT = 40
"""Characters of a fact that fit half the page's width."""
PageOption = tuple[str, str]
"""What an option of a choice means to the scripts, and what people read."""


def page(
    title: str,
    blocks: Sequence[Child],
    *,
    depth: int,
    trail: Sequence[tuple[str, str]] = (),
    data: Any = None,
    scripts: Sequence[str] = (),
) -> str:
    """Return a whole page.

    Parameters
    ----------
    title
        In the browser's tab, before the site's name.
    blocks
        The content; the first is the main heading.
    depth
        How many folders below the site's root the page lies.
    trail
        Pages above this one: their addresses, relative to this page, and names.
    data
        What the page's charts show, as JSON; none of the charts' scripts is loaded without it.
    scripts
        More scripts, relative to the site's root, that charts read.
    """
    charts = [f"{ASSETS}/vega.js", *scripts, f"{ASSETS}/specs.js", f"{ASSETS}/charts.js"]
    return TEMPLATES.get_template("page.html").render(
        title=title,
        site=SITE,
        start=title == SITE,
        root="../" * depth,
        assets=ASSETS,
        policy=POLICY,
        scripts=[f"{ASSETS}/page.js", *(charts if data is not None else [])],
        trail=trail,
        content=joined(*blocks),
        data=None if data is None else script_json("page-data", data),
    )


def section(heading: str, *blocks: Child, **attributes: Any) -> Html:
    """Return a section with a heading that links can name."""
    name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    return tag("section", tag("h2", heading), *blocks, id=name, **attributes)


def paragraph(*children: Child, **attributes: Any) -> Html:
    """Return a paragraph."""
    return tag("p", *children, **attributes)


def fold(summary: str, *blocks: Child) -> Html:
    """Return blocks that open on request."""
    return tag("details", tag("summary", summary), *blocks)


def tiles(figures: Sequence[tuple[str, str, str]]) -> Html:
    """Return figures that stand out: what each is, its value, and a note."""
    items = [
        tag("div", tag("dt", what), tag("dd", tag("strong", value), tag("span", note)))
        for what, value, note in figures
    ]
    return tag("dl", *items, class_="tiles")


def facts(values: Mapping[str, Child]) -> Html:
    """Return a list of names and values; empty values are left out."""
    items = [
        tag("div", tag("dt", name), tag("dd", value), class_="long" if len(str(value)) > SHORT else None)
        for name, value in values.items()
        if value
    ]
    return tag("dl", *items, class_="facts")


def choice(label: str, control: str, options: Sequence[PageOption], **attributes: Any) -> Html:
    """Return a labelled choice that charts, or rows of tables, follow."""
    made = [tag("option", text, value=value) for value, text in options]
    return tag("label", tag("span", label), tag("select", *made, data_control=control, **attributes))


SCALES: Sequence[PageOption] = (("probit", "probit"), ("logit", "logit"), ("linear", "linear"))
"""How accuracies are laid out along an axis."""


def kind_value(kind: str) -> str:
    """Return what stands for all shifts of a kind in a choice of shifts."""
    return f"kind:{kind}"


def shift_value(group: str) -> str:
    """Return what stands for one shift in a choice of shifts."""
    return f"shift:{group}"


def filters(what: str, *choices: Html) -> Html:
    """Return choices that stand above charts; `what` says what they filter."""
    return tag("div", *choices, class_="controls filters", role="group", aria_label=what)


def families(runs: pd.DataFrame) -> Html:
    """Return a choice of the families of complete runs."""
    names = sorted(set(runs.loc[runs["status"] == "ok", "family"]))
    return choice("Family", "family", [("", "all"), *((name, name) for name in names)])
