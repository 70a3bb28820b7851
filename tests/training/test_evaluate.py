"""One pass over all sets gives what each set alone would."""

import numpy as np
import pytest
import torch

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.training import evaluate as evaluation
from shiftcast.training.evaluate import Network, evaluate
from shiftcast.training.loop import seeded_model
from shiftcast.training.network import logits_of

MEAN, STD = (120.0, 125.0, 130.0), (60.0, 61.0, 62.0)
CARD = ArchitectureCard(
    name="x", timm="test_resnet", family="x", title="", citation="", parameters=1, feature_map=[1, 2]
)


def network(model, card=CARD):
    return Network(model, card, MEAN, STD, "cpu")


@pytest.fixture
def sets():
    random = np.random.RandomState(0)
    return {
        name: random.randint(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        for name, n in [("a", 13), ("b", 1), ("c", 30)]
    }


@pytest.fixture
def model():
    return seeded_model(CARD, 10, 0)


def test_logits_are_those_of_the_normalised_images(model, sets):
    found = evaluate(network(model), sets, batch_size=8)
    assert list(found) == ["a", "b", "c"]
    for name, images in sets.items():
        normalised = (images.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
        with torch.no_grad():
            expected = logits_of(model, CARD, torch.from_numpy(normalised.transpose(0, 3, 1, 2).copy()))
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 13, 44, 512])
def test_concatenation_does_not_matter(model, sets, batch_size):
    together = evaluate(network(model), sets, batch_size=batch_size)
    for name, images in reversed(sets.items()):
        alone = evaluate(network(model), {name: images})
        np.testing.assert_allclose(together[name], alone[name], atol=1e-4)


def test_batches_that_memory_does_not_suffice_for_are_halved(model, sets, monkeypatch):
    real, tried = evaluation.outputs_of, []

    def scarce(model, card, images):
        tried.append(len(images))
        if len(images) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, card, images)

    expected = evaluate(network(model), sets)
    monkeypatch.setattr(evaluation, "outputs_of", scarce)
    found = evaluate(network(model), sets, batch_size=20)
    assert 20 in tried
    for name in sets:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_nothing_in_the_model_changes(model, sets):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(network(model), sets)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_batches_fill_across_borders_and_progress_is_told(model, sets):
    told = []
    evaluate(network(model), sets, batch_size=16, on_progress=lambda *at: told.append(at))
    assert told == [(16, 44), (32, 44), (44, 44)]


def test_memory_mapped_sets_are_taken(model, sets, tmp_path):
    np.save(tmp_path / "a.npy", sets["a"])
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    found = evaluate(network(model), {"a": mapped})["a"]
    np.testing.assert_array_equal(found, evaluate(network(model), {"a": sets["a"]})["a"])


def test_bfloat16_gives_float32_logits_near_those_of_float32(model, sets):
    card = CARD.model_copy(update={"precision": "bfloat16"})
    half = evaluate(network(model, card), sets)["c"]
    full = evaluate(network(model), sets)["c"]
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.05)


@pytest.mark.parametrize("batch_size", [1, 13, 44, 512])
def test_features_are_passed_on_set_by_set(model, sets, batch_size):
    passed = {}
    found = evaluate(
        network(model),
        sets,
        batch_size=batch_size,
        on_features=lambda name, logits, features: passed.update({name: (logits, features)}),
    )
    assert list(passed) == list(sets)
    head = model.get_classifier()
    for name, (logits, features) in passed.items():
        np.testing.assert_array_equal(logits, found[name])
        with torch.no_grad():
            np.testing.assert_allclose(head(torch.from_numpy(features.copy())), logits, atol=1e-4)
