"""The loop: schedule, groups, learning, and resuming to the same bits."""

import math

import numpy as np
import pytest
import torch

from shiftcast.cards import ArchitectureCard, Recipe
from shiftcast.errors import TrainingError
from shiftcast.training.loop import (
    build_optimiser,
    derive_seeds,
    learning_rate,
    load_checkpoint,
    seeded_model,
    train,
)
from shiftcast.training.resident import ResidentImages

RECIPE = Recipe(
    name="tiny",
    title="",
    epochs=4,
    batch_size=32,
    optimiser="adamw",
    learning_rate=0.002,
    weight_decay=0.01,
    schedule="one-cycle",
    crop_padding=2,
    flip=True,
    cutout=4,
    label_smoothing=0.1,
    clip_norm=1.0,
)
SEEDS = derive_seeds("x", "tiny", 0)


def make(timm, **values):
    needed = {"name": "x", "family": "x", "title": "", "citation": "", "parameters": 1, "feature_map": [1, 2]}
    return ArchitectureCard(timm=timm, **needed | values)


RESNET = make("test_resnet")
VIT = make("test_vit", kwargs={"img_size": 32, "patch_size": 8, "drop_rate": 0.1, "drop_path_rate": 0.1})
HALF = make("test_resnet", precision="bfloat16")


def change(recipe=RECIPE, **values):
    return recipe.model_copy(update=values)


@pytest.fixture(scope="module")
def data():
    """Images of one grey level a class, under noise."""
    random = np.random.RandomState(0)
    labels = np.arange(97) % 4
    images = 40 + 50 * labels[:, None, None, None] + random.randint(-30, 31, (97, 32, 32, 3))
    return ResidentImages(images.astype(np.uint8), labels)


def run(card, data, recipe=RECIPE, **options):
    model = seeded_model(card, 4, SEEDS.weights)
    log = train(model, card, data, recipe, SEEDS, "cpu", **options)
    return log, model.state_dict()


def assert_same(first, second):
    assert first[0] == second[0]
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(first[1][key], second[1][key]) for key in first[1])


# The learning rate


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("one-cycle", [0.04, 0.52, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("cosine", [0.04, 0.52, *((1 + math.cos(math.pi * k / 8)) / 2 for k in range(8))]),
    ],
)
def test_learning_rate_by_hand(schedule, expected):
    recipe = change(learning_rate=1.0, warmup=0.2, schedule=schedule)
    assert [learning_rate(recipe, step, 10) for step in range(10)] == pytest.approx(expected)


def test_learning_rate_without_warmup_starts_at_the_peak():
    recipe = change(learning_rate=0.5, warmup=0.0)
    assert [learning_rate(recipe, step, 4) for step in range(4)] == [0.5, 0.375, 0.25, 0.125]


# Seeds


def test_seeds_by_hand():
    import hashlib

    seeds = derive_seeds("net", "recipe", 3)
    digest = hashlib.sha256(b"shiftcast/1|order|net|recipe|3").hexdigest()
    assert seeds.order == int(digest[:16], 16) % 2**63
    assert len({seeds.weights, seeds.order, seeds.augmentation}) == 3
    assert "shiftcast/1|AXIS|net|recipe|3" in seeds.derivation


# The optimiser


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_weight_decay_spares_norms_biases_and_exempt_parameters(optimiser):
    model = seeded_model(VIT, 4, 0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optimiser(model, change(optimiser=optimiser)).param_groups
    spared, decayed = ({names[id(p)] for p in group["params"]} for group in groups)
    assert [group["weight_decay"] for group in groups] == [0.0, 0.01]
    assert {"pos_embed", "cls_token", "patch_embed.proj.bias", "blocks.0.norm1.weight", "head.bias"} <= spared
    assert {"patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "head.weight"} <= decayed
    assert len(spared | decayed) == len(names)


def test_optimisers_are_the_recipes():
    model = seeded_model(RESNET, 4, 0)
    sgd = build_optimiser(model, change(optimiser="sgd", momentum=0.8))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"], sgd.defaults["fused"]) == (0.8, True, True)
    assert not build_optimiser(model, change(optimiser="sgd", momentum=0.0)).defaults["nesterov"]
    assert isinstance(build_optimiser(model, RECIPE), torch.optim.AdamW)


# Training


@pytest.mark.parametrize("card", [RESNET, VIT, HALF], ids=["resnet", "vit", "bfloat16"])
def test_loss_falls(card, data):
    log, _ = run(card, data, change(epochs=8, label_smoothing=0.0, cutout=0))
    assert log[-1].loss < 0.7 * log[0].loss
    assert log[-1].accuracy > log[0].accuracy
    assert log[-1].learning_rate == pytest.approx(0.002 / (0.8 * 24))


def test_sgd_trains(data):
    log, _ = run(RESNET, data, change(epochs=6, optimiser="sgd", learning_rate=0.05, schedule="cosine"))
    assert log[-1].loss < log[0].loss


def test_training_is_deterministic_and_seeded(data):
    first = run(VIT, data, change(epochs=1))
    assert_same(first, run(VIT, data, change(epochs=1)))
    model = seeded_model(VIT, 4, SEEDS.weights)
    other = train(model, VIT, data, change(epochs=1), derive_seeds("x", "tiny", 1), "cpu")
    assert other != first[0]


def test_global_state_is_left_as_it_was(data):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(RESNET, data, change(epochs=1))
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_progress(data):
    told = []
    run(RESNET, data, on_progress=told.append)
    ends = [p for p in told if p.step % 3 == 0]
    assert [(p.epoch, p.step) for p in ends] == [(1, 3), (2, 6), (3, 9), (4, 12)]
    assert {(p.epochs, p.steps) for p in told} == {(4, 12)}
    assert all(p.images_per_second > 0 for p in told)
    assert [p.eta for p in ends][-1] == 0
    assert ends[0].eta == pytest.approx(3 * 97 / ends[0].images_per_second)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_diverging_loss_is_named(data, tmp_path, checkpointed):
    path = tmp_path / "run.pt" if checkpointed else None
    with pytest.raises(TrainingError, match=r"x: the loss is (nan|inf) at step \d+ of 12") as caught:
        run(RESNET, data, change(optimiser="sgd", learning_rate=1e30, clip_norm=None), checkpoint=path)
    message = str(caught.value)
    assert "(epoch 1 of 4, learning rate " in message
    assert message.endswith("Lower learning_rate under [train.tiny] in architectures/x.toml")
    assert list(tmp_path.iterdir()) == []


# Checkpoints


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("card", [RESNET, VIT], ids=["resnet", "vit"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_resuming_gives_the_same_bits(card, optimiser, data, tmp_path):
    recipe = change(optimiser=optimiser)
    path = tmp_path / "deep" / "run.pt"

    def kill(progress):
        if progress.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run(card, data, recipe, checkpoint=path, checkpoint_seconds=0, on_progress=kill)
    assert len(load_checkpoint(path)["epochs"]) == 2
    told = []
    resumed = run(card, data, recipe, checkpoint=path, on_progress=told.append)
    assert told[0].epoch == 3
    assert_same(resumed, run(card, data, recipe))


def test_finished_training_is_not_repeated(data, tmp_path):
    path = tmp_path / "run.pt"
    first = run(RESNET, data, checkpoint=path)
    told = []
    assert_same(run(RESNET, data, checkpoint=path, on_progress=told.append), first)
    assert told == []


def test_checkpoints_wait_for_their_interval(data, tmp_path):
    path = tmp_path / "run.pt"
    seen = []
    run(
        RESNET,
        data,
        checkpoint=path,
        checkpoint_seconds=1000,
        on_progress=lambda _: seen.append(path.exists()),
    )
    assert not any(seen)
    assert len(load_checkpoint(path)["epochs"]) == 4
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty", "incomplete"])
def test_damaged_checkpoint_is_discarded_with_a_warning(damage, data, tmp_path, caplog):
    path = tmp_path / "run.pt"
    recipe = change(epochs=1)
    first = run(RESNET, data, recipe, checkpoint=path)
    content = path.read_bytes()
    broken = {"truncated": content[: len(content) // 2], "foreign": b"<html>", "empty": b""}
    if damage == "incomplete":
        torch.save({"model": {}}, path)
    else:
        path.write_bytes(broken[damage])
    assert_same(run(RESNET, data, recipe, checkpoint=path), first)
    assert "is damaged" in caplog.text
    assert load_checkpoint(path) is not None


def test_checkpoint_of_another_training_is_not_taken_up(data, tmp_path, caplog):
    path = tmp_path / "run.pt"
    run(RESNET, data, change(epochs=1), checkpoint=path)
    recipe = change(epochs=1, weight_decay=0.5)
    assert_same(run(RESNET, data, recipe, checkpoint=path), run(RESNET, data, recipe))
    assert "another training" in caplog.text


def test_nothing_is_unpickled(tmp_path, caplog):
    path = tmp_path / "run.pt"
    torch.save({"identity": Killed, "epochs": [], "model": {}, "optimiser": {}}, path)
    assert load_checkpoint(path) is None
    assert "is damaged" in caplog.text
