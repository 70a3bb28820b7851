"""`shiftcast difficulty`: the reference ensemble's score of every image, as a table and a summary."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import typer
from tabulate import tabulate

from shiftcast.analysis.confusion import Confusion, image_table
from shiftcast.analysis.human import human_figures, require_files
from shiftcast.analysis.report import HUMAN
from shiftcast.cards import Suite
from shiftcast.difficulty import KINDS
from shiftcast.errors import InvalidInputError
from shiftcast.files import write_atomic
from shiftcast.pool import read_pool
from shiftcast.status import results_folder
from shiftcast.workspace import Workspace, lookup


def write_difficulty(
    workspace: Workspace, suite: Suite, results: Path, edition: str, kind: str, out: Path, human: Path | None
) -> None:
    """Write the score of every image of a suite and print how the sets compare.

    Parameters
    ----------
    workspace, suite
        Where the cards are, and which suite.
    results, edition
        Where its runs are.
    kind
        The difficulty score that percentiles and the summary are about; all kinds are written.
    out
        CSV file to write.
    human
        Folder with human labels of the CIFAR-10 test images; figures of the comparison are then
        written beside the suite's runs.

    Raises
    ------
    InvalidInputError
        If the reference ensemble is incomplete.
    """
    lookup("difficulty score", kind, KINDS)
    if human is not None:
        require_files(human)
    folder = results_folder(results, suite, edition)
    pool, status = read_pool(workspace, suite, folder)
    lacking = [name for name in suite.reference.members if name not in pool.reference]
    if lacking:
        states = {row["architecture"]: row["status"] for row in status if row["role"] == "reference"}
        named = ", ".join(f"{name} ({states[name]})" for name in lacking)
        raise InvalidInputError(
            f"{folder}: the reference ensemble is incomplete: {named}; "
            f"finish it with: shiftcast run {suite.name}"
        )
    confusion = Confusion(pool, kind)
    table = image_table(confusion, [kind, *(name for name in KINDS if name != kind)])
    write_atomic(out, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    typer.echo(_summary(table, kind, confusion))
    left_out = [t.id for t in suite.unfolded_targets() if t.id not in confusion.sets]
    if left_out:
        typer.echo(f"left out, not every member was evaluated on them: {', '.join(left_out)}")
    typer.echo(f"wrote {out} ({len(table):,} images, {len(KINDS)} scores)")
    if human is not None:
        figures = human_figures(confusion, human)
        text = json.dumps(figures, indent=1, sort_keys=True, allow_nan=False)
        write_atomic(folder / HUMAN, text + "\n")
        typer.echo(f"wrote {folder / HUMAN}; shiftcast leaderboard shows it")


def _summary(table: pd.DataFrame, kind: str, confusion: Confusion) -> str:
    """Return mean, median and high share of each set as text."""
    rows = [
        {
            "set": f"{name!s} (in distribution)" if name == confusion.source else str(name),
            "images": f"{len(own):,}",
            "mean": f"{own[kind].mean():.3f}",
            "median": f"{own[kind].median():.3f}",
            "above ID 90th percentile %": f"{100 * confusion.high(str(name)).mean():.2f}",
        }
        for name, own in table.groupby("set", sort=False)
    ]
    return str(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
