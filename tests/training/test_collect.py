"""`shiftcast.collect`: what it gives, what it leaves as it was, and which mistakes it names."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shiftcast
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.estimate.inputs import read_others, read_set
from shiftcast.estimators import COTT, NuclearNorm
from shiftcast.training import collect as core
from shiftcast.util.arrays import softmax

N, K = 40, 4
RANDOM = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.rand(N, 3, 9, 9, generator=RANDOM), torch.randint(K, (N,), generator=RANDOM)


class Net(nn.Module):
    def __init__(self, seed=0, classes=K):
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Linear(24, classes)

    def forward(self, images):
        return 9 * self.head(self.trunk(images))


class Returns(nn.Module):
    """A model that wraps what another returns."""

    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = Net(), wrap

    def forward(self, images):
        return self.wrap(self.net(images))


def batches(size=8, **options):
    return DataLoader(TensorDataset(IMAGES, LABELS), size, **options)


@pytest.fixture
def net():
    return Net()


@pytest.fixture(scope="module")
def expected():
    model = Net().eval()
    with torch.no_grad():
        return model(IMAGES).numpy()


def test_it_gives_the_models_logits_in_order(net, expected):
    found = shiftcast.collect(net, batches())
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.kind == "logits"


class Output(dict):
    logits = property(lambda self: self["scores"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: Output(scores=logits),
        lambda logits: (logits,),
        lambda logits: (logits, None, logits[0]),
        lambda logits: [logits, {"attention": logits}],
    ],
)
def test_what_models_return(wrap, expected):
    np.testing.assert_allclose(shiftcast.collect(Returns(wrap), batches()).logits, expected, atol=1e-5)


@pytest.mark.parametrize("images", ["pixel_values", "image", "images"])
@pytest.mark.parametrize("labels", ["labels", "label", None])
def test_batches_that_are_mappings(net, expected, images, labels):
    loader = [{images: x, **({labels: y} if labels else {})} for x, y in batches()]
    found = shiftcast.collect(net, loader)
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    assert (found.labels is None) == (labels is None)


@pytest.mark.parametrize("batch", [lambda x: x, lambda x: [x], lambda x: x.double(), lambda x: x.numpy()])
def test_batches_of_images_alone(net, expected, batch):
    found = shiftcast.collect(net, (batch(x) for x, _ in batches()))
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    assert found.labels is None


def test_labels_may_be_left_and_demanded(net):
    assert shiftcast.collect(net, batches(), labels=False).labels is None
    with pytest.raises(InvalidInputError, match="batch 0: has no labels"):
        shiftcast.collect(net, [IMAGES], labels=True)


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_gets_its_own_mode_back(net, fails):
    net.trunk[1].eval()
    modes = [module.training for module in net.modules()]
    loader = [(IMAGES, LABELS), (IMAGES, LABELS + K if fails else LABELS)]
    if fails:
        with pytest.raises(InvalidInputError, match=r"batch 1: labels: expected values in 0\.\.3"):
            shiftcast.collect(net, loader)
    else:
        shiftcast.collect(net, loader)
    assert [module.training for module in net.modules()] == modes
    assert not modes[3]
    assert modes[0]


def test_bfloat16_keeps_the_head_in_float32(net, expected):
    found = shiftcast.collect(net, batches(), precision="bfloat16").logits
    assert 1e-6 < np.abs(found - expected).max() < 0.2
    stored = torch.tensor(found / 9)
    assert (stored.bfloat16().double() != stored).float().mean() > 0.5  # more digits than bfloat16 has
    assert not net.head._forward_hooks
    assert not net.head._forward_pre_hooks
    np.testing.assert_allclose(shiftcast.collect(net, batches()).logits, expected, atol=1e-5)


def test_an_ensemble_in_the_same_pass(net):
    others = [Net(1), nn.Sequential(Net(2), nn.Softmax(1))]
    passed = []

    def counted():
        for batch in batches():
            passed.append(batch)
            yield batch

    found = shiftcast.collect(net, counted(), ensemble=others)
    assert len(passed) == 5
    first, second = (shiftcast.collect(model, batches()) for model in others)
    assert second.kind == "probabilities"
    np.testing.assert_allclose(found.reference, [softmax(first.logits), second.logits], atol=1e-6)


def test_what_it_writes_is_read_by_estimate(net, tmp_path):
    file, names = tmp_path / "val.npz", ["a", "b", "c", "d"]
    source, others = shiftcast.collect(net, batches(), corrupt=2, out=file, class_names=names)
    own = read_set(file, labelled=True)
    assert own.classes == tuple(names)
    np.testing.assert_array_equal(own.predictions.logits, source.logits)
    np.testing.assert_array_equal(own.predictions.labels, LABELS)
    read = read_others(tmp_path / "val.corrupted.npz", own)
    assert [one.group for one in read] == ["scaled_gaussian_noise"] * 3 + ["scaled_gaussian_blur"] * 3
    for one, other in zip(read, others, strict=True):
        assert one.name == f"val.corrupted.npz: {other.name}"
        np.testing.assert_array_equal(one.logits, other.logits)
        np.testing.assert_array_equal(one.labels, LABELS)
    fitted = NuclearNorm().fit(source, read)
    assert 0 <= fitted.predict(source.without_labels()).accuracy <= 1
    COTT().fit(source)


def test_corrupted_copies_are_those_of_the_images_before_normalisation(net):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
    grey = (IMAGES * 255).round() / 255
    normal = (grey - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    _, plain = shiftcast.collect(net, [(grey, LABELS)], corrupt=3)
    undo = nn.Sequential(Undo(mean, std), net)
    _, found = shiftcast.collect(undo, [(normal, LABELS)], corrupt=3, mean=mean, std=std)
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    assert np.abs(plain[0].logits - plain[2].logits).max() > 0.1
    with pytest.raises(InvalidInputError, match=r"batch 0: corrupt: .*give mean= and std="):
        shiftcast.collect(undo, [(normal, LABELS)], corrupt=True)
    with pytest.raises(InvalidInputError, match="has no labels"):
        shiftcast.collect(net, [grey], corrupt=True)
    with pytest.raises(InvalidInputError, match="how many of 10 types"):
        shiftcast.collect(net, batches(), corrupt=11)


class Undo(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def forward(self, images):
        return images * self.std + self.mean


def interrupted(after):
    for number, batch in enumerate(batches()):
        if number == after:
            raise KeyboardInterrupt
        yield batch


def test_an_interrupted_collection_goes_on_to_the_same_bytes(net, tmp_path, monkeypatch):
    monkeypatch.setattr(core, "AT_ONCE", 2)
    options = {"corrupt": 1, "ensemble": [Net(1)], "shards": tmp_path / "shards"}
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    shiftcast.collect(net, batches(), **{**options, "shards": None}, out=whole)
    with pytest.raises(KeyboardInterrupt):
        shiftcast.collect(net, interrupted(3), **options, out=parts)
    assert not parts.exists()
    assert len(list((tmp_path / "shards").glob("*.npz"))) == 2
    run = []
    net.register_forward_hook(lambda *_: run.append(1))
    found, _ = shiftcast.collect(net, batches(), **options, out=parts)
    assert len(run) == 2 * 4  # two batches, on their images and on three corrupted copies
    assert parts.read_bytes() == whole.read_bytes()
    assert (tmp_path / "parts.corrupted.npz").read_bytes() == (tmp_path / "whole.corrupted.npz").read_bytes()
    run.clear()
    again, _ = shiftcast.collect(net, batches(), **options)
    assert not run
    np.testing.assert_array_equal(again.logits, found.logits)
    np.testing.assert_array_equal(again.reference, found.reference)


def test_shards_of_something_else_are_refused(net, tmp_path):
    shiftcast.collect(net, batches(), shards=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    others = [
        (Net(1), batches(), {}, "another collection .models differ"),
        (net, batches(), {"corrupt": 1}, "another collection .corrupted, labels differ"),
        (net, batches(4), {}, "batch 0 is not the one"),
        (net, [(IMAGES.flip(0), LABELS)], {}, "batch 0 is not the one"),
        (net, [(x, (y + 1) % K) for x, y in batches()], {}, "batch 0 is not the one"),
        (net, list(batches())[:3], {}, "holds 5 batches, but the loader gave 3"),
        (net, batches(shuffle=True), {}, "the loader shuffles"),
        (lambda images: net(images), batches(), {}, "expected a torch.nn.Module"),
    ]
    for model, loader, more, message in others:
        with pytest.raises(InvalidInputError, match=message):
            shiftcast.collect(model, loader, shards=tmp_path, **more)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "collection.json").write_text("[1")
    with pytest.raises(InvalidInputError, match=r"collection\.json: is damaged"):
        shiftcast.collect(net, batches(), shards=tmp_path)


class Small(nn.Module):
    """A model on a device without room for more than five images."""

    def __init__(self, room):
        super().__init__()
        self.net, self.room, self.sizes = Net(), room, []

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return self.net(images)


def test_batches_that_memory_does_not_suffice_for_are_split(expected):
    model = Small(5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = shiftcast.collect(model, batches(20))
    said = "images do not fit into the memory of cpu; going on with at most"
    assert [str(one.message) for one in told] == [
        f"batch 0: 20 {said} 10 at a time",
        f"batch 0: 10 {said} 5 at a time",
    ]
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    assert model.sizes == [20, 10, *[5] * 8]
    warnings.simplefilter("ignore")  # until pytest restores them after the test
    with pytest.raises(TrainingError, match=r"batch 0: the model fails .*memory"):
        shiftcast.collect(Small(0), batches())


def test_a_shuffled_loader_keeps_labels_with_their_images(net, expected):
    with pytest.warns(UserWarning, match="shuffles: labels follow their images, but .*ensemble="):
        found = shiftcast.collect(net, batches(shuffle=True))
    assert found.accuracy == (expected.argmax(1) == LABELS.numpy()).mean()


def bad(number, value):
    for place, (images, labels) in enumerate(batches()):
        if place == number:
            images[3] = value
        yield images, labels


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "the loader is empty"),
        (lambda: bad(3, float("nan")), "batch 3: NaN or infinite logits for 1 of its 8 images, .* place 3"),
        ([(IMAGES, LABELS), IMAGES], "batch 1: has no labels"),
        ([IMAGES, (IMAGES, LABELS)], "batch 1: has labels, but those before it had none"),
        ([(IMAGES, LABELS.float())], r"batch 0: labels: expected integers.*labels=False"),
        ([(IMAGES, LABELS[:3])], r"batch 0: labels: expected shape \(40,\)"),
        ([{"x": IMAGES}], "batch 0: expected images under pixel_values"),
        ([["a", "b"]], "batch 0: expected images as a tensor .*got str"),
    ],
)
def test_batches_that_are_refused_by_number(net, loader, message):
    with pytest.raises(InvalidInputError, match=message):
        shiftcast.collect(net, loader() if callable(loader) else loader)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda logits: "text", "batch 0: expected logits .* returned a str"),
        (lambda logits: {"scores": logits}, "returned a dict with scores"),
        (lambda logits: (logits, logits), r"returned a tuple of \(8, 4\), \(8, 4\); several .*logits_of"),
        (lambda logits: logits[:, 0], r"got \(8,\); of one logit z"),
        (lambda logits: logits[:5], r"expected logits \(8, K\) of K >= 2 classes, got \(5, 4\)"),
    ],
)
def test_models_without_clear_logits_are_refused(wrap, message):
    with pytest.raises(InvalidInputError, match=message):
        shiftcast.collect(Returns(wrap), batches())


def test_logits_may_be_taken_out_by_a_function(expected):
    model = Returns(lambda logits: (logits, logits + 1))
    found = shiftcast.collect(model, batches(), logits_of=lambda output: output[1])
    np.testing.assert_allclose(found.logits, expected + 1, atol=1e-5)


def test_other_mistakes_are_named(net, tmp_path):
    class Changing(Net):
        def forward(self, images):
            return super().forward(images)[:, : 4 if len(images) == 8 else 3]

    with pytest.raises(InvalidInputError, match="batch 1: 3 classes, but 4 before"):
        shiftcast.collect(Changing(), [IMAGES[:8], IMAGES[:4]])
    with pytest.raises(InvalidInputError, match="model 1, batch 0: 3 classes, but 4 before"):
        shiftcast.collect(net, batches(), ensemble=[Net(classes=3)])
    with pytest.raises(TrainingError, match=r"batch 0: the model fails on images \(40, 9, 9\)"):
        shiftcast.collect(net, [IMAGES[:, 0]])
    with pytest.raises(InvalidInputError, match="3 classes are named, but the model has 4"):
        shiftcast.collect(net, batches(), class_names=["a", "b", "c"])
    with pytest.raises(InvalidInputError, match="a name stands there twice"):
        shiftcast.collect(net, batches(), class_names=["a", "b", "c", "a"])
    with pytest.raises(InvalidInputError, match=r"out: expected a name that ends in \.npz"):
        shiftcast.collect(net, batches(), out=tmp_path / "val.npy")
    with pytest.raises(InvalidInputError, match="precision: expected 'auto', 'float32', 'bfloat16'"):
        shiftcast.collect(net, batches(), precision="half")
    with pytest.raises(InvalidInputError, match="labels: expected 'auto', True, False"):
        shiftcast.collect(net, batches(), labels="yes")
    assert list(tmp_path.iterdir()) == []
