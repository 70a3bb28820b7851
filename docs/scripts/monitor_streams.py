"""How soon `shiftcast monitor` raises alarms, and how often falsely: streams of the board's stored sets.

    .venv/bin/python docs/scripts/monitor_streams.py read     # stored runs -> docs/validation/streams.csv
    .venv/bin/python docs/scripts/monitor_streams.py report   # the table -> docs/estimate.md

Every second run of suite `cifar10-cpu` with seed 0. The source is a random half of the test images. A
stream is of looks at 500 images each, drawn from the other half; in streams that change, a share of the
images of looks 11 to 16 is drawn from a natural set with known labels. Labels are read for the report alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from reports import command, put_report

from shiftcast.estimate.inputs import OwnSet
from shiftcast.estimate.monitor import monitor
from shiftcast.predictions import Predictions
from shiftcast.runs.reading import read_pool
from shiftcast.workspace import find_workspace

ROOT = Path(__file__).parents[2]
SUITE, SEED = "cifar10-cpu", 0
TABLE, PAGE = ROOT / "docs" / "validation" / "streams.csv", ROOT / "docs" / "estimate.md"
IMAGES, STEADY, BEFORE, AFTER = 500, 20, 10, 6
"""Images of a look; looks of a stream without a change; looks before and after a change."""
REPEATS, SHARES = 3, (0.3, 1.0)
"""Streams without a change of each run; shares of images from another set."""
MARGIN, FALSE_ALARMS = 0.03, 0.05


def read() -> pd.DataFrame:
    """Return a row for each look; `set` is empty without a change, and `repeat` numbers such streams."""
    workspace = find_workspace(ROOT)
    suite = workspace.suite(SUITE)
    pool, _ = read_pool(workspace, suite, workspace.results(suite) / SUITE)
    targets = [one for one in pool.targets if workspace.natural(one) and pool.labels_of(one.id) is not None]
    random, rows = np.random.default_rng(SEED), []
    for run in [run for run in pool.scored if run.key.seed == 0][::2]:
        stored = run.sets[suite.source.test]
        first, second = np.array_split(random.permutation(len(stored.logits)), 2)
        source = OwnSet(
            Predictions("source", stored.logits[first].astype(float), labels=stored.labels[first])
        )
        inside = stored.logits[second].astype(float), stored.labels[second]
        streams = [("", repeat, 0.0, STEADY) for repeat in range(REPEATS)]
        streams += [(target.id, 0, share, AFTER) for target in targets for share in SHARES]
        for name, repeat, share, looks in streams:
            other = run.sets[name] if name else stored
            drawn = [_look(random, inside, other, share) for _ in range(looks)]
            logits, labels = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
            start = 1 + BEFORE * bool(name)
            chunks = [
                (str(start + k), pd.Timestamp(k, unit="D", tz="UTC"), np.arange(IMAGES * k, IMAGES * (k + 1)))
                for k in range(looks)
            ]
            numbers = range(start, start + looks)
            own = OwnSet(Predictions("stream", logits, labels=labels))
            rows += [
                {"run": f"{run.key.architecture} {run.key.recipe}", "set": name, "repeat": repeat}
                | {"share": share, "source": source.predictions.accuracy}
                | {key: row[key] for key in ("look", "accuracy", "actual", "bound", "low", "high")}
                for row in monitor(source, own, chunks, numbers, MARGIN, FALSE_ALARMS)
            ]
            sys.stderr.write(f"{run.key.architecture} {name} {share}\n")
    return pd.DataFrame(rows)


def _look(random: np.random.Generator, inside: tuple, other: object, share: float) -> tuple:
    count = round(share * IMAGES)
    own = random.choice(len(inside[1]), IMAGES - count, replace=False)
    more = random.choice(len(other.logits), count, replace=count > len(other.logits))
    logits = np.concatenate([inside[0][own], other.logits[more].astype(float)])
    return logits, np.concatenate([inside[1][own], other.labels[more]])


def report(frame: pd.DataFrame) -> str:
    """Return what the page shows: false alarms, and how often and how soon changes are seen."""
    steady = frame[frame["set"].isna()]
    streams = steady.groupby(["run", "repeat"])
    said = [
        f"{int(alarmed.sum())} of {len(alarmed)} with a margin of {points} pp"
        for points in (0, 1, 3)
        for alarmed in [streams[["bound", "source"]].apply(lambda s, p=points: _alarms(s, p / 100).any())]
    ]
    lines = [
        f"Of streams of {STEADY} looks at {IMAGES} images without a change, these raised any alarm: "
        f"{', '.join(said)}. Below, images change at look {BEFORE + 1} of {BEFORE + AFTER}; the margin is "
        "3 pp.",
        "",
        "| images from | share % | streams | accuracy falls by, pp | estimate falls by, pp | alarm at once % "
        f"| within {AFTER} looks % |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, share), rows in frame[frame["set"].notna()].groupby(["set", "share"], sort=False):
        alarmed = rows.assign(alarm=_alarms(rows, MARGIN)).pivot_table(
            index="run", columns="look", values="alarm"
        )
        falls = [100 * (rows["source"] - rows[key]).mean() for key in ("actual", "accuracy")]
        seen = [100 * alarmed[BEFORE + 1].mean(), 100 * alarmed.max(axis=1).mean()]
        cells = [f"{value:.1f}" for value in falls] + [f"{value:.0f}" for value in seen]
        lines.append(f"| {name} | {100 * share:.0f} | {len(alarmed)} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _alarms(rows: pd.DataFrame, margin: float) -> pd.Series:
    return rows["bound"] < rows["source"] - margin


def write_table() -> None:
    """Read the stored runs into the table."""
    read().to_csv(TABLE, index=False, float_format="%.5g", lineterminator="\n")


def write_report() -> None:
    """Print the report, and put it on its page."""
    text = report(pd.read_csv(TABLE))
    put_report(PAGE, "monitor_streams.py", text)
    sys.stdout.write(text)


if __name__ == "__main__":
    raise SystemExit(command(__doc__, {"read": write_table, "report": write_report}))
