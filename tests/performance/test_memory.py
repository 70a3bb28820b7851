"""How much memory estimates on a million images and training need; test_board.py asks it of boards."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support import TESTS
from support.large import make_large

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)

ESTIMATE_MEBIBYTES = 700
"""For a million unlabelled images of ten classes: eight times what their logits take in float64, and the
program itself."""
START_MEBIBYTES = 400
"""The program itself, and what estimators work on."""
TRAIN_MEBIBYTES = 1100
"""For 50,000 images and a small network: PyTorch takes 750, the images, held once and as bytes, 150."""
BYTES_AN_IMAGE = 18
"""For a further run, by image of its sets: while a run is scored, every other one's classes are at hand in
four bytes for each part of a set. With logits in memory it were 37."""
TELL = """
import json
status = Path("/proc/self/status").read_text().splitlines()
print(json.dumps(next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))))
"""
ESTIMATE = """
import sys
from pathlib import Path
from shiftcast.cli import main
here = Path(sys.argv[1])
files = {name: str(here / f"{name}.npy") for name in ("source", "labels", "target")}
sys.argv = ["shiftcast", "estimate", "--out", str(here / "answer.json")]
sys.argv += [word for name, path in files.items() for word in (f"--{name}", path)]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
TRAIN = """
from pathlib import Path
import numpy as np
from support.workspaces import SPEED_RECIPE
from shiftcast.training.loop import derive_seeds, seeded_model, train
from shiftcast.training.resident import ResidentImages
from shiftcast.workspace import find_workspace

card = find_workspace().architecture("test_resnet")
random = np.random.RandomState(0)
images = random.randint(0, 256, (50_000, 32, 32, 3), dtype=np.uint8)
data = ResidentImages(images, random.randint(0, 10, len(images)))
seeds = derive_seeds("test_resnet", "memory", 0)

class Enough(Exception):
    pass

def stop(progress):
    if progress.step >= 20:
        raise Enough

try:
    train(seeded_model(card, 10, seeds.weights), card, data, SPEED_RECIPE, seeds, "cpu", on_progress=stop)
except Enough:
    pass
"""


SCORE = """
import sys
from pathlib import Path
from shiftcast.estimators import official_estimators
from shiftcast.board.assemble import score_suite
from shiftcast.workspace import Workspace

root, count = Path(sys.argv[1]), int(sys.argv[2])
workspace = Workspace(root, root)
suite = workspace.suite("large")
runs = suite.runs[0]
suite = suite.model_copy(update={"runs": [runs.model_copy(update={"seeds": runs.seeds[:count]})]})
chosen = {name: official_estimators()[name] for name in ("AC", "ConfusionPartition", "AgreementShift")}
scores = score_suite(workspace, suite, workspace.results(), estimators=chosen, jobs=1)
assert scores.table["estimator"].nunique() == 3, scores.skipped
print(len(scores.accuracies[["architecture", "seed"]].drop_duplicates()))
"""


def peak(script, *arguments):
    """Run a script in a process of its own; return the most memory it held, in MiB."""
    command = [sys.executable, "-c", script + TELL, *map(str, arguments)]
    paths = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command,
        cwd=TESTS.parent,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_estimates_on_a_million_images_take_little_memory(tmp_path):
    random = np.random.default_rng(0)
    for name, n, signal in (("source", 10_000, 3), ("target", 1_000_000, 2)):
        labels = random.integers(0, 10, n)
        logits = random.normal(size=(n, 10)) * 1.5
        logits[np.arange(n), labels] += signal
        np.save(tmp_path / f"{name}.npy", logits.astype(np.float32))
        if name == "source":
            np.save(tmp_path / "labels.npy", labels)
    found = peak(ESTIMATE, tmp_path)
    answers = json.loads((tmp_path / "answer.json").read_text())["estimates"]
    answered = {one["estimator"] for one in answers if one.get("accuracy") is not None}
    assert {"ATC-MC", "COT", "COTT"} < answered
    assert found < ESTIMATE_MEBIBYTES, f"{found:.0f} MiB"


def test_estimates_on_a_thousand_classes_hold_probabilities_once(tmp_path):
    """Logits stay float32, probabilities are float64, and estimators work on few rows at once."""
    random, n, classes = np.random.default_rng(0), 8_000, 1_000
    for name in ("source", "target"):
        labels = random.integers(0, classes, n)
        logits = random.normal(size=(n, classes)).astype(np.float32) * 2
        logits[np.arange(n), labels] += 9
        np.save(tmp_path / f"{name}.npy", logits)
        if name == "source":
            np.save(tmp_path / "labels.npy", labels)
    found = peak(ESTIMATE, tmp_path)
    held = 2 * (4 + 8) * n * classes / 2**20
    assert found < START_MEBIBYTES + held, f"{found:.0f} MiB"


def test_training_holds_the_images_once():
    found = peak(TRAIN)
    assert found < TRAIN_MEBIBYTES, f"{found:.0f} MiB"


def test_scores_grow_by_little_with_each_run(tmp_path):
    make_large(tmp_path / "large", architectures=20, seeds=3, natural=2, images=2_500)
    few, many = (peak(SCORE, tmp_path / "large", seeds) for seeds in (1, 3))
    images = 62_500  # of two natural sets, nineteen that are made of the source, and the source
    grown = (many - few) * 2**20 / (40 * images)
    assert grown < BYTES_AN_IMAGE, f"{grown:.1f} bytes; {few:.0f} and {many:.0f} MiB"
