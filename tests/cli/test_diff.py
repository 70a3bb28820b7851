"""`shiftcast diff`: two states of results as a user has them: folders and git revisions."""

import json
import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from shiftcast.board.changes import FEW
from shiftcast.cli.app import app

pytestmark = pytest.mark.usefixtures("few_estimators")


def run(workspace, *arguments):
    return CliRunner().invoke(app, ["--workspace", str(workspace.root), "diff", *map(str, arguments)])


@pytest.fixture
def states(workspace, make_results, tmp_path):
    """A workspace whose results lack a run, and a copy of them that has all."""
    results = make_results()
    other = tmp_path / "others"
    shutil.copytree(results, other)
    shutil.rmtree(results / "tiny/test_vit/tiny/seed-0")
    return results, other


def test_the_same_folder_has_not_moved(workspace, states):
    _, other = states
    done = run(workspace, other, other, "--exit-code")
    assert (done.exit_code, done.stdout) == (0, "Nothing moved in tiny.\n")


def test_rows_that_moved_are_shown(workspace, states):
    results, other = states
    done = run(workspace, results, other, "--exit-code")
    assert done.exit_code == 1
    assert "tiny: models in distribution (%)" in done.stdout
    assert "rows moved" in done.stdout
    found = json.loads(run(workspace, results, other, "--json").stdout)
    assert {"natural shifts", "synthetic shifts"} & {row["board"] for row in found["rows"]}
    assert {row["suite"] for row in found["rows"]} == {"tiny"}
    assert found["runs"] == {"tiny": {"added": ["test_vit/tiny/seed-0"], "removed": []}}


def test_what_is_being_scored_is_said(workspace, states):
    results, other = states
    said = run(workspace, results, other).stderr.splitlines()
    assert said == [f"Scoring tiny as it is in the {age} state (suite 1 of 1) …" for age in ("old", "new")]
    assert run(workspace, other, other).stderr == ""


def test_the_cause_is_said_first_and_what_nothing_can_be_told_of_in_one_line(workspace, states):
    results, other = states
    lines = run(workspace, results, other).stdout.splitlines()
    assert lines[0] == "tiny: runs added: test_vit/tiny/seed-0"
    found = json.loads(run(workspace, results, other, "--json").stdout)
    few = [row for row in found["rows"] if row["verdict"] == FEW]
    (folded,) = [line for line in lines if line.startswith(f"tiny: {len(few)} rows of estimators moved")]
    largest = max(few, key=lambda row: abs(row["change"]))
    assert f"by at most {abs(largest['change']):.2f} pp ({largest['row']}, {largest['board']})" in folded
    assert sum(FEW in line for line in lines) == 2, "the line, and the last one's count"
    back = run(workspace, other, results).stdout.splitlines()
    assert back[0] == "tiny: runs removed: test_vit/tiny/seed-0"


def test_of_many_runs_the_first_are_named(workspace, states):
    results, other = states
    shutil.rmtree(results / "tiny/test_vit")
    for name in ("test_convnext", "test_resnet"):
        shutil.rmtree(results / "tiny" / name, ignore_errors=True)
    first = run(workspace, results, other).stdout.splitlines()[0]
    assert re.fullmatch(r"tiny: runs added: (\S+, ){2}\S+ and \d+ more", first)


@pytest.mark.parametrize("above", [0, 1])
def test_a_revision_is_compared_with_the_workspace_as_it_is(workspace, states, above):
    """The repository is the workspace, or a folder above it."""
    results, other = states
    top = [workspace.root, workspace.root.parent][above]

    def git(*arguments):
        command = ["git", "-C", str(top), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "-q")
    git("add", str(workspace.root))
    git("commit", "-qm", "Begin")
    assert "Nothing moved in tiny." in run(workspace, "HEAD").stdout
    shutil.copytree(other, results, dirs_exist_ok=True)
    assert "rows moved" in run(workspace, "HEAD").stdout
    assert "rows moved" in run(workspace, "HEAD", other).stdout


def test_what_is_neither_is_named(workspace, states, tmp_path):
    done = run(workspace, "no-such-revision")
    assert done.exit_code
    assert "expected a folder of results, a workspace, or a git revision" in str(done.exception)
    (tmp_path / "empty").mkdir()
    assert "holds no results" in str(run(workspace, tmp_path / "empty").exception)
    assert "neither state holds results" in str(run(workspace, *states, "--suite", "other").exception)
