"""`shiftcast bench train`, as people type it."""

import json
import statistics
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.cli.bench import speeds_table
from shiftcast.errors import InvalidInputError, StoppedError, UnknownNameError
from shiftcast.training import speed
from shiftcast.training.speed import ARMS, Measurement

QUICK = ("--recipe", "tiny", "--images", "64", "--seconds", "0.05", "--rounds", "2", "--workers", "0")


@pytest.fixture
def run(workspace):
    def call(*arguments):
        done = CliRunner().invoke(
            app, ["--workspace", str(workspace.root), "bench", "train", *map(str, arguments)]
        )
        if done.exception is not None:
            raise done.exception
        return done.output

    return call


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_table_and_the_file_say_the_same(run, tmp_path, threads):
    file = tmp_path / "speed.json"
    said = run("test_resnet", *QUICK, "--batch-size", "16", "--threads", "1", "--json", file)
    assert "test_resnet: 373,658 parameters, float32, recipe tiny, batches of 16; medians of 2" in said
    rows = {line.split()[0]: line for line in said.splitlines() if line.endswith(" x")}
    assert list(rows) == list(ARMS)
    written = json.loads(file.read_text())
    [found] = written["architectures"]
    for arm in ARMS:
        assert f" {statistics.median(found['speeds'][arm]):,.0f} " in rows[arm]
    assert written["settings"] == {"workers": 0, "seconds": 0.05, "rounds": 2, "images": 64}
    assert written["machine"]["threads"] == torch.get_num_threads() == 1
    assert (found["batch_size"], found["parameters"]) == (16, 373658)


def test_ratios_are_medians_of_rounds():
    speeds = dict(zip(ARMS, ([100.0, 80.0], [200.0, 240.0], [250.0, 250.0]), strict=True))
    said = speeds_table(Measurement(12345, "float32", speeds)).splitlines()
    [plain] = [line for line in said if line.startswith("plain  ")]
    assert plain.split()[1:3] == ["90", "80..100"]
    assert plain.endswith("2.50 x")
    [limit] = [line for line in said if line.startswith("limit")]
    assert limit.endswith("0.88 x")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("test_resnett", *QUICK), UnknownNameError, "unknown architecture 'test_resnett'; did you mean"),
        (("test_resnet", "--recipe", "tinny"), UnknownNameError, "unknown recipe 'tinny'; did you mean tiny"),
        (("test_resnet", *QUICK, "--batch-size", "65"), InvalidInputError, "batch-size: expected 2 to 64"),
    ],
)
def test_slips_are_named(run, arguments, error, message):
    with pytest.raises(error, match=message):
        run(*arguments)


def test_what_was_measured_stands_when_stopped(run, tmp_path, monkeypatch):
    def measure(card, *_):
        if card.name == "test_vit":
            raise KeyboardInterrupt
        return Measurement(12345, "float32", {arm: [100.0, 80.0] for arm in ARMS})

    monkeypatch.setattr(speed, "measure_training", measure)
    with pytest.raises(StoppedError, match=r"stopped; .* and .*speed\.json holds them"):
        run("test_resnet", "test_vit", *QUICK, "--json", tmp_path / "speed.json")
    written = json.loads((tmp_path / "speed.json").read_text())
    assert [one["architecture"] for one in written["architectures"]] == ["test_resnet"]


def shiftcast(before, *arguments):
    code = f"import sys\n{before}\nfrom shiftcast.cli import main\ntry:\n    main()\nfinally:\n"
    code += "    assert sys.modules.get('torch') is None"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_help_needs_no_torch():
    done = shiftcast("", "bench", "train", "--help")
    assert done.returncode == 0, done.stderr
    assert "--batch-size" in done.stdout


def test_without_torch_the_extra_is_named():
    done = shiftcast("sys.modules['torch'] = None", "bench", "train", "test_resnet")
    assert done.returncode == 2
    assert "pip install 'shiftcast[train]'" in done.stderr
