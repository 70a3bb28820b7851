"""What the README and the documentation tell people to type works, as far as it is cheap to try."""

import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO

import click
import numpy as np
import pytest
import typer

from shiftcast.cli.app import app
from shiftcast.estimators import Estimator
from shiftcast.testing import check_estimator, make_predictions
from support import REPOSITORY
from support.markdown import blocks, commands, pages

README = REPOSITORY / "README.md"


def names_of_a_user():
    """Return the arrays that the examples take as given."""
    source, target = make_predictions(300, seed=1, members=6), make_predictions(200, seed=2, shift=1.0)
    return {
        "val_logits": source.logits,
        "val_labels": source.labels,
        "prod_logits": target.logits,
        "members": source.reference,
    }


def run(code, names, page):
    exec(compile(code, str(page), "exec"), names)  # noqa: S102  our pages


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = names_of_a_user()
    for block in blocks(README, "python"):
        run(block, names, README)
    assert sorted(np.load("val.npz").files) == ["labels", "logits"]
    assert isinstance(names["Pessimist"](), Estimator)
    check_estimator(names["Pessimist"]())


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= 1000


def test_the_python_of_estimate_my_model_runs(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    page = REPOSITORY / "docs" / "estimate.md"
    batch = [(torch.rand(64, 3, 4, 4), torch.arange(64) % 3)]
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))
    names = {"model": model, "validation_loader": batch, "production_loader": batch}
    torch_block, *others = blocks(page, "python")
    run(torch_block, names, page)
    assert np.load("val.npz")["logits"].shape == (64, 3)
    names = names_of_a_user()
    with redirect_stdout(StringIO()) as printed:
        for block in others:
            run(block, names, page)
    assert printed.getvalue().count("Estimate(accuracy=") == 2
    assert np.shape(names["scores"]) == (300,)


def test_the_python_of_the_page_on_torch_models_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    page, names = REPOSITORY / "docs" / "collect.md", {}
    with redirect_stdout(StringIO()) as printed:
        for block in blocks(page, "python"):
            run(block, names, page)
    assert "Estimate(accuracy=" in printed.getvalue()
    assert np.load("ensemble.npz")["source"].shape == (1, 500, 10)
    assert len(np.load("val.corrupted.npz").files) == 13


def test_the_estimator_of_the_documentation_keeps_the_contract(tmp_path, monkeypatch):
    page = REPOSITORY / "docs" / "write-an-estimator.md"
    definition, check = blocks(page, "python")
    (tmp_path / "mine.py").write_text(definition)
    monkeypatch.syspath_prepend(str(tmp_path))
    run(check, {}, page)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_exist_with_their_options(page):
    for arguments in commands(page, "shiftcast"):
        if "…" in arguments or "--help" in arguments or arguments[0].endswith("-completion"):
            continue
        parse(arguments)


def parse(arguments):
    """Parse a command line as click does, and run nothing; files need not exist."""
    command, context = typer.main.get_command(app), None
    while isinstance(command, click.Group):
        options = [arguments.pop(0), arguments.pop(0)] if arguments[0] == "--workspace" else []
        context = command.make_context("shiftcast", [*options, arguments[0]], parent=context)
        command = command.commands[arguments.pop(0)]
    try:
        command.make_context(command.name, arguments, parent=context)
    except click.BadParameter as error:
        if isinstance(error, click.MissingParameter) or "does not exist" not in str(error):
            raise


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_make_targets_exist(page):
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = {
        name for line in re.findall(r"^([a-z ]+):", makefile, flags=re.MULTILINE) for name in line.split()
    }
    for arguments in commands(page, "make"):
        assert {word for word in arguments if "=" not in word} <= targets


@pytest.mark.slow
def test_quoted_outputs_and_the_reference_of_commands_are_current():
    script = REPOSITORY / "docs" / "scripts" / "generate.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
