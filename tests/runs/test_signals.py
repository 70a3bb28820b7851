"""The file of signals: its form, what is refused, and how runs hold and show it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

import shiftcast
from shiftcast.board.assemble import score_suite
from shiftcast.errors import RunError
from shiftcast.runs.folder import RunFolder
from shiftcast.runs.signals import (
    KEY,
    SIGNALS_LIMIT,
    ImageSignals,
    Signals,
    check_agreement,
    classes_digest,
    decode_signals,
    encode_signals,
)
from shiftcast.submission import validate
from shiftcast.util.hashing import sha256


def made_up(predicted, learned=True, seed=0, epochs=16):
    """Signals of sets with these predicted classes."""
    random, sets = np.random.RandomState(seed), {}
    for name, classes in predicted.items():
        n = len(classes)
        views = random.randint(0, 9, n).astype(np.uint8)
        views[1::3] = 15
        probability = random.uniform(size=n).astype(np.float32)
        probability[1::3] = np.nan
        sets[name] = ImageSignals(
            random.randint(0, 4, n).astype(np.uint8),
            views,
            probability,
            random.uniform(0, 2, n).astype(np.float32),
            random.randint(0, epochs + 1, n).astype(np.uint8) if learned else None,
        )
    digests = {name: classes_digest(classes) for name, classes in predicted.items()}
    return Signals(("a", "b", "c"), sets, digests)


PREDICTED = {"id": np.arange(50) % 7, "b/fog-1": np.arange(20) % 3}


def test_signals_survive_a_round_trip_in_the_same_bytes():
    signals = made_up(PREDICTED)
    signals.sets["b/fog-1"] = replace(signals.sets["b/fog-1"], learned_epoch=None)
    data = encode_signals(signals)
    back = decode_signals(data, "file")
    assert encode_signals(back) == data
    assert encode_signals(replace(signals, sets=dict(reversed(signals.sets.items())))) == data
    assert (back.blocks, back.predicted) == (signals.blocks, signals.predicted)
    check_agreement("file", back, PREDICTED, 16)
    for name, one in signals.sets.items():
        other = back.sets[name]
        assert np.array_equal(one.depth, other.depth)
        assert np.array_equal(one.views, other.views)
        np.testing.assert_allclose(one.view_probability, other.view_probability, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(one.neighbour_distance, other.neighbour_distance, atol=0.008)
        assert np.array_equal(other.learned_epoch, one.learned_epoch) or one.learned_epoch is None
    assert back.sets["b/fog-1"].learned_epoch is None
    assert back.learned("id", PREDICTED["id"]).tolist() == signals.sets["id"].learned_epoch.tolist()
    assert back.learned("id", PREDICTED["id"] + 1) is None
    assert back.learned("other", PREDICTED["id"]) is None


def test_every_byte_of_a_distance_and_a_probability_means_itself():
    n = 256
    every = np.arange(n, dtype=np.float32)
    one = ImageSignals(
        np.zeros(n, np.uint8), np.zeros(n, np.uint8), every / np.float32(255), 2 * (every / 255) ** 2
    )
    tensors = load(encode_signals(Signals(("a",), {"s": one}, {"s": ""})))
    assert tensors["view_probability/s"].tolist() == list(range(256))
    assert tensors["neighbour_distance/s"].tolist() == list(range(256))


def test_a_run_of_the_size_of_the_main_suite_fits():
    sizes = {"id": 10_000, **{f"natural-{n}": 3125 for n in range(8)}}
    sizes |= {f"cifar10-c-regenerated/gaussian_noise-{n}": 1066 for n in range(30)}
    signals = made_up({name: np.zeros(n, np.int64) for name, n in sizes.items()})
    few = {
        name: replace(one, learned_epoch=None) if name.startswith("cifar10-c") else one
        for name, one in signals.sets.items()
    }
    assert len(encode_signals(replace(signals, sets=few))) < SIGNALS_LIMIT


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_truncated_signals_are_refused(cut):
    with pytest.raises(RunError, match="file: is not a readable safetensors file"):
        decode_signals(encode_signals(made_up(PREDICTED))[:cut], "file")


def changed(about=None, **tensors):
    """Bytes of signals with other metadata or tensors; None takes one out."""
    data = encode_signals(made_up(PREDICTED))
    values = load(data)
    for name, tensor in tensors.items():
        values[name] = tensor
    length = int.from_bytes(data[:8], "little")
    stated = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY]) | (about or {})
    kept = {name: tensor for name, tensor in values.items() if tensor is not None}
    return save(kept, metadata={KEY: json.dumps(stated)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (save({"weight": np.zeros(2)}), "its schema is None, but this version of Shiftcast reads 1"),
        (changed({"schema": 2}), "newer schema, 2: this version of Shiftcast reads 1"),
        (changed({"blocks": "a"}), "do not name the probed blocks"),
        (changed({"blocks": ["a"] * 15}), "expected 1 to 14 probed blocks, got 15"),
        (changed({"predicted": {}}), "do not say which predictions"),
        (changed({"predicted": {"id": 1}}), "do not say which predictions"),
        (changed({"predicted": {"id": ""}}), "unexpected tensor"),
        (changed(**{"more/id": np.zeros(50, np.uint8)}), "unexpected tensor 'more/id'"),
        (changed(**{"depth_views/id": None}), "lacks depth_views/id"),
        (changed(**{"depth_views/id": np.zeros(50, np.uint16)}), r"expected uint8 \(n,\), got uint16"),
        (changed(**{"depth_views/id": np.zeros(0, np.uint8)}), "holds no images"),
        (changed(**{"depth_views/id": np.full(50, 0x40, np.uint8)}), "depths of at most 3, got 4"),
        (changed(**{"depth_views/id": np.full(50, 0x09, np.uint8)}), "expected 0 to 8 views"),
        (changed(**{"view_probability/id": np.zeros(50, np.uint8)}), r"expected \(33,\)"),
        (changed(**{"neighbour_distance/id": np.zeros(9, np.uint8)}), r"expected \(50,\), got \(9,\)"),
        (changed(**{"learned_epoch/id": np.zeros(9, np.uint8)}), r"learned_epoch/id: expected \(50,\)"),
    ],
)
def test_foreign_signals_are_refused_by_name(data, message):
    with pytest.raises(RunError, match=message):
        decode_signals(data, "file")


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({"id": PREDICTED["id"]}, "is of another set than the predictions, 'b/fog-1'"),
        ({**PREDICTED, "new": PREDICTED["id"]}, "lacks set 'new'"),
        ({**PREDICTED, "id": PREDICTED["id"][1:]}, "id: holds 50 images, but the predictions hold 49"),
        ({**PREDICTED, "id": PREDICTED["id"][::-1]}, "id: belongs to other predictions"),
    ],
)
def test_signals_of_other_images_are_refused(predicted, message):
    with pytest.raises(RunError, match=message):
        check_agreement("file", made_up(PREDICTED), predicted, 16)


def test_an_image_that_was_learned_after_the_last_epoch_is_refused():
    signals = made_up(PREDICTED)
    latest = int(signals.sets["id"].learned_epoch.max())
    check_agreement("file", signals, PREDICTED, latest)
    with pytest.raises(RunError, match=rf"learned_epoch/id: expected epochs of at most {latest - 1}, got"):
        check_agreement("file", signals, PREDICTED, latest - 1)


# Runs


@pytest.fixture
def results(make_results):
    return make_results()


@pytest.fixture
def place(results):
    """A made-up run that has been given signals."""
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    record, sets = folder.read()
    predicted = {name: one.logits.argmax(axis=1) for name, one in sets.items()}
    data = encode_signals(made_up(predicted, epochs=len(record.epochs)))
    record = record.model_copy(update={"signals_sha256": sha256(data)})
    folder.write(record, folder.predictions_path.read_bytes(), data)
    return folder


def test_a_run_gives_its_signals(place):
    record, sets = place.read(filed=True)
    signals = place.read_signals(record, sets)
    assert set(signals.sets) == set(sets)
    again = shiftcast.load_signals(str(place.path))
    assert again.sets["digits-test"].depth.tolist() == signals.sets["digits-test"].depth.tolist()


def test_a_run_that_is_filled_in_keeps_its_signals_and_one_without_loses_a_stray_file(place):
    record, _ = place.read()
    place.write(record, place.predictions_path.read_bytes())
    assert place.read()
    place.write(record.model_copy(update={"signals_sha256": None}), place.predictions_path.read_bytes())
    assert not place.signals_path.exists()
    assert place.read()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "incomplete: signals.safetensors is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or foreign"),
        (lambda path: path.write_bytes(b""), "truncated or foreign"),
        (lambda path: path.write_bytes(_other(path)), "its SHA-256 differs"),
        (lambda path: path.write_bytes(encode_signals(made_up(PREDICTED))), "than the predictions"),
        (lambda path: (path.unlink(), path.mkdir()), "expected a file, found a folder"),
    ],
    ids=["missing", "truncated", "empty", "changed", "of other images", "a folder"],
)
def test_broken_signals_are_damage(place, damage, message):
    damage(place.signals_path)
    with pytest.raises(RunError, match=rf"signals\.safetensors.*{message}.*run its suite again"):
        place.read()


def _other(path):
    data = bytearray(path.read_bytes())
    tensors = load(bytes(data))
    start = 8 + int.from_bytes(data[:8], "little")
    assert tensors
    header = json.loads(data[8:start])
    first = header["neighbour_distance/digits-test"]["data_offsets"][0]
    data[start + first] ^= 1
    return bytes(data)


def test_an_old_record_is_written_again_in_the_same_bytes(results):
    folder = RunFolder(results / "tiny" / "test_vit" / "tiny" / "seed-0")
    values = json.loads(folder.record_path.read_text())
    assert "signals" not in folder.record_path.read_text()
    for field in ("ema", "rate_of", "signals"):
        values["recipe"].pop(field, None)
    values["recipe"]["mixup"] = None  # younger than some runs, older than this one
    folder.record_path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    before = folder.record_path.read_bytes()
    folder.write_record(folder.read_record())
    assert folder.record_path.read_bytes() == before


def test_the_board_lists_who_has_signals_and_their_means(place, results, workspace):
    scores = score_suite(workspace, workspace.suite("tiny"), results)
    has = scores.runs.set_index(["architecture", "seed", "role"])["signals"]
    assert has.sum() == 1
    assert has["test_vit", 0, "scored"]
    table, signals = scores.signals, shiftcast.load_signals(place.path)
    assert set(table["set"]) == set(signals.sets)
    row, one = table.set_index("set").loc["digits-test"], signals.sets["digits-test"]
    assert row["depth"] == pytest.approx(one.depth.mean())
    assert row["views"] == pytest.approx(one.views[one.views < 15].mean())
    assert row["view_probability"] == pytest.approx(np.nanmean(one.view_probability))
    assert row["learned_epoch"] == pytest.approx(one.learned_epoch[one.learned_epoch > 0].mean())
    assert (row["n"], row["probes"], row["viewed"]) == (one.n, 3, (one.views < 15).sum())


def test_a_missing_file_is_an_incomplete_run(place, results, workspace):
    place.signals_path.unlink()
    runs = score_suite(workspace, workspace.suite("tiny"), results).runs
    status = runs.set_index(["architecture", "seed", "role"])["status"]
    assert status["test_vit", 0, "scored"] == "incomplete: signals.safetensors is missing"


def test_validating_names_broken_and_stray_signals(place, results, workspace, tmp_path):
    def problems(path):
        report = validate(workspace, path, tmp_path / "no-data")
        return [str(problem) for problem in report.problems if "signals" in str(problem)]

    assert problems(place.path) == []
    data = place.signals_path.read_bytes()
    place.signals_path.write_bytes(data[:-1])
    assert "truncated" in "".join(problems(place.path))
    place.signals_path.unlink()
    assert "incomplete: signals.safetensors is missing" in "".join(problems(place.path))
    other = results / "tiny" / "test_vit" / "tiny" / "seed-1"
    (other / "signals.safetensors").write_bytes(data)
    assert "run.json states none" in "".join(problems(other))
