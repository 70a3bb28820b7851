"""Faults around `shiftcast.collect`: what is refused before a pass, and what a pass must not change."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler, TensorDataset

import shiftcast
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.training.images import Normalised

N, K = 16, 3
RANDOM = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.rand(N, 3, 5, 5, generator=RANDOM), torch.randint(K, (N,), generator=RANDOM)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(36, K))


def batches(**options):
    return DataLoader(TensorDataset(IMAGES, LABELS), **({"batch_size": 4} | options))


@pytest.fixture(scope="module")
def expected():
    with torch.no_grad():
        return network().eval()(IMAGES).numpy()


class Listed(nn.Module):
    """A model that keeps its network where torch does not see it."""

    def __init__(self, net):
        super().__init__()
        self.nets = [net]

    def forward(self, images):
        return self.nets[0](images)


@pytest.mark.parametrize(
    "wrap", [lambda net: lambda images: net(images), functools.partial, lambda net: net.__call__, Listed]
)
def test_networks_that_are_hidden_run_in_evaluation_mode(wrap, expected):
    net = network()
    modes = [module.training for module in net.modules()]
    found = shiftcast.collect(wrap(net), batches())
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    assert int(net[1].num_batches_tracked) == 0
    assert [module.training for module in net.modules()] == modes
    assert not torch.nn.modules.module._global_forward_pre_hooks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device: expected 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ({"device": None}, "device: expected .* got None"),
        ({"device": "meta"}, "device: expected .* got 'meta'"),
        ({"ensemble": network()}, "ensemble: expected a list of models, got a Sequential"),
        ({"corrupt": "yes"}, "corrupt: expected True, False or a number of types, got 'yes'"),
        ({"corrupt": 2.5}, "corrupt: expected .* got 2.5"),
        ({"corrupt": 1, "mean": [0.1, 0.2]}, "mean: expected a number, or one for each of 3 channels"),
        ({"corrupt": 1, "mean": "a"}, "mean: expected a number"),
        ({"corrupt": 1, "std": 0}, "std: expected numbers above 0"),
        ({"class_names": [0, 1, 2]}, "class_names: expected a list of texts"),
        ({"class_names": "abc"}, "class_names: expected a list of texts"),
        ({"logits_of": lambda output: output["x"]}, "batch 0: logits_of fails on what the model returned"),
    ],
)
def test_arguments_that_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        shiftcast.collect(network(), batches(), **options)


@pytest.mark.parametrize("loader", [5, None, TensorDataset(IMAGES, LABELS), IMAGES])
def test_what_gives_no_batches_is_refused(loader):
    with pytest.raises(InvalidInputError, match=r"loader: expected batches, as of .*DataLoader"):
        shiftcast.collect(network(), loader)


@pytest.mark.parametrize("at", ["folder.npz", "file/val.npz"])
def test_where_nothing_can_be_written_is_refused_before_the_pass(tmp_path, at):
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").write_text("x")

    def loader():
        raise AssertionError("a pass began")
        yield

    with pytest.raises(InvalidInputError, match="out: "):
        shiftcast.collect(network(), loader(), out=tmp_path / at)
    with pytest.raises(InvalidInputError, match=r"shards: .*file is a file; name a folder"):
        shiftcast.collect(network(), loader(), shards=tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [
        lambda images: np.ascontiguousarray(images[:, :, :, ::-1])[:, :, :, ::-1],
        lambda images: images.astype(">f4"),
        lambda images: np.broadcast_to(images, images.shape),
        np.asfortranarray,
    ],
)
def test_arrays_in_any_memory_order(change, expected):
    found = shiftcast.collect(network(), [(change(IMAGES.numpy()), LABELS)])
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (
            lambda logits: (logits.mean(), logits),
            "the first is not logits .* logits_of=lambda",
        ),
        (lambda logits: logits.mean(), r"expected logits \(4, K\) of K >= 2 classes, got \(\)"),
        (lambda logits: logits.to(torch.complex64), "of complex numbers"),
        (lambda logits: None, "the model returned a NoneType"),
    ],
)
def test_outputs_that_are_no_logits(wrap, message):
    net = network()
    with pytest.raises(InvalidInputError, match=message):
        shiftcast.collect(lambda images: wrap(net(images)), batches())


@pytest.mark.parametrize("error", [KeyError("k"), IndexError("i"), ZeroDivisionError("z")])
def test_whatever_a_model_raises_is_told_by_batch(error):
    def model(images):
        raise error

    with pytest.raises(TrainingError, match=f"batch 0: the model fails .*{type(error).__name__}"):
        shiftcast.collect(model, batches())


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": SubsetRandomSampler(range(N))},
        {"batch_size": 1, "batch_sampler": BatchSampler(RandomSampler(range(N)), 4, False)},
    ],
)
def test_other_ways_to_shuffle_are_told(options):
    with pytest.warns(UserWarning, match="the loader shuffles"):
        shiftcast.collect(network(), batches(**options))


def damage(folder, **arrays):
    with np.load(folder / "shard-00000.npz") as known:
        kept = {name: value for name, value in known.items() if arrays.get(name, 0) is not None}
    np.savez(folder / "shard-00000.npz", **kept | {k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda folder: (folder / "shard-00000.npz").write_bytes(b"PK\x03\x04"),
            "truncated .*; delete it",
        ),
        (lambda folder: damage(folder, digests=None), "is not a shard .*; delete it and the shards after it"),
        (lambda folder: damage(folder, outputs=np.zeros(3)), "is not a shard"),
        (lambda folder: damage(folder, outputs=np.zeros((1, 5, K))), "is not a shard"),
        (lambda folder: damage(folder, labels=np.zeros(3)), "is not a shard"),
        (lambda folder: (folder / "collection.json").write_text('{"a"'), "is damaged; name another folder"),
        (lambda folder: (folder / "collection.json").write_text("[]"), "is damaged; name another folder"),
        (lambda folder: (folder / "collection.json").write_bytes(b"\xff"), "is damaged; name another folder"),
    ],
)
def test_damaged_shards_are_refused_and_stay(tmp_path, harm, message):
    shiftcast.collect(network(), batches(), shards=tmp_path)
    harm(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InvalidInputError, match=message):
        shiftcast.collect(network(), batches(), shards=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_deleted_shard_is_made_again(tmp_path, expected):
    shiftcast.collect(network(), batches(), shards=tmp_path)
    (tmp_path / "shard-00000.npz").unlink()
    found = shiftcast.collect(network(), batches(), shards=tmp_path)
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)


def test_shards_are_not_continued_with_another_function_or_normalisation(tmp_path):
    shiftcast.collect(network(), batches(), shards=tmp_path / "a", logits_of=lambda output: output)
    with pytest.raises(InvalidInputError, match="logits_of differ"):
        shiftcast.collect(network(), batches(), shards=tmp_path / "a", logits_of=lambda output: -output)
    pixels = [((255 * IMAGES).to(torch.uint8), LABELS)]
    std = (0.2, 0.2, 0.2)
    shiftcast.collect(Normalised(network(), (0.4, 0.4, 0.4), std), pixels, shards=tmp_path / "b")
    with pytest.raises(InvalidInputError, match="models differ"):
        shiftcast.collect(Normalised(network(), (0.5, 0.4, 0.4), std), pixels, shards=tmp_path / "b")
