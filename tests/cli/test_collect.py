"""`shiftcast collect`, as people type it, and `estimate --others` on what it writes."""

import json
import warnings

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from typer.testing import CliRunner

from shiftcast.cli.app import app
from shiftcast.errors import DataError, InvalidInputError, MissingDataError, TrainingError, UnknownNameError
from shiftcast.estimate.inputs import read_set

KINDS = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images with and without labels, and a network as weights, TorchScript and an exported program."""
    root = tmp_path_factory.mktemp("images")
    random = np.random.RandomState(0)
    for label, kind in enumerate(KINDS):
        (root / "val" / kind).mkdir(parents=True)
        for number in range(4):
            pixels = random.randint(0, 80, (20, 26, 3)) + 80 * label
            Image.fromarray(pixels.astype(np.uint8)).save(root / "val" / kind / f"{number}.png")
    (root / "new").mkdir()
    for number in range(5):
        pixels = random.randint(0, 256, (24, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "new" / f"{number}.png")
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=3).eval()
    torch.save(model.state_dict(), root / "weights.pth")
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        images = torch.zeros(2, 3, 16, 16)
        torch.jit.trace(model, images).save(root / "model.pt")
        torch.export.save(
            torch.export.export(model, (images,), dynamic_shapes=({0: batch},)), root / "model.pt2"
        )
    return root


@pytest.fixture
def call(folder, tmp_path, monkeypatch):
    """Run a command in the folder of images and return what it printed; its error is raised."""
    monkeypatch.chdir(folder)

    def called(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch, on reading
            done = CliRunner().invoke(app, [str(one) for one in arguments])
        if done.exception is not None:
            raise done.exception
        return done.output

    return called


def test_an_exported_model_as_a_file_of_either_kind(call, folder, tmp_path):
    found = []
    for model in ("model.pt2", "model.pt"):
        out = tmp_path / f"{model}.npz"
        size = ("--size", 16, "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
        said = call("collect", model, "val", "--out", out, *size, "--batch-size", 5, "--device", "cpu")
        assert f"{model} on val: 12 images, 3 classes" in said
        assert "shiftcast estimate --source" in said
        found.append(read_set(out, labelled=True))
    for own in found:
        assert own.classes == KINDS
        np.testing.assert_array_equal(own.predictions.labels, np.repeat([0, 1, 2], 4))
    np.testing.assert_allclose(found[0].predictions.logits, found[1].predictions.logits, atol=1e-4)
    model = timm.create_model("test_resnet", num_classes=3).eval()
    model.load_state_dict(torch.load(folder / "weights.pth"))
    image = Image.open(folder / "val" / "bee" / "2.png").crop((3, 0, 23, 20)).resize((16, 16), Image.BICUBIC)
    pixels = (torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1) - 0.5) / 0.25
    with torch.no_grad():
        np.testing.assert_allclose(found[0].predictions.logits[6], model(pixels[None])[0], atol=1e-3)


def test_a_timm_model_with_corrupted_copies_for_estimate(call, tmp_path):
    weights = ("--checkpoint", "weights.pth", "--device", "cpu")
    said = call("collect", "test_resnet", "val", "--out", tmp_path / "val.npz", "--corrupt", *weights)
    assert "12 images, 3 classes" in said
    assert "--others" in said
    call("collect", "test_resnet", "new", "--out", tmp_path / "new.npz", *weights)
    assert read_set(tmp_path / "new.npz", labelled=False).predictions.labels is None
    files = ("--source", tmp_path / "val.npz", "--target", tmp_path / "new.npz")
    others = ("--others", tmp_path / "val.corrupted.npz", "--estimators", "MeanShift,Entropy,AC", "--json")
    rows = {row["estimator"]: row for row in json.loads(call("estimate", *files, *others))["estimates"]}
    with np.load(tmp_path / "val.corrupted.npz") as archive:
        sets = [archive[name] for name in archive.files if name.startswith("logits/")]
        labels = archive["labels"]
    assert len(sets) == 12
    mean = np.mean([(one.argmax(1) == labels).mean() for one in sets])
    assert rows["MeanShift"]["accuracy"] == pytest.approx(mean, abs=1e-5)
    assert "skipped" not in rows["Entropy"]
    said = call("estimate", *files, "--estimators", "MeanShift,AC")
    assert "give them with --others FILE.npz" in " ".join(said.split())


def test_classes_may_be_named_in_a_file(call, tmp_path):
    (tmp_path / "classes.txt").write_text("cat\nbee\nant\n")
    options = ("--classes", tmp_path / "classes.txt", "--size", 16, "--out", tmp_path / "val.npz")
    call("collect", "model.pt", "val", *options)
    own = read_set(tmp_path / "val.npz", labelled=True)
    assert own.classes == ("cat", "bee", "ant")
    np.testing.assert_array_equal(own.predictions.labels, np.repeat([2, 1, 0], 4))
    (tmp_path / "classes.txt").write_text("cat\nbee\n")
    with pytest.raises(InvalidInputError, match="has no class 'ant'"):
        call("collect", "model.pt", "val", *options)
    (tmp_path / "classes.txt").write_text("cat\nbee\nant\ndog\n")
    with pytest.raises(InvalidInputError, match=r"4 classes are named, but the model has 3.*--classes"):
        call("collect", "model.pt", "val", *options)


def test_a_greyscale_model_gets_one_channel(call, folder, tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.trace(model, torch.zeros(2, 1, 16, 16)).save(tmp_path / "grey.pt")
    options = ("--size", 16, "--mean", "0", "--std", "1", "--corrupt", "--device", "cpu")
    call("collect", tmp_path / "grey.pt", "val", "--out", tmp_path / "grey.npz", *options)
    image = Image.open(folder / "val" / "bee" / "2.png").crop((3, 0, 23, 20)).resize((16, 16), Image.BICUBIC)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(np.asarray(image.convert("L")) / np.float32(255))[None, None])[0]
    found = read_set(tmp_path / "grey.npz", labelled=True).predictions.logits
    np.testing.assert_allclose(found[6], wanted, atol=1e-4)
    with pytest.raises(
        TrainingError, match=r"torch.uint8: RuntimeError: .* expected input\[12, 3, 16, 16\]"
    ) as given:
        call("collect", tmp_path / "grey.pt", "val", "--out", tmp_path / "no.npz", "--size", 16)
    assert "\n" not in str(given.value)  # and not TorchScript's tracebacks


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("model.pt", "val"), InvalidInputError, "--size: is needed"),
        (("model.pt", "nowhere", "--size", 16), InvalidInputError, "nowhere: there is no such folder"),
        (("model.pt", ".hidden", "--size", 16), MissingDataError, "neither it nor its folders hold images"),
        (("model.pt", "new", "--size", 16, "--corrupt"), InvalidInputError, "--corrupt needs labels"),
        (("model.pt2", "new", "--size", 9), TrainingError, "batch 0: the model fails on images"),
        (("model.pt", "new", "--size", 16, "--std", "1,1,0"), InvalidInputError, "--std: expected three"),
        (("model.pt", "new", "--size", 16, "--mean", "0"), InvalidInputError, "expected a number for each"),
        (("nothing.pt", "new", "--size", 16), InvalidInputError, "nothing.pt: there is no such file"),
        (("weights.pth", "new", "--size", 16), InvalidInputError, "cannot be read as a model of TorchScript"),
        (("test_resnte", "new"), UnknownNameError, "timm model 'test_resnte'; did you mean test_resnet"),
        (("test_resnet", "new", "--size", 16), InvalidInputError, "a timm model has its own"),
        (("test_vit", "new", "--checkpoint", "weights.pth"), TrainingError, "no weights for test_vit"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(call, folder, tmp_path, arguments, error, message):
    (folder / ".hidden").mkdir(exist_ok=True)
    with pytest.raises(error, match=message):
        call("collect", *arguments, "--out", tmp_path / "out.npz")
    assert list(tmp_path.glob("*.npz")) == []


def test_an_image_that_cannot_be_read_is_named_and_the_rest_is_kept(call, folder, tmp_path):
    broken = folder / "new" / "3.png"
    whole = broken.read_bytes()
    options = (
        "--size",
        16,
        "--batch-size",
        2,
        "--shards",
        tmp_path / "shards",
        "--out",
        tmp_path / "new.npz",
    )
    try:
        broken.write_bytes(whole[:100])
        with pytest.raises(DataError, match=r"new/3\.png: cannot be read as an image"):
            call("collect", "model.pt", "new", *options)
    finally:
        broken.write_bytes(whole)
    assert len(list((tmp_path / "shards").glob("shard-*"))) == 1
    assert "5 images" in call("collect", "model.pt", "new", *options)
