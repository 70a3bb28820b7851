"""What `shiftcast submit` says of a run that it makes, and which mistakes it names."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.errors import InvalidInputError, RunError, UnknownNameError
from shiftcast.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("few_estimators")

SHIFTCAST = [sys.executable, "-c", "from shiftcast.cli import main; main()"]


@pytest.fixture
def results(make_results):
    return make_results()


@pytest.fixture
def file(results, tmp_path):
    _, sets = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read()
    np.savez(tmp_path / "logits.npz", **{name: one.logits for name, one in sets.items()})
    return tmp_path / "logits.npz"


@pytest.fixture
def run(workspace):
    def call(*arguments):
        done = CliRunner().invoke(app, ["--workspace", str(workspace.root), *map(str, arguments)])
        if done.exception is not None:
            raise done.exception
        return done.output

    return call


def test_it_says_what_was_made_and_what_comes_next(run, results, file):
    record = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0").read_record()
    said = run("submit", "tiny", "--predictions", file, "--architecture", "theirs", "--note", "by hand")
    place = results / "tiny" / "theirs" / "self-reported" / "seed-0"
    assert f"wrote {place}" in said
    assert f"images and labels of 7 sets: as in the complete runs in {results / 'tiny'}" in said
    words = " ".join(said.split())
    for name, one in record.targets.items():
        assert f"{name} {one.n} {100 * one.accuracy:.2f}" in words
    assert "family 'unknown' is on no architecture card" in words
    assert said.endswith("renew the board with: shiftcast leaderboard\n")
    assert RunFolder(place).read_reported()[0].note == "by hand"
    again = run("submit", "tiny", "--predictions", file, "--architecture", "theirs", "--note", "by hand")
    assert "is there already, with the same content; nothing was written" in again
    with pytest.raises(InvalidInputError, match="differs in note"):
        run("submit", "tiny", "--predictions", file, "--architecture", "theirs")
    assert "wrote" in run("submit", "tiny", "--predictions", file, "--architecture", "theirs", "--force")


def test_options_reach_the_record_and_a_familys_name_is_not_questioned(run, workspace, results, file):
    family = workspace.architecture("test_vit").family
    options = ("--seed", 4, "--parameters", 99, "--family", family)
    said = run("submit", "tiny", "--predictions", file, "--architecture", "theirs", *options)
    assert "architecture card" not in said
    record, _ = RunFolder(results / "tiny" / "theirs" / "self-reported" / "seed-4").read_reported()
    assert (record.key.seed, record.parameters, record.family) == (4, 99, family)


def test_likely_mistakes_are_named(run, file):
    with np.load(file, allow_pickle=False) as archive:
        wrong = -archive["digits-test"]
    np.savez(file, **{"digits-test": wrong})
    said = " ".join(run("submit", "tiny", "--predictions", file, "--architecture", "theirs").split())
    assert "not in the file, though the suite requires them: digits-shifted/gaussian_noise-2," in said
    assert (
        "no better than chance in distribution: are the columns in the order of the suite's classes (0, 1,"
        in said
    )


def test_labels_may_come_from_the_datasets(run, workspace, file, tmp_path):
    other = tmp_path / "elsewhere"
    arguments = ("submit", "tiny", "--predictions", file, "--architecture", "theirs", "--results", other)
    said = run(*arguments)
    assert "read from the dataset, as no complete run holds it: digits-test, digits-shifted/" in said
    assert "as the complete runs" not in said
    assert f"shiftcast leaderboard --results {other} --out FOLDER" in said


def test_a_scratch_suites_report_is_renewed_by_running_it(run, workspace, file):
    path = workspace.root / "benchmark" / "suites" / "tiny.toml"
    path.write_text("scratch = true\n" + path.read_text())
    said = run("submit", "tiny", "--predictions", file, "--architecture", "theirs")
    assert "renew the report with: shiftcast run tiny" in said
    assert str(workspace.root / "outputs" / "tiny" / "results") in said.replace("\n", "")


def test_the_board_shows_it_and_damage_is_found(run, workspace, results, file):
    with np.load(file, allow_pickle=False) as archive:
        np.savez(file, **{name: archive[name] * np.float16(2) for name in archive.files})  # no copy of ours
    run("submit", "tiny", "--predictions", file, "--architecture", "theirs", "--note", "trained | elsewhere")
    run("leaderboard")
    page = (workspace.root / "results/tiny/board.md").read_text()
    assert r"trained \| elsewhere" in page[page.index("## Self-reported models") :]
    path = results / "tiny" / "theirs" / "self-reported" / "seed-0" / "predictions.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(RunError, match=r"self-reported/seed-0/predictions\.safetensors"):
        run("leaderboard", "--check")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("tinny", "--architecture", "theirs"), UnknownNameError, "unknown suite 'tinny'; did you mean tiny"),
        (("tiny", "--architecture", "../up"), InvalidInputError, "architecture: .*'../up'"),
        (("tiny", "--architecture", "x", "--note", "a\x1b[31m"), InvalidInputError, "note: .*printable"),
    ],
)
def test_mistakes_are_named(run, results, file, arguments, error, message):
    before = sorted(results.rglob("*"))
    with pytest.raises(error, match=message):
        run("submit", *arguments, "--predictions", file)
    assert sorted(results.rglob("*")) == before


def test_a_users_mistake_ends_in_one_line_and_without_torch(workspace, results, file):
    arguments = [
        "--workspace",
        workspace.root,
        "submit",
        "tiny",
        "--architecture",
        "x",
        "--predictions",
        "no.npz",
    ]
    done = subprocess.run([*SHIFTCAST, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("no.npz: there is no such file")
    assert "Traceback" not in done.stderr
    script = (
        "import sys\nfrom shiftcast.cli import main\n"
        f"sys.argv = ['shiftcast', *{[*map(str, arguments[:-1]), str(file)]!r}]\n"
        "try: main()\nexcept SystemExit: pass\nassert not {'torch', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "wrote" in done.stdout
