"""The wheel, in an environment of its own outside the repository, without torch."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from support import REPOSITORY


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """A new environment with the wheel and the base requirements alone, at their locked versions."""
    place = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    python = place / "venv" / "bin" / "python"
    pins = place / "pins.txt"
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pins.write_text("\n".join(line.rstrip("\\ ") for line in lines if line and line[0].isalnum()))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, wheel, "--constraint", pins], check=True, capture_output=True)
    return place


def command(bare, *arguments):
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SHIFTCAST_", "PYTHON"))
    }
    return subprocess.run(
        [bare / "venv" / "bin" / "shiftcast", *map(str, arguments)],
        cwd=bare,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_cards_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "shiftcast/_cards/architectures/test_resnet.toml" in names
    assert "shiftcast/_cards/benchmark/suites/quickstart.toml" in names
    assert "shiftcast/_cards/datasets/cinic10-imagenet.hashes" in names
    assert {f"shiftcast/site/assets/{name}" for name in ("charts.js", "page.css", "page.js")} <= set(names)
    assert "shiftcast/site/templates/page.html" in names
    assert all(name.startswith(("shiftcast/", "shiftcast-")) for name in names)


def test_lists_and_estimates_without_torch_or_checkout(bare):
    suites = command(bare, "list", "suites")
    assert suites.returncode == 0, suites.stderr
    assert "quickstart" in suites.stdout
    random = np.random.RandomState(0)
    np.savez(bare / "val.npz", logits=random.normal(size=(50, 3)), labels=random.randint(3, size=50))
    np.savez(bare / "prod.npz", logits=random.normal(size=(40, 3)))
    found = command(bare, "estimate", "--source", "val.npz", "--target", "prod.npz")
    assert found.returncode == 0, found.stderr
    assert "ATC-MC" in found.stdout


def test_training_without_torch_names_the_extra(bare):
    result = command(bare, "run", "quickstart")
    assert result.returncode == 2
    assert "pip install 'shiftcast[train]'" in result.stderr
    assert not (bare / "results").exists()


@pytest.fixture(scope="module")
def outside(bare, tmp_path_factory):
    """Somebody else's package beside ours, installed as any is."""
    out = tmp_path_factory.mktemp("outside")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=REPOSITORY / "tests" / "outside_package", check=True, capture_output=True)
    pip = [bare / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, next(out.glob("*.whl"))], check=True, capture_output=True)
    return bare


def test_an_outside_package_adds_an_estimator(outside):
    random = np.random.RandomState(0)
    np.savez(outside / "val.npz", logits=random.normal(size=(50, 3)), labels=random.randint(3, size=50))
    np.savez(outside / "prod.npz", logits=random.normal(size=(40, 3)))
    options = ("--source", "val.npz", "--target", "prod.npz", "--estimators", "HalfWay,NoShift", "--json")
    found = command(outside, "estimate", *options)
    assert found.returncode == 0, found.stderr
    rows = {row["estimator"]: row for row in json.loads(found.stdout)["estimates"]}
    assert rows["HalfWay"]["track"] == "T1"
    assert rows["HalfWay"]["accuracy"] != rows["NoShift"]["accuracy"]
    assert "HalfWay" in command(outside, "list", "estimators").stdout


def test_an_outside_package_checks_its_estimator(outside):
    check = (
        "from shiftcast.testing import check_estimator; from shiftcast_half_way import HalfWay; "
        "check_estimator(HalfWay())"
    )
    python = outside / "venv" / "bin" / "python"
    done = subprocess.run([python, "-c", check], cwd=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wrong = check.replace("HalfWay())", "HalfWay(share='x'))")
    failed = subprocess.run([python, "-c", wrong], cwd=outside, capture_output=True, text=True, check=False)
    assert "AssertionError: HalfWay: " in failed.stderr
