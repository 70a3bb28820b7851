"""Counts, not seconds: what grows with what, which no machine's mood can move."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from shiftcast.board.assemble import score_suite
from shiftcast.estimators import official_estimators
from shiftcast.runs.outputs import FiledOutputs
from shiftcast.runs.reading import read_pool
from shiftcast.runs.soundness import Inspection
from shiftcast.scoring.rows import score_pool
from support.large import make_large

OFTEN = 9
"""Readings of one set's outputs: to check them, for classes, labels, each part that is scored, and tables."""
QUICK = ("NoShift", "AC", "ATC-MC", "ConfusionPartition", "AgreementShift", "ALine-S", "Entropy", "MeanShift")


def calls_of(work):
    """Return how many functions, Python's and C's, `work` calls: the same number each time."""
    counts = Counter()

    def count(frame, event, argument):
        counts[event] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts["call"] + counts["c_call"]


def scoring_calls(root, architectures, images):
    workspace = make_large(root, architectures, 1, natural=2, images=images)
    suite = workspace.suite("large")
    pool, _ = read_pool(workspace, suite, workspace.results() / suite.name)
    chosen = {name: one for name, one in official_estimators().items() if name in QUICK}
    return calls_of(lambda: score_pool(pool, chosen))


def test_scoring_grows_with_runs_and_not_with_images(tmp_path):
    few = scoring_calls(tmp_path / "few", 3, 200)
    twice = scoring_calls(tmp_path / "twice", 6, 200)
    larger = scoring_calls(tmp_path / "larger", 3, 800)
    assert twice / few < 2.2, f"{few:,} calls for 3 models, {twice:,} for 6"
    assert larger / few < 1.05, f"{few:,} calls for 200 images, {larger:,} for 800"


def test_every_file_is_read_once(tmp_path, monkeypatch):
    workspace = make_large(tmp_path / "large", 2, 1, natural=2, images=100)
    seen, plain = Counter(), Inspection.__init__

    def counted(self, folder, *arguments, **named):
        seen[folder.path] += 1
        plain(self, folder, *arguments, **named)

    monkeypatch.setattr(Inspection, "__init__", counted)
    suite = workspace.suite("large")
    score_suite(workspace, suite, workspace.results(), estimators={"AC": official_estimators()["AC"]})
    assert set(seen.values()) == {1}
    assert len(seen) == len(suite.scored_runs()) + len(suite.reference_runs())


def readings(root, architectures, monkeypatch):
    """Return how often the outputs of each scored run's sets are read from their file while it is scored."""
    workspace = make_large(root, architectures, 1, natural=2, images=100)
    suite, seen, plain = workspace.suite("large"), Counter(), FiledOutputs.read

    def counted(self):
        seen[self.path.parent, self.start] += 1
        return plain(self)

    chosen = {name: one for name, one in official_estimators().items() if name in QUICK}
    with monkeypatch.context() as patched:
        patched.setattr(FiledOutputs, "read", counted)
        score_suite(workspace, suite, workspace.results(), estimators=chosen)
    scored = {workspace.results() / suite.name / key.path for key in suite.scored_runs()}
    return [count for (folder, _), count in seen.items() if folder in scored]


def test_outputs_are_read_as_often_however_many_runs_there_are(tmp_path, monkeypatch):
    few, many = (readings(tmp_path / str(count), count, monkeypatch) for count in (3, 9))
    assert len(many) == 3 * len(few)
    assert max(few) == max(many) <= OFTEN, Counter(many)


@pytest.mark.parametrize(("batch_size", "passes"), [(100, 3), (250, 1), (60, 5)])
def test_sets_are_evaluated_in_as_few_passes_as_there_are_batches(batch_size, passes):
    from shiftcast.training.evaluate import Network, evaluate
    from shiftcast.training.loop import seeded_model
    from shiftcast.workspace import find_workspace

    card = find_workspace().architecture("test_resnet")
    model, seen = seeded_model(card, 10, 0), []
    model.register_forward_pre_hook(lambda *_: seen.append(1))
    body = model.forward_features
    model.forward_features = lambda *given: seen.append(1) or body(*given)
    sets = {name: np.zeros((n, 32, 32, 3), np.uint8) for name, n in (("a", 120), ("b", 1), ("c", 129))}
    evaluate(Network(model, card, (0.0,) * 3, (1.0,) * 3, "cpu"), sets, batch_size=batch_size)
    assert len(seen) == passes


def test_nothing_but_training_loads_torch():
    modules = (
        "shiftcast.cli.app, shiftcast.estimate.answer, shiftcast.submission, shiftcast.scoring, "
        "shiftcast.board.changes, shiftcast.leaderboard.cache, shiftcast.leaderboard.generate"
    )
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unchanged_board_loads_neither_pandas_nor_scikit_learn():
    slow = ("pandas", "sklearn", "scipy.stats", "matplotlib")
    modules = "shiftcast.leaderboard.cache, shiftcast.leaderboard.pages"
    code = f"import sys, {modules}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
