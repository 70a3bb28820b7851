"""Which of two models is better under natural shifts: how often predicted accuracy picks the right one.

    .venv/bin/python docs/scripts/compare_models.py read     # stored runs -> docs/validation/compare.csv
    .venv/bin/python docs/scripts/compare_models.py report   # the table -> docs/estimate.md
    .venv/bin/python docs/scripts/compare_models.py learn    # the table -> REACH of estimate/compare.py

Models are the runs of suite `cifar10-cpu` with seed 0; sets are its natural targets with known labels. The
answer is that of `shiftcast estimate` without an ensemble. For the report, how far intervals of differences
reach is learned with one set left out at a time, and used on that set. Labels tune nothing else.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from reports import command, put_report

from shiftcast.estimate.chances import calibrate
from shiftcast.estimate.choice import centre_of, read_signals
from shiftcast.estimate.compare import LEVEL, arm_of
from shiftcast.predictions import Predictions
from shiftcast.runs.reading import read_pool
from shiftcast.runs.suite_runs import StoredRun
from shiftcast.statistics import conformal_reach
from shiftcast.workspace import find_workspace

ROOT = Path(__file__).parents[2]
SUITE = "cifar10-cpu"
TABLE, PAGE = ROOT / "docs" / "validation" / "compare.csv", ROOT / "docs" / "estimate.md"
CLOSE = 0.03
"""Difference on validation below which a pair is hardly told apart by it."""
SIZE, DRAWS, SEED = 5, 500, 0
"""Models among which one is picked, how often they are drawn for each set, and the seed."""


def read() -> pd.DataFrame:
    """Return a row for each pair of models and set: differences a minus b, and how often classes differ."""
    workspace = find_workspace(ROOT)
    suite = workspace.suite(SUITE)
    pool, _ = read_pool(workspace, suite, workspace.results(suite) / SUITE)
    runs = {f"{run.key.architecture} {run.key.recipe}": run for run in pool.scored if run.key.seed == 0}
    natural = [
        target
        for target in pool.targets
        if workspace.natural(target) and pool.labels_of(target.id) is not None
    ]
    models: dict[tuple[str, str], dict[str, object]] = {}
    for name, run in runs.items():
        source = _set(run, suite.source.test)
        calibration = calibrate(source)
        for target in natural:
            there = _set(run, target.id)
            centre = centre_of(read_signals(source, there, calibration))
            models[target.id, name] = {
                "validation": source.accuracy,
                "predicted": centre.accuracy,
                "actual": there.accuracy,
                "classes": there.predicted,
                "correct": source.correct.astype(int),
            }
            sys.stderr.write(f"{name} {target.id} {centre.accuracy:.3f} {there.accuracy:.3f}\n")
    rows = []
    for target in natural:
        for a, b in combinations(runs, 2):
            first, second = models[target.id, a], models[target.id, b]
            differ = float((first["classes"] != second["classes"]).mean())
            row = {"set": target.id, "a": a, "b": b, "images": len(first["classes"]), "differ": differ}
            row["source_variance"] = float(
                ((first["correct"] - second["correct"]).var()) / len(first["correct"])
            )
            for key in ("validation", "predicted", "actual"):
                row[key] = float(first[key]) - float(second[key])
            rows.append(row)
    return pd.DataFrame(rows)


def _set(run: StoredRun, name: str) -> Predictions:
    stored = run.sets[name]
    return Predictions(name, stored.logits.astype(np.float64), "logits", labels=stored.labels)


def learn(frame: pd.DataFrame) -> float:
    """Return how far intervals of differences reach, as a part of the share of images that differ."""
    return conformal_reach([_errors(rows) for _, rows in frame.groupby("set")], LEVEL)


def _errors(rows: pd.DataFrame) -> pd.Series:
    return (rows["actual"] - _bounded(rows)) / rows["differ"]


def _bounded(rows: pd.DataFrame) -> pd.Series:
    return rows["predicted"].clip(-rows["differ"], rows["differ"])


def judged(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what each pick comes to; intervals are learned on the other sets."""
    parts = []
    for name, rows in frame.groupby("set", sort=False):
        reach = learn(frame[frame["set"] != name])
        columns = (rows[key] for key in ("differ", "images", "source_variance"))
        arm = np.array([arm_of(*values, reach) for values in zip(*columns, strict=True)])
        new = {f"{key}_right": _right(rows[key], rows["actual"]) for key in ("validation", "predicted")}
        new["held"] = (rows["actual"] - _bounded(rows)).abs() <= arm
        new["told"] = _bounded(rows).abs() > arm
        parts.append(rows.assign(**new))
    return pd.concat(parts)


def _right(said: pd.Series, actual: pd.Series) -> pd.Series:
    """Return 1 where the better model was picked, 0 where not, and a half where either pick is as good."""
    return pd.Series(np.where(actual * said == 0, 0.5, (actual * said > 0).astype(float)), index=said.index)


def report(frame: pd.DataFrame) -> str:
    """Return what the page shows: a row for each set, for all, and for pairs that validation hardly parts."""
    found = judged(frame)
    groups = {**dict(iter(found.groupby("set", sort=False))), "all": found}
    groups["within 3 pp on validation"] = found[found["validation"].abs() < CLOSE]
    lines = [
        "| set | pairs | right by validation % | right by prediction % | told apart % | right where told % "
        "| validation right there % | interval held % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in groups.items():
        told = rows[rows["told"]]
        shares = [rows["validation_right"], rows["predicted_right"], rows["told"]]
        shares += [told["predicted_right"], told["validation_right"], rows["held"]]
        cells = [f"{100 * each.mean():.1f}" if len(each) else "–" for each in shares]
        lines.append(f"| {name} | {len(rows):,} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _best_of_few(frame), ""])


def _best_of_few(frame: pd.DataFrame) -> str:
    """Return how good the first of five random models is, picked by validation and by prediction."""
    random = np.random.default_rng(SEED)
    hits: dict[str, list[bool]] = {"validation": [], "predicted": []}
    losses: dict[str, list[float]] = {"validation": [], "predicted": []}
    for _, rows in frame.groupby("set", sort=False):
        names = list(dict.fromkeys([*rows["a"], *rows["b"]]))
        place = {name: k for k, name in enumerate(names)}
        # Against the first model, a difference is as good as a value.
        own = {
            key: np.array([0.0, *(-rows.loc[rows["a"] == names[0], key])])
            for key in ("validation", "predicted", "actual")
        }
        assert [place[b] for b in rows.loc[rows["a"] == names[0], "b"]] == list(range(1, len(names)))  # noqa: S101
        for _ in range(DRAWS):
            some = random.choice(len(names), SIZE, replace=False)
            actual = own["actual"][some]
            for key in hits:
                picked = actual[own[key][some].argmax()]
                hits[key].append(bool(picked == actual.max()))
                losses[key].append(100 * float(actual.max() - picked))
    said = [
        f"by {words} it was the best in {100 * np.mean(hits[key]):.1f} % and lost "
        f"{np.mean(losses[key]):.2f} pp in the mean"
        for key, words in (("validation", "validation accuracy"), ("predicted", "predicted accuracy"))
    ]
    return f"Of {SIZE} models drawn at random ({DRAWS:,} draws a set), one was picked: {'; '.join(said)}."


def write_table() -> None:
    """Read the stored runs into the table."""
    read().to_csv(TABLE, index=False, float_format="%.5g", lineterminator="\n")


def write_reach() -> None:
    """Print what is learned from the table."""
    sys.stdout.write(f"REACH = {learn(pd.read_csv(TABLE)):.3f}\n")


def write_report() -> None:
    """Print the report, and put it on its page."""
    text = report(pd.read_csv(TABLE))
    put_report(PAGE, "compare_models.py", text)
    sys.stdout.write(text)


if __name__ == "__main__":
    raise SystemExit(command(__doc__, {"read": write_table, "learn": write_reach, "report": write_report}))
