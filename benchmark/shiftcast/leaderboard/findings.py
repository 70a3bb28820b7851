"""The three findings that a page of results opens with, chosen and worded from its tables."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from shiftcast.board.build import Board, EstimatorTables
from shiftcast.board.columns import ESTIMATORS
from shiftcast.board.tables import ConfusionTables, SuiteScores
from shiftcast.board.words import KINDS, MARK
from shiftcast.leaderboard.figures.confusion_data import FEWEST
from shiftcast.leaderboard.markup import escape
from shiftcast.util.text import count, percent, points, signed

FINDINGS = 3
"""Findings at the head of a page, at most; a page without data has fewer."""


def opening(findings: Iterable[str]) -> list[str]:
    """Return the block with the first findings; none where there are none."""
    shown = [finding for finding in findings if finding][:FINDINGS]
    return ["## Findings", "\n".join(f"- {finding}" for finding in shown)] if shown else []


def board_findings(board: Board) -> list[str]:
    """Return what a suite's board shows: expectations met, errors of estimators, intervals, models."""
    kinds = [tables for tables in board.kinds if len(tables.overall)]
    return [
        _expected(board.scores),
        *(_lowest(tables) for tables in kinds),
        *(_sampling(tables) for tables in kinds[:1]),
        _models(board),
    ]


def _expected(scores: SuiteScores) -> str:
    known = scores.controls[scores.controls["seen"].notna()]
    if known.empty:
        return ""
    held = int(known["holds"].astype(bool).sum())
    return f"**{held} of {count(len(known), 'figure')}** of this control came out as expected."


def _lowest(tables: EstimatorTables) -> str:
    """Return which estimator errs least on one kind of shift, and how much no estimator would."""
    if tables.best is None:
        return ""
    name = escape(ESTIMATORS["estimator"].cell(tables.best))
    shifts = count(tables.shifts, f"{tables.kind} shift")
    text = f"On {shifts} **{name}** errs least: {points(tables.best['mae'])} pp on average."
    if tables.best["selected"]:
        text += f" Some of their labels were known before ({MARK}), so this may be too low."
    if "NoShift" in tables.by_name and tables.best["estimator"] != "NoShift":
        text += f" Expecting no change (NoShift) errs by {points(tables.by_name['NoShift']['mae'])} pp."
    return text


def _sampling(tables: EstimatorTables) -> str:
    """Return how rarely 95 % intervals of sampling cover the accuracy."""
    rows = tables.overall[(tables.overall["nominal"] == "95") & tables.overall["coverage"].notna()]
    if rows.empty:
        return ""
    low, high = percent(rows["coverage"].min()), percent(rows["coverage"].max())
    span = f"{low} %" if low == high else f"between {low} and {high} %"
    return (
        f"**Sampling intervals** of 95 % cover the measured accuracy of {span} of the models on "
        f"{tables.kind} shifts, depending on the estimator."
    )


def _models(board: Board) -> str:
    """Return how much accuracy models lose."""
    frame = board.models.overall
    both = frame[frame["id_accuracy"].notna() & frame["score"].notna()]
    if both.empty:
        return ""
    return (
        f"**Models** have {percent(both['id_accuracy'].mean())} % accuracy in distribution on average, and "
        f"{percent(both['score'].mean())} % on the shifts they are ranked by."
    )


def shift_findings(board: Board, group: str, errors: pd.DataFrame) -> list[str]:
    """Return what a shift's page shows: accuracies of models, the best estimator, and the sign of errors.

    Parameters
    ----------
    board
        The suite's board.
    group
        The shift.
    errors
        Errors of estimators on it, as in `EstimatorTables.by_group`.
    """
    known = errors[errors["mae"].notna()].sort_values(["mae", "estimator"])
    return [_accuracy(board, group), _best_here(known), _direction(known)]


def _accuracy(board: Board, group: str) -> str:
    own = board.models.by_group[board.models.by_group["group"] == group]
    if own.empty:
        return ""
    low, high = percent(own["accuracy"].min()), percent(own["accuracy"].max())
    return (
        f"{count(len(own), 'model')} have **{percent(own['accuracy'].mean())} %** accuracy here on average "
        f"({low} to {high} %)."
    )


def _best_here(known: pd.DataFrame) -> str:
    if known.empty:
        return ""
    best = known.iloc[0].to_dict()
    text = f"**{escape(ESTIMATORS['estimator'].cell(best))}** errs least: {points(best['mae'])} pp."
    base = known[known["estimator"] == "NoShift"]
    if len(base) and best["estimator"] != "NoShift":
        text += f" Expecting no change (NoShift) errs by {points(base['mae'].iloc[0])} pp."
    return text


def _direction(known: pd.DataFrame) -> str:
    if known.empty:
        return ""
    high = int((known["bias"] > 0).sum())
    return (
        f"{high} of {count(len(known), 'estimator')} predict **too high** on average; the middle bias is "
        f"{signed(float(known['bias'].median()))} pp."
    )


def confusion_findings(tables: ConfusionTables) -> list[str]:
    """Return what the page about confusion shows of the source's claims 1, 3 and 4, or of what is known."""
    return [
        _more(tables),
        _partition(tables),
        _drop(tables),
        _derived(tables),
        _equally_easy(tables),
        _choices(tables),
        _halves(tables),
    ]


def _more(tables: ConfusionTables) -> str:
    natural = tables.sets[tables.sets["natural"]]
    if natural.empty:
        return ""
    more = int((natural["difference_low"] > 0).sum())
    return (
        f"**Natural shifts are more confusing** than the test images on {more} of "
        f"{count(len(natural), 'set')}: {_to(natural['above'])} % of their images are of high confusion, "
        "against 10 % in distribution."
    )


def _partition(tables: ConfusionTables) -> str:
    frame = tables.pairs.drop_duplicates("set")
    if frame.empty:
        return ""
    text = (
        f"**ConfusionPartition errs** by {points(frame['mae'].min())} to {points(frame['mae'].max())} pp on "
        f"{count(len(frame), 'natural shift')}."
    )
    said = []
    for rival in ("NoShift", "AgreementShift"):
        own = tables.pairs[tables.pairs["rival"] == rival]
        if len(own):
            said.append(f"lower than that of {rival} on {int((own['high'] < 0).sum())}")
    return f"{text} Its error is clearly {' and '.join(said)} of them." if said else text


def _drop(tables: ConfusionTables) -> str:
    frame = tables.drop
    if frame.empty:
        return ""
    holds = int(frame["holds"].astype(bool).sum())
    return (
        f"**Most of the drop** in accuracy comes from images of high confusion on {holds} of "
        f"{count(len(frame), 'natural shift')}, by the criterion that was fixed beforehand."
    )


def _derived(tables: ConfusionTables) -> str:
    altered = tables.sets[~tables.sets["natural"]].iloc[1:]
    if altered.empty:
        return ""
    more = int((altered["difference_low"] > 0).sum())
    return (
        f"**Altered test images are more confusing** than the originals in {more} of "
        f"{count(len(altered), 'set')}: {_to(altered['above'])} % of their images are of high confusion."
    )


def _equally_easy(tables: ConfusionTables) -> str:
    """Return how much lower accuracy can be than in distribution on the images of lowest confusion."""
    known = tables.accuracy[tables.accuracy["images"] >= FEWEST]
    if known.empty:
        return ""
    sums = known.groupby(["set", "bin"])[["right", "n"]].sum()
    shares = (sums["right"] / sums["n"]).unstack("bin")
    source = shares.loc[tables.sets["set"].iloc[0]] if tables.sets["set"].iloc[0] in shares.index else None
    lowest = shares.drop(index=tables.sets["set"].iloc[0], errors="ignore").apply(
        lambda row: row.first_valid_index(), axis=1
    )
    if source is None or lowest.empty:
        return ""
    gaps = pd.Series({name: source[place] - shares.loc[name, place] for name, place in lowest.items()})
    if gaps.dropna().empty:
        return ""
    name = str(gaps.idxmax())
    place = lowest[name]
    return (
        f"**Accuracy at equal confusion** differs most on {escape(name)}: on the images of lowest confusion "
        f"the models have {percent(shares.loc[name, place])} %, against {percent(source[place])} % in "
        "distribution at the same confusion."
    )


def _choices(tables: ConfusionTables) -> str:
    """Return which choice the partition's error depends on most."""
    frame = tables.sensitivity
    for kind in KINDS.values():
        known = frame[frame[f"{kind}_mae"].notna()]
        if known.empty:
            continue
        errors = known.groupby("aspect")[f"{kind}_mae"]
        aspect = str((errors.max() - errors.min()).idxmax())
        low, high = errors.min()[aspect], errors.max()[aspect]
        return (
            f"**ConfusionPartition depends** most on the choice of *{escape(aspect)}*: its error on {kind} "
            f"shifts is {points(low)} to {points(high)} pp."
        )
    return ""


def _halves(tables: ConfusionTables) -> str:
    if tables.reliability.empty:
        return ""
    rho = tables.reliability["spearman"]
    return (
        "**The score is reliable**: two disjoint halves of the ensemble rank the images of a set alike, with "
        f"a rank correlation of {points(rho.min())} to {points(rho.max())}."
    )


def _to(shares: pd.Series[float]) -> str:
    low, high = percent(shares.min()), percent(shares.max())
    return low if low == high else f"{low} to {high}"
