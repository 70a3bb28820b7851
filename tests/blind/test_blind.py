"""Blind sets: sealed with a salted hash, predictions registered in a chain, labels opened once."""

import hashlib
import json

import numpy as np
import pytest

from shiftcast.blind.register import register, register_all
from shiftcast.blind.seal import open_set, salt_path, seal
from shiftcast.board.assemble import score_suite
from shiftcast.errors import DataError, InvalidInputError, RunError, UnknownNameError, WorkspaceError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.layout import register_path
from shiftcast.runs.outputs import encode_predictions
from shiftcast.runs.reading import read_pool
from shiftcast.runs.registers import read_register
from shiftcast.util.hashing import sha256
from shiftcast.workspace import Workspace

pytestmark = pytest.mark.usefixtures("few_estimators")

NAME = "hidden"
CARD = """
title = "Hidden"
description = "Made."
layout = "arrays"
path = "hidden"
files = ["hidden.npy"]
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
n = 300
shift = "natural"
labels = "withheld"
citation = "None."
licence = "None"
obtain = "Made by a test."
"""


@pytest.fixture
def hidden(workspace, tmp_path, make_results):
    """A suite with runs on a set of 300 images whose labels no run holds, and the labels' file."""
    (workspace.root / "datasets" / f"{NAME}.toml").write_text(CARD)
    suite = workspace.root / "benchmark" / "suites" / "tiny.toml"
    text = suite.read_text()
    addition = f'[[targets]]\ndataset = "{NAME}"\nlevel = "optional"\n\n'
    suite.write_text(text.replace("[[runs]]", addition + "[[runs]]", 1))
    workspace = Workspace(workspace.root, workspace.root)
    results = make_results()
    for number, path in enumerate(sorted((results / "tiny").glob("*/*/seed-*/run.json"))):
        place = RunFolder(path.parent)
        record, sets = place.read()
        logits = np.random.default_rng(number).normal(size=(300, 10)).astype(np.float16)
        hold(place, record, {**sets, NAME: type(sets[record.source])(logits, None)})
    labels = tmp_path / "secret" / "labels.npy"
    labels.parent.mkdir()
    np.save(labels, np.random.default_rng(9).integers(0, 10, 300))
    return workspace, results, labels


def hold(place, record, sets):
    data = encode_predictions(sets)
    known = next(iter(record.targets.values()))
    targets = {**record.targets, NAME: known.model_copy(update={"n": 300, "accuracy": None})}
    used = {**record.datasets, NAME: next(iter(record.datasets.values()))}
    changes = {"targets": targets, "datasets": used, "predictions_sha256": sha256(data)}
    place.write(record.model_copy(update=changes), data)


def again(workspace):
    return Workspace(workspace.root, workspace.root)


def test_a_commitment_is_the_hash_of_salt_and_labels(hidden):
    workspace, _, labels = hidden
    found = seal(workspace, NAME, labels)
    salt = bytes.fromhex(salt_path(labels).read_text())
    values = np.load(labels).astype("<i8").tobytes()
    assert found == hashlib.sha256(salt + values).hexdigest()
    assert len(salt) == 32
    assert salt_path(labels).stat().st_mode & 0o077 == 0
    assert again(workspace).dataset(NAME).seal.commitment == found


def test_what_was_registered_before_is_counted_and_accuracies_are_filled_in_once(hidden):
    workspace, results, labels = hidden
    seal(workspace, NAME, labels)
    workspace = again(workspace)
    runs = sorted((results / "tiny").glob("*/*/seed-*/run.json"))
    [(name, lines)] = register_all(workspace, results, [NAME])
    estimators = score_suite(workspace, workspace.suite("tiny"), results).table
    estimators = estimators[estimators["target"] == NAME]["estimator"].nunique()
    assert (name, lines) == (NAME, {"predictions": len(runs), "estimates": estimators})
    assert register_all(workspace, results, [NAME]) == [(NAME, {"predictions": 0, "estimates": 0})]
    assert all(
        entry["configuration"] for entry in read_register(results, NAME) if entry["kind"] == "estimates"
    )

    late = RunFolder(runs[0].parent)
    record, sets = late.read()
    other = np.random.default_rng(77).normal(size=(300, 10)).astype(np.float16)
    hold(late, record, {**sets, NAME: type(sets[record.source])(other, None)})
    with pytest.raises(
        InvalidInputError, match=r"predictions of 1 runs .* are not registered; after opening it is too late"
    ):
        open_set(workspace, results, NAME, labels)
    assert again(workspace).dataset(NAME).seal.opened is None
    opening = open_set(workspace, results, NAME, labels, allow_unregistered=True)
    assert (opening.predictions, opening.estimates) == (len(runs), estimators)
    assert opening.unregistered == [f"tiny/{record.key}"]
    assert len(opening.runs) == len(runs)
    values = np.load(labels)
    for path in runs:
        record, sets = RunFolder(path.parent).read()
        assert record.targets[NAME].accuracy == (sets[NAME].logits.argmax(axis=1) == values).mean()
        assert (sets[NAME].labels == values).all()

    workspace = again(workspace)
    first = workspace.dataset(NAME).seal.opened
    assert first
    second = open_set(workspace, results, NAME, labels)
    assert not second.runs
    assert len(second.already) == len(runs)
    assert again(workspace).dataset(NAME).seal.opened == first
    with pytest.raises(InvalidInputError, match="was opened on"):
        register_all(workspace, results, [NAME])
    scored = score_suite(again(workspace), again(workspace).suite("tiny"), results).table
    assert scored[scored["target"] == NAME]["actual"].notna().all()


def test_a_set_without_a_seal_is_opened_where_that_is_asked_for(hidden):
    workspace, results, labels = hidden
    register_all(workspace, results, [NAME])
    with pytest.raises(
        InvalidInputError, match=r"is not sealed; seal it first .* or open it with --unsealed"
    ):
        open_set(workspace, results, NAME, labels)
    assert again(workspace).dataset(NAME).opening is None
    opening = open_set(workspace, results, NAME, labels, allow_unsealed=True)
    assert opening.runs
    assert not opening.unregistered
    card = again(workspace).dataset(NAME)
    assert card.opening == card.opened
    assert card.opened
    with pytest.raises(InvalidInputError, match="was opened on"):
        register_all(again(workspace), results, [NAME])
    assert not open_set(again(workspace), results, NAME, labels, allow_unsealed=True).runs


def test_estimators_that_come_after_the_opening_count_as_selected_on_the_set(hidden):
    workspace, results, labels = hidden
    suite = workspace.suite("tiny")
    table = score_suite(workspace, suite, results).table
    before = table[(table["target"] == NAME) & (table["estimator"] != "ATC-MC")].assign(suite="tiny")
    register(workspace, results, NAME, before)
    open_set(workspace, results, NAME, labels, allow_unsealed=True)
    rows = score_suite(again(workspace), suite, results).table
    marked = rows[rows["selected_on"].str.split(";").map(lambda names: NAME in names)]
    assert set(marked["estimator"]) == {"ATC-MC"}
    assert set(marked["target"]) == {NAME}


def test_estimates_of_chosen_estimators_alone_are_registered(hidden):
    workspace, results, _ = hidden
    [(_, lines)] = register_all(workspace, results, [NAME], ["ATC-MC", "NoShift"])
    assert lines["estimates"] == 2
    entries = [entry for entry in read_register(results, NAME) if entry["kind"] == "estimates"]
    assert {entry["estimator"] for entry in entries} == {"ATC-MC", "NoShift"}
    with pytest.raises(UnknownNameError, match="ATC-MC"):
        register_all(workspace, results, [NAME], ["ATC-MM"])


def test_other_labels_open_nothing(hidden):
    workspace, results, labels = hidden
    seal(workspace, NAME, labels)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    values = np.load(labels)
    values[5] = (values[5] + 1) % 10
    np.save(labels, values)
    with pytest.raises(InvalidInputError, match="not the labels that were sealed; nothing was changed"):
        open_set(again(workspace), results, NAME, labels)
    salt_path(labels).unlink()
    with pytest.raises(InvalidInputError, match="the salt written at sealing stands beside the labels"):
        open_set(again(workspace), results, NAME, labels)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before
    assert again(workspace).dataset(NAME).seal.opened is None


def test_a_run_that_holds_answers_to_a_closed_set_is_refused(hidden):
    workspace, results, labels = hidden
    seal(workspace, NAME, labels)
    workspace = again(workspace)
    folder = results / "tiny"
    read_pool(workspace, workspace.suite("tiny"), folder)
    place = RunFolder(next(iter(sorted(folder.glob("*/*/seed-*/run.json")))).parent)
    record, sets = place.read()
    cheat = type(sets[NAME])(sets[NAME].logits, np.zeros(300, int))
    hold(place, record, {**sets, NAME: cheat})
    with pytest.raises(RunError, match="true_rank/hidden: expected no ranks: the labels are withheld"):
        read_pool(workspace, workspace.suite("tiny"), folder)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(299, int), "expected 300 labels from 0 to 9 for 'hidden', got 299 up to 0"),
        (np.full(300, 10), "got 300 up to 10"),
        (np.zeros((300, 1), int), "expected one label per image"),
        (np.zeros(300), "integer dtype"),
    ],
)
def test_labels_that_do_not_fit_are_not_sealed(hidden, labels, message):
    workspace, _, path = hidden
    np.save(path, labels)
    before = (workspace.root / "datasets" / f"{NAME}.toml").read_bytes()
    with pytest.raises((DataError, InvalidInputError), match=message):
        seal(workspace, NAME, path)
    assert (workspace.root / "datasets" / f"{NAME}.toml").read_bytes() == before
    assert not salt_path(path).exists()


def test_what_cannot_be_sealed_or_opened_says_why(hidden):
    workspace, results, labels = hidden
    with pytest.raises(InvalidInputError, match=r"is not sealed; seal it first .shiftcast blind seal hidden"):
        open_set(workspace, results, NAME, labels)
    with pytest.raises(InvalidInputError, match="its labels are given"):
        seal(workspace, "digits-test", labels)
    seal(workspace, NAME, labels)
    with pytest.raises(InvalidInputError, match="is sealed already"):
        seal(again(workspace), NAME, labels)


@pytest.mark.parametrize("change", ["edit", "drop", "insert", "garbage"])
def test_an_edited_register_is_noticed(hidden, change):
    workspace, results, _ = hidden
    register_all(workspace, results, [NAME])
    path = register_path(results, NAME)
    lines = path.read_text().splitlines()
    if change == "edit":
        lines[2] = json.dumps({**json.loads(lines[2]), "time": "2020-01-01T00:00:00Z"})
    elif change == "drop":
        del lines[1]
    elif change == "insert":
        lines.insert(1, lines[0])
    else:
        lines[1] = "{"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match=r"the file was edited|is not an entry of a register"):
        read_register(results, NAME)


def test_a_run_killed_while_its_answers_were_filled_in_is_finished(hidden):
    workspace, results, labels = hidden
    seal(workspace, NAME, labels)
    place = RunFolder(next(iter(sorted((results / "tiny").glob("*/*/seed-*/run.json")))).parent)
    _, sets = place.read()
    answers = type(sets[NAME])(sets[NAME].logits, np.zeros(300, int))
    place.predictions_path.write_bytes(encode_predictions({**sets, NAME: answers}))  # run.json did not come
    opening = open_set(again(workspace), results, NAME, labels, allow_unregistered=True)
    assert not opening.already
    assert (place.read()[1][NAME].labels == np.load(labels)).all()


def test_the_card_says_opened_before_any_run_holds_an_answer(hidden, monkeypatch):
    workspace, results, labels = hidden
    seal(workspace, NAME, labels)
    before = {path: path.read_bytes() for path in results.rglob("predictions.safetensors")}
    monkeypatch.setattr("shiftcast.blind.seal._fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        open_set(again(workspace), results, NAME, labels, allow_unregistered=True)
    assert again(workspace).dataset(NAME).seal.opened
    assert {path: path.read_bytes() for path in results.rglob("predictions.safetensors")} == before


def test_cards_of_the_installed_package_are_not_sealed(hidden, monkeypatch):
    workspace, _, labels = hidden
    monkeypatch.setattr("shiftcast.workspace.EMBEDDED", workspace.root)
    with pytest.raises(WorkspaceError, match="read-only"):
        seal(workspace, NAME, labels)
    assert not salt_path(labels).exists()


def test_runs_on_other_images_are_refused(hidden):
    workspace, results, _ = hidden
    folder = results / "tiny"
    place = RunFolder(sorted(folder.glob("*/*/seed-*/run.json"))[-1].parent)
    record, _ = place.read()
    other = record.datasets[NAME].model_copy(update={"fingerprint": "f" * 64})
    place.write_record(record.model_copy(update={"datasets": {**record.datasets, NAME: other}}))
    with pytest.raises(RunError, match=r"hidden, fingerprint: expected .*…, as test_resnet/tiny/seed-0 says"):
        read_pool(workspace, workspace.suite("tiny"), folder)
