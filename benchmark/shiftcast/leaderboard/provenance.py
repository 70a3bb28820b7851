"""What a suite's section says about its making: what was run, what is missing, how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from shiftcast.board.build import Board
from shiftcast.board.tables import SuiteScores
from shiftcast.leaderboard.markup import escape
from shiftcast.runs.ledger import LEVELS, LOWEST
from shiftcast.util.text import count, percent


def what_was_run(board: Board) -> str:
    """Return a list of the suite's source, models, shifts, ensemble and editions."""
    scores = board.scores
    source = scores.suite.source
    test = escape(source.test) + _source_size(scores)
    lines = {
        "Source": f"trained on {escape(source.train)}; labelled test set {test}"
        if source.train is not None
        else f"labelled test set {test}; a logits-only suite: models were trained elsewhere, "
        "and their outputs were contributed",
        "Models": _zoo(board),
        "Natural shifts": _shifts(scores, natural=True),
        "Class shares": _class_distances(scores),
        "Synthetic shifts": _shifts(scores, natural=False),
        "Reference ensemble": _ensemble(scores),
        "Headline estimator": f"{escape(scores.suite.headline)}, as the suite names it",
    }
    lines |= {
        f"Edition of {escape(name)}": escape(note) for name, note in sorted(scores.dataset_notes.items())
    }
    return "\n".join(f"- **{name}**: {text.rstrip('.')}." for name, text in lines.items() if text)


def _class_distances(scores: SuiteScores) -> str:
    """State how far the class mix of each natural set is from the source's."""
    if not scores.class_distances:
        return ""
    listed = ", ".join(f"{escape(name)} {value:.2f}" for name, value in scores.class_distances.items())
    return f"total variation distance from the source's, 0 to 1: {listed}"


def _source_size(scores: SuiteScores) -> str:
    sizes = scores.accuracies.loc[scores.accuracies["set"] == scores.suite.source.test, "n"]
    return f" ({count(int(sizes.iloc[0]), 'image')})" if len(sizes) else ""


def _zoo(board: Board) -> str:
    runs = board.scores.runs[board.scores.runs["role"] == "scored"]
    done = runs[runs["status"] == "ok"]
    architectures = count(done["architecture"].nunique(), "architecture")
    text = f"{len(done)} of {count(len(runs), 'run')} complete"
    if done.empty:
        return text
    text += f" ({architectures}; recipe {_listed(done['recipe'])}; seeds {_listed(done['seed'])}"
    epochs = sorted({int(n) for n in done["epochs"].dropna()})
    text += f"; {_span([str(n) for n in epochs])} epochs)" if epochs else ")"
    shares = board.models.source["accuracy"]
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
    corrupted, others = [], []
    for group, severities in groups.items():
        at = f" at {', '.join(map(str, severities))}" if each and severities != [0] else ""
        if natural or severities == [0]:
            others.append(f"{escape(group)}{at} ({images[group]})")
        else:
            corrupted.append(f"{escape(group)}{at}")
    shared = min(levels) if levels and not each else ()
    word = "severity" if len(shared) == 1 else "severities"
    tail = f"; {word} {', '.join(map(str, shared))}" if shared and corrupted else ""
    sizes = sorted({images[group] for group, severities in groups.items() if severities != [0]})
    tail += f"; {' or '.join(sizes)} each" if sizes and corrupted else ""
    parts = [", ".join(corrupted) + tail, ", ".join(others)]
    return f"{len(groups)}: {'; and '.join(part for part in parts if part)}" if groups else ""


def _images(scores: SuiteScores, target: str) -> str:
    rows = scores.accuracies[scores.accuracies["set"] == target]
    hidden = ", labels withheld" if len(rows) and rows["right"].isna().all() else ""
    return (count(int(rows["n"].min()), "image") if len(rows) else "not evaluated") + hidden


def _ensemble(scores: SuiteScores) -> str:
    order = [*scores.suite.reference.members, *scores.suite.reference.reserves]
    ensemble = scores.ensemble.sort_values("architecture", key=lambda names: names.map(order.index))
    named = {
        role: [escape(str(name)) for name in rows["architecture"]] for role, rows in ensemble.groupby("role")
    }
    members, reserves = named.get("member", []), named.get("reserve", [])
    if not members:
        return "none"
    text = f"{len(members)} runs that are never scored: {', '.join(members)}"
    instead = ", ".join(reserves) or "no reserve"
    return f"{text}. They replace members of the scored model's family: {instead}"


def missing(scores: SuiteScores) -> str:
    """Return a list of runs, shifts and estimators that are not on the board, with the reasons."""
    lines = [
        *_absent_runs(scores),
        *_trust(scores),
        *_absent_targets(scores),
        *_skipped(scores),
        *_notes(scores),
    ]
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


def _trust(scores: SuiteScores) -> list[str]:
    """Name runs that maintainers vouch for less than for their own, where they vouch for any."""
    runs = scores.runs[scores.runs["status"] == "ok"]
    if "trust" not in runs or ((runs["trust"] == LOWEST).all() and not scores.suite.contributed):
        return []  # a folder of results without a ledger
    lines: dict[str, list[str]] = {}
    for row in (
        runs[runs["trust"] != LEVELS[0]].sort_values(["architecture", "recipe", "seed"]).to_dict("records")
    ):
        run = escape(f"{row['architecture']}/{row['recipe']}/seed-{row['seed']}")
        lines.setdefault(str(row["trust"]), []).append(run)
    said: dict[str, str] = {
        "recomputed": "accuracies recomputed from logits and dataset",
        LOWEST: "as the authors report them",
    }
    return [
        f"- {count(len(own), 'run')} {escape(level)} ({said[level]}): {', '.join(own)}"
        for level, own in sorted(lines.items())
    ]


def _absent_targets(scores: SuiteScores) -> list[str]:
    present = {target.id for target in scores.targets}
    absent = [target for target in scores.suite.unfolded_targets() if target.id not in present]
    return [f"- no run was evaluated on {escape(target.id)} ({target.level})" for target in absent]


def _skipped(scores: SuiteScores) -> list[str]:
    frame = scores.skipped.sort_values(["estimator", "reason"])
    return [
        f"- {escape(str(name))} skipped on {count(int(rows), 'row')}: {escape(str(reason))}"
        for name, reason, rows in frame[["estimator", "reason", "rows"]].itertuples(index=False)
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


def how_to_reproduce(scores: SuiteScores) -> str:
    """Return the commands that make the page."""
    name = scores.suite.name
    first = {f"shiftcast run {name}": "trains and evaluates missing runs"}
    if scores.suite.contributed:
        first = {f"shiftcast validate results/{name}": "recomputes accuracies from the contributed outputs"}
    commands = first | {
        "shiftcast leaderboard": "writes this page from results/",
        "shiftcast leaderboard --check": "compares it with results/",
    }
    width = max(map(len, commands))
    return "\n".join(f"    {command:{width}}  # {what}" for command, what in commands.items())
