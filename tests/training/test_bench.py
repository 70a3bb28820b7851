"""Timing the training: what is counted, that both sides do the same work, and what can go wrong."""

import multiprocessing
import statistics
import time
from contextlib import closing, nullcontext

import numpy as np
import pytest
import torch

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import InvalidInputError, TrainingError
from shiftcast.training import speed as bench
from shiftcast.training.loop import deterministic
from shiftcast.training.resident import ResidentImages, normalise
from shiftcast.training.speed import (
    ARMS,
    LIMIT,
    OUR_STEP,
    PLAIN,
    RESIDENT,
    Plan,
    Spread,
    describe_machine,
    measure_training,
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
PLAN = Plan(workers=0, seconds=0.02, rounds=2, images=40)
CPU = torch.device("cpu")
forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loader(recipe=RECIPE, images=40, workers=0):
    pixels, labels = random_images(images)
    data = ResidentImages(pixels, labels)
    return data, bench._Loader(pixels, labels, recipe, data.statistics, workers, CPU)


@pytest.fixture(scope="module")
def measured():
    before = torch.random.get_rng_state()
    rounds = []
    recipe = RECIPE.model_copy(update={"crop_padding": 4, "flip": True, "cutout": 8, "clip_norm": 1.0})
    found = measure_training(CARD, recipe, PLAN, "cpu", rounds.append)
    assert rounds == [1, 2]
    assert not torch.are_deterministic_algorithms_enabled()
    torch.random.set_rng_state(before)
    return found


def test_every_arm_is_read_once_a_round(measured):
    assert list(measured.speeds) == list(ARMS)
    for values in (*measured.speeds.values(), *measured.precisions.values()):
        assert len(values) == PLAN.rounds
        assert min(values) > 0
    assert (measured.architecture, measured.recipe, measured.batch_size) == ("x", "tiny", 8)
    assert (measured.parameters, measured.precision, measured.parts) == (373658, "float32", 1)
    assert measured.precision_set_in == "architectures/x.toml"
    assert set(measured.precisions) == {"float32", "bfloat16"}


def test_ratios_are_taken_within_rounds(measured):
    resident = measured.speeds[RESIDENT]
    for arm in (PLAIN, LIMIT):
        rounds = [a / b for a, b in zip(resident, measured.speeds[arm], strict=True)]
        assert measured.ratio(arm) == Spread(statistics.median(rounds), min(rounds), max(rounds))
    assert measured.ratio(RESIDENT) == Spread(1, 1, 1)
    assert measured.speed(PLAIN).low <= measured.speed(PLAIN).median <= measured.speed(PLAIN).high


def test_a_recipes_precision_counts_before_the_cards():
    recipe = RECIPE.model_copy(update={"precision": "bfloat16", "ema": 0.9, "optimiser": "adamw"})
    found = measure_training(CARD, recipe, Plan(0, 0.01, 1, 16), "cpu")
    assert (found.precision, found.other_precision) == ("bfloat16", "float32")
    assert found.precision_set_in == "benchmark/recipes/tiny.toml"
    [used], [other] = found.precisions["bfloat16"], found.precisions["float32"]
    assert found.precision_ratio.median == used / other


def test_only_steps_after_the_warm_up_count():
    handed, taken, rested = [], [], []

    def batches():
        while True:
            handed.append(1)
            yield torch.zeros(5, 1), torch.zeros(5)

    def step(images, labels):
        taken.append(len(labels))
        time.sleep(0.02)

    arm = bench._Arm(batches(), step, CPU, nullcontext, 3, lambda: rested.append(len(taken)))
    arm.warm_up(3)
    assert (len(handed), len(taken), rested) == (6, 3, [3])
    speed = arm.read(0.0)
    # What lay ready is passed over, one step is not counted, one is.
    assert (len(handed), len(taken), rested) == (11, 5, [3, 5])
    assert speed <= 5 / 0.02
    assert arm.read(0.05) <= 5 / 0.02
    assert len(taken) >= 7


def test_each_arm_has_its_own_loader_step_and_kernels(monkeypatch):
    data, batches = loader()
    trainer = bench._trainer(CARD, data, RECIPE)
    resident, seen = [], []
    whole, step = trainer.batches, trainer.step

    def handing():
        for batch in whole():
            resident.append(1)
            yield batch

    def stepping(images, labels, rate):
        assert torch.are_deterministic_algorithms_enabled()
        assert images.is_contiguous(memory_format=torch.channels_last)
        seen.append(images)
        return step(images, labels, rate)

    fixed = next(whole())
    monkeypatch.setattr(trainer, "batches", handing)
    monkeypatch.setattr(trainer, "step", stepping)
    found = {}
    for name, arm in bench._arms(trainer, batches, fixed, CPU).items():
        before = batches.taken, len(seen), len(resident)
        arm.read(0.0)
        found[name] = tuple(np.subtract((batches.taken, len(seen), len(resident)), before).tolist())
    assert found == {PLAIN: (2, 0, 0), OUR_STEP: (2, 2, 0), RESIDENT: (0, 2, 2), LIMIT: (0, 2, 0)}
    assert seen[-1] is seen[-2] is fixed[0]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon"])
def test_the_plain_step_is_our_step(monkeypatch, optimiser):
    made = []
    build = bench.seeded_model

    def watched(*arguments):
        made.append(build(*arguments))
        return made[-1]

    monkeypatch.setattr(bench, "seeded_model", watched)
    recipe = RECIPE.model_copy(update={"optimiser": optimiser, "label_smoothing": 0.1})
    data, batches = loader(recipe)
    trainer = bench._trainer(CARD, data, recipe)
    plain = bench._plain_step(trainer, CPU)
    ours, theirs = made
    before = [p.detach().clone() for p in ours.parameters()]
    images, labels = next(batches)
    with deterministic(CPU):
        trainer.step(images.contiguous(memory_format=torch.channels_last), labels, bench._rate(recipe))
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
    seen = [next(batches) for _ in range(5)]
    expected = normalise(data.images, *data.statistics)
    order = [
        int((expected - image).abs().flatten(1).amax(dim=1).argmin())
        for images, _ in seen
        for image in images
    ]
    assert sorted(order) == list(range(40))
    assert order != sorted(order)
    torch.testing.assert_close(torch.cat([images for images, _ in seen]), expected[order], atol=1e-5, rtol=0)
    assert torch.cat([labels for _, labels in seen]).tolist() == data.labels[order].tolist()


def test_the_plain_loader_augments_as_the_recipe_says():
    recipe = RECIPE.model_copy(update={"crop_padding": 2, "flip": True, "cutout": 8})
    _, plain = loader()
    _, augmented = loader(recipe)
    names = [type(one).__name__ for one in augmented.loader.dataset.transform.transforms]
    assert names == ["RandomCrop", "RandomHorizontalFlip", "ToTensor", "Normalize", "RandomErasing"]
    blanks = [(next(batches)[0] == 0).all(dim=1).flatten(1).sum(dim=1) for batches in (plain, augmented)]
    assert blanks[0].tolist() == [0] * 8
    assert (blanks[1] == 64).all()


def test_the_plain_loader_pads_as_the_recipe_says():
    recipe = RECIPE.model_copy(update={"crop_padding": 2, "crop_fill": "reflect", "flip": "alternating"})
    _, augmented = loader(recipe)
    crop, flip, *_ = augmented.loader.dataset.transform.transforms
    assert (crop.padding, crop.padding_mode, type(flip).__name__) == (2, "reflect", "RandomHorizontalFlip")


def test_all_arms_train_on_whole_images(monkeypatch):
    sides = set()
    step = bench.Trainer.step
    watched = lambda self, images, *rest: sides.add(images.shape[-1]) or step(self, images, *rest)  # noqa: E731
    monkeypatch.setattr(bench.Trainer, "step", watched)
    measure_training(CARD, RECIPE.model_copy(update={"resolutions": [16]}), Plan(0, 0.01, 1, 16), "cpu")
    assert sides == {32}


@forks
def test_processes_come_to_rest_and_end():
    others = set(multiprocessing.active_children())
    _, batches = loader(images=80, workers=1)  # ten batches an epoch
    with closing(batches):
        assert batches.ahead == 2
        for taken, made in ((1, 3), (9, 10), (10, 10), (11, 13)):
            while batches.taken < taken:
                next(batches)
            batches.rest()
            assert batches.made.value == made
        time.sleep(0.05)
        assert batches.made.value == 13
        assert set(multiprocessing.active_children()) - others
    assert not set(multiprocessing.active_children()) - others


@forks
def test_a_process_that_dies_is_named():
    others = set(multiprocessing.active_children())

    def kill(_):
        for child in set(multiprocessing.active_children()) - others:
            child.kill()

    with pytest.raises(TrainingError, match=r"x: one of the 1 DataLoader processes .* died .*--workers"):
        measure_training(CARD, RECIPE, Plan(1, 0.05, 2, 80), "cpu", kill)


def test_want_of_memory_is_named(monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(bench, "logits_of", refuse)
    with pytest.raises(TrainingError, match=r"x: memory does not suffice .* batches of 8 .*--batch-size"):
        measure_training(CARD, RECIPE, PLAN, "cpu")


@pytest.mark.parametrize("batch_size", [1, 41])
def test_batches_that_do_not_fit_are_refused(batch_size):
    with pytest.raises(InvalidInputError, match=f"expected 2 to 40 .* got {batch_size}"):
        measure_training(CARD, RECIPE.model_copy(update={"batch_size": batch_size}), PLAN, "cpu")


def test_the_machine_is_described():
    machine = describe_machine("cpu")
    assert machine.device == "cpu"
    assert machine.name
    assert (machine.cores >= 1, machine.threads) == (True, torch.get_num_threads())
    assert machine.packages["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_random_images_are_the_same_each_time():
    first, second = random_images(20), random_images(20)
    assert first[0].shape == (20, 32, 32, 3)
    assert first[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
