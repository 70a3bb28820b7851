"""The leaderboard as Markdown: the page of a suite, from what was run to how to read it.

A pure function of the scores: no clock, no file, no seconds. The folded details of each shift are
in `shifts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd

from shiftcast.leaderboard.board import BASELINES, estimator_board, kind_rows
from shiftcast.leaderboard.models import is_natural, model_board, ranking_groups, run_accuracies, withheld
from shiftcast.leaderboard.shifts import shift_details
from shiftcast.leaderboard.text import (
    BLANK,
    accuracy,
    count,
    escape,
    interval,
    model_name,
    percent,
    points,
    predicted,
    ratio,
    signed,
    table,
)
from shiftcast.scores import SuiteScores

FEWEST_NATURAL = 6
"""Independent natural shifts below which nothing is claimed about natural shifts in general."""
MARK = "†"
Row = dict[str, Any]

CAPTIONS = {
    "estimators": "Mean absolute error of each estimator",
    "predicted-vs-actual": "Predicted against actual accuracy; on the dashed line both are equal",
    "ood-vs-id": "Accuracy under shift against in-distribution accuracy, on probit axes",
}

HEAD = """# Leaderboard

How accurate is an image classifier on images that nobody has labelled? Each estimator predicts it from labels of in-distribution images alone; here its predictions stand beside what really happened. Errors are in percentage points (pp). Natural and synthetic shifts are never averaged together, and nothing is averaged over missing cells. The columns are explained [at the end](#how-to-read-the-tables)."""

LEGEND = f"""## How to read the tables

- **cell**: architecture x recipe on one shift (a natural set, or a corruption with all its severities). A figure is averaged over a cell's seeds, then its severities, then over the cells of a shift, and last over shifts with equal weight.
- **track**: what an estimator needs. T1: the model's own logits; T2: and a reference ensemble; T3: and other models' predictions; T4: features or source images; T5: labels of other shifts. Tracks are ranked apart (**#**); figures that print alike share a rank.
- **MAE, bias, RMSE**: mean absolute, signed and root mean squared error, predicted minus actual accuracy. Positive bias is optimism. **worst**: the largest MAE of any cell.
- **skill**: 1 - MAE / MAE of the better baseline ({" or ".join(BASELINES)}) on the same rows. 1 is perfect, 0 no better than that baseline.
- **τ**: Kendall's rank correlation of predicted with actual accuracy across runs; **τ of ID**: that of plain in-distribution accuracy.
- **coverage**: how often the stated sampling interval holds the actual accuracy, with the level it promises; **width**: the interval's mean width. Sampling intervals leave out what an estimator gets wrong under shift.
- **sampling noise**: mean of 1.96 sqrt(a(1 - a)/m) for actual accuracy a on m images, in pp.
- **abstains**: share of rows on which the estimator declines; they are in no other figure. **cells**: complete cells of all cells; an estimator that lacks one is not ranked.
- **MAE shared**: MAE where fit and prediction share the source images, as often published. It flatters; for comparison only.
- **{MARK}**: the estimator, or a default of it, was chosen on one of these datasets.
- **[low, high]** behind an accuracy: Wilson 95 % interval for its images at the mean over seeds. **seed sd**: standard deviation over seeds, in pp.
- **effective robustness**: actual accuracy minus what a line through all other architectures' runs (probit axes) gives for the model's in-distribution accuracy, in pp; blank below three other architectures."""


def render(all_scores: Sequence[SuiteScores], figures: Sequence[Mapping[str, str]] = ()) -> str:
    """Return the leaderboard's Markdown.

    Parameters
    ----------
    all_scores
        Scores of each suite and edition, in the order of their sections.
    figures
        For each of them, the relative path of every picture by its name; none when empty.
    """
    links = list(figures) or [{} for _ in all_scores]
    sections = [_section(scores, own) for scores, own in zip(all_scores, links, strict=True)]
    return "\n\n".join([HEAD, *sections, LEGEND]) + "\n"


def _section(scores: SuiteScores, figures: Mapping[str, str]) -> str:
    edition = f" (edition {escape(scores.edition)})" if scores.edition else ""
    blocks = [
        f"## {escape(scores.suite.title)}{edition}",
        escape(scores.suite.description),
        _what_was_run(scores),
    ]
    boards = {natural: estimator_board(scores, natural) for natural in (True, False)}
    if any(len(board) for board in boards.values()):
        blocks.append("### Estimators")
        blocks += [_estimators(scores, natural, board) for natural, board in boards.items() if len(board)]
        blocks += _pictures(figures, "estimators", "predicted-vs-actual")
    if (scores.runs["role"] == "scored").any():
        blocks += ["### Models", _models(scores), *_pictures(figures, "ood-vs-id")]
    blocks += _withheld(scores)
    blocks += ["### What is missing", _missing(scores), "### How to reproduce", _reproduce(scores)]
    details = shift_details(scores, MARK)
    return "\n\n".join([*blocks, *(["### Details by shift", *details] if details else [])])


def _pictures(figures: Mapping[str, str], *names: str) -> list[str]:
    return [f"![{CAPTIONS[name]}]({quote(figures[name])})" for name in names if name in figures]


# What was run


def _what_was_run(scores: SuiteScores) -> str:
    source = scores.suite.source
    lines = {
        "Source": f"trained on {escape(source.train)}; labelled test set {escape(source.test)}{_source_size(scores)}",
        "Models": _zoo(scores),
        "Natural shifts": _shifts(scores, natural=True),
        "Synthetic shifts": _shifts(scores, natural=False),
        "Reference ensemble": _ensemble(scores),
        "Headline estimator": f"{escape(scores.suite.headline)}, as the suite names it",
    }
    lines |= {
        f"Edition of {escape(name)}": escape(note) for name, note in sorted(scores.dataset_notes.items())
    }
    return "\n".join(f"- **{name}**: {text}." for name, text in lines.items() if text)


def _source_size(scores: SuiteScores) -> str:
    sizes = scores.accuracies.loc[scores.accuracies["set"] == scores.suite.source.test, "n"]
    return f" ({count(int(sizes.iloc[0]), 'image')})" if len(sizes) else ""


def _zoo(scores: SuiteScores) -> str:
    runs = scores.runs[scores.runs["role"] == "scored"]
    done = runs[runs["status"] == "ok"]
    architectures = count(done["architecture"].nunique(), "architecture")
    text = f"{len(done)} of {count(len(runs), 'run')} complete"
    if done.empty:
        return text
    text += f" ({architectures}; recipe {_listed(done['recipe'])}; seeds {_listed(done['seed'])}"
    epochs = sorted({int(n) for n in done["epochs"].dropna()})
    text += f"; {_span([str(n) for n in epochs])} epochs)" if epochs else ")"
    shares = run_accuracies(scores, [scores.suite.source.test])["accuracy"]
    return f"{text}; in-distribution accuracy {_span([percent(shares.min()), percent(shares.max())])} %"


def _span(values: Sequence[str]) -> str:
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def _listed(values: pd.Series[Any]) -> str:
    return ", ".join(escape(str(value)) for value in sorted(set(values)))


def _shifts(scores: SuiteScores, natural: bool) -> str:
    """Name the groups of one kind, each with its images; severities once where all have the same."""
    groups: dict[str, list[int]] = {}
    for target in scores.targets:
        if scores.natural[target.id] == natural:
            groups.setdefault(target.group, []).append(target.severity)
    images = {target.group: _images(scores, target.id) for target in scores.targets}
    levels = {tuple(severities) for severities in groups.values()} - {(0,)}
    each = len(levels) > 1
    named = [
        escape(group)
        + (f" at {', '.join(map(str, severities))}" if each and severities != [0] else "")
        + (f" ({images[group]})" if natural else "")
        for group, severities in groups.items()
    ]
    tail = "" if each or not levels else f"; severities {', '.join(map(str, min(levels)))}"
    sizes = sorted({images[group] for group in groups})
    tail += "" if natural or not sizes else f"; {' or '.join(sizes)} each"
    return f"{len(groups)}: {', '.join(named)}{tail}" if groups else ""


def _images(scores: SuiteScores, target: str) -> str:
    rows = scores.accuracies[scores.accuracies["set"] == target]
    hidden = ", labels withheld" if len(rows) and rows["right"].isna().all() else ""
    return (count(int(rows["n"].min()), "image") if len(rows) else "not evaluated") + hidden


def _ensemble(scores: SuiteScores) -> str:
    named = {
        role: [escape(str(name)) for name in rows["architecture"]]
        for role, rows in scores.ensemble.groupby("role")
    }
    members, reserves = named.get("member", []), named.get("reserve", [])
    if not members:
        return "none"
    text = f"{len(members)} runs that are never scored: {', '.join(members)}"
    return f"{text}. In place of a member of the scored model's own family: {', '.join(reserves) or 'no reserve'}"


# Estimators


def _estimators(scores: SuiteScores, natural: bool, board: pd.DataFrame) -> str:
    rows = kind_rows(scores, natural)
    groups = rows["group"].nunique()
    few = natural and groups < FEWEST_NATURAL
    title = f"#### {'Natural' if natural else 'Synthetic'} shifts{', *conditional on these shifts*' if few else ''}"
    blocks = [title]
    if few:
        shifts = count(groups, "natural shift")
        blocks.append(
            f"{shifts}, fewer than {FEWEST_NATURAL}: no claim is made about natural shifts in general."
        )
    blocks += [_verdict(board, scores.suite.headline), _board_table(board), *_marked(rows)]
    blocks.append(_fold("What stands behind each row", _evidence_table(board)))
    return "\n\n".join(blocks)


def _fold(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def _verdict(board: pd.DataFrame, headline: str) -> str:
    """Say in words what the table shows: the headline, the baselines, the lowest error, the noise."""
    rows = {row["estimator"]: row for row in board.to_dict("records")}
    said = [f"{escape(n)} {points(rows[n]['mae'])} pp" for n in BASELINES if n in rows and n != headline]
    text = f"The headline estimator, **{escape(headline)}**, has no row here."
    if headline in rows:
        mine = rows[headline]
        text = (
            f"**{escape(headline)}** (headline): mean absolute error {points(mine['mae'])} pp, "
            f"bias {signed(mine['bias'])} pp."
        )
    text += f" Baselines: {', '.join(said)}." if said else ""
    ranked = board[board["rank"].notna()].sort_values(["mae", "estimator"])
    if len(ranked):
        best = ranked.iloc[0]
        text += f" Lowest of all ranked: {escape(best['estimator'])}, {points(best['mae'])} pp."
        text += f" Sampling noise of the actual accuracies: ±{points(best['floor'])} pp."
    return text


def _name(row: Row) -> str:
    return escape(str(row["estimator"])) + (MARK if row["selected"] else "")


def _board_table(board: pd.DataFrame) -> str:
    headings = {"track": "left", "#": "right", "estimator": "left"}
    figures = ("MAE", "bias", "RMSE", "worst", "skill", "τ", "τ of ID", "coverage %", "width", "abstains %")
    headings |= dict.fromkeys((*figures, "cells"), "right")
    shared = board["mae_shared"].notna().any()
    cells = [
        [
            row["track"],
            BLANK if pd.isna(row["rank"]) else str(row["rank"]),
            _name(row),
            *(points(row["mae"]), signed(row["bias"]), points(row["rmse"]), points(row["worst"])),
            *(ratio(row["skill"]), ratio(row["tau"]), ratio(row["tau_id"])),
            _coverage(row),
            *(points(row["width"]), percent(row["abstained"]), f"{row['cells']}/{row['all_cells']}"),
            *([points(row["mae_shared"])] if shared else []),
        ]
        for row in board.to_dict("records")
    ]
    return table(headings | ({"MAE shared": "right"} if shared else {}), cells)


def _coverage(row: Row) -> str:
    covered = percent(row["coverage"])
    return covered if covered == BLANK else f"{covered} of {row['nominal']}"


def _marked(rows: pd.DataFrame) -> list[str]:
    marked = rows[rows["selected"]].groupby("estimator")["selected_on"].first()
    named = [f"{escape(str(name))} ({escape(str(on).replace(';', ', '))})" for name, on in marked.items()]
    return [f"{MARK} Chosen on data of this table: {', '.join(named)}."] if named else []


def _evidence_table(board: pd.DataFrame) -> str:
    headings = {"estimator": "left"} | dict.fromkeys(
        ("shifts", "architectures", "rows", "sampling noise"), "right"
    )
    cells = [
        [
            _name(row),
            *(f"{row['groups']:,}", f"{row['architectures']:,}", f"{row['rows']:,}", points(row["floor"])),
            escape(row["worst_cell"]) or BLANK,
        ]
        for row in board.to_dict("records")
    ]
    return table(headings | {"worst cell": "left"}, cells)


# Models


def _models(scores: SuiteScores) -> str:
    board, ranking = model_board(scores), ranking_groups(scores)
    said = _score_heading(scores, ranking)
    several = board["recipe"].nunique() > 1
    synthetic = board["synthetic"].notna().any() and any(is_natural(scores, group) for group in ranking)
    headings = {"#": "right", "model": "left", "parameters": "right", "runs": "right"}
    headings |= dict.fromkeys(("ID accuracy %", "seed sd", f"{said} %", "seed sd "), "right")
    headings |= dict.fromkeys(("predicted % (error)", "effective robustness"), "right")
    cells = [
        [
            BLANK if pd.isna(row["rank"]) else str(row["rank"]),
            model_name(row, several),
            BLANK if pd.isna(row["parameters"]) else f"{row['parameters']:,}",
            f"{row['runs']}/{row['all_runs']}",
            interval(row["id_accuracy"], row["id_low"], row["id_high"]),
            points(row["id_sd"]),
            accuracy(row["score"], row["low"], row["high"]),
            points(row["sd"]),
            predicted(row["predicted"], row["score"]),
            signed(row["robustness"]),
            *([percent(row["synthetic"])] if synthetic else []),
        ]
        for row in board.to_dict("records")
    ]
    text = f"Ranked by {said}; predicted by {escape(scores.suite.headline)}."
    blocks = [text, table(headings | ({"synthetic mean %": "right"} if synthetic else {}), cells)]
    unranked = [row for row in board.to_dict("records") if row["reason"]]
    reasons = [f"- {model_name(row, several)}: {escape(row['reason'])}" for row in unranked]
    return "\n\n".join([*blocks, *(["Not ranked:\n\n" + "\n".join(reasons)] if reasons else [])])


def _score_heading(scores: SuiteScores, ranking: Sequence[str]) -> str:
    if len(ranking) == 1:
        return f"accuracy on {escape(ranking[0])}"
    kind = "natural" if any(is_natural(scores, group) for group in ranking) else "synthetic"
    return f"mean accuracy over {len(ranking)} required {kind} shifts"


def _withheld(scores: SuiteScores) -> list[str]:
    frame = withheld(scores)
    if frame.empty:
        return []
    several = frame["recipe"].nunique() > 1
    headings = {
        "shift": "left",
        "model": "left",
        "images": "right",
        "predicted % [sampling interval]": "right",
    }
    headings |= {"other estimators %": "right", "actual": "left"}
    cells = [
        [
            escape(row["target"]),
            model_name(row, several),
            f"{row['n']:,}",
            interval(row["predicted"], row["low"], row["high"]),
            f"{percent(row['lowest'])} to {percent(row['highest'])} ({row['others']})"
            if row["others"]
            else BLANK,
            "withheld",
        ]
        for row in frame.to_dict("records")
    ]
    text = (
        f"Their labels are not on this board. Predicted by {escape(scores.suite.headline)} (means over seeds); "
        "the range of the other estimators, with their number, shows how far they disagree."
    )
    return ["### Shifts whose labels are withheld", text, table(headings, cells)]


# What is missing, and how to come here


def _missing(scores: SuiteScores) -> str:
    lines = [*_absent_runs(scores), *_absent_targets(scores), *_skipped(scores), *_notes(scores)]
    return "\n".join(lines) or "Nothing: every run, shift and estimator of the suite is on the board."


def _absent_runs(scores: SuiteScores) -> list[str]:
    failed = scores.runs[scores.runs["status"] != "ok"].sort_values(
        ["role", "architecture", "recipe", "seed"]
    )
    lines: dict[tuple[str, str], list[str]] = {}
    for row in failed.to_dict("records"):
        run = escape(f"{row['architecture']}/{row['recipe']}/seed-{row['seed']}")
        lines.setdefault((str(row["role"]), str(row["status"])), []).append(run)
    return [
        f"- {count(len(runs), f'{role} run')}, {escape(status)}: {', '.join(runs)}"
        for (role, status), runs in sorted(lines.items())
    ]


def _absent_targets(scores: SuiteScores) -> list[str]:
    present = {target.id for target in scores.targets}
    absent = [target for target in scores.suite.unfolded_targets() if target.id not in present]
    return [f"- no run was evaluated on {escape(target.id)} ({target.level})" for target in absent]


def _skipped(scores: SuiteScores) -> list[str]:
    frame = scores.skipped.sort_values(["estimator", "reason"])
    return [
        f"- {escape(str(row['estimator']))} skipped on {count(int(row['rows']), 'row')}: {escape(str(row['reason']))}"
        for row in frame.to_dict("records")
    ]


def _notes(scores: SuiteScores) -> list[str]:
    """Say what estimators noted, the commonest notes first and no more than three of each."""
    rows = scores.table[(scores.table["protocol"] == "official") & (scores.table["note"] != "")]
    lines = []
    for name, own in rows.groupby("estimator"):
        notes = sorted(own["note"].value_counts().items(), key=lambda item: (-item[1], str(item[0])))
        said = [f"{escape(str(note))} ({count(n, 'row')})" for note, n in notes[:3]]
        said += [f"and {count(len(notes) - 3, 'other note')}"] if len(notes) > 3 else []
        lines.append(f"- {escape(str(name))} notes: {'; '.join(said)}")
    return lines


def _reproduce(scores: SuiteScores) -> str:
    return (
        f"    shiftcast run {scores.suite.name}    # trains and evaluates what is missing\n"
        "    shiftcast leaderboard          # writes this page from results/\n"
        "    shiftcast leaderboard --check  # compares it with results/"
    )
