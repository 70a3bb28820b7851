"""Columns of the board's tables, each described once: what it is called, shows, sorts by and means.

Markdown, the site and the terminal take their columns from here, and each has one writer of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.words import ABSTAINED, HARD, HELP, MARK, citation, what_it_is
from shiftcast.statistics import signed_root
from shiftcast.util.text import (
    BLANK,
    accuracy,
    count,
    interval,
    percent,
    points,
    predicted,
    score,
    signed,
)

Row = Mapping[Any, Any]
Text = Callable[[Row], str]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    key
        Names the column, and the row's value that it is about.
    heading
        What stands above it, without its unit.
    text
        What a row shows there, as plain text that writers escape; the row's value when None.
    figures
        Whether it holds figures: to the right, sorted by the row's number, and safe to print.
    unit
        "pp" or "%". Markdown, where all errors are in pp, shows "%" alone.
    short
        The heading where there is little room: on the site and in the terminal.
    large_first
        Whether the first click on the site puts the largest number on top.
    help
        What it means, for the site's legend; the entry of `HELP` when None.
    named
        Whether the heading is a name that people gave, which Markdown has to escape.
    strong
        Whether a row stands out here.
    """

    key: str
    heading: str
    text: Text | None = None
    figures: bool = False
    unit: str = ""
    short: str = ""
    large_first: bool = False
    help: str | None = None
    named: bool = False
    strong: Callable[[Row], bool] | None = None

    def cell(self, row: Row) -> str:
        """Return what a row shows."""
        return str(row[self.key]) if self.text is None else self.text(row)

    def number(self, row: Row) -> float:
        """Return the number that a row is sorted by; NaN where it has none."""
        return number(row.get(self.key))

    @property
    def meaning(self) -> str:
        """What it means; empty where the heading says it."""
        return HELP.get(self.key, "") if self.help is None else self.help

    @property
    def title(self) -> str:
        """The heading, with a unit of "%" alone."""
        return f"{self.heading} %" if self.unit == "%" else self.heading

    @property
    def label(self) -> str:
        """The short heading with its unit."""
        return f"{self.short or self.heading} {self.unit}".rstrip()


Columns = Mapping[str, Column]


def number(value: Any) -> float:
    """Return a number as it is, NaN where there is none."""
    # numpy's numbers round ties otherwise than Python's: converting them would move last digits.
    known: float = float("nan") if value is None or pd.isna(value) else value
    return known


def pick(columns: Columns, *keys: str) -> list[Column]:
    """Return columns in the order of their keys."""
    return [columns[key] for key in keys]


def _by_key(*columns: Column) -> dict[str, Column]:
    return {column.key: column for column in columns}


def figure(
    key: str, heading: str, unit: str = "", show: Callable[[float], str] | None = None, **about: Any
) -> Column:
    """Return a column of numbers, in percent or with two decimals."""
    write = show or (percent if unit == "%" else points)
    return Column(key, heading, lambda row: write(number(row.get(key))), figures=True, unit=unit, **about)


def figures(key: str, heading: str, text: Text, **about: Any) -> Column:
    """Return a column of figures that `text` writes."""
    return Column(key, heading, text, figures=True, **about)


def _counted(key: str, heading: str, **about: Any) -> Column:
    return figures(key, heading, lambda row: BLANK if pd.isna(row[key]) else f"{row[key]:,}", **about)


def _share_of(key: str, whole: str) -> Column:
    return figures(key, key, lambda row: f"{int(row[key])}/{row[whole]}", large_first=True)


def _interval(key: str, ends: tuple[str, str], heading: str, short: str = "") -> Column:
    text = lambda row: interval(row[key], row[ends[0]], row[ends[1]])  # noqa: E731
    return figures(key, heading, text, unit="%", short=short, large_first=True)


def _rank(meaning: str) -> Column:
    text = lambda row: BLANK if pd.isna(row["rank"]) else str(int(row["rank"]))  # noqa: E731
    return figures("rank", "#", text, short="rank", help=meaning)


# Estimators


def _ranks(row: Row) -> str:
    """Return the ranks that the noise leaves open, as `2` or `2-4`."""
    if pd.isna(row["rank_low"]):
        return BLANK
    low, high = int(row["rank_low"]), int(row["rank_high"])
    return str(low) if low == high else f"{low}-{high}"


def _error(row: Row, digits: int = 2) -> str:
    known = number(row.get("mae"))
    return ABSTAINED if known != known and "cells" in row else points(known, digits)


def _bounded(row: Row, digits: int = 2) -> str:
    ends = [points(row[end], digits) for end in ("mae_low", "mae_high")]
    text = _error(row, digits)
    return text if pd.isna(row["mae_low"]) else f"{text} [{', '.join(ends)}]"


def _covered(key: str, heading: str, short: str) -> Column:
    """Return a column of coverage in percent, with the level that was promised."""
    level = key.replace("coverage", "nominal")

    def text(row: Row) -> str:
        share = number(row.get(key))
        return BLANK if share != share else f"{percent(share)} of {row[level]}"

    return figures(key, heading, text, unit="%", short=short, large_first=True)


def _conformal_cells(row: Row) -> str:
    cells = f"{int(row['conformal_cells'])}/{row['all_cells']}"
    return f"{cells} at {row['conformal_nominal']} %" if row["conformal_nominal"] else cells


def _difference(row: Row) -> str:
    return f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]"


def _p_value(row: Row) -> str:
    if pd.isna(row["p"]):
        return BLANK
    return "< 0.001" if row["p"] < 0.001 else f"{row['p']:.3f}"


ESTIMATORS: Columns = _by_key(
    Column("track", "track"),
    _rank("by MAE within the track; none where an estimator lacks a cell, or for a single shift"),
    figures("ranks", "ranks", _ranks),
    Column("estimator", "estimator", lambda row: row["estimator"] + (MARK if row.get("selected") else "")),
    figures("mae", "MAE", _error, unit="pp"),
    figures("bounded", "MAE [95 %]", _bounded),
    figure("bias", "bias", "pp", signed),
    figure("rmse", "RMSE", "pp"),
    figure("worst", "worst", "pp"),
    figure("skill", "skill", large_first=True),
    figure("tau", "τ", large_first=True),
    figure("tau_id", "τ of ID"),
    _covered("coverage", "sampling coverage", "sampling cover"),
    figure("width", "sampling width", "pp", short="width"),
    _covered("conformal_coverage", "conformal coverage", "conformal cover"),
    figure("conformal_width", "conformal width", "pp"),
    figure("abstained", "abstains", "%"),
    figure("flagged", "doubtful", "%"),
    figure("mae_common", "MAE, common cells"),
    figure("mae_shared", "MAE shared"),
    figure("mae_kind_out", "MAE kind-out"),
    _share_of("cells", "all_cells"),
    _counted("groups", "shifts"),
    _counted("architectures", "architectures"),
    _counted("rows", "rows"),
    figure("floor", "sampling noise", "pp"),
    figures("conformal_cells", "cells with a conformal level", _conformal_cells),
    Column("worst_cell", "worst cell", lambda row: row["worst_cell"] or BLANK),
    figures("seconds", "ms", lambda row: f"{1000 * row['seconds']:.2f}"),
    Column("what_it_is", "what it is", lambda row: what_it_is(row["estimator"]) or BLANK),
    Column("citation", "from", lambda row: citation(row["estimator"]) or BLANK),
    figures("difference", "headline minus it [95 %]", _difference),
    figures("p", "p", _p_value),
)
"""Columns of tables of estimators."""
SHIFT = Column("shift", "shift", lambda row: row["shift"] or "all")
_APART = (figure("holds", "holds", "%"), figure("below", "below the accuracy by", "pp", signed))
BOUNDS: Columns = _by_key(ESTIMATORS["estimator"], SHIFT, *_APART, _counted("cells", "cells"))
"""Columns of the table of lower bounds."""
_MOVED = (figure("found", "class shares moved, found"), figure("true", "class shares moved, true"))
DIAGNOSES: Columns = _by_key(ESTIMATORS["estimator"], SHIFT, *_MOVED, *pick(ESTIMATORS, "mae", "bias"))
"""Columns of the table of diagnoses of label shift."""
BRIEF: Columns = _by_key(
    ESTIMATORS["estimator"],
    ESTIMATORS["track"],
    figures("bounded", "MAE [95 %]", lambda row: _bounded(row, 1)),
    figure("mae_common", "MAE, common cells", show=lambda value: points(value, 1)),
    figures("bias", "bias", lambda row: signed(row["bias"], 1)),
    figures("worst", "worst", lambda row: points(row["worst"], 1)),
    *pick(ESTIMATORS, "skill", "tau", "cells"),
)
"""Columns of the table of all tracks on the front page, with one decimal of a percentage point."""
ERRORS = ("mae", "bias", "rmse")
INTERVALS = ("coverage", "width", "conformal_coverage", "conformal_width")


def severity_columns(targets: Iterable[str]) -> list[Column]:
    """Return the errors on each severity of a shift; a row has them in `severities`, by target."""

    def column(target: str) -> Column:
        text = lambda row: points(row["severities"].get(target, float("nan")))  # noqa: E731
        return figures(target, f"MAE, {target.rpartition('/')[2]}", text, named=True)

    return [column(target) for target in targets]


def coverage_columns(told: Iterable[tuple[str, str]]) -> list[Column]:
    """Return where each interval holds; a row has the rows of `coverage_by` by interval and cluster."""

    def column(interval: str, by: str) -> Column:
        return Column(f"{interval} {by}", f"{interval} % by {by}", lambda row: _ends(row.get((interval, by))))

    return [ESTIMATORS["estimator"], *(column(*one) for one in told)]


def _ends(row: Row | None) -> str:
    if row is None:
        return BLANK
    low = f"{percent(row['lowest'])} ({row['lowest_name']})"
    high = f"{percent(row['highest'])} ({row['highest_name']})"
    return low if row["clusters"] == 1 else f"{low} to {high}, {count(row['clusters'], row['by'])}"


# Models


def model_column(several: bool) -> Column:
    """Return a model's name; its recipe is part of it where a table holds several."""
    text = lambda row: f"{row['architecture']} ({row['recipe']})" if several else str(row["architecture"])  # noqa: E731
    return Column("model", "model", text)


def _predicted(actual: str, by: str) -> Column:
    text = lambda row: predicted(row["predicted"], row[actual])  # noqa: E731
    return figures("predicted", "predicted % (error)", text, help=by, large_first=True)


def _score(row: Row) -> str:
    return accuracy(row["score"], row["low"], row["high"])


def _robust(row: Row) -> str:
    ends = [number(row.get(end)) for end in ("robustness_low", "robustness_high")]
    known = signed(number(row.get("robustness")))
    return known if pd.isna(ends[0]) else f"{known} [{signed(ends[0])}, {signed(ends[1])}]"


_ROBUSTNESS = figures(
    "robustness", "effective robustness", _robust, unit="pp", short="robustness", large_first=True
)


def model_columns(board: Board) -> dict[str, Column]:
    """Return columns of tables of models over the shifts that they are ranked by."""
    ranking = board.models.ranking
    mean = figures("score", "required mean", _score, unit="%", short="mean of required", large_first=True)
    if len(ranking) == 1:
        mean = replace(mean, heading=ranking[0], short=ranking[0], named=True)
    elif ranking:
        mean = replace(mean, heading=f"{board.kind(ranking[0])} mean")
    return _by_key(
        _rank(f"by accuracy on {', '.join(ranking) or 'nothing: no required shift has known labels'}"),
        model_column(board.models.several),
        Column("family", "family"),
        _counted("parameters", "parameters", large_first=True),
        _share_of("runs", "all_runs"),
        _interval("id_accuracy", ("id_low", "id_high"), "ID accuracy", "ID"),
        mean,
        _predicted("score", f"by {board.headline}, on the same shifts"),
        _ROBUSTNESS,
        figure("synthetic", "synthetic mean", "%", short="synthetic", large_first=True),
        figure("id_sd", "ID seed sd"),
        figure("sd", "seed sd"),
    )


def group_columns(board: Board) -> dict[str, Column]:
    """Return columns of tables of models on one shift, or of shifts for one model."""
    return _by_key(
        *pick(model_columns(board), "model", "family", "robustness", "sd"),
        Column("group", "shift"),
        Column("kind", "kind"),
        _interval("accuracy", ("low", "high"), "accuracy"),
        _predicted("accuracy", f"by {board.headline}"),
        figure("drop", "drop", "pp", large_first=True),
        figure("mixture", "by mixture", "pp", large_first=True),
        figure("within", "within bins", "pp", large_first=True),
        figure("ece", "ECE", "pp", large_first=True),
    )


def shift_columns(board: Board) -> list[Column]:
    """Return the columns of the table of labelled shifts."""
    return [
        Column("shift", "shift"),
        Column("kind", "kind"),
        _counted("images", "images", large_first=True),
        figure("accuracy", "mean accuracy", "%", help="mean over models", large_first=True),
        figure("lowest", "lowest", "%"),
        figure("highest", "highest", "%", large_first=True),
        figure("confusion", "confusion", show=score, large_first=True),
        figure("headline_mae", f"{board.headline} MAE", "pp"),
        figure("best_mae", "lowest MAE", "pp"),
        Column("best", "by"),
    ]


def _others(row: Row) -> str:
    return (
        f"{percent(row['lowest'])} to {percent(row['highest'])} ({row['others']})" if row["others"] else BLANK
    )


def _level(level: float) -> str:
    return BLANK if pd.isna(level) else f"{100 * level:g}"


def _sampling(row: Row) -> str:
    return f"{percent(row['low'])} to {percent(row['high'])}"


def _with_model_error(row: Row) -> str:
    return accuracy(row["predicted"], row["conformal_low"], row["conformal_high"])


WITHHELD: Columns = _by_key(
    Column("target", "shift"),
    _counted("n", "images", large_first=True),
    figures("predicted", "predicted % [conformal interval]", _with_model_error, large_first=True),
    figures("conformal_level", "its level", lambda row: _level(row["conformal_level"]), unit="%"),
    figures("sampling", "own interval %", _sampling),
    figures("others", "other estimators %", _others),
    Column("actual", "actual", lambda _: "withheld"),
    figure("lowest", "others from", "%", help="lowest prediction of any other estimator"),
    figure("highest", "to", "%", large_first=True),
)
"""Columns of predictions where labels are withheld, beside a model's name."""


def reported_name(row: Row, several: bool) -> str:
    """Return what a self-reported model is called."""
    return f"{row['architecture']} (seed {row['seed']})" if several else str(row["architecture"])


def reported_columns(board: Board) -> list[Column]:
    """Return the columns of the table of self-reported models."""
    shared, found = model_columns(board), board.reported

    def name(row: Row) -> str:
        return reported_name(row, row["several"]) + (HARD if row["outputs"] == "classes" else "")

    def on(group: str) -> Column:
        return figures(group, group, lambda row: percent(row["natural"][group]), unit="%", named=True)

    return [
        Column("model", "model", name),
        *pick(shared, "family", "parameters"),
        Column("note", "note", lambda row: row["note"].strip() or BLANK),
        shared["id_accuracy"],
        *(on(group) for group in found.natural),
        *([shared["synthetic"]] if found.synthetic else []),
        *([shared["predicted"]] if found.predicted else []),
    ]


REPORTED_SETS: Sequence[Column] = (
    Column("architecture", "model"),
    figures("seed", "seed", lambda row: str(row["seed"])),
    Column("family", "family"),
    Column("note", "note", lambda row: row["note"] or BLANK),
    Column("set", "set"),
    figure("share", "accuracy", "%", large_first=True),
    figure("predicted", "predicted", "%", large_first=True),
)
"""Columns of self-reported models with a row for each set."""


# Seeds, recipes, ensembles, other labels and controls


def _spread(key: str, heading: str) -> Column:
    def text(row: Row) -> str:
        ends = (row[key], row[f"{key}_low"], row[f"{key}_high"])
        middle, low, high = (points(100 * signed_root(variance)) for variance in ends)
        return f"{middle} [{low}, {high}]"

    return figures(key, heading, text)


def seed_columns(source: str) -> list[Column]:
    """Return the columns of the spread of seeds; a model is named in its row for the source."""
    named = model_column(several=True)
    return [
        replace(named, text=lambda row: named.cell(row) if row["set"] == source else ""),
        figures("seeds", "seeds", lambda row: str(row["seeds"]) if row["set"] == source else ""),
        Column("set", "set"),
        _counted("n", "images"),
        figure("accuracy", "accuracy", "%"),
        _spread("raw", "raw"),
        _spread("wise", "distribution-wise"),
    ]


def recipe_columns(estimators: Iterable[str]) -> list[Column]:
    """Return the columns of recipes as an axis, see `shifts.recipe_axes`."""

    def column(name: str) -> Column:
        def text(row: Row) -> str:
            value, base = row["errors"][name], number(row["base"].get(name))
            if pd.isna(value):
                return BLANK
            return points(value) if base != base else f"{points(value)} ({signed(value - base)})"

        return figures(name, name, text)

    return [
        Column("recipe", "recipe"),
        figure("id_accuracy", "ID", "%"),
        figure("natural", "natural", "%"),
        *(column(name) for name in estimators),
    ]


def _with_bias(mae: float, bias: float) -> str:
    return BLANK if pd.isna(mae) else f"{points(mae)} ({signed(bias)})"


def ensemble_columns(sizes: Iterable[int]) -> list[Column]:
    """Return the columns of ensembles by size; a row has a (MAE, bias) by size in `errors`."""

    def column(size: int) -> Column:
        return figures(
            f"M{size}", f"M = {size}", lambda row: _with_bias(*row["errors"].get(size, (pd.NA, 0)))
        )

    return [*pick(ENSEMBLES, "title", "accuracy", "disagreement"), *(column(size) for size in sizes)]


ENSEMBLES: Columns = _by_key(
    Column("title", "ensemble"),
    Column("part", "half"),
    figures("size", "M", lambda row: str(row["size"])),
    figure("accuracy", "members' ID", "%"),
    figure("disagreement", "differ", "%"),
    figures("natural", "natural", lambda row: _with_bias(row["natural_mae"], row["natural_bias"])),
    figures("synthetic", "synthetic", lambda row: _with_bias(row["synthetic_mae"], row["synthetic_bias"])),
)
"""Columns of other ensembles in the place of the reference."""


def label_view_columns(board: Board) -> list[Column]:
    """Return the columns of accuracies under other labels."""

    def under(name: str) -> Column:
        return figures(name, name, lambda row: percent(row["under"][name]), unit="%", named=True)

    return [
        model_column(board.label_views.several),
        figure("given", "given", "%"),
        *(under(one["view"]) for one in board.label_views.views),
    ]


def part_columns(board: Board) -> list[Column]:
    """Return the columns of accuracies on parts of sets."""

    def on(name: str, view: str) -> Column:
        heading = f"{name}: {view}" if view else name
        return figures(heading, heading, lambda row: percent(row["shares"][name, view]), unit="%", named=True)

    return [model_column(board.parts.several), *(on(*one) for one in board.parts.columns)]


QUANTITIES = {"accuracy": "accuracy, %", "bias": "bias, pp", "error": "MAE, pp", "change": "mean change, pp"}
WIDEST = 100.0
"""An expectation's end from which on nothing is expected."""


def _between(row: Row) -> str:
    low, high = row["low"], row["high"]
    if low <= -WIDEST:
        return f"at most {points(high)}"
    return f"at least {points(low)}" if high >= WIDEST else f"{points(low)} to {points(high)}"


CONTROLS: Sequence[Column] = (
    Column("text", "expected"),
    Column("estimator", "of", lambda row: row["estimator"] or "the model"),
    Column("quantity", "figure", lambda row: QUANTITIES[row["quantity"]]),
    figures("between", "between", _between),
    figure("seen", "seen"),
    Column(
        "holds",
        "as expected",
        lambda row: BLANK if pd.isna(row["seen"]) else "yes" if row["holds"] else "no",
        strong=lambda row: not pd.isna(row["seen"]) and not row["holds"],
    ),
)
"""Columns of a suite's expectations."""


def _change(row: Row) -> str:
    if pd.isna(row["change"]):
        return ""
    text = signed(row["change"])
    return text if pd.isna(row["low"]) else f"{text} [{signed(row['low'])}, {signed(row['high'])}]"


CHANGES: Sequence[Column] = (
    Column("row", ""),
    figure("old", "old"),
    figure("new", "new"),
    figures("change", "change [95 %]", _change),
    Column("verdict", ""),
)
"""Columns of rows that moved between two states of results."""
