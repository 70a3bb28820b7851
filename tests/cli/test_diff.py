"""`shiftcast diff`: two states of results as a user has them: folders and git revisions."""

import json
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app


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
