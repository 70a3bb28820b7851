"""`shiftcast submit`, `validate` and `ledger`, as people type them."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.runs.folder import RunFolder
from support.command_line import typed

WITHOUT_TORCH = (
    "import sys\nfrom shiftcast.cli import main\n"
    "try: main()\n"
    "finally: assert not {'torch', 'timm'} & set(sys.modules), 'torch was imported'"
)


@pytest.fixture
def run(zoo):
    """Run a command in a process of its own, which must not load torch."""

    def call(*arguments):
        command = [sys.executable, "-c", WITHOUT_TORCH, "--workspace", zoo.root, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr or "torch was imported" not in done.stderr
        return done.returncode, " ".join(done.stdout.split()), done.stderr

    return call


@pytest.fixture
def inside(zoo):
    """Run a command in this process."""

    def call(*arguments):
        done = typed("--workspace", zoo.root, *arguments)
        return done.returncode, " ".join(done.stdout.split()), done.stderr

    return call


@pytest.mark.usefixtures("few_estimators", "no_pictures")
def test_from_a_file_to_a_row_and_a_level(zoo, run, inside, tmp_path):
    np.save(tmp_path / "test.npy", zoo.logits(0)["zoo-test"])
    np.save(tmp_path / "street.npy", zoo.logits(0)["zoo-street"])
    given = (
        "--predictions",
        f"zoo-test={tmp_path}/test.npy",
        "--predictions",
        f"zoo-street={tmp_path}/street.npy",
    )
    code, said, _ = run("submit", "zoo", *given, "--architecture", "theirs", "--family", "cnn")
    place = zoo.results / "zoo" / "theirs" / "self-reported" / "seed-0"
    assert code == 0
    assert f"wrote {place}" in said
    assert f"check it as a reviewer would: shiftcast validate {place}" in said
    code, said, _ = run("validate", place)
    assert code == 0
    assert "1 run in" in said
    assert "accuracies recomputed from outputs and data: zoo-street, zoo-test" in said
    assert "model theirs" in said
    assert said.endswith("valid")
    code, said, _ = run("ledger", place, "--level", "recomputed")
    assert (code, f"wrote {zoo.results / 'ledger.toml'}: 1 run recomputed" in said) == (0, True)
    assert "recomputed: 1" in inside("validate", zoo.results)[1]
    assert "1 run recomputed" in (inside("leaderboard"), (zoo.root / "results/zoo/board.md").read_text())[1]
    (place / "run.json").write_text((place / "run.json").read_text().replace("cnn", "vit"))
    code, said, _ = inside("validate", zoo.results)
    assert code == 0
    assert "has changed since the ledger vouched for it: self-reported now" in said


def test_problems_end_in_exit_code_1_and_usage_in_2(zoo, inside, tmp_path):
    place = zoo.submit("net", zoo.classes(0)).path
    code, said, _ = inside("validate", place)
    assert code == 0
    assert (
        "class indices alone (hard labels): zoo/net/self-reported/seed-0; skipped for want of logits: AC,"
        in said
    )
    (place / "extra.py").write_text("raise SystemExit(7)")
    code, said, error = inside("validate", place)
    assert code == 1
    assert "problem 1: " in said
    assert "to do: remove it" in said
    assert "1 problem; nothing was changed" in error
    code, _, error = inside("ledger", place, "--level", "reproduced")
    assert (code, "the ledger was not changed" in error) == (1, True)
    assert not (zoo.results / "ledger.toml").exists()
    assert inside("validate", tmp_path / "nowhere")[0] == 2
    assert inside("validate", place, "--against", "nothing")[0] == 2
    assert inside("ledger", place, "--level", "best")[0] == 2
    assert inside("submit", "zoo", "--architecture", "x")[0] == 2


def test_a_suite_must_be_named(zoo, inside, tmp_path):
    zoo.submit("net", zoo.logits(0))
    np.savez(tmp_path / "mine.npz", **zoo.logits(1))
    before = sorted(zoo.results.rglob("*"))
    code, _, error = inside("submit", "--predictions", tmp_path / "mine.npz", "--architecture", "mine")
    assert code == 2
    assert "shiftcast submit SUITE --predictions" in error
    assert "zoo" in error
    assert "shiftcast list suites" in error
    assert sorted(zoo.results.rglob("*")) == before


def test_what_comes_next_is_said_and_a_new_results_folder(zoo, inside, tmp_path):
    np.savez(tmp_path / "mine.npz", **zoo.logits(1))
    given = ("submit", "zoo", "--predictions", tmp_path / "mine.npz", "--architecture", "mine")
    zoo.results.mkdir(exist_ok=True)
    code, said, _ = inside(*given)
    assert code == 0
    assert "commit this folder alone: maintainers renew the board. To look at it locally" in said
    assert "new results folder" not in said
    code, said, _ = inside(*given, "--results", tmp_path / "typo")
    assert code == 0
    assert f"made a new results folder, as there was none: {tmp_path / 'typo'}" in said
    assert "commit this folder" not in said
    assert "new results folder" not in inside(*given, "--results", tmp_path / "typo", "--force")[1]


def test_a_family_is_spelt_as_the_cards_spell_it(workspace, make_results, tmp_path):
    results = make_results()
    _, sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read()
    np.savez(tmp_path / "mine.npz", **{name: one.logits for name, one in sets.items()})
    family = workspace.architecture("test_vit").family
    given = ["submit", "tiny", "--predictions", str(tmp_path / "mine.npz"), "--architecture", "mine"]

    def call(name, *more):
        command = ["--workspace", str(workspace.root), *given, "--family", name, *more]
        done = CliRunner().invoke(app, command)
        assert done.exception is None
        place = RunFolder(results / "tiny" / "mine" / "self-reported" / "seed-0")
        return done.output, place.read_reported()[0].family

    said, stored = call(family.upper())
    assert f"family {family.upper()!r} is taken for {family!r}" in said
    assert stored == family
    assert "architecture card," not in said
    said, stored = call(family.replace("_", "-"), "--force")
    assert "is on no architecture card" in said
    assert f"did you mean {family}" in said
    assert stored == family.replace("_", "-")


def test_old_and_new_stand_side_by_side(zoo, inside, tmp_path):
    zoo.submit("net-0", zoo.logits(0))
    (tmp_path / "base").mkdir()
    subprocess.run(["cp", "-r", zoo.results, tmp_path / "base"], check=True)
    zoo.submit("net-0", zoo.logits(1, 3.0), seed=1)
    zoo.submit("net-1", zoo.logits(2, 2.0))
    code, said, _ = inside("validate", zoo.results, "--against", tmp_path / "base" / "results")
    assert code == 0
    assert "zoo/net-0/self-reported column old new" in said
    assert "runs 1/1 2/2" in said
    assert "zoo/net-1/self-reported column old new" in said
    assert "model – net-1" in said
    assert said.endswith("valid, and no earlier run is altered")


def test_nothing_can_be_vouched_for_without_the_data(zoo, inside, monkeypatch, tmp_path):
    place = zoo.submit("net", zoo.logits(0)).path
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "none"))
    code, _, error = inside("ledger", place, "--level", "recomputed")
    assert code == 1
    assert "not recomputed: zoo-test, zoo-street, zoo-night, as their data" in error


def test_nothing_is_trained_in_a_logits_only_suite(zoo, inside):
    for command in (("run", "zoo", "--device", "cpu"), ("tune", "zoo")):
        done = typed("--workspace", zoo.root, *command)
        assert done.returncode == 2
        assert "suite 'zoo' is a logits-only suite: nothing is trained in it" in done.stderr
        assert "Traceback" not in done.stderr
    code, said, _ = inside("list", "suites")
    assert (code, "contributed" in said) == (0, True)
