"""Timing the training: what is counted, that both sides do the same work, and what can go wrong."""

import statistics
import time

import pytest
import torch

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.training import speed as bench
from shiftcast.training.loop import Trainer, derive_seeds, deterministic
from shiftcast.training.resident import ResidentImages, normalise
from shiftcast.training.speed import (
    ARMS,
    LIMIT,
    PLAIN,
    RESIDENT,
    Plan,
    measure_training,
    plain_loader,
    plain_step,
    random_images,
)

CARD = ArchitectureCard(
    name="x", timm="test_resnet", family="x", title="", citation="", parameters=1, feature_map=[1, 2]
)
RECIPE = Recipe(
    name="tiny",
    title="",
    epochs=1,
    batch_size=8,
    optimiser="sgd",
    learning_rate=0.5,
    weight_decay=0.0,
    schedule="one-cycle",
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loader(recipe=RECIPE):
    pixels, labels = random_images(40)
    data = ResidentImages(pixels, labels)
    return data, plain_loader(pixels, labels, recipe, data, workers=0)


def training(data, recipe=RECIPE):
    seeds = derive_seeds(CARD.name, recipe.name, 0)
    model = bench.seeded_model(CARD, bench.CLASSES, seeds.weights)
    return Trainer(model.train(), CARD, data, recipe, seeds, None)


def test_every_arm_is_read_once_a_round():
    before, rounds = torch.random.get_rng_state(), []
    recipe = RECIPE.model_copy(update={"crop_padding": 4, "flip": True, "cutout": 8, "resolutions": [16]})
    measured = measure_training(CARD, recipe, Plan(0, 0.02, 2, 40), "cpu", rounds.append)
    assert rounds == [1, 2]
    assert not torch.are_deterministic_algorithms_enabled()
    assert list(measured.speeds) == list(ARMS)
    for values in measured.speeds.values():
        assert len(values) == 2
        assert min(values) > 0
    assert (measured.parameters, measured.precision) == (373658, "float32")
    pairs = zip(measured.speeds[RESIDENT], measured.speeds[PLAIN], strict=True)
    assert measured.ratio(PLAIN) == statistics.median(ours / theirs for ours, theirs in pairs)
    assert measured.ratio(RESIDENT) == 1
    torch.random.set_rng_state(before)


def test_only_steps_after_the_warm_up_count():
    taken = []

    def steps():
        while True:
            time.sleep(0.02)
            taken.append(5)
            yield 5

    assert bench._read(steps(), 0.0) <= 5 / 0.02
    assert len(taken) == bench.WARM_UP + 1


def test_each_arm_has_its_own_batches_step_and_kernels(monkeypatch):
    data, batches = loader()
    trainer = training(data)
    seen, step = [], trainer.step

    def stepping(images, labels, rate):
        assert torch.are_deterministic_algorithms_enabled()
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert images.shape[1:] == (3, 32, 32)
        seen.append(images)
        return step(images, labels, rate)

    monkeypatch.setattr(trainer, "step", stepping)
    counted = {}
    for name, begin in bench._arms(trainer, batches).items():
        before, steps = len(seen), begin()
        assert [next(steps), next(steps)] == [8, 8]
        steps.close()
        counted[name] = len(seen) - before
    assert counted == {PLAIN: 0, RESIDENT: 2, LIMIT: 2}
    assert seen[-1] is seen[-2]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon"])
def test_the_plain_step_is_our_step(monkeypatch, optimiser):
    made = []
    build = bench.seeded_model
    monkeypatch.setattr(bench, "seeded_model", lambda *given: made.append(build(*given)) or made[-1])
    recipe = RECIPE.model_copy(update={"optimiser": optimiser, "label_smoothing": 0.1, "clip_norm": 1.0})
    data, batches = loader(recipe)
    trainer = training(data, recipe)
    plain = plain_step(trainer)
    ours, theirs = made
    before = [p.detach().clone() for p in ours.parameters()]
    images, labels = next(iter(batches))
    with deterministic(CPU):
        rate = bench.first_rate(recipe)
        trainer.step(images.contiguous(memory_format=torch.channels_last), labels, rate)
    plain(images, labels)
    moved = sum((p - q).abs().sum().item() for p, q in zip(ours.parameters(), before, strict=True))
    apart = sum(
        (p - q).abs().sum().item() for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)
    )
    assert moved > 0
    assert apart < 0.01 * moved
    convolution = next(p for p in theirs.parameters() if p.ndim == 4)
    assert convolution.is_contiguous()


def test_the_plain_loader_shows_the_same_images():
    data, batches = loader()
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = normalise(data.images, *data.statistics)
    order = [int((expected - image).abs().flatten(1).amax(dim=1).argmin()) for image in images]
    assert sorted(order) == list(range(40))
    assert order != sorted(order)
    torch.testing.assert_close(images, expected[order], atol=1e-5, rtol=0)
    assert labels.tolist() == data.labels[order].tolist()


def test_the_plain_loader_augments_as_the_recipe_says():
    augmented = {"crop_padding": 2, "crop_fill": "reflect", "flip": True, "cutout": 8}
    _, batches = loader(RECIPE.model_copy(update=augmented))
    crop, *others = batches.dataset.transform.transforms
    assert (crop.padding, crop.padding_mode) == (2, "reflect")
    names = [type(one).__name__ for one in others]
    assert names == ["RandomHorizontalFlip", "ToTensor", "Normalize", "RandomErasing"]
    assert ((next(iter(batches))[0] == 0).all(dim=1).flatten(1).sum(dim=1) == 64).all()


def test_want_of_memory_is_named(monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(bench, "logits_of", refuse)
    with pytest.raises(TrainingError, match=r"x: memory on cpu does not suffice: tried"):
        measure_training(CARD, RECIPE, Plan(0, 0.02, 1, 40), "cpu")


def test_a_process_of_the_loader_that_dies_is_named(monkeypatch):
    def end(*_):
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    monkeypatch.setattr(bench, "_read", end)
    with pytest.raises(TrainingError, match=r"x: a DataLoader process .* died .*exited.*lower --workers"):
        measure_training(CARD, RECIPE, Plan(1, 0.02, 1, 40), "cpu")


@pytest.mark.parametrize("batch_size", [1, 41])
def test_batches_that_do_not_fit_are_refused(batch_size):
    recipe = RECIPE.model_copy(update={"batch_size": batch_size})
    with pytest.raises(InvalidInputError, match=f"expected 2 to 40, got {batch_size}"):
        measure_training(CARD, recipe, Plan(0, 0.02, 1, 40), "cpu")
