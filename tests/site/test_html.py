"""Nothing that people name can leave its place in a page."""

import json
from html.parser import HTMLParser

import pytest

from shiftcast.site.html import Html, script_json, script_text, slugs, tag

HOSTILE = '"><img src=x onerror="hacked()">&</script><script>hacked()</script>\u2028\u2029\u202e'


def elements(text):
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda name, attributes: found.append((name, dict(attributes)))
    parser.feed(text)
    return found


def test_text_and_attributes_are_escaped():
    made = tag("p", HOSTILE, title=HOSTILE)
    ((name, attributes),) = elements(made)
    assert name == "p"
    assert list(attributes) == ["title"]
    assert "\u202e" not in made


def test_markup_of_ours_is_kept_and_attributes_are_named():
    made = tag("td", tag("b", "x < y"), class_="a", data_v=1, hidden=True, title=None, lang=False)
    assert made == '<td class="a" data-v="1" hidden><b>x &lt; y</b></td>'
    assert tag("br") == "<br>"
    assert isinstance(made, Html)


def test_json_in_a_script_says_the_same_and_ends_nothing():
    value = {"name": HOSTILE, "n": [1, None, 0.5]}
    text = script_text(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)
    assert [name for name, _ in elements(script_json("page-data", value))] == ["script"]
    with pytest.raises(ValueError, match="JSON"):
        script_text(float("nan"))


def test_slugs_are_safe_and_differ_on_any_system():
    names = [
        "resnet10_w32",
        "cifar10.1-v6",
        "ATC",
        "atc",
        "../../etc/passwd",
        "a b",
        "a/b",
        "",
        "con",
        "x" * 300,
    ]
    found = slugs(names)
    assert found["resnet10_w32"] == "resnet10_w32"
    assert found["cifar10.1-v6"] == "cifar10.1-v6"
    assert len({slug.casefold() for slug in found.values()}) == len(names)
    for slug in found.values():
        assert slug
        assert not slug.startswith(".")
        assert len(slug) <= 80
        assert set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert found["con"] != "con"
    assert slugs(reversed(names)) == found


def test_a_whole_table_is_not_cut_by_a_frame():
    from importlib.resources import files

    from shiftcast.board.columns import Column
    from shiftcast.site.tables import table

    made = str(table("t", "caption", [Column("a", "a")], [{"a": "x"}] * 40, whole=True))
    assert 'class="scroll whole"' in made
    assets = files("shiftcast.site") / "assets"
    assert ".scroll.whole { max-height: none; }" in (assets / "page.css").read_text()


def test_charts_state_no_error_of_their_own():
    """The board weighs cells alike; a mean over points is another figure for one thing."""
    from importlib.resources import files

    code = (files("shiftcast.site") / "assets" / "charts.js").read_text()
    assert "mean absolute error" not in code
