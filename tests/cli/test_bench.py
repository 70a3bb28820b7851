"""`shiftcast bench train`, as people type it."""

import json
import statistics
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.cli.bench import as_json, in_words
from shiftcast.errors import InvalidInputError, StoppedError, UnknownNameError
from shiftcast.training import speed as bench
from shiftcast.training.speed import ARMS, Machine, Measurement, Plan

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


def measurement(**changed):
    speeds = dict(zip(ARMS, ((100.0, 80.0), (150.0, 100.0), (200.0, 240.0), (250.0, 250.0)), strict=True))
    facts = {
        "architecture": "x",
        "recipe": "tiny",
        "batch_size": 32,
        "parameters": 12345,
        "precision": "float32",
        "precision_set_in": "architectures/x.toml",
        "parts": 1,
        "speeds": speeds,
        "precisions": {"float32": (250.0, 250.0), "bfloat16": (125.0, 100.0)},
    }
    return Measurement(**{**facts, **changed})


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_table_and_the_file_say_the_same(run, tmp_path, threads):
    file = tmp_path / "speed.json"
    said = run("test_resnet", *QUICK, "--batch-size", "16", "--threads", "1", "--json", file)
    assert "test_resnet: 373,658 parameters, float32, recipe tiny, batches of 16" in said
    written = json.loads(file.read_text())
    [found] = written["architectures"]
    for arm in ARMS:
        median = found["images_per_second"][arm]["median"]
        assert median == statistics.median(found["speeds"][arm])
        [row] = [line for line in said.splitlines() if line.startswith(f"{arm}  ")]
        assert f" {median:,.0f} " in row
    assert "Precision: the limit is" in said
    assert f"wrote {file}" in said
    assert written["settings"] == {"workers": 0, "seconds": 0.05, "rounds": 2, "images": 64}
    assert set(written["machine"]["packages"]) == {"torch", "timm", "torchvision"}
    assert written["machine"]["threads"] == torch.get_num_threads() == 1
    assert found["batch_size"] == 16


def test_ratios_are_medians_of_rounds():
    said = in_words(measurement(), Plan(2, 2.0, 2, 64)).splitlines()
    [plain] = [line for line in said if line.startswith("plain  ")]
    assert plain.split()[1:3] == ["90", "80..100"]
    assert plain.endswith("2.50 x (2.00..3.00)")
    [limit] = [line for line in said if line.startswith("limit")]
    assert limit.endswith("0.88 x (0.80..0.96)")


@pytest.mark.parametrize(
    ("precision", "speeds", "faster", "hint"),
    [
        ("float32", (250.0, 125.0), "float32", False),
        ("float32", (95.0, 100.0), "bfloat16", False),
        ("float32", (85.0, 100.0), "bfloat16", True),
        ("bfloat16", (250.0, 125.0), "float32", True),
    ],
)
def test_a_slow_precision_is_pointed_out(precision, speeds, faster, hint):
    precisions = {"float32": (speeds[0],) * 2, "bfloat16": (speeds[1],) * 2}
    said = in_words(measurement(precision=precision, precisions=precisions), Plan(2, 2.0, 2, 64))
    assert f": {faster} is faster" in said
    assert (f'Hint: precision = "{faster}" in architectures/x.toml' in said) == hint


def test_a_gpu_has_no_word_on_precision_and_halved_batches_are_told():
    found = measurement(precisions={}, parts=4)
    said = in_words(found, Plan(2, 2.0, 2, 64))
    assert "Precision" not in said
    assert "our step took 4 parts" in said
    [one] = as_json(Machine("cuda", "x", 1, 1, {}), Plan(2, 2.0, 2, 64), [found])["architectures"]
    assert one["precision_is"] is None


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
        return measurement(architecture=card.name)

    monkeypatch.setattr(bench, "measure_training", measure)
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
