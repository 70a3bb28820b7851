"""Choose and validate the leading answer of `shiftcast estimate` on tasks with a known answer.

    .venv/bin/python docs/scripts/answer_validation.py signals [PART PARTS]  # read all tasks: half an hour
    .venv/bin/python docs/scripts/answer_validation.py fit                   # learn widths on one half
    .venv/bin/python docs/scripts/answer_validation.py report                # table and figure: the other

`signals` keeps what it has read in SHIFTCAST_CACHE and writes `docs/validation/tasks.csv`; `fit` and `report`
read that file alone. Widths go to `benchmark/shiftcast/estimate/widths.json`, the report to
`docs/estimate.md`, its figure to `docs/images/`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from answer_tasks import ROOT, all_tasks, halves
from matplotlib.figure import Figure
from reports import put_report
from scipy.optimize import minimize

from shiftcast.estimate.choice import (
    LEVEL,
    WIDTHS,
    arms,
    centre_of,
    kind_of,
    sampling_deviation,
    shift_features,
)
from shiftcast.estimate.signals import Signals, signals_of
from shiftcast.statistics import normal_quantile
from shiftcast.util.plot_style import COLOURS, GREY, house_style
from shiftcast.util.types import Floats

FOLDER = ROOT / "docs" / "validation"
TABLE = FOLDER / "tasks.csv"
PAGE, FIGURE = ROOT / "docs" / "estimate.md", ROOT / "docs" / "images" / "answer-validation.svg"
QUANTILE = (1 + LEVEL) / 2
RIDGE = 1e-4
"""Weight of the sum of coefficients beside the pinball loss: what says nothing gets 0."""
READ_LATER = 1000
"""Tasks of so many classes were read when rule and widths were fixed: nothing is learned from them."""
FOLDS = 5
AIM = 0.82
"""Share of held-out families' tasks, within the chosen half, that the intervals shall hold: above the level,
for families to come differ from these by more than chance."""
STEPS = np.round(np.arange(1.0, 3.01, 0.05), 2)


def read_tasks(part: int = 0, parts: int = 1) -> None:
    """Compute what is missing in the cache of every task, or of every `parts`-th from `part` on."""
    cache = Path(os.environ["SHIFTCAST_CACHE"]) / f"answer-signals-{part}.jsonl"
    known = {name for path in cache.parent.glob("answer-signals-*.jsonl") for name in _names(path)}
    tasks = sorted(all_tasks(), key=lambda task: task.cost)
    half = halves(all_tasks())
    for task in tasks[part::parts]:
        if task.name in known:
            continue
        source, target = task.make()
        row = {
            "name": task.name,
            "family": task.family,
            "kind": task.kind,
            "shift": task.shift,
            "half": half[task.family],
            "actual": target.accuracy,
            **asdict(signals_of(source, target)),
        }
        with cache.open("a") as file:
            file.write(json.dumps(row) + "\n")


def write_table() -> None:
    """Write the table of all tasks from the cache, numbers to six digits."""
    paths = sorted(Path(os.environ["SHIFTCAST_CACHE"]).glob("answer-signals-*.jsonl"))
    rows = {row["name"]: row for path in paths for row in map(json.loads, path.read_text().splitlines())}
    tasks = all_tasks()
    half = halves(tasks)
    kept = [{**rows[task.name], "half": half[task.family]} for task in tasks if task.name in rows]
    frame = pd.DataFrame(kept)
    FOLDER.mkdir(exist_ok=True)
    frame.to_csv(TABLE, index=False, float_format="%.6g", lineterminator="\n")


@dataclass(frozen=True, eq=False)
class Scored:
    """Tasks with the answer of the rule, arrays of one entry a task."""

    frame: pd.DataFrame
    accuracy: Floats
    chance: Floats
    features: Floats

    @property
    def error(self) -> Floats:
        """Actual minus estimated accuracy."""
        return self.frame["actual"].to_numpy(dtype=float) - self.accuracy

    def part(self, kept: np.ndarray) -> Scored:
        """Return some of the tasks."""
        return Scored(self.frame[kept], self.accuracy[kept], self.chance[kept], self.features[kept])


def signals_in(row: Any) -> Signals:
    """Return the signals of a row of the table."""
    values = {one.name: getattr(row, one.name) for one in fields(Signals)}
    if values["balanced_agreement"] != values["balanced_agreement"]:
        values["balanced_agreement"] = None
    return Signals(**values)


def scored(frame: pd.DataFrame) -> Scored:
    """Return the rule's answers on tasks of the table."""
    known = [signals_in(row) for row in frame.itertuples()]
    centres = [centre_of(one) for one in known]
    accuracy = np.array([one.accuracy for one in centres])
    chance = np.array([sampling_deviation(one, c.accuracy) for one, c in zip(known, centres, strict=True)])
    features = np.array([shift_features(one, c) for one, c in zip(known, centres, strict=True)])
    return Scored(frame, accuracy, normal_quantile(LEVEL) * chance, features)


def learned(tasks: Scored, sign: float) -> Floats:
    """Return the coefficients of one arm, by quantile regression at 90 %.

    `sign` -1 is for the lower arm, whose misses are answers too high; 1 for the upper.
    """
    miss = sign * tasks.error

    def loss(values: Floats) -> float:
        coefficients = np.abs(values)
        left = miss - np.hypot(tasks.chance, tasks.features @ coefficients)
        pinball = np.where(left > 0, QUANTILE * left, (QUANTILE - 1) * left).mean()
        return float(pinball + RIDGE * coefficients.sum())

    starts = [np.full(tasks.features.shape[1], start) for start in (0.1, 0.5)]
    tries = [minimize(loss, start, method="Powell", options={"maxiter": 20_000}) for start in starts]
    best: Floats = np.abs(min(tries, key=lambda one: float(one.fun)).x)
    return best


def cross_held(tasks: Scored, share: Callable[[Floats, Floats, Floats], float]) -> float:
    """Return the least factor at which arms learned without a fold's families reach the aim on it."""
    families = sorted(set(tasks.frame["family"]))
    fold = dict(zip(families, np.random.RandomState(0).permutation(len(families)) % FOLDS, strict=True))
    folds = tasks.frame["family"].map(fold).to_numpy()
    reach = np.zeros((2, len(folds)))
    for number in range(FOLDS):
        own, rest = tasks.part(folds == number), tasks.part(folds != number)
        for side, sign in enumerate((-1.0, 1.0)):
            reach[side, folds == number] = own.features @ learned(rest, sign)
    enough = [k for k in STEPS if share(tasks.error, *np.hypot(tasks.chance, k * reach)) >= AIM]
    return float(enough[0] if enough else STEPS[-1])


def held(error: Floats, low: Floats, high: Floats) -> float:
    """Return how often an interval holds the actual accuracy."""
    return float(((error >= -low - 1e-9) & (error <= high + 1e-9)).mean())


def directions(frame: pd.DataFrame) -> dict[str, list[int]]:
    """Return the number of shifted tasks of each kind of answer, and of answers that were too high."""
    found = dict.fromkeys(("mix", "harder", "unsure", "ensemble", "both"), (0, 0))
    for row in frame[(frame["source_errors"] > 0) & (frame["shift"] != "none")].itertuples():
        signals = signals_in(row)
        centre = centre_of(signals)
        kind = kind_of(signals, centre)
        tasks, high = found[kind]
        found[kind] = (tasks + 1, high + int(centre.accuracy > row.actual))
    return {kind: list(counts) for kind, counts in found.items()}


def fit(frame: pd.DataFrame) -> dict[str, Any]:
    """Return the content of `widths.json`, from the chosen half."""
    chosen = frame[(frame["half"] == "chosen") & (frame["classes"] < READ_LATER)]
    usual = scored(chosen[chosen["source_errors"] > 0])
    perfect = scored(chosen[chosen["source_errors"] == 0])
    factor = cross_held(usual, held)
    bound_factor = cross_held(perfect, lambda error, low, _: float((error >= -low - 1e-9).mean()))
    sides = {
        "low": factor * learned(usual, -1.0),
        "high": factor * learned(usual, 1.0),
        "bound": bound_factor * learned(perfect, -1.0),
    }
    told = (
        f"docs/scripts/answer_validation.py fit: {len(usual.frame)} tasks with source errors and "
        f"{len(perfect.frame)} without, of {chosen['family'].nunique()} families"
    )
    return {
        **{side: [round(float(c), 4) for c in values] for side, values in sides.items()},
        "too_high": directions(chosen),
        "factor": factor,
        "bound_factor": bound_factor,
        "learned_on": told,
    }


def answered(frame: pd.DataFrame, widths: dict[str, Any]) -> pd.DataFrame:
    """Return the table with `accuracy`, `low`, `high` (of tasks without source errors the bound alone)."""
    rows = []
    for row in frame.itertuples():
        signals = signals_in(row)
        centre = centre_of(signals)
        below, above = arms(signals, centre, widths)
        high = min(centre.accuracy + above, 1.0) if signals.source_errors else 1.0
        rows.append((centre.accuracy, max(centre.accuracy - below, 0.0), high))
    found = frame.copy()
    found[["accuracy", "low", "high"]] = rows
    found["error"] = (found["accuracy"] - found["actual"]).abs()
    found["held"] = (found["actual"] >= found["low"] - 1e-9) & (found["actual"] <= found["high"] + 1e-9)
    found["width"] = found["high"] - found["low"]
    return found


GROUPS = {
    "nothing shifted": ("none",),
    "harder images or rows": ("noise", "scale", "missing", "covariate", "contrast", "corruption", "short"),
    "natural shifts": ("natural", "subgroup", "folders"),
    "another class mix": ("label", "few"),
    "both": ("both", "label-noise", "folders-label"),
    "hidden difficulty": ("hidden",),
}


def report(frame: pd.DataFrame, widths: dict[str, Any]) -> str:
    """Return the result on the half that nothing was chosen on, in Markdown."""
    found = answered(frame[frame["half"] == "reported"], widths)
    usual, perfect = found[found["source_errors"] > 0], found[found["source_errors"] == 0]
    lines = ["| tasks | number | mean error | NoShift | LargestDrop-T1 | COTT | held % | median width |"]
    lines += ["|---|---|---|---|---|---|---|---|", _line("all", usual)]
    lines += [_line(name, usual[usual["shift"].isin(shifts)]) for name, shifts in GROUPS.items()]
    large = (usual["source_images"] >= 1000) & (usual["target_images"] >= 1000)
    lines.append(_line("nothing shifted, n and m at least 1,000", usual[large & (usual["shift"] == "none")]))
    mixed = usual["kind"] == "board mixed"
    lines.append(_line("board's sets with another class mix", usual[mixed]))
    lines.append(_line("with an ensemble", usual[usual["kind"] == "board ensemble"]))
    lines.append(_line("two classes", usual[usual["classes"] == 2]))
    lines.append(_line("a hundred classes and more", usual[usual["classes"] >= 100]))
    high = float((usual["accuracy"] > usual["actual"]).mean())
    said = (
        f"Answers were too high in {100 * high:.0f} % of these tasks. In {len(perfect)} more the source "
        f"has no errors: the bound (90 %) held in {100 * perfect['held'].mean():.0f} %, and lay at "
        f"{100 * perfect['low'].median():.1f} %, where {100 * perfect['actual'].median():.1f} % was right "
        "(medians)."
    )
    return "\n".join([*lines, "", said, ""])


def _line(name: str, part: pd.DataFrame) -> str:
    if not len(part):
        return f"| {name} | 0 | – | – | – | – | – | – |"
    rivals = ("source_accuracy", "largest_drop", "cott")
    errors = [100 * (part[key] - part["actual"]).abs().mean() for key in rivals]
    cells = [100 * part["error"].mean(), *errors, 100 * part["held"].mean(), 100 * part["width"].median()]
    return f"| {name} | {len(part)} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |"


def draw(frame: pd.DataFrame, widths: dict[str, Any]) -> None:
    """Draw estimates and intervals against actual accuracy, on the half that nothing was chosen on."""
    found = answered(frame[frame["half"] == "reported"], widths)
    found = found[found["source_errors"] > 0]
    with house_style():
        figure = Figure(figsize=(9.0, 6.4), layout="constrained")
        axes = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
        for ax, (name, shifts) in zip(axes, GROUPS.items(), strict=True):
            part = found[found["shift"].isin(shifts)]
            ax.plot([0, 100], [0, 100], "--", color=GREY, linewidth=0.8)
            for kept, colour in ((part["held"], COLOURS[0]), (~part["held"], COLOURS[1])):
                own = part[kept]
                ends = (100 * own["actual"], 100 * own["low"], 100 * own["high"])
                ax.vlines(*ends, color=colour, alpha=0.35, linewidth=0.9)
                ax.plot(100 * own["actual"], 100 * own["accuracy"], ".", color=colour, markersize=4)
            ax.set(title=f"{name} ({len(part)})", xlim=(0, 101), ylim=(0, 101))
        figure.supxlabel("actual accuracy, %")
        figure.supylabel("answer with its 80 % interval, %")
        figure.savefig(FIGURE, metadata={"Date": None, "Creator": "Shiftcast"})


def _names(path: Path) -> list[str]:
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def main() -> None:
    """Do what the first argument says."""
    warnings.filterwarnings("ignore")  # of classifiers that stop before they converge
    what, *numbers = sys.argv[1:]
    if what == "signals":
        read_tasks(*map(int, numbers))
        write_table()
    elif what == "table":
        write_table()
    elif what == "fit":
        WIDTHS.write_text(json.dumps(fit(pd.read_csv(TABLE)), indent=1) + "\n")
    elif what == "report":
        widths = json.loads(WIDTHS.read_text())
        text = report(pd.read_csv(TABLE), widths)
        put_report(PAGE, "answer_validation.py", text)
        draw(pd.read_csv(TABLE), widths)


if __name__ == "__main__":
    main()
