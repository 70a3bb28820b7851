"""The Ray engine on a real cluster of two nodes: the local engine's files, also where a node is killed."""

import dataclasses
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest

from shiftcast.engines.contract import Options
from shiftcast.engines.local import run_suite as run_locally
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.runs.folder import RunFolder
from support.held_lock import hold_elsewhere

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'shiftcast[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402

from shiftcast.engines import ray_cluster as engine  # noqa: E402

# Ray itself leaves log files open in its older versions, and tells of changes to come.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{kind}")
    for kind in (
        ":ResourceWarning",
        ":pytest.PytestUnraisableExceptionWarning",
        "Tip. In future:FutureWarning",
    )
]
COMMAND = "from shiftcast.cli import main; main()"


@dataclass
class Recorder:
    """A reporter that keeps what it is told, and may act on it."""

    begun: list = field(default_factory=list)
    done: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    steps: list = field(default_factory=list)

    def plan(self, total, complete):
        self.planned = (total, complete)

    def started(self, key, epochs):
        self.begun.append(str(key))

    def progress(self, key, progress):
        assert 0 < progress.step <= progress.steps
        self.steps.append(str(key))

    def finished(self, key, record):
        self.done.append(str(key))

    def left(self, key, complete):
        pass

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """The cache of the nodes, which is not the driver's."""
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def head(caches):
    """A cluster of a head with one CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHIFTCAST_CACHE", str(caches))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def second(head, caches, monkeypatch):
    """A second node with one CPU."""
    with monkeypatch.context() as patch:
        patch.setenv("SHIFTCAST_CACHE", str(caches))
        node = head.add_node(num_cpus=1)
    yield node
    if node in head.worker_nodes:
        head.remove_node(node)


@pytest.fixture
def run(head, workspace, tmp_path):
    """Run suite `tiny` on the cluster."""

    def run(results="results", cards=workspace, recorder=None, **options):
        recorder = recorder or Recorder()
        chosen = Options(device="cpu", threads=1, **options)
        place = tmp_path / results
        summary = engine.run_suite(cards, cards.suite("tiny"), place, chosen, recorder, head.address)
        return summary, recorder

    return run


def changed(workspace, path, old, new):
    """Return the workspace with another text in one of its files."""
    file = workspace.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return type(workspace)(workspace.root, workspace.home)


def assert_equal_trees(one, other):
    paths = sorted(path.parent.relative_to(one) for path in one.rglob("run.json"))
    assert paths == sorted(path.parent.relative_to(other) for path in other.rglob("run.json"))
    assert paths
    for path in paths:
        first, second = RunFolder(one / path), RunFolder(other / path)
        assert first.read_record().equal(second.read_record()), path
        assert first.predictions_path.read_bytes() == second.predictions_path.read_bytes()


def run_here(workspace, results, **options):
    chosen = Options(device="cpu", threads=1, **options)
    return run_locally(workspace, workspace.suite("tiny"), results, chosen, Recorder())


def files_in(folder):
    """Return the bytes of every file below a folder, by its path there."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_nodes_give_the_files_of_the_local_engine(second, run, workspace, tmp_path, monkeypatch):
    """A run that fails is reported as there, and not tried again."""
    card = workspace.root / "architectures" / "test_vit.toml"
    card.write_text(card.read_text() + "\n[train.tiny]\nlearning_rate = 1e30\n")
    broken = type(workspace)(workspace.root, workspace.home)
    chosen = {"only": ("test_resnet", "test_vit"), "seeds": (0, 100)}
    summary, recorder = run(cards=broken, **chosen)
    assert recorder.planned == (3, 0)
    assert "test_resnet/tiny/seed-100" in recorder.begun[:2]  # the reference ensemble comes first
    assert sorted(recorder.begun) == sorted([*recorder.done, "test_vit/tiny/seed-0"])
    assert set(recorder.done) <= set(recorder.steps)
    (reason,) = summary.failed.values()
    assert "the loss is" in reason
    assert [note for note in recorder.notes if reason in note] == recorder.notes
    assert not (tmp_path / "results" / "tiny" / "test_vit").exists()
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "other"))
    alone = run_here(broken, tmp_path / "alone", **chosen)
    assert alone.failed.keys() == summary.failed.keys()
    assert_equal_trees(tmp_path / "alone", tmp_path / "results")
    # networks and their manifests come back too, and no lock stays
    assert files_in(tmp_path / "cache") == files_in(tmp_path / "other")


def test_a_killed_node_loses_its_run_to_the_other(head, second, run, workspace, tmp_path, monkeypatch):
    @dataclass
    class Deadly(Recorder):
        """Kills the second node while both nodes are in the midst of a training."""

        share: dict = field(default_factory=dict)

        def progress(self, key, progress):
            super().progress(key, progress)
            self.share[str(key)] = progress.step / progress.steps
            under_way = [self.share.get(one, 0) for one in set(self.begun) - set(self.done)]
            if len(under_way) == 2 and max(under_way) < 0.7 and second in head.worker_nodes:
                head.remove_node(second, allow_graceful=False)

    long = changed(workspace, "benchmark/recipes/tiny.toml", "epochs = 2", "epochs = 24")
    only = ("test_vit", "test_convnext")
    summary, recorder = run(cards=long, recorder=Deadly(), only=only)
    assert second not in head.worker_nodes
    assert len(summary.done) == 4
    assert not summary.failed
    # once or more: before the cluster knows that a node is dead, it may send it another
    assert recorder.notes
    lost = re.compile(
        r"test_\w+/tiny/seed-\d was lost with (its process on )?(its|a) node .+; it is tried again"
    )
    assert [note for note in recorder.notes if not lost.fullmatch(note)] == []
    assert len(recorder.begun) > 4
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "other"))
    run_here(long, tmp_path / "alone", only=only)
    assert_equal_trees(tmp_path / "alone", tmp_path / "results")


def test_the_drivers_network_is_evaluated_on_a_new_target(run, workspace, caches, tmp_path):
    run_here(workspace, tmp_path / "results", only=("test_byobnet",))
    before = files_in(tmp_path / "cache")
    old, new = "severities = [2, 5]", "severities = [2, 4, 5]"
    grown = changed(workspace, "benchmark/suites/tiny.toml", old, new)
    summary, recorder = run(cards=grown, only=("test_byobnet",))
    assert len(summary.done) == 1
    assert recorder.steps == []
    place = RunFolder(tmp_path / "results" / "tiny" / "test_byobnet" / "tiny" / "seed-100")
    assert "digits-shifted/contrast-4" in place.read_record().targets
    assert place.read_record().measured.train_seconds > 0  # of the training, as the earlier record says
    assert files_in(tmp_path / "cache") == before


def test_what_is_stopped_leaves_nothing_partial(run, workspace, caches, tmp_path):
    class Impatient(Recorder):
        def progress(self, key, progress):
            raise KeyboardInterrupt

    long = changed(workspace, "benchmark/recipes/tiny.toml", "epochs = 2", "epochs = 200")
    with pytest.raises(KeyboardInterrupt):
        run(cards=long, recorder=Impatient(), only=("test_vit",))
    assert not ray.is_initialized()
    assert files_in(tmp_path / "results") == {}
    assert not list((tmp_path / "cache").rglob("*.lock"))
    assert not list(caches.rglob("*.part"))


def test_a_time_budget_stops_runs_between_epochs(run, workspace, caches, tmp_path, monkeypatch):
    class Strict(engine._Box):
        """Refuses an epoch once it is known what one takes."""

        def may_begin(self, seconds):
            return seconds <= 0

    chosen = {"only": ("test_nfnet",)}
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_Box", Strict)
        summary, _ = run(time_budget=1e6, **chosen)
    assert list(summary.stopped.values()) == ["stopped after epoch 1 of 2"]
    assert files_in(tmp_path / "results") == {}
    assert not list((tmp_path / "cache").rglob("*.lock"))
    with monkeypatch.context() as patch:
        patch.setattr(engine.Budget, "allows", lambda *_: False)
        summary, recorder = run(time_budget=1, **chosen)
    assert list(summary.stopped.values()) == ["not begun"]
    assert recorder.begun == []
    summary, recorder = run(time_budget=1e6, **chosen)
    assert (len(summary.done), summary.stopped) == (1, {})
    monkeypatch.setenv("SHIFTCAST_CACHE", str(tmp_path / "other"))
    run_here(workspace, tmp_path / "alone", **chosen)
    assert_equal_trees(tmp_path / "alone", tmp_path / "results")
    with pytest.raises(InvalidInputError, match="--time-budget 0: expected a finite number"):
        run(time_budget=0)


def test_a_run_that_another_process_is_at_is_left_to_it(run, workspace, tiny_data, tmp_path):
    from shiftcast.training.job import plan_job

    suite = workspace.suite("tiny")
    lock = plan_job(workspace, suite, suite.scored_runs()[2], "scored", tiny_data, "cpu", 1).lock
    other = hold_elsewhere(lock)

    class Patient(Recorder):
        """Ends the other process once the rest is done."""

        def note(self, text):
            super().note(text)
            if text.startswith("waiting for process"):
                other.communicate("\n")

    _, recorder = run(recorder=Patient(), only=("test_vit",))
    assert recorder.done == ["test_vit/tiny/seed-1", "test_vit/tiny/seed-0"]
    assert f"test_vit/tiny/seed-0 is held by process {other.pid}" in recorder.notes[0]
    assert not lock.exists()


def test_a_node_with_another_shiftcast_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "source_hash", lambda: "0" * 64)
    with pytest.raises(TrainingError, match=r"node .* has another Shiftcast .* expected 000000000000\)"):
        run(only=("test_vit",))
    assert files_in(tmp_path / "results") == {}


def test_a_node_without_the_code_is_refused(run, monkeypatch):
    nowhere = ModuleType("nowhere")
    exec("def carried_out(*_): pass", vars(nowhere))  # noqa: S102  nodes look for it where it comes from
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    monkeypatch.setattr(engine, "_carried_out", nowhere.carried_out)
    with pytest.raises(TrainingError, match=r"has another Shiftcast .* No module named 'nowhere'"):
        run(only=("test_vit",))


def test_a_run_that_is_always_lost_fails(run, monkeypatch):
    monkeypatch.setattr(engine, "_carried_out", lambda *_: os._exit(1))
    monkeypatch.setattr(engine, "TRIES", 2)
    summary, recorder = run(only=("test_vit",), seeds=(0,))
    (reason,) = summary.failed.values()
    assert reason.startswith("it was lost with its process")
    assert "and 1 times before" in reason
    assert sum("it is tried again" in note for note in recorder.notes) == 1


def test_what_cannot_be_had_is_named(head, run, workspace, tmp_path):
    go = partial(engine.run_suite, workspace, workspace.suite("tiny"), tmp_path, reporter=Recorder())
    options = Options(device="cuda", threads=1, only=("test_vit",))
    with pytest.raises(TrainingError, match="no node of the Ray cluster has a GPU"):
        go(options=options, address=head.address)
    options = dataclasses.replace(options, device="cpu")
    with pytest.raises(InvalidInputError, match="--address nowhere: no Ray cluster can be joined there"):
        go(options=options, address="nowhere")
    for closed in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(InvalidInputError, match=r"127\.0\.0\.1:1: no Ray .* \(Connection refused\)"):
            go(options=options, address=closed)
    with pytest.raises(InvalidInputError, match=r"\(unknown scheme raay://\).*: export RAY_AUTH_MODE"):
        go(options=options, address="raay://127.0.0.1:1")


# Without a cluster


def test_of_a_cluster_of_another_version_both_versions_are_told(workspace, tmp_path, monkeypatch):
    def refuse(**_):
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n  Ray: 2.54.0\nThis process:\n  Ray: 9"
        )

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    options = Options(device="cpu", threads=1)
    said = r"started with: Ray: 2\.54\.0 This process: Ray: 9\); .* the token here must be the cluster's"
    with pytest.raises(InvalidInputError, match=said):
        engine.run_suite(workspace, workspace.suite("tiny"), tmp_path, options, Recorder(), "auto")


@pytest.mark.parametrize(
    ("device", "network", "share", "expected"),
    [
        ("cpu", True, 3, (2, 0.0)),
        ("cuda", False, 1, (2, 0.0)),
        ("cuda", True, 1, (2, 1.0)),
        ("cuda", True, 3, (2, 0.3333)),
        ("cuda", True, 6, (2, 0.1666)),  # six times 0.1667 are more than a GPU
    ],
)
def test_what_a_run_needs(device, network, share, expected):
    assert engine.needs(SimpleNamespace(device=device, is_network=network, threads=2), share) == expected


def command(*arguments, before=""):
    script = f"import sys\n{before}\n{COMMAND}"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )


def test_an_address_without_the_engine_is_refused():
    done = command("run", "quickstart", "--address", "auto")
    assert done.returncode == 2
    assert "--address names a Ray cluster; it needs --engine ray" in done.stderr


def test_without_ray_the_extra_is_named():
    done = command("run", "quickstart", "--engine", "ray", before="sys.modules['ray'] = None")
    assert done.returncode == 2
    assert "pip install 'shiftcast[ray]'" in done.stderr


def test_the_local_engine_loads_no_ray():
    script = "import sys, shiftcast.engines.local, shiftcast.cli.app; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
