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
        f"({_learned_on(boards)}): how wrong it was there, and no promise for your data. "
        "Baselines stand apart, at the end."
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


def part_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the columns of a table of parts by their headings, a cell for each row; shares in percent."""
    actual = next((key for key in ("actual", "actual_so_far") if any(key in row for row in rows)), "")
    known = any("source_share" in row for row in rows)

    def shares(key: str) -> list[str]:
        return [f"{100 * row[key]:.2f}" if key in row else "–" for row in rows]

    def ends(row: Mapping[str, Any]) -> str:
        return f"{100 * row['low']:.2f} to {100 * row['high']:.2f}" if "low" in row else "–"

    levels = sorted({row["level"] for row in rows if "level" in row})
    columns = {"images": [f"{row['images']:,}" for row in rows], "share": shares("share")}
    if known:
        columns |= {"source share": shares("source_share"), "source acc.": shares("source_accuracy")}
    columns |= {
        "acc.": shares("accuracy"),
        f"likely ({'/'.join(f'{100 * level:g}' for level in levels)} %)": [ends(row) for row in rows],
    }
    if actual == "actual_so_far":
        columns["labelled"] = [f"{row['labelled']:,}" if "labelled" in row else "–" for row in rows]
    if actual:
        columns[actual.replace("_", " ")] = shares(actual)
    return columns


def metric_notes(answer: Mapping[str, Any]) -> list[str]:
    """Return a line on other metrics, where there are any: macro F1, AUROC, and the lowest recall."""
    metrics = answer.get("metrics", {})
    told = [
        f"{words} {figure_text(metrics[name])}"
        for name, words in (("macro_f1", "macro F1"), ("auroc", "AUROC"))
        if name in metrics
    ]
    classes = [one for one in metrics.get("classes", []) if one["recall"]["value"] is not None]
    if classes:
        lowest = min(classes, key=lambda one: float(one["recall"]["value"]))
        told.append(f"lowest recall {figure_text(lowest['recall'])}, class {lowest['class']}")
    return [f"Other metrics, %: {'; '.join(told)}."] if told else []


def figure_text(figure: Mapping[str, Any]) -> str:
    """Return a metric in percent with its interval, or that it has none; a dash without a value."""
    if figure["value"] is None:
        return "–"
    value = f"{100 * figure['value']:.2f}"
    if "low" not in figure:
        return f"{value} (no interval)"
    return f"{value} [{100 * figure['low']:.2f}, {100 * figure['high']:.2f}]"


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
