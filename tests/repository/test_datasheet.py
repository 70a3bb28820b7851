"""The datasheet's figures are those of the stored runs."""

import json

from support import REPOSITORY


def compute_table():
    """Return the lines that the datasheet's table of compute must have."""
    totals = {}
    for path in sorted((REPOSITORY / "results").glob("*/*/*/seed-*/run.json")):
        measured = json.loads(path.read_text()).get("measured")
        if measured is not None:  # submitted runs were trained elsewhere
            own = totals.setdefault(path.parts[-5], [0, 0.0, 0.0])
            own[0] += 1
            own[1] += measured["train_seconds"] / 3600
            own[2] += measured["evaluate_seconds"] / 3600
    return [f"| `{name}` | {n} | {train:.1f} | {test:.1f} |" for name, (n, train, test) in totals.items()]


def test_compute_is_that_of_the_stored_runs():
    text = (REPOSITORY / "docs" / "datasheet.md").read_text().splitlines()
    wanted = compute_table()
    stated = [line for line in text if line.startswith("| `") and line.count("|") == 5]
    assert stated == wanted, "\n".join(wanted)
