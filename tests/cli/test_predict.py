"""`shiftcast predict` and `list checkpoints`, as people type them, with networks of seconds."""

import json
import os
import shlex
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.data.readers.layouts import read_digits
from shiftcast.engines.contract import Options
from shiftcast.engines.local import run_suite
from shiftcast.errors import (
    DataError,
    InvalidInputError,
    MissingExtraError,
    RunError,
    StoppedError,
    TrainingError,
    UnknownNameError,
)
from shiftcast.estimate.inputs import read_set
from shiftcast.runs.folder import RunFolder
from shiftcast.statistics import wilson
from shiftcast.workspace import cache_folder

IMAGES = np.random.RandomState(0).randint(0, 256, (20, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What the first test trains and the others copy."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def trained(workspace, kept, tmp_path):
    """The folder of a complete run whose weights are in the cache."""
    results = kept / "results"
    if not results.exists():
        nothing = SimpleNamespace(
            **dict.fromkeys(("plan", "started", "progress", "finished", "left", "note"), _ignore)
        )
        options = Options("cpu", None, ("test_resnet",), (0,))
        assert not run_suite(workspace, workspace.suite("tiny"), results, options, nothing).failed
        shutil.copytree(cache_folder(), kept / "cache")
    else:
        shutil.copytree(kept / "cache", cache_folder())
    return RunFolder(results / "tiny" / "test_resnet" / "tiny" / "seed-0")


def _ignore(*arguments):
    pass


@pytest.fixture
def call(workspace):
    """Run a command and return what it printed; its error is raised."""

    def called(*arguments):
        done = CliRunner().invoke(app, ["--workspace", str(workspace.root), *map(str, arguments)])
        if done.exception is not None:
            raise done.exception
        return done.output

    return called


@pytest.fixture
def predict(call, trained, tmp_path):
    """Predict images, an array or a file, with the trained network."""

    def predicted(images, *arguments):
        path = images
        if isinstance(images, np.ndarray):
            path = tmp_path / "images.npy"
            np.save(path, images, allow_pickle=images.dtype == object)
        return call("predict", "test_resnet", "--seed", 0, "--data", path, "--device", "cpu", *arguments)

    return predicted


def load(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def weights():
    return next(cache_folder().rglob("*.pt"))


def test_predictions_are_those_of_the_run(predict, trained, tmp_path):
    digits = read_digits("test")
    said = predict(digits.images)
    found = load(tmp_path / "images.predictions.npz")
    assert set(found) == {"logits", "predicted"}
    assert found["logits"].dtype == np.float32
    stored = trained.read()[1]["digits-test"].logits
    np.testing.assert_allclose(found["logits"], stored, rtol=2e-3, atol=1e-4)
    assert (found["predicted"] == found["logits"].argmax(axis=1)).all()
    assert "tiny/test_resnet/tiny/seed-0 (trained on cpu, " in said
    odd = f"--source OTHER.npz --target {tmp_path / 'images.predictions.npz'}"
    assert said.endswith(f"on labelled images: shiftcast estimate {odd}\n")


def test_the_summary_counts_what_goes_to_each_class(predict, workspace, tmp_path):
    said = predict(IMAGES)
    logits = load(tmp_path / "images.predictions.npz")["logits"].astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if len(line.split()) == 4}
    for place, name in enumerate(workspace.dataset("digits-test").classes):
        own = probabilities[logits.argmax(axis=1) == place].max(axis=1)
        expected = [str(len(own)), f"{100 * len(own) / 20:.2f}"]
        assert rows[name][:2] == expected
        assert rows[name][2] == (f"{100 * own.mean():.2f}" if len(own) else "–")
    assert rows["all"] == ["20", "100.00", f"{100 * probabilities.max(axis=1).mean():.2f}"]


def test_labels_give_an_accuracy_and_go_into_the_file(predict, trained, tmp_path):
    digits = read_digits("test")
    np.save(tmp_path / "labels.npy", digits.labels.astype(np.uint8))
    said = predict(digits.images, "--labels", tmp_path / "labels.npy", "--out", tmp_path / "own.npz")
    found = load(tmp_path / "own.npz")
    assert (found["labels"] == digits.labels).all()
    right = int((found["logits"].argmax(axis=1) == digits.labels).sum())
    low, high = wilson(right, 898)
    assert (
        f"accuracy: {100 * right / 898:.2f} % ({right} of 898 right; 95 % Wilson interval "
        f"{100 * low:.2f} to {100 * high:.2f} %)" in said
    )
    assert abs(right / 898 - trained.read_record().targets["digits-test"].accuracy) < 0.005
    assert not (tmp_path / "labels.predictions.npz").exists()


def test_estimate_reads_both_files(predict, call, tmp_path):
    digits = read_digits("test")
    np.save(tmp_path / "labels.npy", digits.labels)
    (tmp_path / "with space").mkdir()
    predict(digits.images[::-1], "--out", tmp_path / "with space" / "target.npz")
    said = predict(digits.images, "--labels", tmp_path / "labels.npy", "--out", tmp_path / "source.npz")
    command = shlex.split(said.splitlines()[-1].partition("shiftcast ")[2])
    assert command == ["estimate", "--source", str(tmp_path / "source.npz"), "--target", "OTHER.npz"]
    command[-1] = str(tmp_path / "with space" / "target.npz")
    answer = json.loads(call(*command, "--estimators", "NoShift,AC", "--json"))
    assert (answer["source"]["images"], answer["target"]["images"]) == (898, 898)
    source = read_set(tmp_path / "source.npz", labelled=True).predictions
    estimates = {row["estimator"]: row["accuracy"] for row in answer["estimates"]}
    assert estimates["NoShift"] == pytest.approx(source.accuracy, abs=1e-6)
    assert estimates["AC"] == pytest.approx(source.confidence.mean(), abs=1e-4)


def test_images_are_mapped_not_loaded(predict, monkeypatch, tmp_path):
    seen = []

    def spy(network, sets, *arguments):
        seen.extend(sets.values())
        return {name: np.eye(10, dtype=np.float32)[: len(images)] for name, images in sets.items()}

    monkeypatch.setattr("shiftcast.training.evaluate.evaluate", spy)
    predict(IMAGES[:5])
    assert isinstance(seen[0], np.memmap)
    assert not seen[0].flags.writeable


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES / np.float32(255), "got float32 .*multiply by 255 and round: numpy.rint"),
        (IMAGES.astype(np.float64), "got float64 .*; round: numpy.rint"),
        (IMAGES / 128.0 - 1, "values span -1 to 0.99.*undo the normalisation"),
        (np.full((2, 32, 32, 3), np.nan), "some values are NaN: replace them"),
        (np.full((2, 32, 32, 3), np.inf), "values span inf to inf"),
        (IMAGES > 99, r"got bool .*of black and white, images\.astype\(numpy\.uint8\) \* 255"),
        (IMAGES.astype(np.int64), r"got int64 .*images\.astype\(numpy\.uint8\)"),
        (IMAGES.astype(str), "save numbers"),
        (IMAGES.transpose(0, 3, 1, 2), r"numpy\.transpose\(images, \(0, 2, 3, 1\)\)$"),
        (IMAGES.transpose(0, 3, 1, 2)[..., :30], r"\(0, 2, 3, 1\)\), and resize to 32 x 32"),
        (
            (IMAGES / 255).transpose(0, 3, 1, 2),
            r"multiply by 255 .*; then move the channels to the end",
        ),
        (IMAGES[:, :28, :28], r"got uint8 \(20, 28, 28, 3\); resize each image to 32 x 32"),
        (IMAGES[0], r"a single image is images\[None\]"),
        (IMAGES[..., 0], r"numpy\.repeat\(images\[\.\.\., None\], 3, axis=3\)"),
        (IMAGES[..., :1], r"numpy\.repeat\(images, 3, axis=3\)"),
        (np.concatenate([IMAGES, IMAGES[..., :1]], axis=3), "drop the fourth channel"),
        (IMAGES.reshape(20, -1), "give one image of three channels an entry"),
        (np.array(0.5), "multiply by 255 .*; then give one image of three channels an entry"),
        (IMAGES[:0], "n >= 1, got uint8 .0, 32, 32, 3.; give at least one image"),
    ],
)
def test_other_arrays_are_refused_with_what_to_do(predict, images, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        predict(images)
    assert sorted(path.suffix for path in tmp_path.glob("images*")) == [".npy"]


def test_files_that_are_no_arrays_are_refused(predict, tmp_path):
    with pytest.raises(InvalidInputError, match=r"nowhere\.npy: there is no such file"):
        predict(tmp_path / "nowhere.npy")
    with pytest.raises(InvalidInputError, match=r"is a folder; expected a \.npy file"):
        predict(tmp_path)
    with pytest.raises(DataError, match="without pickle"):
        predict(np.array([{"an": "object"}], dtype=object))
    path = tmp_path / "cut.npy"
    np.save(path, IMAGES)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cut\.npy: cannot be read"):
        predict(path)
    np.savez(tmp_path / "archive.npz", images=IMAGES)
    with pytest.raises(InvalidInputError, match=r"is a zip archive, as numpy\.savez writes it"):
        predict(tmp_path / "archive.npz")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n and more")
    with pytest.raises(InvalidInputError, match=r"photo\.png: is a PNG image; expected one array"):
        predict(tmp_path / "photo.png")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(19) % 10, r"labels\.npy: expected shape \(20,\), got \(19,\)"),
        (np.arange(20), r"expected values in 0\.\.9 \(10 classes\), got 10 at position 10"),
        (np.zeros(20), "expected integers .*astype"),
    ],
)
def test_labels_that_do_not_fit_are_refused(predict, labels, message, tmp_path):
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(InvalidInputError, match=message):
        predict(IMAGES, "--labels", tmp_path / "labels.npy")
    assert not (tmp_path / "images.predictions.npz").exists()


def test_what_was_given_is_not_overwritten(predict, tmp_path):
    images, link = tmp_path / "images.npz", tmp_path / "link.npz"
    with images.open("wb") as stream:
        np.save(stream, IMAGES)
    os.link(images, link)
    before = images.read_bytes()
    for out in (images, tmp_path / "workspace" / ".." / "images.npz", link):
        with pytest.raises(InvalidInputError, match=r"is the file that was given as .*; name another"):
            predict(images, "--out", out)
    with pytest.raises(InvalidInputError, match=r"expected a name that ends in \.npz"):
        predict(images, "--out", tmp_path / "out.csv")
    assert images.read_bytes() == before
    predict(images)
    assert load(tmp_path / "images.predictions.npz")["logits"].shape == (20, 10)


def test_a_folder_that_cannot_be_written_is_found_before_computing(predict, tmp_path, monkeypatch):
    monkeypatch.setattr("shiftcast.training.evaluate.evaluate", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        predict(IMAGES, "--out", tmp_path / "file" / "out.npz")


def test_changed_weights_are_refused(predict):
    content = bytearray(weights().read_bytes())
    content[len(content) // 2] ^= 1
    weights().write_bytes(content)
    with pytest.raises(
        RunError, match=r"is damaged.*shiftcast run tiny --only test_resnet --seed 0 --checkpoints"
    ):
        predict(IMAGES)
    assert weights().exists()


def test_a_changed_card_is_refused_and_a_missing_network_is_named(predict, call, workspace, tmp_path):
    card = workspace.root / "architectures" / "test_resnet.toml"
    text = card.read_text()
    card.write_text(text.replace("title = ", 'precision = "bfloat16"\ntitle = '))
    with pytest.raises(RunError, match=r"architectures/test_resnet\.toml has changed"):
        predict(IMAGES)
    card.write_text(text)
    with pytest.raises(
        RunError, match=r"test_resnet with seed 1 is in the cache .*tiny/test_resnet/tiny/seed-0"
    ):
        call("predict", "test_resnet", "--seed", 1, "--data", tmp_path / "images.npy")
    with pytest.raises(UnknownNameError, match="unknown suite 'tinny'; did you mean tiny"):
        predict(IMAGES, "--suite", "tinny", "--recipe", "tiny")


def test_logits_that_are_not_finite_are_refused(predict, monkeypatch, tmp_path):
    def broken(network, sets, *arguments):
        logits = np.ones((20, 10), np.float32)
        logits[7, 3] = np.nan
        return dict.fromkeys(sets, logits)

    monkeypatch.setattr("shiftcast.training.evaluate.evaluate", broken)
    with pytest.raises(TrainingError, match="NaN or infinite logits for 1 images, the first at index 7"):
        predict(IMAGES)
    assert not (tmp_path / "images.predictions.npz").exists()


def test_without_torch_the_extra_is_named(predict, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("shiftcast.training.")]:
        if name != "shiftcast.training.checkpoints":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'shiftcast\[train\]'"):
        predict(IMAGES)


def test_stopping_leaves_nothing(predict, monkeypatch, tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("shiftcast.training.evaluate.evaluate", stop)
    with pytest.raises(StoppedError, match="stopped; nothing was written"):
        predict(IMAGES)
    assert not list(tmp_path.glob("*.npz"))


def test_batches_threads_and_memory_order_change_nothing(predict, tmp_path):
    predict(IMAGES)
    whole = load(tmp_path / "images.predictions.npz")
    predict(np.asfortranarray(IMAGES), "--batch-size", 7, "--out", tmp_path / "parts.npz")
    np.testing.assert_allclose(load(tmp_path / "parts.npz")["logits"], whole["logits"], rtol=1e-3, atol=1e-4)


def test_checkpoints_are_listed_with_their_state(call, trained, workspace):
    row = call("list", "checkpoints").splitlines()[-1].split()
    size = f"{weights().stat().st_size / 1e6:.1f}"
    assert row[:5] == ["tiny", "test_resnet", "tiny", "0", "cpu"]
    assert row[6:] == [size, "ok"]
    content = weights().read_bytes()
    weights().write_bytes(content[:-1])
    assert call("list", "checkpoints").rstrip().endswith("file is damaged")
    path = weights()
    path.unlink()
    assert call("list", "checkpoints").rstrip().endswith("file is missing")
    path.write_bytes(content)
    card = workspace.root / "architectures" / "test_resnet.toml"
    card.write_text(card.read_text().replace("title = ", 'precision = "bfloat16"\ntitle = '))
    assert call("list", "checkpoints").rstrip().endswith("card has changed")
    path.with_suffix(".json").write_text("{")
    said = call("list", "checkpoints")
    assert "is not a readable manifest" in said
    assert "holds no trained network with a manifest" in said
