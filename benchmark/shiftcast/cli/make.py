"""`shiftcast data make`: a derived dataset, measured, and stored only where a person asks for it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from shiftcast.cards.base import lookup
from shiftcast.cards.dataset import DatasetCard
from shiftcast.cards.suite import RunKey
from shiftcast.data.corruptions.measure import Predict, Regenerated, regenerate, selected
from shiftcast.data.corruptions.registry import CORRUPTIONS, SEVERITIES
from shiftcast.data.corruptions.streams import GENERATOR_VERSION
from shiftcast.data.fingerprints import fingerprint
from shiftcast.data.loading import load_dataset
from shiftcast.errors import DataError, InvalidInputError, MissingExtraError
from shiftcast.leaderboard.markup import grid
from shiftcast.util.files import write_atomic
from shiftcast.util.text import count, percent, points
from shiftcast.workspace import Workspace, data_folder

if TYPE_CHECKING:
    from shiftcast.data.readers.layouts import Images


def make_dataset(
    workspace: Workspace,
    name: str,
    types: Sequence[str],
    severities: Sequence[int],
    models: Sequence[str],
    out: Path | None,
    report: Path | None,
    replace: bool = False,
) -> None:
    """Make a derived dataset a set at a time and print how far each is from the clean images.

    Parameters
    ----------
    workspace
        Where the cards are.
    name
        A dataset that is derived from another by our generator.
    types, severities
        Which of its transforms; all when empty.
    models
        Trained runs, as SUITE/ARCHITECTURE/RECIPE/seed-N, whose accuracy is measured on each set.
    out
        Folder to store the sets in; nothing is stored when None.
    report
        File without suffix: FILE.json and FILE.md are written.
    replace
        Whether these files may be replaced.

    Raises
    ------
    InvalidInputError
        If the dataset is not derived by us, no type has these severities, or a model's name is none.
    """
    for path in _report_paths(report) if report is not None and not replace else ():
        if path.exists():
            raise InvalidInputError(f"{path}: is there already; name another with --report, or --replace it")
    card = workspace.dataset(name)
    if card.derived is None or card.derived.generator != "corruptions":
        how = (
            "suites make it in memory"
            if card.layout == "derived"
            else f"get it with: shiftcast data get {name}"
        )
        raise InvalidInputError(f"{name}: is no corruption that we make; {how}")
    offered = dict.fromkeys(card.derived.transforms)
    for one in types:
        lookup(f"transform of {name}", one, offered)
    chosen = [one for one in offered if not types or one in types]
    kept = selected(chosen, severities or SEVERITIES)
    if left := sorted(set(types) - set(kept)):
        typer.echo(f"left out, having none of these severities: {', '.join(left)}")
    source = load_dataset(workspace.dataset(card.derived.source), data_folder())
    if source.labels is None:
        raise DataError(f"{card.derived.source}: has no labels")
    predictors = {model: _predictor(workspace, model) for model in models}
    start, rows = time.perf_counter(), []
    for row in regenerate(source.images, source.labels, chosen, severities or SEVERITIES, predictors, out):
        rows.append(row)
        typer.echo(_line(row))
    seconds = time.perf_counter() - start
    typer.echo(f"{count(len(rows), 'set')} of {len(source):,} images in {seconds:.0f} s{_memory()}")
    if out is not None:
        _describe(out, card, source, rows)
    if report is not None:
        clean = {m: float((p(source.images) == source.labels).mean()) for m, p in predictors.items()}
        _write_report(report, card, source, rows, clean, seconds)


def _memory() -> str:
    """Return the most memory that this process took, after a comma; empty where no system tells."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return ""
    units = {"linux": 2**10, "darwin": 1}  # bytes in what each system counts
    if sys.platform not in units:
        return ""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * units[sys.platform]
    return f", taking {most / 2**30:.2f} GiB of memory"


def _describe(out: Path, card: DatasetCard, source: Images, rows: Sequence[Regenerated]) -> None:
    """Say, beside stored sets, what they are: their files hold images alone."""
    severities = sorted({row.severity for row in rows})
    facts = {
        "dataset": card.name,
        "generator": GENERATOR_VERSION,
        "source": fingerprint(source.images, source.labels),
        "images": len(source),
        "severities": severities,
    }
    write_atomic(out / "made.json", json.dumps(facts, indent=1) + "\n")
    typer.echo(f"stored in {out}; made.json there says what")
    if severities != list(SEVERITIES):
        listed = ", ".join(map(str, severities))
        typer.echo(f"  each file holds severity {listed} alone: readers of CIFAR-10-C expect all five")


def _line(row: Regenerated) -> str:
    accuracies = "".join(f"  {model} {percent(share)} %" for model, share in row.accuracy.items())
    return f"{row.name}-{row.severity}: {row.mean_absolute:.2f} grey levels from the clean images{accuracies}"


def _predictor(workspace: Workspace, model: str) -> Predict:
    parts = model.split("/")
    if len(parts) != 4 or not parts[3].removeprefix("seed-").isdigit():
        raise InvalidInputError(f"--model {model}: expected SUITE/ARCHITECTURE/RECIPE/seed-N")
    suite = workspace.suite(parts[0])
    key = RunKey(architecture=parts[1], recipe=parts[2], seed=int(parts[3].removeprefix("seed-")))
    roles = dict.fromkeys(suite.scored_runs(), "scored")
    roles |= dict.fromkeys(suite.reference_runs(), "reference")
    if key not in roles:
        lookup(f"run of suite {suite.name}", str(key), {str(run): run for run in roles})
    try:
        from shiftcast.data.loading import load_suite
        from shiftcast.training import run as work
        from shiftcast.training.inference import classifier
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error
    device, threads = work.choose_device("auto"), work.set_threads(None)
    alone = suite.model_copy(update={"targets": []})
    data = load_suite(workspace, alone, data_folder())
    return classifier(work.plan_job(workspace, alone, key, roles[key], data, device, threads))


def _write_report(
    report: Path,
    card: DatasetCard,
    source: Images,
    rows: Sequence[Regenerated],
    clean: Mapping[str, float],
    seconds: float,
) -> None:
    values = {
        "dataset": card.name,
        "generator": GENERATOR_VERSION,
        "source": fingerprint(source.images, source.labels),
        "images": len(source),
        "clean_accuracy": clean,
        "sets": [asdict(row) for row in rows],
        "measured": {"seconds": round(seconds, 1)},
    }
    data, page = _report_paths(report)
    write_atomic(data, json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n")
    write_atomic(page, render(values))
    typer.echo(f"wrote {data} and {page}")


def _report_paths(report: Path) -> tuple[Path, Path]:
    # Added, not exchanged: a name such as cifar10.1 has no suffix, whatever it looks like.
    stem = report.name.removesuffix(".json").removesuffix(".md")
    return report.with_name(f"{stem}.json"), report.with_name(f"{stem}.md")


def render(values: Mapping[str, Any]) -> str:
    """Return the page of a report: distances, then each model's accuracies, a row for each type."""
    severities = sorted({row["severity"] for row in values["sets"]})
    published = all(row["name"] in CORRUPTIONS for row in values["sets"])
    said = (
        " The strengths are those of the published CIFAR-10-C. Severity orders neither distance nor accuracy "
        "for every type: the published strengths are kept as they are."
    )
    blocks = [
        f"# What {values['dataset']} does",
        f"Each set is made from the {values['images']:,} images of one test set (fingerprint "
        f"`{values['source'][:12]}…`) by version {values['generator']} of the generator."
        + (said if published else ""),
        "## Mean absolute difference from the clean images, in grey levels",
        _grid(values, severities, lambda row: points(row["mean_absolute"])),
    ]
    for model, share in values["clean_accuracy"].items():
        blocks += [
            f"## Accuracy of {model}, in %",
            f"On the clean images: {percent(share)} %.",
            _grid(values, severities, lambda row, model=model: percent(row["accuracy"][model])),
        ]
    return "\n\n".join(blocks) + "\n"


def _grid(values: Mapping[str, Any], severities: Sequence[int], cell: Any) -> str:
    found = {(row["name"], row["severity"]): cell(row) for row in values["sets"]}
    names = list(dict.fromkeys(row["name"] for row in values["sets"]))
    headings = {"type": "left"} | {f"severity {severity}": "right" for severity in severities}
    return grid(headings, [[name, *(found.get((name, s), "–") for s in severities)] for name in names])
