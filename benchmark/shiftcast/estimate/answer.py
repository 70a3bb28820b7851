"""Estimates for a person's own predictions: labelled validation outputs and unlabelled production outputs.

Needs no workspace and no torch; `inputs` reads the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from sklearn.base import clone

from shiftcast.errors import BrokenEstimatorError, InvalidInputError, UnknownNameError, with_line
from shiftcast.estimate.board_errors import BoardErrors
from shiftcast.estimators import Estimator, Outside, load_outside, official_estimators
from shiftcast.predictions import Predictions
from shiftcast.util.text import SHARES

EVERY = "all"
BASELINES = ("NoShift", "MeanShift")
"""What estimators are to be better than; set apart from these."""


def choose_estimators(names: str = EVERY, outside: Outside | None = None) -> dict[str, Estimator]:
    """Return fresh estimators by name: all of them, or those of a comma-separated list.

    Names may be in any case; the name of a class stands for all estimators of the class (ATC for
    ATC-MC and ATC-NE).

    Parameters
    ----------
    names
        "all", or names with commas.
    outside
        What installed packages register; looked up when omitted. What cannot be used of it is left
        out of all, and refused by name.

    Raises
    ------
    UnknownNameError
        If one does not exist.
    BrokenEstimatorError
        If one is registered but cannot be used.
    """
    outside = outside or load_outside()
    known = {**official_estimators(), **outside.estimators}
    if names == EVERY:
        return known
    spelt: dict[str, list[str]] = {}
    for name, estimator in known.items():
        spelt.setdefault(type(estimator).__name__.lower(), []).append(name)
    spelt |= {name.lower(): [name] for name in known}
    asked = [name.strip() for name in names.split(",") if name.strip()]
    wanted = [name for one in asked for name in spelt.get(one.lower(), [one])]
    if EVERY in wanted:
        raise InvalidInputError(
            f"estimators: {EVERY!r} stands alone, got {names!r}; leave it away, or the other names"
        )
    for name in wanted:
        if name in outside.broken and name not in known:
            raise BrokenEstimatorError(f"estimator {outside.broken[name]}")
        if name not in known:
            raise UnknownNameError("estimator", name, known)
    if not wanted:
        raise InvalidInputError(f"estimators: expected {EVERY!r} or names with commas, got {names!r}")
    return {name: known[name] for name in wanted}


def estimate_accuracy(
    source: Predictions,
    target: Predictions,
    estimators: Mapping[str, Estimator] | None = None,
    errors: Mapping[str, BoardErrors] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    others: Sequence[Predictions] = (),
) -> list[dict[str, Any]]:
    """Return one row per estimator: by known error on the board, then baselines, then skipped ones.

    Parameters
    ----------
    source
        Labelled predictions, in distribution.
    target
        Predictions on other images, of the same kind and with the same classes. Labels are ignored.
    estimators
        Named, unfitted estimators; all when omitted.
    errors
        What estimators got wrong on the benchmark, from
        `shiftcast.estimate.board_errors.board_errors`; without it there are sampling intervals alone.
    progress
        Is told which estimator is at work, its number, and how many there are.
    others
        Labelled predictions of the same model under other shifts, for estimators that learn from them.

    Returns
    -------
    list of dict
        `estimator`, `track`, `accuracy`, `low`, `high`, `level`, `interval` (what it holds: "sampling",
        or what the estimator says), `diagnostics`; where errors are known, `conformal` (`low`, `high`,
        `level`, `extended`, `learned_on`; None where too few shifts are known) and `board`: of the
        benchmark's natural shifts, `mae` (the mean absolute error of the accuracies predicted there, a
        share), `coverage` (how often such intervals held), `shifts`, `architectures` and `learned_on`; or
        `estimator`, `track` and `skipped` with the reason, and `broken` true where somebody's code failed. A
        doubtful estimate has `flagged`, the reason; one from which its estimator abstains is skipped, and
        `abstained` keeps its `accuracy`, `low`, `high` and `level`.

    Raises
    ------
    InvalidInputError
        If one holds logits and the other probabilities, or the class counts differ.
    """
    for other in (target, *others):
        check_pair(source, other)
    chosen = choose_estimators() if estimators is None else estimators
    known = errors or {}
    rows = []
    for number, (name, estimator) in enumerate(chosen.items(), 1):
        if progress is not None:
            progress(name, number, len(chosen))
        learned = others if "others" in estimator.requires else ()
        rows.append(_row(name, estimator, (source, learned), target, known.get(name)))
    return sorted(rows, key=_place)


def check_pair(source: Predictions, target: Predictions) -> None:
    """Refuse a source and another set that are not outputs of one kind for the same classes.

    Raises
    ------
    InvalidInputError
        If one holds logits and the other probabilities, or the class counts differ.
    """
    if source.kind != target.kind:
        raise InvalidInputError(
            f"source {source.name!r} holds {source.kind}, but target {target.name!r} holds {target.kind}; "
            "give both in the same form"
        )
    if source.classes != target.classes:
        raise InvalidInputError(
            f"source {source.name!r} has {source.classes} classes, "
            f"but target {target.name!r} has {target.classes}"
        )


def _place(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    error = row.get("board", {}).get("mae")
    return "skipped" in row, row["estimator"] in BASELINES, inf if error is None else error


def _row(
    name: str,
    estimator: Estimator,
    known: tuple[Predictions, Sequence[Predictions]],
    target: Predictions,
    errors: BoardErrors | None,
) -> dict[str, Any]:
    head = {"estimator": name, "track": estimator.track}
    try:
        found = clone(estimator).fit(*known).predict(target.without_labels())
    except BrokenEstimatorError as error:
        return {**head, "skipped": str(error), "broken": True}
    except InvalidInputError as error:
        return {**head, "skipped": _reason(estimator, error)}
    except Exception as error:
        if name in official_estimators():
            raise  # ours: a mistake that must be seen
        return {**head, "skipped": f"its code failed: {with_line(error)}", "broken": True}
    if found.abstains:
        told = {"accuracy": found.accuracy, "low": found.low, "high": found.high, "level": found.level}
        return {**head, "skipped": f"abstains: {found.abstains}", "abstained": told}
    return {
        **head,
        "accuracy": found.accuracy,
        "low": found.low,
        "high": found.high,
        "level": found.level,
        "interval": found.diagnostics.get("interval", "sampling"),
        "diagnostics": dict(found.diagnostics),
        **({"flagged": found.flagged} if found.flagged else {}),
        **({} if errors is None else _from_board(errors, found.accuracy, len(target))),
    }


def _from_board(errors: BoardErrors, accuracy: float, images: int) -> dict[str, Any]:
    ends = errors.interval(accuracy, images)
    conformal = None
    if ends is not None:
        conformal = {
            **dict(zip(("low", "high", "extended"), ends, strict=True)),
            "level": errors.level,
            "learned_on": errors.learned_on,
        }
    board = {
        "mae": errors.mae,
        "coverage": errors.coverage,
        "shifts": len(errors.residuals),
        "architectures": errors.architectures,
        "learned_on": errors.learned_on,
    }
    return {"conformal": conformal, "board": board}


OPTIONS = {
    "reference": "the probabilities of other models: give them with --ensemble",
    "peers": "the predicted classes of other models: give them with --peers",
    "siblings": "the predicted classes of your architecture with other seeds: give them with --siblings",
}


def _reason(estimator: Estimator, error: InvalidInputError) -> str:
    said = str(error)
    for need, option in OPTIONS.items():
        if need in estimator.requires and f"needs {need}, but" in said:
            return f"needs {option} FILE.npz"
    if "others" in estimator.requires and "(others)" in said:
        return (
            "needs labelled sets under other shifts, such as corrupted copies of the source: give them with "
            "--others FILE.npz"
        )
    return said


def summary(source: Predictions, target: Predictions, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole answer as one JSON-serialisable mapping."""
    answer: dict[str, Any] = {
        "source": {"name": source.name, "images": len(source), "accuracy": round(source.accuracy, 6)},
        "target": {"name": target.name, "images": len(target)},
        "classes": source.classes,
        "kind": source.kind,
        "estimates": rows,
        "units": SHARES,
    }
    if target.labels is not None:
        answer["target"]["accuracy"] = round(target.accuracy, 6)
    return answer
