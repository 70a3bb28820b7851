import json
import os

import numpy as np
import pytest

from shiftcast.errors import InvalidInputError, RunError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.outputs import (
    FiledOutputs,
    StoredSet,
    decode_predictions,
    encode_predictions,
    store_classes,
    store_logits,
)


def random_set(n=50, classes=10, seed=0):
    random = np.random.RandomState(seed)
    return random.normal(size=(n, classes)), random.randint(classes, size=n)


def test_ranks_count_better_classes_and_earlier_ties():
    logits = np.array([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0], [0.0, 5.0, 5.0]])
    stored = store_logits("set", logits, np.array([2, 2, 2]))
    assert stored.true_rank.tolist() == [1, 2, 1]
    assert stored.accuracy == 0.0


def test_labels_follow_from_stored_logits_and_ranks():
    logits, labels = random_set()
    logits[:5] = 1.0  # ties in every row
    stored = store_logits("set", logits, labels)
    assert stored.labels.tolist() == labels.tolist()
    assert stored.accuracy == np.mean(np.argmax(stored.logits, axis=1) == labels)


def test_accuracy_is_of_the_stored_values():
    """Two logits that differ in float64 alone are a tie in float16, and the lower class wins it."""
    stored = store_logits("set", np.array([[1.0, 1.00001]]), np.array([1]))
    assert stored.accuracy == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 60_001.0, -1e9])
def test_logits_that_float16_cannot_hold_are_refused(bad):
    logits, labels = random_set()
    logits[3, 4] = bad
    with pytest.raises(InvalidInputError, match=r"set: 1 logits .* index \[3, 4\]"):
        store_logits("set", logits, labels)


def test_predictions_survive_a_round_trip_in_the_same_bytes():
    sets = {
        "id": store_logits("id", *random_set()),
        "b/fog-1": store_logits("b", random_set(seed=1)[0], None),
    }
    data = encode_predictions(sets)
    assert data == encode_predictions(dict(reversed(sets.items())))
    back = decode_predictions(data, "file")
    assert sorted(back) == ["b/fog-1", "id"]
    assert np.array_equal(back["id"].logits, sets["id"].logits)
    assert back["id"].true_rank.tolist() == sets["id"].true_rank.tolist()
    assert back["b/fog-1"].true_rank is None


def test_clusters_travel_with_the_predictions():
    stored = store_logits("id", *random_set())
    grouped = StoredSet(stored.logits, stored.true_rank, np.arange(50) // 3 + 300)
    back = decode_predictions(encode_predictions({"id": grouped, "other": stored}), "file")
    assert back["id"].clusters.tolist() == grouped.clusters.tolist()
    assert back["other"].clusters is None


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_truncated_predictions_are_refused(cut):
    data = encode_predictions({"id": store_logits("id", *random_set())})
    with pytest.raises(RunError, match="truncated"):
        decode_predictions(data[:cut], "file")


def foreign(tensors):
    from safetensors.numpy import save

    return save(tensors)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": np.zeros((2, 2))}, "'weight': expected logits/SET, .* found another name"),
        ({"logits/id": np.zeros((3, 4), np.float32)}, "expected float16"),
        ({"logits/id": np.zeros((3, 1), np.float16)}, "K >= 2"),
        ({"logits/id": np.full((3, 4), np.nan, np.float16)}, "NaN"),
        ({"logits/id": np.zeros((3, 4), np.float16), "true_rank/id": np.zeros(2, np.uint8)}, "true_rank/id"),
        ({"logits/id": np.zeros((3, 4), np.float16), "true_rank/id": np.full(3, 4, np.uint8)}, "below 4"),
        ({"true_rank/id": np.zeros(2, np.uint8)}, "logits/id beside it"),
        ({"cluster/id": np.zeros(2, np.uint8)}, "logits/id beside it"),
        ({"logits/id": np.zeros((3, 4), np.float16), "cluster/id": np.zeros(2, np.uint8)}, "cluster/id"),
        (
            {"logits/id": np.zeros((3, 4), np.float16), "cluster/id": np.zeros(3, np.int8)},
            "expected uint8 or uint16",
        ),
    ],
)
def test_foreign_predictions_are_refused_by_name(tensors, message):
    with pytest.raises(RunError, match=message):
        decode_predictions(foreign(tensors), "file")


@pytest.fixture
def folder(make_results):
    return RunFolder(make_results() / "tiny" / "test_vit" / "tiny" / "seed-0")


def test_a_run_survives_a_round_trip(folder):
    record, sets = folder.read()
    assert str(record.key) == "test_vit/tiny/seed-0"
    assert set(sets) == set(record.targets)
    assert isinstance(sets["digits-test"], StoredSet)
    assert record.targets["digits-test"].accuracy == sets["digits-test"].accuracy


def test_equality_ignores_what_was_measured_and_nothing_else(folder):
    record = folder.read_record()
    slower = record.model_copy(
        update={"measured": record.measured.model_copy(update={"train_seconds": 99.0})}
    )
    assert record.equal(slower)
    assert not record.equal(record.model_copy(update={"device": "cuda"}))


def assert_same(filed, held):
    assert isinstance(filed.outputs, FiledOutputs)
    assert (filed.n, filed.classes, filed.hard) == (held.n, held.classes, held.hard)
    assert filed.logits.dtype == held.logits.dtype == np.float16
    assert np.array_equal(filed.logits, held.logits)
    assert np.array_equal(filed.labels, held.labels)
    assert filed.accuracy == held.accuracy


def test_outputs_that_stay_in_their_file_are_the_same(folder):
    record, held = folder.read()
    same, filed = folder.read(filed=True)
    assert same == record
    assert set(filed) == set(held)
    for name in held:
        assert_same(filed[name], held[name])
        assert encode_predictions({name: filed[name]}) == encode_predictions({name: held[name]})


@pytest.mark.parametrize("classes", [10, 300])
def test_class_indices_that_stay_in_their_file_are_the_same(tmp_path, classes):
    from shiftcast.runs.outputs import FileState, left_in_file

    random = np.random.RandomState(0)
    sets = {
        name: store_classes(random.randint(classes, size=n), classes, random.randint(classes, size=n))
        for name, n in (("a", 7), ("b", 50))
    }
    path, data = tmp_path / "predictions.safetensors", encode_predictions(sets)
    path.write_bytes(data)
    filed = left_in_file(path, FileState.of(path.stat()), data, decode_predictions(data, "file"))
    for name, held in sets.items():
        assert_same(filed[name], held)


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))  # whatever the clock's steps


@pytest.mark.parametrize(
    "spoil",
    [os.unlink, lambda path: os.truncate(path, 500), replaced, flipped],
    ids=["removed", "cut", "replaced", "flipped"],
)
def test_a_file_that_changes_after_it_was_checked_is_not_read(folder, spoil):
    filed = folder.read(filed=True)[1]["digits-test"]
    assert filed.logits.shape == (filed.n, filed.classes)
    spoil(folder.predictions_path)
    with pytest.raises(RunError, match=r"predictions\.safetensors: was changed while it was in use; do the"):
        filed.logits  # noqa: B018 - it is read here


def change(folder, **values):
    content = json.loads(folder.record_path.read_text())
    folder.record_path.write_text(json.dumps(content | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema_version": 2}, "expected schema_version 1, found newer schema, 2; update shiftcast"),
        ({"suite_version": "x"}, "suite_version: .*found 'x'"),
        ({"surprise": 1}, "surprise: expected no key of that name"),
        ({"predictions_sha256": "0" * 64}, "expected SHA-256 000000000000…, as run.json states"),
    ],
)
def test_a_changed_record_is_refused(folder, values, message):
    change(folder, **values)
    with pytest.raises(RunError, match=message):
        folder.read()


def test_a_record_that_is_no_json_is_refused(folder):
    folder.record_path.write_text("{")
    with pytest.raises(RunError, match="expected valid JSON"):
        folder.read()
    folder.record_path.write_text("[1]")
    with pytest.raises(RunError, match="expected an object of schema_version 1, found None"):
        folder.read()


def test_a_missing_file_is_named(folder):
    folder.predictions_path.unlink()
    with pytest.raises(RunError, match=r"incomplete: predictions\.safetensors is missing"):
        folder.read()
    folder.record_path.unlink()
    with pytest.raises(RunError, match=r"incomplete: run\.json is missing"):
        folder.read()
