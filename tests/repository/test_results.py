"""What is committed under results/ stays small, and its pages of outcomes count what they say."""

import re
from collections import Counter

import pytest

from support import REPOSITORY

RESULTS = REPOSITORY / "results"
MEGABYTES = 240


def test_results_take_little_room():
    size = sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file()) / 1e6
    assert size < MEGABYTES, f"{size:.0f} MB"


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*/outcome.md")), ids=lambda page: page.parent.name)
def test_each_expectation_has_a_result_and_they_are_counted_first(page):
    text = page.read_text()
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    rows = [line.strip("|\n").split("|") for table in tables for line in table.splitlines()[2:]]
    results = Counter(row[-1].strip() for row in rows)
    assert set(results) == {"right", "partly right", "wrong"}
    said = (
        f"Of {len(rows)} expectations {results['right']} were right, {results['partly right']} partly right "
        f"and {results['wrong']} wrong."
    )
    opening = text.split("\n## ")[1]
    assert opening.startswith("Findings\n")
    assert said in opening
    assert opening.count("\n- ") == 3
