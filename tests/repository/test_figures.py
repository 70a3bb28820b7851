"""Figures that documents quote from the board are those of the board that is in the repository."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from support import REPOSITORY

RESULTS = REPOSITORY / "results"
BOARD = json.loads((RESULTS / "residuals.json").read_text())["suites"]["cifar10-cpu"]
DOCS = REPOSITORY / "docs"


def rows(page):
    """The cells of every row of every table of a generated page."""
    lines = (RESULTS / page).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def error(name, kind="natural"):
    return 100 * BOARD[kind][name]["mae"]


def biases(page, tracks):
    return [float(row[3]) for row in rows(page) if row[0] in tracks and re.fullmatch(r"[+-][\d.]+", row[3])]


def covered():
    """The lowest and highest coverage of sampling intervals of 95 % on natural shifts."""
    shares = [one["coverage"] for one in BOARD["natural"].values() if one["nominal"] == 0.95]
    return min(shares), max(shares)


def blind():
    """The lowest and highest error of T1 and T2 where a planted shortcut moved."""
    pages = ("controls-line/shifts/line_moved.md", "controls-dominoes/shifts/digit_moved.md")
    found = [value for page in pages for value in biases(page, ("T1", "T2"))]
    return min(found), max(found)


def seeds():
    """The spread of seeds on the distribution, and its interval."""
    (row,) = [row for row in rows("cifar10-cpu/board.md") if len(row) == 7 and row[2] == "cifar10-test"]
    return tuple(map(float, re.findall(r"-?[\d.]+", row[-1])))


def on(name, shift):
    (row,) = [row for row in rows(f"cifar10-cpu/shifts/{shift}.md") if row[1].rstrip("†") == name][:1]
    return float(row[3])


QUOTED = {
    "errors with an ensemble": (
        "estimate.md",
        r"They err by ([\d.]+) and ([\d.]+) pp on the board's natural shifts and by ([\d.]+) and ([\d.]+) pp "
        r"on its corruptions",
        lambda: tuple(
            error(name, kind)
            for kind in ("natural", "synthetic")
            for name in ("BalancedAgreement", "LargestDrop")
        ),
    ),
    "COTT on corruptions": (
        "estimate.md",
        r"\*\*COTT\*\*\. It errs by ([\d.]+) pp on the board's synthetic",
        lambda: (error("COTT", "synthetic"),),
    ),
    "NuclearNorm": (
        "estimate.md",
        r"\*\*NuclearNorm\*\*.*?It errs by ([\d.]+) pp on the board's natural",
        lambda: (error("NuclearNorm"),),
    ),
    "errors without an ensemble": (
        "estimate.md",
        r"\*\*LargestDrop-T1\*\* \(([\d.]+) pp\) or \*\*COTT\*\* \(([\d.]+) pp\)",
        lambda: (error("LargestDrop-T1"), error("COTT")),
    ),
    "ATC-NE": ("estimate.md", r"\*\*ATC-NE\*\* \(([\d.]+) pp\)", lambda: (error("ATC-NE"),)),
    "the first headline": (
        "negative-results.md",
        r"Found: (\d+) pp there, and more on drawings",
        lambda: (on("ConfusionPartition", "cinic10-imagenet"),),
    ),
    "coverage": (
        "negative-results.md",
        r"(\d+) to (\d+) % instead of 95 %",
        lambda: tuple(100 * share for share in covered()),
    ),
    "ALine": (
        "negative-results.md",
        r"abstains on `cifar10-g`, and errs by (\d+) pp on the others",
        lambda: (error("ALine-D"),),
    ),
    "planted shortcuts": ("negative-results.md", r"was (\d+) to (\d+) pp too high", blind),
    "seeds": ("negative-results.md", r"Found: ([\d.]+) pp \[([\d.]+), ([\d.]+)\] for six seeds", seeds),
}


@pytest.mark.parametrize("name", QUOTED)
def test_a_quoted_figure_is_that_of_the_board(name):
    page, pattern, known = QUOTED[name]
    text = " ".join((DOCS / page).read_text().split())
    said = re.findall(pattern, text)
    assert len(said) == 1, f"docs/{page} no longer says this; take the figure off this list or write it here"
    quoted = said[0] if isinstance(said[0], tuple) else (said[0],)
    for figure, value in zip(quoted, known(), strict=True):
        unit = 10.0 ** -len(figure.partition(".")[2])
        assert float(figure) == pytest.approx(value, abs=unit / 2 + 0.006)  # the board's own rounding


def test_the_first_headline_is_behind_those_that_the_page_names():
    text = " ".join((DOCS / "negative-results.md").read_text().split())
    (named,) = re.findall(r"it is behind ([\w, ]+?) \(\[leaderboard", text)
    for name in re.split(r", | and ", named):
        assert BOARD["natural"][name]["mae"] < BOARD["natural"]["ConfusionPartition"]["mae"], name


def test_every_error_that_the_page_on_estimates_states_is_on_this_list():
    text = " ".join(
        (DOCS / "estimate.md").read_text().split("## Which estimator when")[1].split("##")[0].split()
    )
    stated = set(re.findall(r"(?<!±)\b(\d+\.\d+) (?:and \d+\.\d+ )?pp", text))
    listed = [pattern for page, pattern, _ in QUOTED.values() if page == "estimate.md"]
    checked = {
        figure for pattern in listed for said in re.findall(pattern, text) for figure in np.atleast_1d(said)
    }
    assert stated <= checked
