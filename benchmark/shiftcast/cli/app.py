"""The commands of `shiftcast`; those of `bench`, `blind` and `data` stand in files of their own."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shiftcast.cli.bench import app as bench_app
from shiftcast.cli.blind import app as blind_app
from shiftcast.cli.data import app as data_app
from shiftcast.cli.device import Device

if TYPE_CHECKING:
    from shiftcast.engines.contract import Summary
    from shiftcast.workspace import Workspace

app = typer.Typer(
    name="shiftcast",
    help="How accurate will an image classifier be on data that nobody has labelled?",
    no_args_is_help=True,
    rich_markup_mode=None,  # markup would swallow "[default: …]"
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(blind_app, name="blind")
app.add_typer(bench_app, name="bench")


Results = Annotated[
    Path | None, typer.Option(file_okay=False, help="Results folder [default: the workspace's].")
]


class Trust(StrEnum):
    """Levels of the ledger."""

    reproduced = "reproduced"
    recomputed = "recomputed"
    self_reported = "self-reported"


class Engine(StrEnum):
    """What does the runs of a suite."""

    local = "local"
    ray = "ray"


class Listed(StrEnum):
    """What can be listed."""

    architectures = "architectures"
    datasets = "datasets"
    recipes = "recipes"
    suites = "suites"
    estimators = "estimators"
    difficulty = "difficulty"
    checkpoints = "checkpoints"


def _version(asked: bool) -> None:
    if asked:
        from shiftcast import __version__

        typer.echo(f"shiftcast {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(help="Folder with architectures/ and benchmark/suites/ [default: found, see README]."),
    ] = None,
    version: Annotated[  # noqa: ARG001  the callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How accurate will an image classifier be on data that nobody has labelled?"""  # noqa: D400
    context.obj = workspace


def _workspace(context: typer.Context) -> Workspace:
    from shiftcast.workspace import find_workspace

    return find_workspace(context.obj)


@app.command()
def run(
    context: typer.Context,
    suite: Annotated[str, typer.Argument(help="Name of the suite; see: shiftcast list suites")],
    device: Annotated[Device, typer.Option(help="Where networks run.")] = Device.auto,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; results are exact at one count.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this architecture (repeatable).")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only runs with this seed (repeatable).")] = None,
    retrain: Annotated[bool, typer.Option(help="Train stale runs again.")] = False,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Also train networks of complete runs that the cache lacks.")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Runs at once, in processes that each hold all images: on one GPU, or on a CPU with "
            "--threads 1. With ray: on each GPU.",
        ),
    ] = 1,
    time_budget: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="After this no run begins, and no epoch that would end later. The same command goes on.",
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This machine alone, or a Ray cluster; see docs/scaling.md.")
    ] = Engine.local,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to join: auto, HOST:6379 or ray://HOST:10001 [default: one on this machine]."
        ),
    ] = None,
    results: Results = None,
) -> None:
    """Train, evaluate and score every run of a suite that is not finished yet.

    The reference ensemble comes first, then one seed of every architecture, then second seeds. Runs that
    are in the results folder already, as those that come with the repository are, stay as they are.
    """
    from shiftcast.cli.report import report
    from shiftcast.cli.watch import Watcher
    from shiftcast.engines.contract import Options
    from shiftcast.errors import StoppedError
    from shiftcast.scoring.controls import check_names

    if address is not None and engine is not Engine.ray:
        raise typer.BadParameter("--address names a Ray cluster; it needs --engine ray")
    if address is not None and not address.strip():
        raise typer.BadParameter("--address is empty; leave it out for a Ray cluster of this machine's own")
    run_suite = _engine(engine, address)
    workspace = _workspace(context)
    chosen = workspace.suite(suite)
    check_names(chosen)
    folder = results or workspace.results(chosen)
    chosen_runs = (tuple(only or ()), tuple(seed or ()))
    options = Options(device.value, threads, *chosen_runs, retrain, checkpoints, jobs, time_budget)
    try:
        with Watcher() as watcher:
            summary = run_suite(workspace, chosen, folder, options, watcher)
    except KeyboardInterrupt as error:
        raise StoppedError("stopped; what is finished stands, and the same command does the rest") from error
    report(workspace, chosen, folder, summary)
    if summary.failed:
        raise typer.Exit(1)


def _engine(engine: Engine, address: str | None) -> Callable[..., Summary]:
    """Return the function that runs suites on an engine; Ray is imported where it is asked for."""
    if engine is Engine.local:
        from shiftcast.engines import local

        return local.run_suite
    from shiftcast.engines import ray_cluster as cluster

    return partial(cluster.run_suite, address=address)


@app.command()
def tune(
    context: typer.Context,
    suite: Annotated[str, typer.Argument(help="Suite whose training images and recipes are used.")],
    only: Annotated[list[str] | None, typer.Option(help="Only this architecture (repeatable).")] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="Peak learning rate to try (repeatable) [default: 1e-3 3e-3 1e-2]."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each trial.")] = 2,
    images: Annotated[int, typer.Option(min=1, help="Training images of each trial.")] = 15_000,
    held_out: Annotated[int, typer.Option(min=1, help="Training images to judge on.")] = 5_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of images and of the trials.")] = 0,
    device: Annotated[Device, typer.Option(help="Where networks run.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Try learning rates on held-out training images; no test image is read.

    What each gives is printed, and kept in outputs/SUITE/tuning.csv; the best belongs into the
    architecture's card, under [train.RECIPE].
    """
    from shiftcast.cli.tune import Plan, tune_suite
    from shiftcast.errors import StoppedError

    plan = Plan(tuple(only or ()), tuple(rate or (1e-3, 3e-3, 1e-2)), epochs, images, held_out, seed)
    workspace = _workspace(context)
    try:
        tune_suite(workspace, workspace.suite(suite), plan, device.value, threads)
    except KeyboardInterrupt as error:
        raise StoppedError("stopped; the trials above stand in tuning.csv") from error


@app.command()
def predict(
    context: typer.Context,
    architecture: Annotated[
        str, typer.Argument(help="Architecture of the trained network; see: shiftcast list checkpoints")
    ],
    seed: Annotated[int, typer.Option(help="Seed of its training.")],
    data: Annotated[Path, typer.Option(help="Images: .npy of uint8 (n, 32, 32, 3).")],
    suite: Annotated[
        str | None, typer.Option(help="Suite that it was trained in, where several fit.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Recipe that it was trained with, where several fit.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels of the images: .npy of integers (n,).")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Predictions, .npz [default: beside the images, .predictions.npz]."
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the network runs.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 512,
) -> None:
    """Classify your own images with a trained network; the file is what `estimate` reads."""
    from shiftcast.cli.predict import Settings, predict_images
    from shiftcast.errors import StoppedError
    from shiftcast.training.checkpoints import Wanted

    wanted = Wanted(architecture, seed, suite, recipe)
    settings = Settings(device.value, threads, batch_size)
    try:
        predict_images(_workspace(context), wanted, data, labels, out, settings)
    except KeyboardInterrupt as error:
        raise StoppedError("stopped; nothing was written") from error


@app.command(name="import", hidden=True)  # what it was called first
@app.command()
def submit(
    context: typer.Context,
    predictions: Annotated[
        list[str],
        typer.Option(
            metavar="[SET=]FILE",
            help="Logits (n, K) or class indices (n,): .npz, .safetensors, .csv or .parquet of every set by "
            "its id, or SET=FILE for a file of one set, .npy too (repeatable).",
        ),
    ],
    architecture: Annotated[str, typer.Option(help="What to call the model.")],
    suite: Annotated[
        str | None, typer.Argument(help="Name of the suite (needed); see: shiftcast list suites")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which of several trainings of it.")] = 0,
    family: Annotated[
        str | None, typer.Option(help="Its family [default: the card's of that name, else unknown].")
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(min=1, help="Trainable parameters [default: the card's of that name].")
    ] = None,
    note: Annotated[str, typer.Option(help="How it was trained, in one line.")] = "",
    results: Results = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run that has other content.")] = False,
) -> None:
    """Make a run of a model trained elsewhere: listed apart and never ranked, but in a logits-only suite."""
    from shiftcast.cli.submit import files_of, submit_predictions, which_suite

    workspace = _workspace(context)
    chosen = which_suite(workspace, suite)
    options = (architecture, seed, family, parameters, note, results, force)
    submit_predictions(workspace, chosen, files_of(predictions), *options)


@app.command()
def validate(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help="Folder of a run, of a model's or a suite's runs, or of results.")
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="REV_OR_DIR", help="Git revision or folder with results as they were."),
    ] = None,
) -> None:
    """Check runs as a reviewer would; show their rows on the board, old and new. Exit 1 if one is wrong."""
    from shiftcast.cli.validate import validate_path

    validate_path(_workspace(context), path, against)


@app.command()
def ledger(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Folder of a run, of a suite's runs, or of results.")],
    level: Annotated[Trust, typer.Option(help="Who vouches for them.")],
) -> None:
    """Enter valid runs, as they are now, in results/ledger.toml (for maintainers)."""
    from shiftcast.cli.validate import enter

    enter(_workspace(context), path, level.value)


@app.command()
def leaderboard(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare; exit 1 and show what differs.")
    ] = False,
    results: Results = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for leaderboard.md [default: the workspace].")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that score a suite [default: 1; a core each, at most 4, from 64 runs on]."
        ),
    ] = None,
) -> None:
    """Write leaderboard.md and its figures from results/ alone (no datasets, no torch)."""
    from shiftcast.cli.board import check_leaderboard, write_leaderboard

    workspace = _workspace(context)
    folder, place = results or workspace.results(), out or workspace.home
    (check_leaderboard if check else write_leaderboard)(workspace, folder, place, jobs)


@app.command()
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="A workspace, a folder of results, or a git revision.")],
    new: Annotated[
        str | None, typer.Argument(help="The same, to compare with [default: the workspace as it is].")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only this suite.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 where a row has moved.")
    ] = False,
) -> None:
    """Show which rows of the board moved between two states of results, and whether it is more than noise."""
    from shiftcast.cli.diff import show_difference

    workspace = _workspace(context)
    moved = show_difference(workspace, old, new or str(workspace.root), suite, as_json)
    if moved and exit_code:
        raise typer.Exit(1)


@app.command()
def page(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder of the site: new, empty, or one of an earlier site.")
    ],
    suite: Annotated[
        list[str] | None, typer.Option(help="Only this suite (repeatable) [default: all with results].")
    ] = None,
    images: Annotated[
        bool,
        typer.Option("--images", help="Also show images that may not be passed on: for your eyes alone."),
    ] = False,
    results: Results = None,
) -> None:
    """Write a site of the benchmark, with charts and tables, that needs no network (no torch)."""
    from shiftcast.cli.page import write_page

    workspace = _workspace(context)
    write_page(workspace, results or workspace.results(), out, suite or (), images)


@app.command()
def score(
    context: typer.Context,
    estimator: Annotated[str, typer.Argument(help="FILE.py:Class or package.module:Class.")],
    suite: Annotated[
        str | None, typer.Argument(help="Name of a suite [default: that with the most architectures].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    contract: Annotated[
        bool, typer.Option("--check/--no-check", help="First hold it against the contract of estimators.")
    ] = True,
    results: Results = None,
) -> None:
    """Run your own estimator on all stored predictions and compare it with ours (no images, no torch)."""
    from shiftcast.cli.score import score_estimator

    score_estimator(_workspace(context), estimator, suite, results, as_json, contract)


@app.command()
def difficulty(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="Name of a suite that has been run; none with --ensemble.")
    ] = None,
    ensemble: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Your own ensemble instead: .npy, or .npz with probs or logits (M, n, K)."
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="Score that percentiles are of; see: shiftcast list difficulty")
    ] = "entropy",
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="CSV file [default: outputs/SUITE/difficulty.csv, or beside your FILE]."
        ),
    ] = None,
    human: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Folder with CIFAR-10H and reviewed labels, to compare with people."
        ),
    ] = None,
    edition: Annotated[str, typer.Option(help="Edition of the datasets, as in SUITE@EDITION.")] = "",
    results: Results = None,
) -> None:
    """Write how confusing every image is to an ensemble: a suite's, or your own (no images, no torch)."""
    from shiftcast.cli.difficulty import write_difficulty, write_own_difficulty

    if (suite is None) == (ensemble is None):
        raise typer.BadParameter("name a suite, or give your own ensemble with --ensemble FILE")
    if ensemble is not None:
        write_own_difficulty(ensemble, kind, out or ensemble.with_suffix(".difficulty.csv"))
        return
    assert suite is not None  # noqa: S101  for the type checker
    workspace = _workspace(context)
    chosen = workspace.suite(suite)
    folder, place = results or workspace.results(chosen), out or workspace.outputs(chosen) / "difficulty.csv"
    write_difficulty(workspace, chosen, folder, edition, kind, place, human)


@app.command()
def estimate(
    source: Annotated[
        Path,
        typer.Option(
            help="Labelled predictions: .npz, .npy (with --labels), .safetensors, .csv or .parquet."
        ),
    ],
    target: Annotated[Path, typer.Option(help="Predictions without labels, in the same form.")],
    labels: Annotated[
        Path | None, typer.Option(dir_okay=False, help=".npy with the source's labels (n,).")
    ] = None,
    estimators: Annotated[str, typer.Option(help="'all', or names with commas.")] = "all",
    ensemble: Annotated[
        Path | None,
        typer.Option(
            help=".npz: probabilities of other models, source (M, n, K) and target, classes as in source."
        ),
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(help=".npz: predicted classes of other models, source (Z, n) and target.")
    ] = None,
    siblings: Annotated[
        Path | None, typer.Option(help=".npz: the same of your architecture with other seeds.")
    ] = None,
    slices: Annotated[
        str | None, typer.Option("--slice", help="Column of the target table to cut it along.")
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Also estimate each predicted class's accuracy.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the whole answer to this JSON file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a page with figures to this HTML file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Estimate the accuracy on unlabelled predictions from labelled ones (no torch, no workspace)."""
    from shiftcast.cli.estimate import estimate_own

    others = {"reference": ensemble, "peers": peers, "siblings": siblings}
    estimate_own(source, target, labels, estimators, others, slices, classes, out, html, as_json)


@app.command(name="list")
def list_(
    context: typer.Context,
    what: Annotated[Listed, typer.Argument(help="What to list.")],
) -> None:
    """List what there is: cards, recipes, suites, estimators, difficulty scores or trained networks."""
    from shiftcast.cli.listing import rows_of

    _print_rows(rows_of(what.value, lambda: _workspace(context)))


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from tabulate import tabulate

    typer.echo(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
