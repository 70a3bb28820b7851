"""The whole job on a suite of seconds: trained for real, interrupted, resumed, scored."""

import contextlib
import dataclasses
import math
import multiprocessing
import operator
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import shiftcast.training
from shiftcast.board.assemble import score_suite
from shiftcast.data.label_views import LabelView
from shiftcast.engines import local
from shiftcast.engines.contract import Options, choose_runs
from shiftcast.engines.local import run_suite
from shiftcast.engines.one_run import add_label_views
from shiftcast.errors import InvalidInputError, MissingExtraError, UnknownNameError
from shiftcast.estimators import official_estimators
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.record import LabelViewAccuracy
from shiftcast.util.locks import locked
from support.held_lock import hold_elsewhere
from support.workspaces import make_workspace

COMMAND = [sys.executable, "-c", "from shiftcast.cli import main; main()"]


@dataclass
class Recorder:
    """A reporter that keeps what it is told."""

    notes: list = field(default_factory=list)
    trained: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    order: list = field(default_factory=list)
    steps: int = 0

    def plan(self, total, complete):
        self.planned = (total, complete)

    def started(self, key, epochs):
        assert epochs == 2

    def progress(self, key, progress):
        assert 0 < progress.step <= progress.steps
        self.steps += 1

    def finished(self, key, record):
        self.order.append("finished")
        self.trained.append(str(key))

    def left(self, key, complete):
        self.ended.append((str(key), complete))

    def note(self, text):
        self.order.append("note")
        self.notes.append(text)


def run(workspace, results, **options):
    recorder = Recorder()
    summary = run_suite(
        workspace, workspace.suite("tiny"), results, Options(device="cpu", threads=1, **options), recorder
    )
    return summary, recorder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Suite `tiny` trained once, and how that went; tests compare what they leave with it and change nothing.

    A run depends on no other, so that what a part of the suite leaves is compared with a part of this.
    """
    folder = tmp_path_factory.mktemp("undisturbed")
    workspace = make_workspace(folder / "workspace")
    results, cache = folder / "results", folder / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIFTCAST_CACHE", str(cache))
        summary, recorder = run(workspace, results)
    return SimpleNamespace(
        workspace=workspace, results=results, cache=cache, summary=summary, recorder=recorder
    )


def assert_equal_trees(one, other, only=()):
    """Check that runs in `other` are those in `one`, or those of some architectures alone, to the byte."""
    paths = sorted(path.parent.relative_to(one) for path in one.rglob("run.json"))
    paths = [path for path in paths if not only or path.parts[1] in only]
    assert paths == sorted(path.parent.relative_to(other) for path in other.rglob("run.json"))
    assert paths
    for path in paths:
        first, second = RunFolder(one / path), RunFolder(other / path)
        assert first.read_record().equal(second.read_record()), path
        assert first.predictions_path.read_bytes() == second.predictions_path.read_bytes()


def command_line(workspace, results, only=()):
    arguments = ["--workspace", workspace.root, "run", "tiny", "--results", results]
    arguments += ["--threads", "1", "--device", "cpu"]
    arguments += [word for name in only for word in ("--only", name)]
    return [*COMMAND, *map(str, arguments)]


def test_a_suite_trains_scores_and_is_left_alone_when_complete(undisturbed, monkeypatch):
    workspace, results = undisturbed.workspace, undisturbed.results
    summary, recorder = undisturbed.summary, undisturbed.recorder
    assert recorder.planned == (10, 0)
    assert len(summary.done) == 10
    assert recorder.steps > 0
    assert recorder.trained[:4] == [
        f"{name}/tiny/seed-100" for name in ("test_byobnet", "test_efficientnet", "test_resnet", "test_nfnet")
    ]
    scores = score_suite(workspace, workspace.suite("tiny"), results)
    assert set(scores.runs["status"]) == {"ok"}
    unrecorded = {name for name, one in official_estimators().items() if "signals" in one.requires}
    assert set(scores.table["estimator"]) == set(official_estimators()) - {"FrechetDistance", *unrecorded}
    # sets are too small for the one; some of these networks put all images into one class
    skipped = scores.skipped[~scores.skipped["estimator"].isin(unrecorded)]
    assert {"FrechetDistance"} <= set(skipped["estimator"]) <= {"Dispersion", "FrechetDistance"}
    assert skipped["reason"].str.contains("fewer than 400 different images").all()
    assert unrecorded <= set(scores.skipped["estimator"])
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    monkeypatch.setenv("SHIFTCAST_CACHE", str(undisturbed.cache))
    again, recorder = run(workspace, results)
    assert recorder.planned == (10, 10)
    assert (again.done, len(again.kept)) == ([], 10)
    assert before == {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}


def test_killed_and_started_again_it_ends_in_the_same_files(workspace, undisturbed, tmp_path):
    """SIGKILL after the second finished run; the same command does the rest, to the same bytes."""
    disturbed, only = tmp_path / "disturbed", ("test_vit", "test_convnext")
    victim = subprocess.Popen(command_line(workspace, disturbed, only), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 1200
    while len(list(disturbed.rglob("run.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert 2 <= len(list(disturbed.rglob("run.json"))) < 4
    again = command_line(workspace, disturbed, only)
    done = subprocess.run(again, check=True, capture_output=True, text=True)
    assert "runs are complete already" in done.stderr
    assert_equal_trees(undisturbed.results, disturbed, only)


def test_damaged_runs_are_made_again_and_stale_ones_only_on_request(workspace, tmp_path):
    results = tmp_path / "results"
    run(workspace, results, only=("test_vit",))
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    whole = folder.predictions_path.read_bytes()
    folder.predictions_path.write_bytes(whole[:1000])
    summary, recorder = run(workspace, results, only=("test_vit",))
    assert [str(key) for key in summary.done] == ["test_vit/tiny/seed-0"]
    assert "damaged" in recorder.notes[0]
    assert folder.predictions_path.read_bytes() == whole

    recipe = workspace.root / "benchmark" / "recipes" / "tiny.toml"
    recipe.write_text(recipe.read_text().replace("0.002", "0.001"))
    changed = type(workspace)(workspace.root, workspace.home)
    summary, recorder = run(changed, results, only=("test_vit",))
    assert summary.done == []
    assert all("stale (its recipe has changed)" in note for note in recorder.notes)
    summary, _ = run(changed, results, only=("test_vit",), retrain=True)
    assert len(summary.done) == 2
    assert folder.predictions_path.read_bytes() != whole


def test_a_new_target_needs_no_new_training(workspace, tmp_path):
    results = tmp_path / "results"
    run(workspace, results, only=("test_vit",))
    trained = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read_record().measured
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    suite.write_text(suite.read_text().replace("severities = [2, 5]", "severities = [2, 4, 5]"))
    grown = type(workspace)(workspace.root, workspace.home)
    summary, recorder = run(grown, results, only=("test_vit",))
    assert len(summary.done) == 2
    assert recorder.steps == 0
    record = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read_record()
    assert "digits-shifted/contrast-4" in record.targets
    assert record.measured.train_seconds == trained.train_seconds  # not the time of finding it trained


def test_a_network_that_is_not_in_the_cache_is_made_on_request(workspace, tmp_path, monkeypatch):
    results, only = tmp_path / "results", ("test_vit",)
    run(workspace, results, only=only, seeds=(0,))
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "other"))
    summary, _ = run(workspace, results, only=only, seeds=(0,), retrain=True)
    assert summary.done == []
    summary, recorder = run(workspace, results, only=only, seeds=(0,), checkpoints=True)
    assert [str(key) for key in summary.done] == ["test_vit/tiny/seed-0"]
    assert recorder.steps > 0
    manifest = next((tmp_path / "other").rglob("*.json"))
    summary, _ = run(workspace, results, only=only, seeds=(0,), checkpoints=True)
    assert summary.done == []
    manifest.unlink()
    summary, recorder = run(workspace, results, only=only, seeds=(0,), checkpoints=True)
    assert len(summary.done) == 1
    assert recorder.steps == 0  # the weights are there
    assert manifest.exists()
    assert before == {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}


def test_runs_from_before_features_were_scored_are_evaluated_again(workspace, tmp_path):
    results = tmp_path / "results"
    run(workspace, results, only=("test_vit",))
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    record = folder.read_record()
    assert record.feature_scores.keys() == record.targets.keys()
    folder.write(record.model_copy(update={"feature_scores": {}}), folder.predictions_path.read_bytes())
    summary, recorder = run(workspace, results, only=("test_vit",))
    assert [str(key) for key in summary.done] == ["test_vit/tiny/seed-0"]
    assert recorder.steps == 0
    assert folder.read_record().equal(record)


def test_a_training_that_diverges_is_reported_and_the_suite_goes_on(workspace, tmp_path):
    card = workspace.root / "architectures" / "test_vit.toml"
    card.write_text(card.read_text() + "\n[train.tiny]\nlearning_rate = 1e30\n")
    broken = type(workspace)(workspace.root, workspace.home)
    summary, _ = run(broken, tmp_path / "results", only=("test_vit", "test_convnext"))
    assert {key.architecture for key in summary.failed} == {"test_vit"}
    assert {key.architecture for key in summary.done} == {"test_convnext"}
    assert not (tmp_path / "results" / "tiny" / "test_vit").exists()


def test_a_card_that_does_not_build_is_reported_and_the_suite_goes_on(workspace, tmp_path):
    card = workspace.root / "architectures" / "test_vit.toml"
    card.write_text(card.read_text().replace('timm = "test_vit"', 'timm = "test_vti"'))
    broken = type(workspace)(workspace.root, workspace.home)
    summary, recorder = run(broken, tmp_path / "results", only=("test_vit", "test_convnext"))
    assert {key.architecture for key in summary.done} == {"test_convnext"}
    said = summary.failed[broken.suite("tiny").scored_runs()[2]]
    assert "architectures/test_vit.toml: timm: Unknown model (test_vti)" in said
    assert "did you mean test_vit" in said
    assert any(said in note for note in recorder.notes)


def test_cards_are_looked_at_before_the_first_training(workspace, tmp_path):
    card = workspace.root / "architectures" / "test_convnext.toml"
    card.write_text(re.sub(r"parameters = \d+", "parameters = 7", card.read_text()))
    broken = type(workspace)(workspace.root, workspace.home)
    summary, recorder = run(broken, tmp_path / "results", only=("test_vit", "test_convnext"))
    assert {key.architecture for key in summary.failed} == {"test_convnext"}
    assert {key.architecture for key in summary.done} == {"test_vit"}
    assert re.search(r"test_convnext\.toml: parameters: expected [\d,]+, which .* got 7;", recorder.notes[0])
    assert recorder.order == ["note", "finished", "finished"]


@pytest.mark.parametrize("order", [("small", "tiny"), ("tiny", "small")])
def test_a_card_that_one_recipe_does_not_suit_is_trained_by_the_other(workspace, tmp_path, order):
    recipes = workspace.root / "benchmark" / "recipes"
    tiny = (recipes / "tiny.toml").read_text()
    (recipes / "small.toml").write_text(tiny + "resolutions = [16, 32]\n")
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    before, _, after = suite.read_text().partition("[[runs]]")
    runs = [
        f'[[runs]]\narchitectures = ["test_convnext"]\nrecipe = "{name}"\nseeds = [0]\n\n' for name in order
    ]
    suite.write_text(before + "".join(runs) + after[after.index("[reference]") :])
    cards = type(workspace)(workspace.root, workspace.home)
    summary, recorder = run(cards, tmp_path / "results", only=("test_convnext",))
    assert [key.recipe for key in summary.failed] == ["small"]
    assert [key.recipe for key in summary.done] == ["tiny"]
    assert len([note for note in recorder.notes if "cannot be trained on 16 x 16 images" in note]) == 1


def test_memory_that_does_not_suffice_ends_one_run(workspace, tmp_path, monkeypatch):
    from shiftcast.training import run as work

    real = work.train

    def scarce(model, card, *rest, **options):
        if card.name == "test_vit":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")
        return real(model, card, *rest, **options)

    monkeypatch.setattr(work, "train", scarce)
    summary, _ = run(workspace, tmp_path / "results", only=("test_vit", "test_convnext"), seeds=(0,))
    assert [str(key) for key in summary.done] == ["test_convnext/tiny/seed-0"]
    assert list(summary.failed.values()) == [
        "test_vit/tiny/seed-0: memory on cpu does not suffice: "
        "CUDA out of memory. Tried to allocate 2.00 GiB."
    ]


# Several processes


def test_several_runs_at_once_give_the_same_files(workspace, undisturbed, tmp_path):
    card = workspace.root / "architectures" / "test_resnet.toml"
    card.write_text(card.read_text() + "\n[train.tiny]\nlearning_rate = 1e30\n")
    changed = type(workspace)(workspace.root, workspace.home)
    only = ("test_vit", "test_convnext", "test_resnet")
    summary, recorder = run(changed, tmp_path / "packed", only=only, seeds=(0, 1), jobs=2)
    assert recorder.planned == (6, 0)
    assert {key.architecture for key in summary.failed} == {"test_resnet"}
    assert all("the loss is" in reason for reason in summary.failed.values())
    assert len(summary.done) == 4
    assert recorder.steps > 0
    assert_equal_trees(undisturbed.results, tmp_path / "packed", only[:2])


def test_a_killed_process_takes_its_run_alone_with_it(workspace, tmp_path):
    class Deadly(Recorder):
        def progress(self, key, progress):
            super().progress(key, progress)
            if self.steps == 1:
                for child in multiprocessing.active_children():
                    child.kill()

    recorder = Deadly()
    options = Options(device="cpu", threads=1, only=("test_vit", "test_convnext"), jobs=2)
    summary = run_suite(workspace, workspace.suite("tiny"), tmp_path / "results", options, recorder)
    assert 1 <= len(summary.failed) <= 2
    assert all("its process was killed (SIGKILL)" in reason for reason in summary.failed.values())
    assert len(summary.done) == 4 - len(summary.failed)
    summary, _ = run(workspace, tmp_path / "results", only=("test_vit", "test_convnext"))
    assert len(summary.done) == len([ended for ended in recorder.ended if not ended[1]])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked for in /proc")
def test_processes_end_with_the_one_that_began_them(workspace, tmp_path):
    results = tmp_path / "results"
    parent = subprocess.Popen([*command_line(workspace, results), "--jobs", "2"], stderr=subprocess.DEVNULL)
    locks = tmp_path / "cache" / "checkpoints"
    deadline = time.monotonic() + 1200
    held = []
    while len(held) < 2 and time.monotonic() < deadline:
        held = [path.read_text() for path in locks.rglob("run.lock")]
        time.sleep(0.01)
    children = {int(text.split()[0]) for text in held if text}
    assert children
    assert parent.pid not in children
    parent.kill()
    parent.wait()
    alive = [Path(f"/proc/{pid}") for pid in children]
    while any(path.exists() for path in alive) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(path.exists() for path in alive)


def group_of(workspace, results, only):
    """Start a suite with two jobs in a process group of its own; return it once both are at a run."""
    command = [*command_line(workspace, results, only), "--jobs", "2"]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 1200
    while len(list(results.parent.rglob("run.lock"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return parent


def members(group):
    """Return the processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of, *_ = path.read_text().rpartition(")")[2].split()
            found += [path] if int(of) == group and state != "Z" else []
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked for in /proc")
def test_a_group_that_is_paused_and_ended_goes_on_to_the_same_files(workspace, undisturbed, tmp_path):
    results, only = tmp_path / "results", ("test_vit", "test_convnext")
    parent = group_of(workspace, results, only)
    for name in (signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM):
        os.killpg(parent.pid, name)
        time.sleep(0.3)
    assert "stopped; finished runs are stored" in parent.communicate()[1]
    assert parent.returncode == 128 + signal.SIGTERM
    deadline = time.monotonic() + 1200
    while members(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(parent.pid) == []
    assert not [path for ending in ("*.lock", "*.part") for path in tmp_path.rglob(ending)]
    run(workspace, results, only=only, jobs=2)
    assert_equal_trees(undisturbed.results, results, only)


# Time budgets


def one_epoch_a_run(monkeypatch):
    """Have every budget refuse an epoch once it is known what one takes."""
    strict = SimpleNamespace(allows=partial(operator.ge, 0.0))
    monkeypatch.setattr(local.Budget, "of", lambda _: strict)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_time_budget_stops_goes_on_to_the_same_files(
    workspace, undisturbed, tmp_path, monkeypatch, jobs
):
    only = ("test_vit", "test_convnext")
    with monkeypatch.context() as patch:
        one_epoch_a_run(patch)
        summary, recorder = run(workspace, tmp_path / "results", only=only, jobs=jobs, time_budget=1)
        assert summary.stopped == dict.fromkeys(summary.stopped, "stopped after epoch 1 of 2")
        assert (len(summary.stopped), summary.done, summary.failed) == (4, [], {})
        assert len(recorder.ended) == 4
        assert len(list((tmp_path / "cache").rglob("*.pt"))) == 4
        assert not list((tmp_path / "results").rglob("*.json"))
        # However little time there is, each call gets one epoch further.
        summary, _ = run(workspace, tmp_path / "results", only=only, jobs=jobs, time_budget=1)
        assert (len(summary.done), summary.stopped) == (4, {})
    assert not list((tmp_path / "cache").rglob("*.seconds"))
    assert_equal_trees(undisturbed.results, tmp_path / "results", only)
    expected = files_in(undisturbed.cache, only)
    assert len([path for path in expected if path.suffix == ".pt"]) == 4
    assert files_in(tmp_path / "cache") == expected


def files_in(folder, only=()):
    """Return what is in a cache; with `only`, without the files of other architectures."""
    others = {"test_byobnet", "test_efficientnet", "test_nfnet", "test_resnet"} if only else set()
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not others & set(name.parts)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_run_is_begun_once_the_budget_is_over(workspace, tmp_path, monkeypatch, jobs):
    over = local.Budget(time.monotonic() - 1)
    monkeypatch.setattr(local.Budget, "of", lambda _: over)
    only = ("test_vit", "test_convnext")
    summary, recorder = run(workspace, tmp_path / "results", only=only, jobs=jobs, time_budget=1)
    assert list(summary.stopped.values()) == ["not begun"] * 4
    assert recorder.steps == 0


def test_with_a_budget_nobody_is_waited_for(workspace, tiny_data, tmp_path):
    lock = lock_of(workspace, tiny_data, 2)
    with locked(lock, None):
        summary, _ = run(workspace, tmp_path / "results", only=("test_vit",), seeds=(0,), time_budget=1e6)
    assert {str(key): where for key, where in summary.stopped.items()} == {
        "test_vit/tiny/seed-0": "another process is working on it"
    }


@pytest.mark.parametrize("minutes", [0, -1.0, math.nan, math.inf])
def test_a_budget_is_a_number_of_minutes(workspace, tmp_path, minutes):
    with pytest.raises(InvalidInputError, match=f"--time-budget {minutes}: expected a finite number"):
        run(workspace, tmp_path / "results", time_budget=minutes)


def test_seconds_of_a_training_are_those_of_all_its_parts(workspace, tmp_path, monkeypatch):
    """The first epoch is done by one process, the second by another."""
    with monkeypatch.context() as patch:
        one_epoch_a_run(patch)
        run(workspace, tmp_path / "results", only=("test_vit",), seeds=(0,), time_budget=1)
    (beside,) = (tmp_path / "cache").rglob("*.seconds")
    beside.write_text("[1000.0]")
    run(workspace, tmp_path / "results", only=("test_vit",), seeds=(0,))
    place = RunFolder(tmp_path / "results" / "tiny" / "test_vit" / "tiny" / "seed-0")
    measured = place.read_record().measured
    assert measured.train_seconds > 1000
    assert 0 < measured.images_per_second <= 240 / 1000


def test_notes_of_other_processes_are_passed_on(workspace, tmp_path):
    run(workspace, tmp_path / "one", only=("test_vit", "test_convnext"), seeds=(0,))
    for path in (tmp_path / "cache").rglob("*.pt"):
        path.write_bytes(b"nothing")
    only = ("test_vit", "test_convnext")
    _, recorder = run(workspace, tmp_path / "two", only=only, seeds=(0,), jobs=2)
    damaged = [note for note in recorder.notes if "is damaged" in note]
    assert {note.split(": ")[0] for note in damaged} == {"test_vit/tiny/seed-0", "test_convnext/tiny/seed-0"}


def lock_of(workspace, data, number):
    from shiftcast.training.job import plan_job

    suite = workspace.suite("tiny")
    key = suite.scored_runs()[number]
    return plan_job(workspace, suite, key, "scored", data, "cpu", 1).lock


def test_a_run_that_another_process_is_at_comes_last(workspace, tiny_data, tmp_path):
    lock = lock_of(workspace, tiny_data, 2)
    other = hold_elsewhere(lock)

    class Patient(Recorder):
        """Ends the other process once the rest is done."""

        def note(self, text):
            super().note(text)
            if text.startswith("waiting for process"):
                other.communicate("\n")

    recorder = Patient()
    options = Options(device="cpu", threads=1, only=("test_vit", "test_convnext"))
    summary = run_suite(workspace, workspace.suite("tiny"), tmp_path / "results", options, recorder)
    assert [str(key) for key in summary.done] == [
        "test_convnext/tiny/seed-0",
        "test_vit/tiny/seed-1",
        "test_convnext/tiny/seed-1",
        "test_vit/tiny/seed-0",
    ]
    assert f"test_vit/tiny/seed-0 is held by process {other.pid}" in recorder.notes[0]
    assert f"waiting for process {other.pid}" in recorder.notes[1]
    assert recorder.ended == [("test_vit/tiny/seed-0", False)]
    assert not lock.exists()


def test_what_another_process_has_finished_is_not_done_again(workspace, tmp_path):
    """Two of the same command at once: each run is made once, and both see the whole suite."""
    results = tmp_path / "results"
    pair = [
        subprocess.Popen(command_line(workspace, results), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    own = [[line.split()[0] for line in text.splitlines() if " images/s" in line] for text in said]
    assert all(own), said
    made = own[0] + own[1]
    assert len(made) == len(set(made)) == 10
    assert len(list(results.rglob("run.json"))) == 10


def test_the_lock_of_a_dead_process_is_taken_over(workspace, tiny_data, tmp_path):
    lock = lock_of(workspace, tiny_data, 2)
    dead = hold_elsewhere(lock)
    dead.kill()
    dead.communicate()
    assert lock.exists()
    summary, recorder = run(workspace, tmp_path / "results", only=("test_vit",), seeds=(0,))
    assert len(summary.done) == 1
    assert recorder.notes == []
    assert not lock.exists()


def test_every_architecture_comes_before_any_second_seed(workspace):
    path = workspace.root / "benchmark" / "suites" / "tiny.toml"
    more = '[[runs]]\narchitectures = ["test_vit"]\nrecipe = "tiny"\nseeds = [7]\n\n[reference]'
    path.write_text(path.read_text().replace("[reference]", more))
    runs = choose_runs(type(workspace)(workspace.root, workspace.home).suite("tiny"), ())
    reference = ["test_byobnet", "test_efficientnet", "test_resnet", "test_nfnet"]
    assert [(role, key.architecture) for role, key in runs[:4]] == [("reference", n) for n in reference]
    assert [str(key).replace("/tiny", "") for _, key in runs[4:]] == [
        "test_resnet/seed-0",
        "test_vit/seed-0",
        "test_convnext/seed-0",
        "test_resnet/seed-1",
        "test_vit/seed-1",
        "test_convnext/seed-1",
        "test_vit/seed-7",
    ]


def test_seeds_are_those_of_the_suite(workspace):
    suite = workspace.suite("tiny")
    assert {key.seed for _, key in choose_runs(suite, (), (1,))} == {1}
    assert [role for role, _ in choose_runs(suite, (), (100,))] == ["reference"] * 4
    with pytest.raises(
        InvalidInputError, match="--seed 7: suite tiny has no such run; its seeds are 0, 1, 100"
    ):
        choose_runs(suite, (), (7,))
    with pytest.raises(InvalidInputError, match="--seed 100: suite tiny has no such run of test_"):
        choose_runs(suite, ("test_vit",), (100,))


def test_a_network_that_gives_no_numbers_ends_one_run(workspace, tmp_path, monkeypatch):
    """What is found only after the last step: weights are finite, outputs are not."""
    from shiftcast.training import run as work

    real = work.evaluate

    def spoilt(network, *rest, **options):
        if network.card.name == "test_vit":
            network.model.get_classifier().bias.data.fill_(float("inf"))
        return real(network, *rest, **options)

    monkeypatch.setattr(work, "evaluate", spoilt)
    summary, _ = run(workspace, tmp_path / "results", only=("test_vit", "test_convnext"), seeds=(0,))
    assert [str(key) for key in summary.done] == ["test_convnext/tiny/seed-0"]
    assert "test_vit/tiny/seed-0 on digits-test: gives NaN or infinite values" in str(summary.failed)
    assert not list((tmp_path / "cache").rglob("test_vit/**/*.json"))  # no network for `predict`


def test_views_whose_files_are_gone_stay_when_a_run_is_made_again(workspace, tmp_path):
    results = tmp_path / "results"
    run(workspace, results, only=("test_vit",), seeds=(0,))
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    views = {"corrected": LabelViewAccuracy(accuracy=0.5, images=10, differs=1)}
    folder.write_record(folder.read_record().model_copy(update={"label_views": views, "feature_scores": {}}))
    summary, _ = run(workspace, results, only=("test_vit",), seeds=(0,))
    assert len(summary.done) == 1
    assert folder.read_record().label_views == views


def test_only_takes_names_of_the_suite(workspace):
    suite = workspace.suite("tiny")
    assert {key.architecture for _, key in choose_runs(suite, ("test_vit",))} == {"test_vit"}
    with pytest.raises(UnknownNameError, match="did you mean test_vit"):
        choose_runs(suite, ("test_vti",))


def test_without_torch_the_extra_is_named(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(shiftcast, "training", shiftcast.training)  # put back afterwards
    for name in [name for name in sys.modules if name.startswith("shiftcast.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'shiftcast\[train\]'"):
        run(workspace, tmp_path / "results")


def test_label_views_are_added_to_complete_runs(workspace, make_results, tiny_data):
    results = make_results()
    place = RunFolder(results / "tiny" / str(workspace.suite("tiny").scored_runs()[0]))
    before, sets = place.read()
    labels = tiny_data.sets[before.source].labels
    kept = np.arange(len(labels)) % 2 == 0
    views = {"shifted": LabelView(np.eye(10)[(labels + 1) % 10], kept, 7)}
    data = dataclasses.replace(tiny_data, label_views=views)
    assert add_label_views(place, data)
    found = place.read()[0].label_views["shifted"]
    predicted = sets[before.source].logits.argmax(axis=1)
    assert found.accuracy == pytest.approx((predicted == (labels + 1) % 10)[kept].mean())
    assert (found.images, found.differs) == (kept.sum(), 7)
    assert not add_label_views(place, data)  # nothing changes: nothing is written
    assert not add_label_views(place, tiny_data)  # without the files what was found stays
    assert "shifted" in place.read()[0].label_views
    assert not add_label_views(RunFolder(results / "nowhere"), data)
