import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.board.assemble import score_suite
from shiftcast.board.candidate import default_suite, load_estimator, score_candidate
from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError
from shiftcast.estimators import NoShift
from shiftcast.runs.layout import stored_suites
from shiftcast.workspace import EMBEDDED, Workspace
from support.command_line import typed

OWN = """
from shiftcast.estimators import Estimator, NoShift
from shiftcast.predictions import Estimate

class Shy(NoShift):
    \"\"\"NoShift minus a tenth.\"\"\"
    def _predict(self, target):
        plain = super()._predict(target)
        return Estimate(plain.accuracy - 0.1, plain.low - 0.1, plain.high, plain.level)

class NeedsMuch(NoShift):
    requires = frozenset({"logits", "features"})

class Fails(NoShift):
    def _fit(self, source, others):
        raise KeyError("nobody thought of this")

class Trackless(Estimator):
    def _fit(self, source, others): ...
    def _predict(self, target): ...

class Demanding(NoShift):
    def __init__(self, must, level=0.95):
        self.must, self.level = must, level

class Absolute(NoShift):
    \"\"\"Always one half.\"\"\"
    def _predict(self, target):
        return Estimate(0.5, 0.4, 0.6, self.level)

class Nan(NoShift):
    def _predict(self, target):
        return Estimate(float("nan"), 0, 1, self.level)

class Number(NoShift):
    def _predict(self, target):
        return 0.5

class Renames(NoShift):
    def __init__(self, power=2, level=0.95):
        self.exponent, self.level = power, level

class Wants(NoShift):
    requires = frozenset({"logits", "images"})

def made():
    return Shy(level=0.8)

number = 3
"""

COMMAND = """
import sys
from shiftcast.cli import main
try:
    main()
finally:
    assert "torch" not in sys.modules
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_class_a_function_and_an_installed_module_are_found(file):
    assert type(load_estimator(f"{file}:Shy")).__name__ == "Shy"
    assert load_estimator(f"{file}:made").level == 0.8
    assert isinstance(load_estimator("shiftcast.estimators:NoShift"), NoShift)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("{file}", "expected FILE.py:Class"),
        ("{file}:Shi", "holds no name 'Shi'; it has Shy, NeedsMuch, Fails"),
        ("{file}:number", "expected a subclass of shiftcast.estimators.Estimator, got int"),
        ("{file}:Trackless", "track must be one of T1.*the class has none"),
        ("{file}:Demanding", "could not be made without arguments"),
        ("{file}:Wants", r"own.py:Wants: requires must be a subset of .*, but holds \['images'\]"),
        ("{folder}/none.py:A", "there is no such file"),
        ("no.such.module:A", "could not be loaded: ModuleNotFoundError"),
        (
            "{folder}/broken.py:A",
            r"loaded: ZeroDivisionError: division by zero \(broken.py, line 2\)",
        ),
    ],
)
def test_what_is_no_estimator_is_refused(file, where, message):
    (file.parent / "broken.py").write_text("a = 1\nb = a / 0\n")
    with pytest.raises(InvalidInputError, match=message):
        load_estimator(where.format(file=file, folder=file.parent))


@pytest.mark.usefixtures("few_estimators")
def test_its_rows_are_those_of_the_harness_and_differences_are_paired(workspace, make_results, file):
    results, suite = make_results(), workspace.suite("tiny")
    found = score_candidate(workspace, suite, results, load_estimator(f"{file}:Shy"), "Shy")
    ours = score_suite(workspace, suite, results).table
    key = ["architecture", "seed", "target", "protocol"]
    mine = found.table[found.table["estimator"] == "Shy"].set_index(key)["predicted"].sort_index()
    plain = ours[ours["estimator"] == "NoShift"].set_index(key)["predicted"].sort_index()
    assert np.allclose(mine, np.maximum(plain - 0.1, 0))
    official = found.table[found.table["protocol"] == "official"]
    gaps = (official["predicted"] - official["actual"]).abs() * 100
    mae = gaps.groupby([official["estimator"], official["group"]]).mean().groupby("estimator").mean()
    row = found.pairs.set_index(["kind", "rival"]).loc["synthetic", "NoShift"]
    assert row["mae"] == pytest.approx(mae["Shy"])
    assert row["rival_mae"] == pytest.approx(mae["NoShift"])
    assert row["difference"] == pytest.approx(row["mae"] - row["rival_mae"])
    assert row["low"] <= row["difference"] <= row["high"]


@pytest.mark.usefixtures("few_estimators")
def test_a_name_of_ours_is_told_apart(workspace, make_results):
    found = score_candidate(workspace, workspace.suite("tiny"), make_results(), NoShift(), "NoShift")
    assert found.name == "NoShift (yours)"
    same = found.pairs[found.pairs["rival"] == "NoShift"].iloc[0]
    assert same["difference"] == same["low"] == same["high"] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fails", r"Fails: its code failed: KeyError: 'nobody thought of this' \(own.py, line \d+\)"),
        ("Nan", r"^Nan: an estimate must be finite, got \(nan, 0, 1\)"),
        ("Number", r"^Number: _predict must return an Estimate .*, got float"),
        ("Renames", r"^Renames: its code failed: AttributeError: 'Renames' object has no attribute 'power'"),
        ("NeedsMuch", "NeedsMuch: gave no result on tiny: .*features"),
    ],
)
def test_code_that_fails_is_named(workspace, make_results, file, name, message):
    with pytest.raises(InvalidInputError, match=message):
        score_candidate(
            workspace, workspace.suite("tiny"), make_results(), load_estimator(f"{file}:{name}"), name
        )


def test_the_suite_with_the_most_runs_is_the_default(workspace, make_results, tmp_path):
    assert default_suite(workspace, make_results()).name == "tiny"
    with pytest.raises(InvalidInputError, match="holds no results"):
        default_suite(workspace, tmp_path / "empty")


def test_a_failure_comes_with_the_verdict_of_the_contract(workspace, make_results, file):
    arguments = ["--workspace", workspace.root, "score", f"{file}:Renames", "--results", make_results()]

    def failure(*options):
        return str(CliRunner().invoke(app, [*map(str, arguments), *options]).exception)

    assert "Renames: its code failed: AttributeError" in failure()
    assert "It breaks the contract of estimators: Renames: each constructor argument must be" in failure()
    assert "contract" not in failure("--no-check")


@pytest.mark.usefixtures("few_estimators")
def test_the_command_prints_a_row_and_differences(workspace, make_results, file):
    options = ("--workspace", workspace.root, "score", f"{file}:Absolute", "--results", make_results())
    done = typed(*options)
    assert done.returncode == 0, done.stderr
    assert "breaks the contract" in done.stdout  # it says exact_on_source, as NoShift does, and is not
    assert "Synthetic shifts (3): MAE" in done.stdout


def test_the_command_compares_with_all_of_ours_and_needs_no_torch(workspace, make_results, file):
    options = ("--workspace", workspace.root, "score", f"{file}:Shy", "tiny", "--json", "--no-check")
    command = [sys.executable, "-c", COMMAND, *map(str, (*options, "--results", make_results()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["figures"]["synthetic"]["rows"] == 36
    assert (answer["schema"], answer["units"][:14]) == (2, "shares: 1 is 1")
    assert 0 < answer["figures"]["synthetic"]["mae"] < 1
    assert answer["figures"]["synthetic"]["nominal"] == 0.95
    assert all(-1 < row["difference"] < 1 for row in answer["differences"])
    assert {row["rival"] for row in answer["differences"]} >= {"NoShift", "COT", "NuclearNorm"}


def test_an_installed_package_is_told_where_results_are(tmp_path):
    outside = Workspace(EMBEDDED, tmp_path)
    for ask in (default_suite, stored_suites):
        with pytest.raises(InvalidInputError, match=r"are in the repository.*clone it.*--workspace"):
            ask(outside, tmp_path)
