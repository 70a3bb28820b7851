"""Simulate few labels on the board's stored runs.

    .venv/bin/python docs/scripts/label_validation.py simulate synthetic  # what the design was chosen on
    .venv/bin/python docs/scripts/label_validation.py simulate natural    # looked at afterwards: minutes
    .venv/bin/python docs/scripts/label_validation.py report              # fills docs/few-labels.md

`simulate` writes `docs/validation/labels-KIND.csv`, and `report` reads these files alone. Each row is a
network on a target set, with or without the reference ensemble (never of its own family): images are drawn
`DRAWS` times, as `shiftcast sample` does, and the labels answer as in `estimate --labelled`. The first
seed of each architecture and recipe is taken, for synthetic sets of every fourth. Corrupted images are of the
half of the test set that the network's source is not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from reports import put_report

from shiftcast.estimate.answer import summary
from shiftcast.estimate.choice import choose_answer
from shiftcast.estimate.labels import chances_of
from shiftcast.predictions import Predictions
from shiftcast.runs.reading import read_pool
from shiftcast.scoring.harness import RunView
from shiftcast.statistics.labelling import (
    allocate,
    labels_needed,
    measured,
    planned_half_width,
    strata_of,
)
from shiftcast.util.hashing import sha256
from shiftcast.util.plot_style import COLOURS, GREY, house_style
from shiftcast.util.text import points
from shiftcast.util.types import Floats
from shiftcast.workspace import find_workspace

ROOT = Path(__file__).parents[2]
FOLDER, PAGE = ROOT / "docs" / "validation", ROOT / "docs" / "few-labels.md"
FIGURE = ROOT / "docs" / "images" / "few-labels.svg"
SUITE, DRAWS, LABELS = "cifar10-cpu", 100, (50, 100, 200, 500, 1000)
EVERY = 4
"""Of the networks, for synthetic sets."""
ACCURACIES = (0.02, 0.98)
"""Outside these a set has too few right or wrong answers for strata to matter."""


def pairs(natural: bool) -> Iterator[tuple[str, str, Predictions, Predictions]]:
    """Yield run, target, and the predictions on source and labelled target, with the ensemble's."""
    workspace = find_workspace(ROOT)
    suite = workspace.suite(SUITE)
    pool, _ = read_pool(workspace, suite, workspace.results(suite) / SUITE)
    runs = {(run.key.architecture, run.key.recipe): run for run in reversed(pool.scored)}
    for run in list(reversed(runs.values()))[:: 1 if natural else EVERY]:
        view = RunView(pool, run)
        for target in pool.targets:
            if workspace.natural(target) != natural or pool.labels_of(target.id) is None:
                continue
            fit, part = ("A", "B") if target.derived else ("all", "all")
            yield str(run.key), target.id, view.source(fit), view.target(target, part, labelled=True)
        pool.forget()


def simulate(natural: bool) -> pd.DataFrame:
    """Return a row for each run, target, ensemble or none, design and number of labels."""
    rows = []
    for run, name, source, target in pairs(natural):
        right = target.correct.astype(np.float64)
        if not ACCURACIES[0] < right.mean() < ACCURACIES[1]:
            continue
        for ensemble in (True, False):
            known, unknown = (
                (source, target) if ensemble else (replace(one, reference=None) for one in (source, target))
            )
            unknown = unknown.without_labels()
            answer = choose_answer(known, unknown, summary(known, unknown, []), [])
            chances = chances_of(known, unknown, answer)
            head = {"run": run, "target": name, "ensemble": ensemble, "images": len(right)}
            for labels in LABELS:
                if labels < len(right):
                    for design in ("strata", "uniform") if ensemble else ("strata",):
                        seed = int(sha256(f"{run}|{name}|{ensemble}|{labels}|{design}".encode())[:8], 16)
                        random = np.random.RandomState(seed)
                        found = drawn(right, chances, labels, design == "strata", random)
                        rows.append({**head, "design": design, "labels": labels, **found})
        sys.stderr.write(f"{run} {name}\n")
    return pd.DataFrame(rows)


def drawn(
    right: Floats, chances: Floats, labels: int, stratified: bool, random: np.random.RandomState
) -> dict[str, float]:
    """Return what `DRAWS` draws of a design give: coverage, half-width, labels saved, what was planned."""
    actual = float(right.mean())
    strata = strata_of(chances, labels) if stratified else np.zeros(len(right), dtype=np.int64)
    sizes = np.bincount(strata)
    counts = allocate(sizes, np.clip(np.bincount(strata, chances) / sizes, 0, 1), labels)
    parts = [np.flatnonzero(strata == stratum) for stratum in range(len(sizes))]
    answers = []
    for _ in range(DRAWS):
        rows = np.concatenate([random.permutation(p)[:n] for p, n in zip(parts, counts, strict=True)])
        answers.append(measured(right[rows], chances[rows], strata[rows], sizes, float(chances.mean())))
    held = np.mean([one.low - 1e-9 <= actual <= one.high + 1e-9 for one in answers])
    half = float(np.mean([one.high - one.low for one in answers])) / 2
    uniform = labels_needed(np.full(len(right), actual), half, stratified=False)
    planned = planned_half_width(chances, labels, stratified)
    return {
        "actual": actual,
        "mean": float(np.mean([one.accuracy for one in answers])),
        "coverage": float(held),
        "half_width": half,
        "planned_half_width": planned,
        "uniform_labels": uniform,
        "planned_uniform_labels": labels_needed(chances, planned, stratified=False),
        "weight": float(np.mean([one.weight for one in answers])),
    }


def with_savings(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `saving` and `planned_saving`, shares of the labels drawn uniformly."""
    return frame.assign(
        saving=1 - frame["labels"] / frame["uniform_labels"],
        planned_saving=1 - frame["labels"] / frame["planned_uniform_labels"],
    )


def coverage_table(frame: pd.DataFrame) -> list[str]:
    """Return coverage of stratified intervals in Markdown: a row a set, a column a number of labels."""
    lines = [
        "| set | images | " + " | ".join(f"{n:,} labels" for n in LABELS) + " |",
        "|---" * (2 + len(LABELS)) + "|",
    ]
    own = frame[frame["design"] == "strata"]
    for name, part in own.groupby("target", sort=False):
        cells = []
        for labels in LABELS:
            values = 100 * part.loc[part["labels"] == labels, "coverage"]
            spread = f"{values.mean():.1f} ({values.min():.0f} to {values.max():.0f})" if len(values) else "–"
            cells.append(spread)
        lines.append(f"| {name} | {part['images'].iloc[0]:,} | " + " | ".join(cells) + " |")
    return lines


def saving_table(frame: pd.DataFrame, by_set: bool) -> list[str]:
    """Return medians of labels saved in Markdown, over all numbers of labels."""
    keys = ["strata, ensemble", "strata, no ensemble", "uniform with proxy, ensemble"]
    lines = ["| set | " + " | ".join(f"{key} %" for key in keys) + " | planned, ensemble % |"]
    lines += ["|---" * 5 + "|"]
    groups = list(frame.groupby("target", sort=False)) if by_set else []
    for name, part in [*groups, ("all", frame)]:
        strata, ensemble = part["design"] == "strata", part["ensemble"]
        cells = [_quartiles(part[kept]["saving"]) for kept in (strata & ensemble, strata & ~ensemble)]
        cells.append(_quartiles(part[~strata & ensemble]["saving"]))
        cells.append(_quartiles(part[strata & ensemble]["planned_saving"]))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _quartiles(values: pd.Series[float]) -> str:
    low, middle, high = (points(100 * values.quantile(q), 0) for q in (0.25, 0.5, 0.75))
    return f"{middle} ({low} to {high})"


def verdict(frame: pd.DataFrame) -> str:
    """Return how the goals came out, a sentence each."""
    own = frame[frame["design"] == "strata"]
    cells = own.groupby(["target", "ensemble", "labels"])["coverage"].mean()
    inside = cells.between(0.93, 0.97)
    saved = own.groupby("ensemble")["saving"].median()
    return (
        f"Of {len(cells)} cells (set, with and without ensemble, number of labels) {inside.sum()} have a "
        f"mean coverage from 93 to 97 %; the lowest is {100 * cells.min():.1f} %, the highest "
        f"{100 * cells.max():.1f} %. In the median strata save {100 * saved[True]:.0f} % of the labels with "
        f"an ensemble and {100 * saved[False]:.0f} % without."
    )


def report(natural: pd.DataFrame, synthetic: pd.DataFrame) -> str:
    """Return the result in Markdown."""
    runs = natural["run"].nunique()
    parts = [
        f"**Natural sets**, {runs} networks, {DRAWS} draws each. {verdict(natural)}",
        "Coverage of the 95 % interval in percent, drawn in strata: mean over networks, with and without "
        "ensemble (lowest and highest of one network, which chance alone spreads by 5 pp each way).",
        "\n".join(coverage_table(natural)),
        "Labels saved at equal width against uniform draws, in percent: median over networks and numbers of "
        "labels (quartiles).",
        "\n".join(saving_table(natural, by_set=True)),
        f"**Synthetic sets**, on which the design was chosen. {verdict(synthetic)}",
        "\n".join(saving_table(synthetic, by_set=False)),
    ]
    return "\n\n".join(parts) + "\n"


def draw(frame: pd.DataFrame) -> None:
    """Draw labels saved by set: a dot a network and number of labels, with and without ensemble."""
    own = frame[frame["design"] == "strata"]
    names = list(dict.fromkeys(own["target"]))
    with house_style():
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        ax = figure.subplots()
        for side, (ensemble, label) in enumerate(((False, "no ensemble"), (True, "with ensemble"))):
            part = own[own["ensemble"] == ensemble]
            for place, name in enumerate(names):
                values = np.sort(100 * part.loc[part["target"] == name, "saving"].to_numpy())
                spread = np.linspace(-0.12, 0.12, len(values))
                ax.plot(
                    place + 0.36 * (side - 0.5) + spread,
                    values,
                    ".",
                    color=COLOURS[side],
                    markersize=3,
                    label=None if place else label,
                )
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.axhline(100 / 3, color=GREY, linewidth=0.8, linestyle="--")
        ax.set_xticks(range(len(names)), names, rotation=20, ha="right")
        ax.set_ylabel("labels saved by strata, %")
        ax.legend()
        figure.savefig(FIGURE, metadata={"Date": None, "Creator": "Shiftcast"})


def read(kind: str) -> pd.DataFrame:
    """Return the committed table of a kind of shift, with savings."""
    return with_savings(pd.read_csv(FOLDER / f"labels-{kind}.csv"))


def main() -> None:
    """Do what the first argument says."""
    what, *kinds = sys.argv[1:]
    if what == "simulate":
        frame = simulate(kinds[0] == "natural")
        path = FOLDER / f"labels-{kinds[0]}.csv"
        frame.to_csv(path, index=False, float_format="%.4g", lineterminator="\n")
    elif what == "report":
        natural = read("natural")
        put_report(PAGE, "label_validation.py", report(natural, read("synthetic")))
        draw(natural)


if __name__ == "__main__":
    main()
