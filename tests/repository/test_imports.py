"""What the package shows, and what it must not import."""

import json
import subprocess
import sys

import pytest

import shiftcast
import shiftcast.data
import shiftcast.difficulty
import shiftcast.estimators
import shiftcast.statistics

HEAVY = ("torch", "torchvision", "timm")


@pytest.mark.parametrize(
    "statement",
    [
        "import shiftcast",
        "import shiftcast.estimators, shiftcast.board.assemble, shiftcast.leaderboard.generate",
        "sys.argv = ['shiftcast', '--help']; main()",
        "sys.argv = ['shiftcast', 'list', 'suites']; main()",
        "sys.argv = ['shiftcast', 'list', 'estimators']; main()",
    ],
)
def test_no_torch_without_training(statement):
    script = (
        "import sys, json, contextlib, io\nfrom shiftcast.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    {statement}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_help_loads_no_arrays():
    script = (
        "import sys, contextlib, io\nfrom shiftcast.cli import main\nsys.argv = ['shiftcast', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()\n"
        "assert not {'pandas', 'scipy', 'sklearn', 'matplotlib', 'pydantic', 'vl_convert'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "module", [shiftcast, shiftcast.data, shiftcast.difficulty, shiftcast.estimators, shiftcast.statistics]
)
def test_exported_names_exist_and_nothing_public_is_left_out(module):
    import types

    public = {name for name, value in vars(module).items() if not name.startswith("_")}
    public -= {name for name in public if isinstance(vars(module)[name], types.ModuleType)} | {"annotations"}
    assert public == {name for name in module.__all__ if not name.startswith("_")}


def test_the_public_face():
    names = [
        "Estimate",
        "Predictions",
        "Results",
        "ShiftcastError",
        "__version__",
        "collect",
        "estimate",
        "load_results",
        "load_signals",
        "plan",
        "sample",
    ]
    assert shiftcast.__all__ == names
    assert {"ConfusionPartition", "Estimator", "NoShift", "official_estimators"} <= set(
        shiftcast.estimators.__all__
    )
