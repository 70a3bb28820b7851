import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from shiftcast.cards.suite import ReferenceEnsemble, RunKey
from shiftcast.cli import watch
from shiftcast.cli.app import app
from shiftcast.cli.report import report
from shiftcast.cli.terminal import in_lines
from shiftcast.cli.watch import Watcher
from shiftcast.data.loading import load_dataset
from shiftcast.engines.budget import Budget
from shiftcast.errors import ShiftcastError
from shiftcast.runs.folder import RunFolder
from shiftcast.training.pace import Progress
from support.command_line import typed


@pytest.fixture
def files(tmp_path):
    random = np.random.RandomState(0)
    labels = random.randint(4, size=300)
    logits = random.normal(size=(300, 4))
    logits[np.arange(300), labels] += 2
    np.savez(tmp_path / "val.npz", logits=logits, labels=labels)
    np.savez(tmp_path / "prod.npz", logits=random.normal(size=(200, 4)))
    return tmp_path


def test_help_names_every_command():
    text = CliRunner().invoke(app, ["--help"]).output
    commands = ("run", "tune", "bench", "predict", "submit", "leaderboard", "score", "difficulty", "estimate")
    for command in (*commands, "page", "diff", "list", "data", "blind", "validate", "ledger"):
        assert command in text


def test_version():
    import shiftcast

    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"shiftcast {shiftcast.__version__}"


@pytest.mark.parametrize(
    "what", ["architectures", "datasets", "recipes", "suites", "estimators", "difficulty"]
)
def test_everything_can_be_listed(what):
    result = CliRunner().invoke(app, ["list", what])
    assert result.exit_code == 0
    expected = {
        "architectures": "test_resnet",
        "datasets": "cinic10-imagenet",
        "recipes": "smoke",
        "suites": "quickstart",
        "estimators": "ConfusionPartition",
        "difficulty": "vote_entropy",
    }
    assert expected[what] in result.output


@pytest.mark.parametrize(
    ("what", "heading"),
    [
        ("architectures", "family"),
        ("datasets", "title"),
        ("recipes", "title"),
        ("suites", "title"),
        ("estimators", "needs"),
        ("difficulty", "formula"),
    ],
)
def test_lists_fit_a_terminal_of_80_columns_and_are_whole_without_one(what, heading, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = CliRunner().invoke(app, ["list", what]).output.splitlines()
    monkeypatch.setenv("COLUMNS", "80")
    fitting = CliRunner().invoke(app, ["list", what]).output.splitlines()
    assert max(map(len, fitting)) <= 80
    assert heading in fitting[0]
    names = [line.split()[0] for line in fitting if line[:1].strip() and not line.startswith("not shown")]
    assert names == [line.split()[0] for line in whole]
    missing = [name for name in re.split(r"  +", whole[0].strip()) if name not in fitting[0]]
    assert missing == (fitting[-1].split(": ")[1].split(", ") if missing else [])


def test_recipes_are_listed_with_their_resolutions_and_signals():
    rows = {line.split()[0]: line for line in typed("list", "recipes").stdout.splitlines()[2:]}
    assert re.search(r"muon +\S+ +20, 24, 28, 32 +yes ", rows["strong-16"])
    assert " yes " not in rows["smoke"]


@pytest.mark.usefixtures("few_estimators")
def test_skipped_estimators_are_told_once_for_each_reason(workspace, make_results, capsys):
    suite = workspace.suite("tiny").model_copy(update={"reference": ReferenceEnsemble()})
    summary = SimpleNamespace(edition="", failed={}, done=[], kept=[], stopped={})
    report(workspace, suite, make_results(), summary)
    told = re.findall(r"^(\d+) estimators? skipped, (.*?): ", capsys.readouterr().out, re.MULTILINE)
    reasons = [reason for _, reason in told]
    assert len(reasons) == len(set(reasons))
    assert int(told[reasons.index("the suite has no reference ensemble")][0]) > 1


def test_estimate_prints_a_table_or_json(files):
    table = CliRunner().invoke(
        app, ["estimate", "--source", str(files / "val.npz"), "--target", str(files / "prod.npz")]
    )
    assert table.exit_code == 0
    assert "ATC-MC" in table.output
    assert "sampling" in table.output
    found = typed("estimate", "--source", files / "val.npz", "--target", files / "prod.npz", "--json")
    answer = json.loads(found.stdout)
    assert answer["target"] == {"name": "prod.npz", "images": 200}
    assert {row["estimator"] for row in answer["estimates"]} >= {"NoShift", "AC", "DoC"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quikstart"], "unknown suite 'quikstart'; did you mean quickstart"),
        (["run", "quickstart", "--address", "auto"], "--address names a Ray cluster; it needs --engine ray"),
        (["run", "quickstart", "--engine", "ray", "--address", " "], "--address is empty; leave it out"),
        (["--workspace", "/nowhere", "list", "suites"], "/nowhere is not a workspace"),
        (
            ["run", "quickstart", "--only", "resnet_test"],
            "unknown architecture of suite quickstart, 'resnet_",
        ),
        (["estimate", "--source", "no.npz", "--target", "no.npz"], "no.npz: there is no such file"),
    ],
)
def test_a_users_mistake_ends_in_one_line_and_exit_code_2(arguments, message):
    result = typed(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_data_says_which_files_where_and_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "nothing"))
    result = typed("run", "cifar10-smoke", "--results", tmp_path / "results")
    assert result.returncode == 2
    for part in ("cifar10-train", "data_batch_1.bin", str(tmp_path / "nothing"), "cifar-10-binary.tar.gz"):
        assert part in result.stderr
    assert not (tmp_path / "results").exists()


def test_an_unwritable_results_folder_is_refused_before_any_training(tmp_path):
    (tmp_path / "file").write_text("")
    for results in (tmp_path / "file", tmp_path / "file" / "below"):
        done = typed("run", "quickstart", "--results", results)
        assert done.returncode == 2
        assert "file" in done.stderr
        assert "%" not in done.stderr


def test_help_shows_defaults():
    assert "[default: the workspace's]" in " ".join(typed("run", "--help").stdout.split())


@pytest.mark.usefixtures("few_estimators", "no_pictures")
def test_leaderboard_is_written_checked_and_found_to_drift(workspace, make_results):
    make_results()
    base = ["--workspace", workspace.root, "leaderboard"]
    assert typed(*base).returncode == 0
    board = workspace.root / "leaderboard.md"
    assert "ConfusionPartition" in board.read_text()
    assert typed(*base, "--check").returncode == 0
    board.write_text(board.read_text().replace("ConfusionPartition", "Guess", 1))
    drifted = typed(*base, "--check")
    assert drifted.returncode == 1
    assert "Guess" in drifted.stderr
    assert "Guess" in board.read_text()


def test_a_damaged_run_ends_in_exit_code_2_and_nothing_is_written(workspace, make_results):
    results = make_results()
    file = results / "tiny" / "test_vit" / "tiny" / "seed-0" / "predictions.safetensors"
    file.write_bytes(b"nonsense")
    done = typed("--workspace", workspace.root, "leaderboard")
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert not (workspace.root / "leaderboard.md").exists()


@pytest.mark.usefixtures("few_estimators", "no_pictures")
def test_leaderboard_writes_where_it_is_told_to(workspace, make_results, tmp_path):
    make_results()
    out = tmp_path / "elsewhere"
    assert typed("--workspace", workspace.root, "leaderboard", "--out", out).returncode == 0
    assert (out / "leaderboard.md").exists()
    assert not (workspace.root / "leaderboard.md").exists()
    assert not Path(workspace.root / "results" / "tiny" / "figures").exists()


def test_difficulty_writes_the_score_of_every_image(workspace, make_results, tmp_path):
    results = make_results()
    base = ["--workspace", workspace.root, "difficulty", "tiny"]
    done = typed(*base, "--kind", "gini", "--out", tmp_path / "scores.csv")
    assert done.returncode == 0, done.stderr
    assert "digits-test (in distribution)" in done.stdout
    table = pd.read_csv(tmp_path / "scores.csv")
    assert set(table["set"]) == {"digits-test", *(t.id for t in workspace.suite("tiny").unfolded_targets())}
    assert list(table.columns[:3]) == ["set", "image", "gini"]
    assert table["gini"].between(0, 0.9).all()
    assert table["entropy"].between(0, 1).all()
    (results / "tiny" / "test_byobnet" / "tiny" / "seed-100" / "run.json").unlink()
    lacking = typed(*base)
    assert lacking.returncode == 2
    assert "test_byobnet (incomplete: run.json is missing)" in lacking.stderr
    assert "finish it with: shiftcast run tiny" in lacking.stderr


def test_difficulty_names_an_unknown_score_and_a_missing_folder(workspace, make_results, tmp_path):
    make_results()
    base = ["--workspace", workspace.root, "difficulty", "tiny", "--out", tmp_path / "scores.csv"]
    wrong = typed(*base, "--kind", "entropie")
    assert wrong.returncode == 2
    assert "entropy" in wrong.stderr
    absent = typed(*base, "--human", tmp_path / "nowhere")
    assert absent.returncode == 2
    assert "cifar10h-probs.npy: is missing" in absent.stderr


def test_tune_tries_rates_on_training_images_alone(workspace, monkeypatch):
    read = []

    def load(card, folder):
        read.append(card.name)
        return load_dataset(card, folder)

    monkeypatch.setattr("shiftcast.data.loading.load_dataset", load)
    arguments = [
        "tune",
        "tiny",
        "--only",
        "test_resnet",
        "--images",
        "60",
        "--held-out",
        "40",
        "--epochs",
        "1",
    ]
    arguments += ["--rate", "0.001", "--rate", "0.01", "--device", "cpu"]
    done = CliRunner().invoke(app, ["--workspace", str(workspace.root), *arguments])
    assert done.exit_code == 0, done.output
    assert read == ["digits-train"]
    table = pd.read_csv(workspace.root / "outputs" / "tiny" / "tuning.csv")
    assert table["learning_rate"].tolist() == [0.001, 0.01]
    assert set(table["architecture"]) == {"test_resnet"}
    assert table["accuracy"].between(0, 1).all()
    arguments[arguments.index("0.01")] = "0.03"
    CliRunner().invoke(app, ["--workspace", str(workspace.root), *arguments])
    table = pd.read_csv(workspace.root / "outputs" / "tiny" / "tuning.csv")
    assert sorted(table["learning_rate"]) == [0.001, 0.01, 0.03]  # earlier trials stay


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "0"], "--rate 0.0: expected a finite learning rate above 0"),
        (["--rate", "0.1", "--rate", "nan"], "--rate nan: expected a finite"),
        (["--rate", "inf"], "--rate inf: expected a finite"),
        (["--held-out", "100000"], "held-out: expected 1 to"),
        (["--held-out", "10", "--images", "100000"], "images: expected 1 to"),
        (["--only", "test_resnett"], "test_resnet"),
    ],
)
def test_tune_names_a_users_mistake(workspace, arguments, message):
    with pytest.raises(ShiftcastError, match=message):
        CliRunner().invoke(
            app, ["--workspace", str(workspace.root), "tune", "tiny", *arguments], catch_exceptions=False
        )


@pytest.mark.parametrize(("seconds", "cost"), [(61.52, "61.5 s  975 images/s"), (0.0, "was trained before")])
def test_a_line_tells_what_a_run_took_or_that_nothing_was_trained(make_results, seconds, cost):
    record = RunFolder(make_results() / "tiny" / "test_vit" / "tiny" / "seed-0").read_record()
    measured = record.measured.model_copy(update={"train_seconds": seconds, "images_per_second": 975.0})
    out = io.StringIO()
    with Watcher(Console(file=out, width=120)) as watcher:
        watcher.finished(record.key, record.model_copy(update={"measured": measured}))
    assert re.search(rf"^test_vit/tiny/seed-0 .* % in distribution +{cost}$", out.getvalue(), re.MULTILINE)


def training(**changes):
    values = {"epoch": 12, "epochs": 16, "step": 50, "steps": 100, "loss": 1.2345, "eta": 4980.0}
    return Progress(**{**values, "images_per_second": 1234.5, **changes})


@pytest.mark.parametrize("architecture", ["x", "edgenext_xx_small", "a" * 60])
def test_without_a_terminal_a_training_is_a_line_now_and_then(monkeypatch, architecture):
    key = RunKey(architecture=architecture, recipe="cifar10-strong", seed=100)
    out = io.StringIO()
    with Watcher(Console(file=out, width=80)) as watcher:
        watcher.plan(3, 1)
        watcher.started(key, 16)
        watcher.progress(key, training())
        assert "epoch" not in out.getvalue()
        monkeypatch.setattr(watch, "LINE_SECONDS", 0.0)
        watcher.progress(key, training())
        watcher.progress(key, training(step=100))
        watcher.left(key, complete=False)
        watcher.progress(key, training())
    lines = [line for line in out.getvalue().splitlines() if "seed-100" in line]
    assert len(lines) == 2
    assert lines[0].endswith("/seed-100  epoch 12/16  loss 1.23  1,234 images/s  83 min left")
    assert lines[1].endswith("/seed-100  trained; is being evaluated")
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_two_trainings_fit_into_a_terminal_of_eighty_columns():
    out = io.StringIO()
    with Watcher(Console(file=out, width=80, force_terminal=True, color_system=None)) as watcher:
        watcher.plan(30, 10)
        for seed in (0, 1):
            key = RunKey(architecture="edgenext_xx_small", recipe="cifar10-strong", seed=seed)
            watcher.started(key, 16)
            watcher.progress(key, training(epoch=seed + 1))
        watcher._bars.refresh()
    text = re.sub("\x1b[^A-Za-z]*[A-Za-z]", "", out.getvalue())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for shown in ("10/30", "/seed-0", "/seed-1", "1/16", "2/16", "1,234 images/s  83 min left"):
        assert shown in text


@pytest.mark.parametrize(
    ("seconds", "said"), [(99, "99 s left"), (101, "2 min left"), (5900, "98 min left"), (9000, "2.5 h left")]
)
def test_time_left_is_told_in_the_unit_that_suits_it(seconds, said):
    assert watch.time_left(seconds) == said


def test_what_a_time_budget_leaves_is_told(workspace, tmp_path, monkeypatch):
    command = ["--workspace", str(workspace.root), "run", "tiny", "--threads", "1", "--device", "cpu"]
    command += ["--results", str(tmp_path / "results"), "--time-budget"]
    with monkeypatch.context() as patch:
        asked = iter([True] * 2)
        patch.setattr(Budget, "allows", lambda *_: next(asked, False))
        done = CliRunner().invoke(app, [*command, "5"])
    assert done.exit_code == 0
    said = "these are left:\n  test_byobnet/tiny/seed-100: stopped after epoch 1 of 2\n  9 runs not begun\n"
    assert f"The time budget is over; 0 runs finished, and {said}The same command continues" in done.stdout
    for minutes in ("0", "-3", "nan"):
        with pytest.raises(ShiftcastError, match=r"--time-budget \S+: expected a finite number of minutes"):
            CliRunner().invoke(app, [*command, minutes], catch_exceptions=False)


def test_sentences_fit_the_terminal_and_are_whole_without_one(monkeypatch):
    text = "the outputs are in results/a-suite/a-very-long-name-of-a-model/self-reported/seed-0 and " * 3
    monkeypatch.delenv("COLUMNS", raising=False)
    assert in_lines(text) == text
    monkeypatch.setenv("COLUMNS", "80")
    lines = in_lines(text).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(text.split()) == "".join("".join(lines).split())
    assert in_lines(f"{text}\n{text}") == f"{text}\n{text}"
