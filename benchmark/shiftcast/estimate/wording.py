"""What is to be said about answers for other people's models: their order, and the intervals around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def order_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the order of answered rows means; an empty string where no error is known."""
    boards = [row["board"] for row in rows if row.get("board") and row["board"]["mae"] is not None]
    if not boards:
        return ""
    return (
        "Sorted by MAE, each estimator's mean absolute error (pp) on our board's natural shifts "
        f"({_learned_on(boards)}): how wrong it was there, and no promise for your data."
    )


def board_error(row: Mapping[str, Any]) -> str:
    """Return a row's mean absolute error on the board in pp, or a dash where it is unknown."""
    error = row.get("board", {}).get("mae")
    return "–" if error is None else f"{100 * error:.2f}"


def actual_note(target: Mapping[str, Any]) -> list[str]:
    """Return what the labels in the target say, if it has any."""
    if "accuracy" in target:
        return [f"Actual accuracy, from the labels in {target['name']}: {100 * target['accuracy']:.2f} %"]
    if "actual_so_far" not in target:
        return []
    return [
        f"Actual accuracy so far, on {target['labelled']:,} labelled rows of {target['images']:,} in "
        f"{target['name']}: {100 * target['actual_so_far']:.2f} %. It is of those rows alone."
    ]


def marked(row: Mapping[str, Any]) -> str:
    """Return the estimator of an answered row, with a star where its estimate is flagged."""
    return f"{row['estimator']}{'*' if row.get('flagged') else ''}"


def is_sampling(row: Mapping[str, Any]) -> bool:
    """Whether an answered row's own interval is of sampling alone, and not of earlier errors."""
    return bool(row.get("interval", "sampling") == "sampling")


def flag_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line on each reason for which estimates of answered rows are doubtful."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.get("flagged"):
            reasons.setdefault(row["flagged"], []).append(row["estimator"])
    return [f"* doubtful, {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def interval_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what is to be said about the intervals of answered rows."""
    notes = ["Sampling intervals cover the chance of which images were drawn, and nothing else."]
    boards = [row["board"] for row in rows if row.get("board") and is_sampling(row)]
    held = [board["coverage"] for board in boards if board["coverage"] is not None]
    if held:
        span = _span([f"{100 * share:.2f}" for share in sorted(held)])
        notes[0] += (
            f" On our board, under natural shifts, such intervals covered the actual accuracy of {span} % of "
            "the models."
        )
    alone = [row["estimator"] for row in rows if not row.get("conformal")]
    if len(alone) < len(rows):
        notes.append(
            "Intervals with model error are learned from each estimator's errors on the natural shifts of "
            "our board. They are valid for shifts of those kinds."
        )
    if alone:
        notes.append(f"Without model error, which is not known: {', '.join(alone)}.")
    return notes


def _learned_on(boards: Sequence[Mapping[str, Any]]) -> str:
    """Return what errors are from: the suite, its models and its shifts, each named once."""
    suites = " and ".join(sorted({board["learned_on"] for board in boards}))
    models, shifts = (
        _span([str(n) for n in sorted({board[key] for board in boards})])
        for key in ("architectures", "shifts")
    )
    return f"{suites}, {models} architectures, {shifts} shifts"


def _span(sorted_values: Sequence[str]) -> str:
    first, last = sorted_values[0], sorted_values[-1]
    return first if first == last else f"{first} to {last}"
