"""Scoring, `submit`, `validate` and `ledger` refuse the same broken run, and say the same of it."""

import json
import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load, save

from shiftcast.cards.recipe import recipe_hash
from shiftcast.cli.validate import Trust, ledger
from shiftcast.engines.one_run import Again, what_is_needed
from shiftcast.errors import CheckFailedError, NewerSchemaError, RunError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.reading import inspect, problems_of, read_pool
from shiftcast.runs.signals import ImageSignals, Signals, classes_digest, encode_signals
from shiftcast.runs.soundness import expected_of
from shiftcast.submission import validate
from shiftcast.submission.create import import_run, make_claim
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace
from support.command_line import typed

SET = "digits-shifted/contrast-5"
LOGITS, RANKS = f"logits/{SET}", f"true_rank/{SET}"


@pytest.fixture(scope="module")
def outputs(tiny_template, tmp_path_factory):
    """A file of what somebody's model says on the test set."""
    file = tmp_path_factory.mktemp("outputs") / "theirs.npz"
    n = len(tiny_template.data.sets["digits-test"])
    np.savez(file, **{"digits-test": np.random.RandomState(0).normal(size=(n, 10))})
    return file


@pytest.fixture
def run(tiny_template, tmp_path, monkeypatch):
    """A sound run with signals, among the others of suite `tiny`, none of them the first."""
    monkeypatch.setenv("SHIFTCAST_DATA", str(tmp_path / "data"))
    shutil.copytree(tiny_template.runs, tmp_path / "results" / "tiny")
    folder = RunFolder(tmp_path / "results" / "tiny" / "test_vit" / "tiny" / "seed-1")
    record, sets = folder.read()
    data = signals_of({name: one.logits.argmax(axis=1) for name, one in sets.items()})
    folder.write(
        record.model_copy(update={"signals_sha256": sha256(data)}), folder.predictions_path.read_bytes(), data
    )
    return folder


def signals_of(predicted):
    sets = {}
    for name, classes in predicted.items():
        none = np.zeros(len(classes), np.uint8)
        sets[name] = ImageSignals(none, none, none.astype(np.float32), none.astype(np.float32))
    return encode_signals(
        Signals(("a",), sets, {name: classes_digest(one) for name, one in predicted.items()})
    )


def edit(run, **values):
    """Change keys of `run.json`; a name with two underscores is a key in a key."""
    content = json.loads(run.record_path.read_text())
    for name, value in values.items():
        *above, last = name.split("__")
        inner = content
        for key in above:
            inner = inner[key]
        inner[last] = value
    run.record_path.write_text(json.dumps(content))


def rewrite(run, change):
    """Change the tensors of the predictions, and state the file's hash."""
    tensors = load(run.predictions_path.read_bytes())
    change(tensors)
    data = save(tensors, metadata={"shiftcast": '{"schema":1}'})
    run.predictions_path.write_bytes(data)
    edit(run, predictions_sha256=sha256(data))


def replaced(run, **parts):
    """Replace the tensors `logits` and `ranks` of one set by what is made of all."""
    names = {"logits": LOGITS, "ranks": RANKS}
    rewrite(run, lambda tensors: tensors.update({names[part]: made(tensors) for part, made in parts.items()}))


def value(number):
    def logits(tensors):
        changed = tensors[LOGITS].copy()
        changed[3, 2] = number
        return changed

    return logits


def fingerprint(run):
    datasets = json.loads(run.record_path.read_text())["datasets"]
    edit(run, datasets=datasets | {SET: datasets[SET] | {"fingerprint": "0" * 64}})


def accuracy(run, number=0.5):
    targets = json.loads(run.record_path.read_text())["targets"]
    edit(run, targets=targets | {SET: targets[SET] | {"accuracy": number}})


def other_labels(run):
    replaced(run, ranks=lambda tensors: np.zeros_like(tensors[RANKS]))
    accuracy(run, 1.0)


def new_signals(run, data):
    run.signals_path.write_bytes(data)
    edit(run, signals_sha256=sha256(data))


def newer_signals(run):
    data = run.signals_path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["shiftcast"])
    new_signals(run, save(load(data), metadata={"shiftcast": json.dumps(about | {"schema": 2})}))


def signals_of_other_images(run):
    _, sets = run.read()
    new_signals(run, signals_of({name: one.logits.argmin(axis=1) for name, one in sets.items()}))


def promised(run):
    run.signals_path.unlink()
    edit(run, signals_sha256=None, recipe__signals=True)


def linked(run):
    elsewhere = run.path.parents[3] / "elsewhere"
    run.predictions_path.rename(elsewhere)
    run.predictions_path.symlink_to(elsewhere)


INCOMPLETE = {
    "missing run.json": (lambda run: run.record_path.unlink(), "incomplete: run.json is missing"),
    "missing predictions": (
        lambda run: run.predictions_path.unlink(),
        "incomplete: predictions.safetensors is missing",
    ),
    "missing signals": (lambda run: run.signals_path.unlink(), "incomplete: signals.safetensors is missing"),
    "promised signals": (promised, "incomplete: signals.safetensors is missing"),
}
BROKEN = {
    "malformed JSON": (lambda run: run.record_path.write_text("{"), "expected valid JSON"),
    "unknown key": (lambda run: edit(run, more=1), "more: expected no key of that name"),
    "another schema": (lambda run: edit(run, schema_version=0), "expected an object of schema_version 1"),
    "newer schema": (lambda run: edit(run, schema_version=2), "newer schema, 2; update shiftcast"),
    "negative seconds": (
        lambda run: edit(run, measured__train_seconds=-1.0),
        "measured.train_seconds: expected greater than or equal to 0, found -1.0",
    ),
    "another run": (
        lambda run: edit(run, key__seed=7),
        "expected tiny/test_vit/tiny/seed-1, where it stands, found tiny/test_vit/tiny/seed-7",
    ),
    "accuracy": (accuracy, "as recomputed from the outputs, found 0.500000"),
    "other images": (
        fingerprint,
        "fingerprint: expected .*…, as test_resnet/tiny/seed-0 says, found 000000000000…",
    ),
    "other labels": (
        other_labels,
        "as test_resnet/tiny/seed-0 says, found 1.000000, with other true classes of",
    ),
    "truncated": (lambda run: os.truncate(run.predictions_path, 20_000), "20,000 bytes: it is truncated"),
    "changed": (
        lambda run: edit(run, predictions_sha256="0" * 64),
        "expected SHA-256 000000000000…, as run.json states",
    ),
    "NaN": (lambda run: replaced(run, logits=value(np.nan)), "found 1 that are NaN or infinite"),
    "infinite": (lambda run: replaced(run, logits=value(-np.inf)), "found 1 that are NaN or infinite"),
    "beyond": (lambda run: replaced(run, logits=value(65_000)), "finite values of at most 60,000 in size"),
    "shape": (
        lambda run: replaced(run, logits=lambda tensors: tensors[LOGITS][:, :9].copy()),
        r"expected float16 \(100, 10\), found float16 \(100, 9\)",
    ),
    "type": (
        lambda run: replaced(run, logits=lambda tensors: tensors[LOGITS].astype(np.float32)),
        r"expected float16 \(100, 10\), found float32 \(100, 10\)",
    ),
    "rows": (
        lambda run: replaced(
            run,
            logits=lambda tensors: tensors[LOGITS][:99].copy(),
            ranks=lambda tensors: tensors[RANKS][:99].copy(),
        ),
        r"expected float16 \(100, 10\), found float16 \(99, 10\)",
    ),
    "large": (lambda run: os.truncate(run.predictions_path, 2_000_000), "expected at most 1,500,000"),
    "another file": (
        lambda run: (run.path / "notes.txt").write_text("x"),
        "found another file; remove it, or give it the right name",
    ),
    "a link": (linked, "found a symbolic link; put a copy in its place"),
    "signals of other images": (signals_of_other_images, "belongs to other predictions"),
    "signals of a newer schema": (newer_signals, "newer schema, 2: .*; update shiftcast"),
    "signals that nothing states": (
        lambda run: edit(run, signals_sha256=None),
        "no file: run.json states none",
    ),
}


def scored(workspace, run):
    """What scoring says of a run: why it refuses the board, or with which status it lists the run."""
    try:
        _, rows = read_pool(workspace, workspace.suite("tiny"), run.path.parents[2])
    except RunError as error:
        return str(error).splitlines(), error
    status = {(row["architecture"], row["recipe"], row["seed"]): row["status"] for row in rows}
    return [status["test_vit", "tiny", 1]], None


def submitted(workspace, run, outputs):
    """What submitting a model of the same suite says."""
    claim = make_claim(workspace, "theirs", 0, None, None, "")
    try:
        import_run(workspace, workspace.suite("tiny"), outputs, claim, run.path.parents[3])
    except RunError as error:
        return str(error).splitlines()
    return []


def entered(workspace, run, capsys):
    """What entering the run in the ledger says."""
    with pytest.raises(CheckFailedError, match="the ledger was not changed"):
        ledger(SimpleNamespace(obj=workspace.root), run.path, Trust.reproduced)
    return capsys.readouterr().out


def test_the_run_is_sound_before_it_is_broken(tiny_template, run, outputs, tmp_path):
    workspace = tiny_template.workspace
    assert problems_of(inspect(run, expected_of(workspace, workspace.suite("tiny")))) == []
    assert scored(workspace, run) == (["ok"], None)
    assert submitted(workspace, run, outputs) == []
    assert validate(workspace, run.path, tmp_path).problems == []
    ledger(SimpleNamespace(obj=workspace.root), run.path, Trust.reproduced)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_run_is_refused_with_the_same_words(tiny_template, run, outputs, tmp_path, capsys, name):
    workspace, (damage, words) = tiny_template.workspace, BROKEN[name]
    damage(run)
    refused, error = scored(workspace, run)
    assert re.search(words, "\n".join(refused))
    assert isinstance(error, NewerSchemaError) == ("newer" in name)
    assert submitted(workspace, run, outputs) == refused
    problems = validate(workspace, run.path, tmp_path).problems
    assert set(refused) <= {problem.sentence for problem in problems}
    assert all(str(problem) in entered(workspace, run, capsys) for problem in problems[:1])


@pytest.mark.parametrize("name", INCOMPLETE)
def test_an_incomplete_run_is_listed_with_the_words_that_refuse_it(
    tiny_template, run, outputs, tmp_path, capsys, name
):
    workspace, (damage, words) = tiny_template.workspace, INCOMPLETE[name]
    damage(run)
    assert scored(workspace, run) == ([words], None)
    assert submitted(workspace, run, outputs) == []  # it needs no run that is not there
    (problem,) = validate(workspace, run.path, tmp_path).problems
    assert problem.found == words
    assert str(problem) in entered(workspace, run, capsys)


def test_a_run_of_a_newer_schema_is_not_made_again(tiny_template, run):
    workspace, key = tiny_template.workspace, run.key
    job = SimpleNamespace(key=key, suite=workspace.suite("tiny"), role="scored")
    folder = run.path.parents[2]
    run.predictions_path.write_bytes(b"")
    assert what_is_needed(workspace, folder, Again(), job) == "run"
    edit(run, schema_version=2)
    with pytest.raises(NewerSchemaError, match="update shiftcast"):
        what_is_needed(workspace, folder, Again(), job)


def test_a_record_cannot_hide_that_its_recipe_asks_for_signals(workspace, run):
    path = workspace.root / "benchmark" / "recipes" / "tiny.toml"
    path.write_text(f"{path.read_text()}signals = true\n")
    workspace = Workspace(workspace.root, workspace.root)
    run.signals_path.unlink()
    asked = recipe_hash(workspace.resolved_recipe("test_vit", "tiny"))
    edit(run, signals_sha256=None)
    assert scored(workspace, run) == (["stale: its recipe has changed"], None)
    edit(run, recipe_hash=asked)
    assert scored(workspace, run) == (["incomplete: signals.safetensors is missing"], None)


@pytest.mark.parametrize("name", ["unknown key", "truncated", "another file"])
def test_commands_say_it(tiny_template, run, outputs, name):
    root, results, (damage, words) = tiny_template.workspace.root, run.path.parents[3], BROKEN[name]
    damage(run)
    options = ("--architecture", "theirs", "--results", results)
    said = [
        typed("--workspace", root, *command)
        for command in (
            ("leaderboard", "--check", "--results", results, "--out", results.parent),
            ("submit", "tiny", "--predictions", outputs, *options),
        )
    ]
    assert [done.returncode for done in said] == [2, 2]
    assert all(re.search(words, done.stderr) for done in said)
    listed = [
        typed("--workspace", root, *command)
        for command in (("validate", run.path), ("ledger", run.path, "--level", "reproduced"))
    ]
    assert [done.returncode for done in listed] == [1, 1]
    (problem, *_) = validate(tiny_template.workspace, run.path, results).problems
    assert all(str(problem) in done.stdout for done in listed)
    assert all(problem.sentence in done.stderr for done in said)


def damaged(folder):
    folder.predictions_path.write_bytes(b"")


def of_other_images(folder):
    datasets = json.loads(folder.record_path.read_text())["datasets"]
    edit(folder, datasets={name: one | {"fingerprint": "0" * 64} for name, one in datasets.items()})


@pytest.mark.parametrize(
    ("damage", "words"),
    [(damaged, "it is truncated"), (of_other_images, "as first/self-reported/seed-0 says")],
)
def test_a_submission_refuses_what_stands_in_its_place_until_it_may_replace_it(zoo, damage, words):
    zoo.submit("first", zoo.logits(1))
    folder = zoo.submit("net", zoo.logits(0))
    damage(folder)
    suite, file = zoo.workspace.suite("zoo"), zoo.root / "net.npz"
    claim = make_claim(zoo.workspace, "net", 0, "net", None, "")
    with pytest.raises(RunError, match=f"net/self-reported/seed-0.*{words}.*submit it again with --force"):
        import_run(zoo.workspace, suite, file, claim, zoo.results)
    assert import_run(zoo.workspace, suite, file, claim, zoo.results, force=True).changed
    assert validate(zoo.workspace, folder.path, zoo.data).problems == []
