import math

import numpy as np
import pytest

from shiftcast.leaderboard.markup import escape, grid
from shiftcast.util.text import BLANK, count, interval, percent, points, predicted, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.234, "1.23"),
        (-0.004, "0.00"),
        (-0.0, "0.00"),
        (-1.5, "-1.50"),
        (math.nan, BLANK),
        (0.005 - 1e-12, "0.01"),
    ],
)
def test_two_decimals_and_no_negative_zero(value, text):
    assert points(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "+1.00"), (-1.0, "-1.00"), (0.0, "0.00"), (-0.001, "0.00"), (math.nan, BLANK)]
)
def test_signs(value, text):
    assert signed(value) == text


def test_shares():
    assert percent(0.12345) == "12.35"
    assert interval(0.5, 0.4, 0.6) == "50.00 [40.00, 60.00]"
    assert interval(math.nan, 0.4, 0.6) == BLANK
    assert predicted(0.5, 0.48) == "50.00 (+2.00)"
    assert predicted(math.nan, 0.48) == BLANK
    assert (count(1, "run"), count(2000, "image")) == ("1 run", "2,000 images")


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("plain-name_1.2", "plain-name_1.2"),
        ("a|b", r"a\|b"),
        ("a\n\n| b |", r"a \| b \|"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("[x](http://y)", r"\[x\](http&#58;//y)"),
        ("![x](y)", r"\!\[x\](y)"),
        ("**x** _y_ `z` ~w~", r"\*\*x\*\* \_y\_ \`z\` \~w\~"),
        ("WWW.evil.org", "WWW&#46;evil.org"),
        ("# title", r"\# title"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("\x1b[31mred\u202e", r"\[31mred"),
        ("$x$ \\", r"\$x\$ \\"),
    ],
)
def test_names_carry_no_markup(raw, safe):
    assert escape(raw) == safe


def test_a_table_names_its_alignment_and_has_no_padding():
    assert grid({"name": "left", "n": "right"}, [["a", "1e5"], ["bc", "0.10"]]).splitlines() == [
        "| name | n |",
        "|:--|--:|",
        "| a | 1e5 |",
        "| bc | 0.10 |",
    ]


@pytest.mark.parametrize("value", [11.475, 2.675, 1.005, 0.285])
def test_a_number_of_numpy_is_printed_like_one_of_python(value):
    assert points(np.float64(value)) == points(value)
