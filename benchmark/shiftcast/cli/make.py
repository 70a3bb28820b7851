"""`shiftcast data make`: a derived dataset, measured, and stored only with --out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.options import echo, example, workspace_of
from shiftcast.errors import DataError, InvalidInputError, needs_extra
from shiftcast.util.files import write_atomic
from shiftcast.util.text import BLANK, count, percent, points

if TYPE_CHECKING:
    from shiftcast.cards.dataset import DatasetCard, Derivation
    from shiftcast.data.corruptions.measure import Predict, Regenerated
    from shiftcast.data.readers.layouts import Images
    from shiftcast.workspace import Workspace

app = typer.Typer()
Models = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SUITE/ARCHITECTURE/RECIPE/seed-N",
        help="Measure this trained run's accuracy on each set (repeatable).",
    ),
]


@app.command(
    epilog=example("data make cifar10-c-regenerated --transform fog --out fog/"),
)
def make(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Dataset derived from another, as cifar10-c-regenerated.")],
    transform: Annotated[list[str] | None, typer.Option(help="Make only this type (repeatable).")] = None,
    severity: Annotated[
        list[int] | None, typer.Option(min=1, max=5, help="Make only this severity (repeatable).")
    ] = None,
    model: Models = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Store the sets here [default: store nothing].")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the measurements to FILE.json and FILE.md.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a report that exists.")] = False,
) -> None:
    """Make a derived dataset, and measure it.

    The distance of each set from the clean images is measured, in grey levels. One set is made at a time,
    so the memory of one set suffices.
    """
    from shiftcast.data.corruptions.measure import regenerate
    from shiftcast.data.corruptions.registry import SEVERITIES
    from shiftcast.data.loading import load_dataset
    from shiftcast.workspace import data_folder

    workspace = workspace_of(context)
    for path in _report_paths(report) if report is not None and not replace else ():
        if path.exists():
            raise InvalidInputError(f"{path}: exists; name another with --report, or add --replace")
    card = workspace.dataset(name)
    derived = _derivation(card)
    severities = severity or SEVERITIES
    types = _types(name, derived, transform or (), severities)
    source = load_dataset(workspace.dataset(derived.source), data_folder())
    if source.labels is None:
        raise DataError(f"{derived.source}: has no labels")
    predictors = {run: _predictor(workspace, run) for run in model or ()}
    start, rows = time.perf_counter(), []
    for row in regenerate(source.images, source.labels, types, severities, predictors, out):
        rows.append(row)
        echo(_line(row))
    seconds = time.perf_counter() - start
    echo(f"{count(len(rows), 'set')} of {len(source):,} images in {seconds:.0f} s{_memory()}")
    if out is not None:
        _describe(out, card, source, rows)
    if report is not None:
        clean = {run: float((p(source.images) == source.labels).mean()) for run, p in predictors.items()}
        _write_report(report, card, source, rows, clean, seconds)


def _derivation(card: DatasetCard) -> Derivation:
    """Return how a dataset is made of another by the generator of corruptions.

    Raises
    ------
    InvalidInputError
        If it is not.
    """
    if card.derived is None or card.derived.generator != "corruptions":
        how = (
            "suites make it in memory"
            if card.layout == "derived"
            else f"get it with: shiftcast data get {card.name}"
        )
        raise InvalidInputError(f"{card.name}: is not made by our generator of corruptions; {how}")
    return card.derived


def _types(name: str, derived: Derivation, asked: Sequence[str], severities: Iterable[int]) -> list[str]:
    """Return the types to make, all by default; those that have none of the severities are named."""
    from shiftcast.cards.base import lookup
    from shiftcast.data.corruptions.measure import selected

    offered = dict.fromkeys(derived.transforms)
    for transform in asked:
        lookup(f"transform of {name}", transform, offered)
    types = [transform for transform in offered if not asked or transform in asked]
    if left := sorted(set(asked) - set(selected(types, list(severities)))):
        echo(f"left out, having none of these severities: {', '.join(left)}")
    return types


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


def _facts(card: DatasetCard, source: Images) -> dict[str, Any]:
    from shiftcast.data.corruptions.streams import GENERATOR_VERSION
    from shiftcast.data.fingerprints import fingerprint

    return {
        "dataset": card.name,
        "generator": GENERATOR_VERSION,
        "source": fingerprint(source.images, source.labels),
        "images": len(source),
    }


def _describe(out: Path, card: DatasetCard, source: Images, rows: Sequence[Regenerated]) -> None:
    """Write made.json beside stored sets, whose files hold images alone."""
    from shiftcast.data.corruptions.registry import SEVERITIES

    severities = sorted({row.severity for row in rows})
    facts = {**_facts(card, source), "severities": severities}
    write_atomic(out / "made.json", json.dumps(facts, indent=1) + "\n")
    echo(f"stored in {out}; made.json there describes the sets")
    if severities != list(SEVERITIES):
        listed = ", ".join(map(str, severities))
        echo(f"  each file holds severity {listed} alone: readers of CIFAR-10-C expect all five")


def _line(row: Regenerated) -> str:
    accuracies = "".join(f"  {model} {percent(share)} %" for model, share in row.accuracy.items())
    return f"{row.name}-{row.severity}: {row.mean_absolute:.2f} grey levels from the clean images{accuracies}"


def _predictor(workspace: Workspace, model: str) -> Predict:
    """Return the function with which a trained run classifies images."""
    from shiftcast.cards.base import lookup
    from shiftcast.data.loading import load_suite
    from shiftcast.runs.layout import SHAPE, key_of
    from shiftcast.workspace import data_folder

    name, _, run = model.partition("/")
    try:
        key = key_of(Path(run))
    except ValueError as error:
        raise InvalidInputError(f"--model {model}: expected {SHAPE}") from error
    suite = workspace.suite(name)
    roles = dict.fromkeys(suite.scored_runs(), "scored")
    roles |= dict.fromkeys(suite.reference_runs(), "reference")
    if key not in roles:
        lookup(f"run of suite {suite.name}", str(key), {str(run): run for run in roles})
    with needs_extra("train"):
        from shiftcast.training.inference import classifier
        from shiftcast.training.job import choose_device, plan_job, set_threads
    device, threads = choose_device("auto"), set_threads(None)
    alone = suite.model_copy(update={"targets": []})
    data = load_suite(workspace, alone, data_folder())
    return classifier(plan_job(workspace, alone, key, roles[key], data, device, threads))


def _write_report(
    report: Path,
    card: DatasetCard,
    source: Images,
    rows: Sequence[Regenerated],
    clean: Mapping[str, float],
    seconds: float,
) -> None:
    values = {
        **_facts(card, source),
        "clean_accuracy": clean,
        "sets": [asdict(row) for row in rows],
        "measured": {"seconds": round(seconds, 1)},
    }
    data, page = _report_paths(report)
    write_atomic(data, json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n")
    write_atomic(page, render(values))
    echo(f"wrote {data} and {page}")


def _report_paths(report: Path) -> tuple[Path, Path]:
    # Added, not exchanged: a name such as cifar10.1 has no suffix, whatever it looks like.
    stem = report.name.removesuffix(".json").removesuffix(".md")
    return report.with_name(f"{stem}.json"), report.with_name(f"{stem}.md")


def render(values: Mapping[str, Any]) -> str:
    """Return the page of a report: distances, then each model's accuracies, a row for each type."""
    from shiftcast.data.corruptions.registry import CORRUPTIONS
    from shiftcast.leaderboard.findings import opening

    severities = sorted({row["severity"] for row in values["sets"]})
    published = all(row["name"] in CORRUPTIONS for row in values["sets"])
    strengths = (
        " The strengths are those of the published CIFAR-10-C. For some types, a higher severity is not "
        "further from the clean images, or not harder: the published strengths are kept all the same."
    )
    blocks = [
        f"# What {values['dataset']} does to images and accuracy",
        *opening(_findings(values, severities)),
        "## The sets",
        f"Each set is made from the {values['images']:,} images of one test set (fingerprint "
        f"`{values['source'][:12]}…`) by version {values['generator']} of the generator."
        + (strengths if published else ""),
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


def _findings(values: Mapping[str, Any], severities: Sequence[int]) -> list[str]:
    """Return which type changes the images most, and for each model, which costs it most accuracy."""
    worst = [row for row in values["sets"] if row["severity"] == severities[-1]]
    far = max(worst, key=lambda row: row["mean_absolute"])
    near = min(worst, key=lambda row: row["mean_absolute"])
    findings = [
        f"At severity {severities[-1]}, **{far['name']}** changes the images most "
        f"({points(far['mean_absolute'])} grey levels on average) and {near['name']} least "
        f"({points(near['mean_absolute'])})."
    ]
    for model, share in values["clean_accuracy"].items():
        hard, easy = (pick(worst, key=lambda row: row["accuracy"][model]) for pick in (min, max))
        findings.append(
            f"**{model}** falls from {percent(share)} % to between {percent(hard['accuracy'][model])} % "
            f"({hard['name']}) and {percent(easy['accuracy'][model])} % ({easy['name']})."
        )
    return findings


def _grid(values: Mapping[str, Any], severities: Sequence[int], cell: Any) -> str:
    from shiftcast.leaderboard.markup import grid

    cells = {(row["name"], row["severity"]): cell(row) for row in values["sets"]}
    names = list(dict.fromkeys(row["name"] for row in values["sets"]))
    headings = {"type": "left"} | {f"severity {severity}": "right" for severity in severities}
    return grid(headings, [[name, *(cells.get((name, s), BLANK) for s in severities)] for name in names])
