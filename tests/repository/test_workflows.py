"""The workflows parse, and their commands are ones that exist and work."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from support import REPOSITORY

GITHUB = REPOSITORY / ".github"


def steps(name):
    """Return the shell commands of a workflow."""
    jobs = yaml.safe_load((GITHUB / "workflows" / name).read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: path.stem)
def test_files_parse(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_templates_ask_for_what_is_needed():
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        template = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(template)
        assert any(field.get("validations", {}).get("required") for field in template["body"])


def test_the_workflow_of_tests_calls_targets_that_exist():
    made = [command.split()[1:] for command in steps("tests.yml") if command.startswith("make ")]
    targets = [word for words in made for word in words if "=" not in word]
    assert {"setup", "lint", "types", "test", "docs"} <= set(targets)
    for target in targets:
        command = ["make", "--dry-run", target]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


def test_a_submission_is_validated_as_the_workflow_does(tmp_path, workspace, make_results):
    results = make_results()
    (tmp_path / "submitted").mkdir()
    shutil.copytree(results, tmp_path / "submitted" / "results")
    (tmp_path / "base").symlink_to(workspace.root)
    *_, command = steps("submission.yml")
    program = tmp_path / "bin" / "shiftcast"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from shiftcast.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SHIFTCAST_DATA": str(tmp_path / "data"),
    }

    def validate():
        return subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    valid = validate()
    assert valid.returncode == 0, valid.stdout + valid.stderr
    record = next((tmp_path / "submitted" / "results").rglob("run.json"))
    record.write_text(record.read_text().replace('"seed"', '"sed"', 1))
    assert validate().returncode == 1
