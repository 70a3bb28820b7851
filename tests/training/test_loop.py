"""The loop: schedule, groups, learning, and resuming to the same bits."""

import math

import numpy as np
import pytest
import torch

from shiftcast.cards import ArchitectureCard, Recipe
from shiftcast.errors import TrainingError
from shiftcast.training import loop
from shiftcast.training.loop import (
    build_optimiser,
    derive_seeds,
    learning_rate,
    load_checkpoint,
    seeded_model,
    train,
)
from shiftcast.training.models import out_of_memory
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
    assert "; there is no checkpoint of this training yet. " in message
    assert message.endswith("Lower learning_rate under [train.tiny] in architectures/x.toml")
    assert list(tmp_path.iterdir()) == []


def test_the_last_good_checkpoint_is_named(data, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    real = loop.cross_entropy
    steps = iter(range(100))

    def spoilt(*arguments, **options):
        return real(*arguments, **options) * (math.nan if next(steps) == 7 else 1)

    monkeypatch.setattr(loop, "cross_entropy", spoilt)
    with pytest.raises(TrainingError, match=r"step 8 of 12 \(epoch 3 of 4") as caught:
        run(RESNET, data, checkpoint=path, checkpoint_seconds=0)
    assert f"; the last good checkpoint, of epoch 2, is {path}. Lower" in str(caught.value)
    assert len(load_checkpoint(path)["epochs"]) == 2


# Averaged weights


def test_the_average_is_what_remains(data):
    """Against the formula, with the decays that its warm-up gives: 1 - step^(-2/3), at most 0.9."""
    recipe = change(ema=0.9)
    model = seeded_model(RESNET, 4, SEEDS.weights)
    trainer = loop.Trainer(model, RESNET, data, recipe, SEEDS, None)
    expected, step = None, 0
    with loop.deterministic(torch.device("cpu")):
        for _ in range(recipe.epochs):
            torch.manual_seed(loop.epoch_seed(SEEDS.augmentation, trainer.epoch, "dropout"))
            model.train()
            for images, labels in trainer.batches():
                trainer.step(images, labels, learning_rate(recipe, step, trainer.steps))
                now = model.state_dict()["fc.weight"].double().clone()
                decay = min(0.9, 1 - max(step, 1) ** (-2 / 3))
                expected = now if expected is None else decay * expected + (1 - decay) * now
                step += 1
            trainer.log.append(loop.Epoch(loss=0, accuracy=0, learning_rate=0))
    _, weights = run(RESNET, data, recipe)
    assert torch.allclose(weights["fc.weight"].double(), expected, atol=1e-6)
    _, plain = run(RESNET, data)
    assert not torch.allclose(weights["fc.weight"], plain["fc.weight"], atol=1e-6)


def test_resuming_an_average_gives_the_same_bits(data, tmp_path):
    recipe, path = change(ema=0.9), tmp_path / "run.pt"

    def kill(progress):
        if progress.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run(RESNET, data, recipe, checkpoint=path, checkpoint_seconds=0, on_progress=kill)
    resumed = run(RESNET, data, recipe, checkpoint=path)
    assert_same(resumed, run(RESNET, data, recipe))
    assert_same(resumed, run(RESNET, data, recipe, checkpoint=path))  # taken from what is finished


# Memory


def scarce(monkeypatch, most):
    """Let memory suffice for `most` images; return the sizes that were tried."""
    real, tried = loop.logits_of, []

    def logits(model, card, images):
        tried.append(len(images))
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(model, card, images)

    monkeypatch.setattr(loop, "logits_of", logits)
    return tried


STILL = make("test_vit", kwargs={"img_size": 32, "patch_size": 8})  # no batch normalisation, no dropout


def test_scarce_memory_halves_the_batch_and_keeps_the_step(data, monkeypatch, caplog):
    recipe = change(epochs=2)
    whole = run(STILL, data, recipe)
    tried = scarce(monkeypatch, 10)
    log, weights = run(STILL, data, recipe)
    assert tried[:3] == [32, 16, 8]
    assert max(tried[3:]) <= 9  # the last batch of an epoch has one image more
    assert [epoch.parts for epoch in log] == [4, 4]
    assert [epoch.parts for epoch in whole[0]] == [1, 1]
    assert [epoch.loss for epoch in log] == pytest.approx([epoch.loss for epoch in whole[0]], rel=1e-4)
    for key, value in weights.items():
        assert torch.allclose(value, whole[1][key], atol=2e-3), key
    assert "out of memory with 16 images at once" in caplog.text
    assert "batches of 32 are computed in 4 parts from here on" in caplog.text


def test_a_forward_pass_that_fails_leaves_no_trace(data, monkeypatch):
    """Running statistics move and random numbers are drawn before memory runs out."""
    card = make("test_resnet", kwargs={"drop_rate": 0.5})

    def trained(most):
        real = loop.logits_of

        def late(model, card, images):
            found = real(model, card, images)
            if len(images) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return found

        model = seeded_model(card, 4, SEEDS.weights)
        trainer = loop.Trainer(model.train(), card, data, RECIPE, SEEDS, None)
        images, labels = next(trainer.batches())
        torch.manual_seed(0)
        with monkeypatch.context() as context:
            context.setattr(loop, "logits_of", late)
            if most == 99:
                trainer.parts = 4
            trainer.step(images, labels, 0.001)
        return trainer.parts, model.state_dict()

    (parts, failed), (_, whole) = trained(8), trained(99)
    assert parts == 4
    assert all(torch.equal(failed[key], whole[key]) for key in failed)


def test_weights_that_a_step_spoils_are_not_saved(data, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    real = torch.optim.AdamW.step
    steps = iter(range(100))

    def spoilt(self, *arguments, **options):
        found = real(self, *arguments, **options)
        if next(steps) == 11:  # the last step of all: no loss will tell
            next(iter(self.param_groups[0]["params"])).data.fill_(math.nan)
        return found

    monkeypatch.setattr(torch.optim.AdamW, "step", spoilt)
    with pytest.raises(
        TrainingError, match=r"x: weights are NaN or infinite at step 12 of 12 \(epoch 4 of 4"
    ):
        run(RESNET, data, checkpoint=path, checkpoint_seconds=0)
    assert len(load_checkpoint(path)["epochs"]) == 3


def test_a_resumed_training_keeps_its_parts(data, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"

    def kill(progress):
        if progress.epoch == 3:
            raise Killed

    with monkeypatch.context() as context:
        scarce(context, 10)
        with pytest.raises(Killed):
            run(RESNET, data, checkpoint=path, checkpoint_seconds=0, on_progress=kill)
    resumed = run(RESNET, data, checkpoint=path)
    assert [epoch.parts for epoch in resumed[0]] == [4, 4, 4, 4]
    scarce(monkeypatch, 10)
    assert_same(resumed, run(RESNET, data))


def test_too_little_memory_for_two_images_is_an_error(data, monkeypatch):
    scarce(monkeypatch, 1)
    with pytest.raises(TrainingError, match="x: memory on cpu does not suffice for two images at a time"):
        run(RESNET, data)


def test_what_pytorch_says_without_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**52)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(ValueError("out of memory"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


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
    assert "is discarded, training starts from the beginning" in caplog.text
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
    assert path.exists()  # reading deletes nothing


def test_a_checkpoint_that_memory_does_not_suffice_for_is_not_damaged(data, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(RESNET, data, change(epochs=1), checkpoint=path)

    def scarce(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", scarce)
    with pytest.raises(RuntimeError, match="allocate"):
        run(RESNET, data, change(epochs=1), checkpoint=path)
    assert path.exists()
