"""`shiftcast run`: train, evaluate and score a suite."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from shiftcast.cli.options import (
    BENCHMARK,
    Device,
    OnDevice,
    Only,
    Results,
    SuiteName,
    Threads,
    example,
    workspace_of,
)
from shiftcast.errors import StoppedError

if TYPE_CHECKING:
    from shiftcast.engines.contract import Summary

app = typer.Typer()


class Engine(StrEnum):
    """What does the runs of a suite."""

    local = "local"
    ray = "ray"


Seeds = Annotated[list[int] | None, typer.Option(help="Restrict the suite to this seed (repeatable).")]
Jobs = Annotated[
    int,
    typer.Option(
        min=1,
        help="Do this many runs at once, each in a process that holds all images: on one GPU, or on a CPU "
        "with --threads 1. With ray: on each GPU.",
    ),
]
TimeBudget = Annotated[
    float | None,
    typer.Option(
        metavar="MINUTES",
        help="Begin no run, and no epoch that would end later, after this time. The same command continues.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Join this Ray cluster: auto, HOST:6379 or ray://HOST:10001 [default: start one here]."
    ),
]


@app.command(
    rich_help_panel=BENCHMARK,
    epilog=example("run quickstart", "run cifar10-cpu --only resnet10_w32 --threads 1 --jobs 2"),
)
def run(
    context: typer.Context,
    suite: SuiteName,
    device: OnDevice = Device.auto,
    threads: Threads = None,
    only: Only = None,
    seed: Seeds = None,
    retrain: Annotated[bool, typer.Option(help="Train stale runs again.")] = False,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Also train networks of complete runs that the cache lacks.")
    ] = False,
    jobs: Jobs = 1,
    time_budget: TimeBudget = None,
    engine: Annotated[
        Engine, typer.Option(help="Use this machine alone, or a Ray cluster; see docs/scaling.md.")
    ] = Engine.local,
    address: Address = None,
    results: Results = None,
) -> None:
    """Train, evaluate and score the unfinished runs of a suite.

    The reference ensemble comes first, then one seed of each architecture, then further seeds. Runs that
    are complete in the results folder stay as they are; the repository comes with some.
    """
    from shiftcast.cli.report import report
    from shiftcast.cli.watch import Watcher
    from shiftcast.engines.contract import Options
    from shiftcast.scoring.controls import check_names

    run_suite = _engine(engine, address)
    workspace = workspace_of(context)
    chosen = workspace.suite(suite)
    check_names(chosen)
    folder = results or workspace.results(chosen)
    runs = (tuple(only or ()), tuple(seed or ()))
    options = Options(device.value, threads, *runs, retrain, checkpoints, jobs, time_budget)
    try:
        with Watcher() as watcher:
            summary = run_suite(workspace, chosen, folder, options, watcher)
    except KeyboardInterrupt as error:
        raise StoppedError(
            "stopped; finished runs are stored, and the same command completes the rest"
        ) from error
    report(workspace, chosen, folder, summary)
    if summary.failed:
        raise typer.Exit(1)


def _engine(engine: Engine, address: str | None) -> Callable[..., Summary]:
    """Return the function that runs suites on an engine; Ray is imported only if it is asked for."""
    if address is not None and engine is not Engine.ray:
        raise typer.BadParameter("--address names a Ray cluster; it needs --engine ray")
    if address is not None and not address.strip():
        raise typer.BadParameter("--address is empty; leave it out to start a Ray cluster on this machine")
    if engine is Engine.local:
        from shiftcast.engines import local

        return local.run_suite
    from shiftcast.engines import ray_cluster

    return partial(ray_cluster.run_suite, address=address)
