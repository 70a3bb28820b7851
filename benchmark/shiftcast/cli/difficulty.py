"""`shiftcast difficulty`: the reference ensemble's score of every image, as a table and a summary."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import typer
from tabulate import tabulate

from shiftcast.analysis.confusion import Confusion, image_table
from shiftcast.analysis.human import HUMAN, human_figures, require_files
from shiftcast.cards.base import lookup
from shiftcast.cards.suite import Suite
from shiftcast.difficulty import KINDS, MORE_KINDS, half_splits, split_half_reliability
from shiftcast.difficulty import difficulty as scores
from shiftcast.errors import InvalidInputError
from shiftcast.estimate.ensemble_file import read_ensemble
from shiftcast.runs.layout import results_folder
from shiftcast.runs.reading import read_pool
from shiftcast.util.files import write_atomic
from shiftcast.workspace import Workspace


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
    if not suite.reference.members:
        raise InvalidInputError(
            f"suite {suite.name!r} has no reference ensemble; add [reference] to its file"
        )
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


def write_own_difficulty(path: Path, kind: str, out: Path) -> None:
    """Write the score of every image by a person's own ensemble, and print how they are spread.

    Parameters
    ----------
    path
        `.npy` or `.npz` file, see `read_ensemble`.
    kind
        The score that the printed percentiles are of; all are written.
    out
        CSV file to write.
    """
    kinds = {**KINDS, **MORE_KINDS}
    lookup("difficulty score", kind, kinds)
    members = read_ensemble(path)
    table = pd.DataFrame({name: scores(members, name) for name in [kind, *(k for k in kinds if k != kind)]})
    table.insert(0, "image", range(len(table)))
    table["ensemble_class"] = members.mean(axis=0).argmax(axis=1)
    write_atomic(out, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    low, middle, high = table[kind].quantile([0.1, 0.5, 0.9])
    typer.echo(
        f"{len(members)} members, {len(table):,} images, {members.shape[2]} classes; {kind}: mean "
        f"{table[kind].mean():.3f}, 10 % {low:.3f}, median {middle:.3f}, 90 % {high:.3f}"
    )
    if half_splits(len(members)) and len(table) > 1:
        typer.echo(f"split-half reliability (Spearman): {split_half_reliability(members, kind):.3f}")
    else:
        typer.echo("split-half reliability: needs at least six members and two images")
    typer.echo(f"wrote {out} ({len(table):,} images, {len(kinds)} scores)")


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
