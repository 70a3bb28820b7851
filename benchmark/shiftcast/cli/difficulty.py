"""`shiftcast difficulty`: how confusing each image is to an ensemble, as a table and a summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import YOUR_MODEL, Results, echo, example, keep_apart, text_table, workspace_of
from shiftcast.errors import InvalidInputError
from shiftcast.util.files import write_atomic
from shiftcast.util.text import count, printable

if TYPE_CHECKING:
    import pandas as pd

    from shiftcast.analysis.confusion import Confusion
    from shiftcast.cards.suite import Suite
    from shiftcast.util.types import Floats
    from shiftcast.workspace import Workspace

app = typer.Typer()


@app.command(
    rich_help_panel=YOUR_MODEL,
    epilog=example("difficulty cifar10-cpu", "difficulty --ensemble members.npz --kind vote_entropy"),
)
def difficulty(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="Name of a suite that has been run; none with --ensemble.")
    ] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Read your ensemble: .npy, or .npz with probs or logits (M, n, K)."
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="Summarise this score; see: shiftcast list difficulty. All are written.")
    ] = "entropy",
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write this CSV file [default: outputs/SUITE/difficulty.csv, or beside your FILE].",
        ),
    ] = None,
    human: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Compare with people: a folder with CIFAR-10H and reviewed labels."
        ),
    ] = None,
    edition: Annotated[
        str, typer.Option(help="Use the runs on this edition of the datasets, as in SUITE@EDITION.")
    ] = "",
    results: Results = None,
) -> None:
    """Write how confusing each image is to an ensemble.

    The ensemble is the reference ensemble of a suite, or yours. Neither images nor torch are needed.
    """
    if (suite is None) == (ensemble is None):
        raise typer.BadParameter("name a suite, or give your ensemble with --ensemble FILE")
    if suite is None and ensemble is not None:
        _of_file(ensemble, kind, out or ensemble.with_suffix(".difficulty.csv"))
    elif suite is not None:
        workspace = workspace_of(context)
        chosen = workspace.suite(suite)
        table = out or workspace.outputs(chosen) / "difficulty.csv"
        _of_suite(workspace, chosen, results or workspace.results(chosen), edition, kind, table, human)


def _of_suite(
    workspace: Workspace, suite: Suite, results: Path, edition: str, kind: str, out: Path, human: Path | None
) -> None:
    """Write the score of every image of a suite, print how the sets compare, and compare with people."""
    from shiftcast.analysis.confusion import Confusion, image_table
    from shiftcast.analysis.human import HUMAN, human_figures, require_files
    from shiftcast.cards.base import lookup
    from shiftcast.difficulty import KINDS
    from shiftcast.runs.layout import results_folder
    from shiftcast.runs.reading import read_pool

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
    echo(_summary(table, kind, confusion))
    left_out = [t.id for t in suite.unfolded_targets() if t.id not in confusion.sets]
    if left_out:
        echo(f"left out, not every member was evaluated on them: {', '.join(left_out)}")
    echo(f"wrote {out} ({len(table):,} images, {len(KINDS)} scores)")
    if human is not None:
        figures = human_figures(confusion, human)
        text = json.dumps(figures, indent=1, sort_keys=True, allow_nan=False)
        write_atomic(folder / HUMAN, text + "\n")
        echo(f"wrote {folder / HUMAN}; shiftcast leaderboard shows it")


def _of_file(path: Path, kind: str, out: Path) -> None:
    """Write the score of every image by a user's ensemble, and print how they are spread."""
    import pandas as pd

    from shiftcast.cards.base import lookup
    from shiftcast.difficulty import KINDS, MORE_KINDS
    from shiftcast.difficulty import difficulty as scores

    keep_apart([path], [out])
    from shiftcast.estimate.inputs import KEYS, about_unread, read_ensemble

    kinds = {**KINDS, **MORE_KINDS}
    lookup("difficulty score", kind, kinds)
    members = read_ensemble(path)
    table = pd.DataFrame({name: scores(members, name) for name in [kind, *(k for k in kinds if k != kind)]})
    table.insert(0, "image", range(len(table)))
    table["ensemble_class"] = members.mean(axis=0).argmax(axis=1)
    write_atomic(out, table.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
    low, middle, high = table[kind].quantile([0.1, 0.5, 0.9])
    echo(
        f"{len(members)} members, {len(table):,} images, {members.shape[2]} classes; {kind}: mean "
        f"{table[kind].mean():.3f}, 10 % {low:.3f}, median {middle:.3f}, 90 % {high:.3f}"
    )
    echo(f"split-half reliability{_reliability(members, kind)}")
    for text in [*_warnings(members, table[kind]), *about_unread(path, list(KEYS))]:
        echo(f"warning: {text}", err=True)
    echo(f"wrote {printable(str(out))} ({len(table):,} images, {len(kinds)} scores)")


def _reliability(members: Floats, kind: str) -> str:
    """Return the reliability of half an ensemble's scores, or why there is none."""
    from shiftcast.difficulty import half_splits, split_half_reliability

    if not half_splits(len(members)) or members.shape[1] < 2:
        return ": needs at least six members and two images"
    reliability = split_half_reliability(members, kind)
    if reliability != reliability:
        return ": none, as half of the members give every image the same score"
    return f" (Spearman): {reliability:.3f}"


def _warnings(members: Floats, scores: pd.Series[float]) -> list[str]:
    """Return a warning for each likely mistake in an ensemble: no reason to refuse it."""
    from shiftcast.estimate.warnings import agrees_by_chance
    from shiftcast.statistics.agreement import interchanged

    found = []
    if len(members) > members.shape[1]:
        found.append(
            f"{len(members):,} members on {count(members.shape[1], 'image')}: are the first two axes "
            "swapped? Expected (members, images, classes)"
        )
    if len(scores) > 1 and scores.nunique() == 1:
        return [*found, "every image has the same score, so that these scores tell nothing"]
    mean, classes = members.mean(axis=0).argmax(axis=1), members.shape[2]
    alone = [m for m, one in enumerate(members) if agrees_by_chance(one.argmax(axis=1), mean, classes)]
    if alone:
        found.append(
            f"members {', '.join(map(str, alone[:10]))} (from 0) agree with the ensemble's mean no more than "
            "by chance: are their classes and images in the order of the others'?"
        )
    mixed = [m for m, one in enumerate(members) if interchanged(mean, one.argmax(axis=1)[None], classes)]
    if mixed:
        found.append(
            f"members {', '.join(map(str, mixed[:10]))} (from 0) have classes that look interchanged: are "
            "they in the order of the others'?"
        )
    return found


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
    return text_table(rows)
