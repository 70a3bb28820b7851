"""The loop: schedule, groups, learning, and resuming to the same bits."""

import math
from contextlib import suppress

import numpy as np
import pytest
import torch

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.recipe import RandAugmentSpec, Recipe
from shiftcast.errors import TrainingError
from shiftcast.training import loop
from shiftcast.training.augment import training_set
from shiftcast.training.loop import build_optimiser, derive_seeds, learning_rate, seeded_model, train
from shiftcast.training.network import logits_of, out_of_memory
from shiftcast.training.resident import Augmentation, ResidentImages
from shiftcast.training.saved import load_checkpoint

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


@pytest.mark.parametrize("card", [RESNET, VIT], ids=["resnet", "vit"])
def test_muon_takes_matrices_and_filters_but_not_the_classifier(card):
    model = seeded_model(card, 4, 0)
    optimiser = build_optimiser(model, change(optimiser="muon", weight_decay=0.05))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    taken = {name for name, p in model.named_parameters() if "momentum_buffer" in optimiser.state[p]}
    rest = {name for name, p in model.named_parameters() if "exp_avg" in optimiser.state[p]}
    assert taken | rest == {name for name, _ in model.named_parameters()}
    assert not taken & rest
    assert all(model.get_parameter(name).ndim > 1 for name in taken)
    classifier = {f"{name}.weight" for name, m in model.named_modules() if m is model.get_classifier()}
    assert classifier <= rest
    assert {"blocks.0.attn.qkv.weight"} <= taken or {"layer1.0.conv2.weight"} <= taken
    decays = {p: group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert {decays[model.get_parameter(name)] for name in taken} == {0.05}


@pytest.mark.parametrize("native", [True, False])
def test_muon_orthogonalises_in_float32_where_bfloat16_is_emulated(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    model = seeded_model(RESNET, 10, 0)
    optimiser = build_optimiser(model, change(optimiser="muon", weight_decay=0.0))
    filters = model.get_parameter("layer1.0.conv2.weight")
    with torch.no_grad():
        filters.zero_()
    filters.grad = torch.randn(filters.shape, generator=torch.Generator().manual_seed(0))
    optimiser.step()
    step = filters.detach().flatten(1)
    size = optimiser.param_groups[0]["lr"] * 0.2 * max(step.shape) ** 0.5  # that of AdamW's steps
    orthogonal = -step / size
    # Five quintic steps bring singular values near 1; in bfloat16 each entry keeps three digits.
    assert torch.linalg.svdvals(orthogonal).median() == pytest.approx(1, abs=0.3)
    rounded = torch.allclose(orthogonal, orthogonal.bfloat16().float(), rtol=1e-5, atol=0)
    assert rounded == native


@pytest.mark.parametrize(
    ("resolutions", "expected"),
    [(None, [None] * 4), ([20, 32], [20, 20, 32, 32]), ([20, 24, 32], [20, 20, 24, 32]), ([16], [16] * 4)],
)
def test_resolutions_share_the_epochs(resolutions, expected):
    recipe = change(resolutions=resolutions)
    assert [recipe.resolution(epoch) for epoch in range(4)] == expected


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
    assert list(dict.fromkeys((p.epoch, p.step) for p in ends)) == [(1, 3), (2, 6), (3, 9), (4, 12)]
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


def test_a_training_is_the_plain_loop(data):
    """Bit for bit, where the recipe sets nothing but the optimiser, crops, flips, cutout and smoothing."""
    model = seeded_model(RESNET, 4, SEEDS.weights)
    optimiser = build_optimiser(model, RECIPE)
    mean, std = data.statistics
    step, accuracies = 0, []
    with loop.deterministic(torch.device("cpu")):
        for epoch in range(4):
            torch.manual_seed(loop.epoch_seed(SEEDS.augmentation, epoch, "dropout"))
            model.train()
            right = 0
            for images, labels in data.batches(
                32,
                Augmentation(mean, std, crop_padding=2, flip=True, cutout=4),
                order_seed=SEEDS.order,
                augmentation_seed=SEEDS.augmentation,
                epoch=epoch,
            ):
                optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = learning_rate(
                    RECIPE, step, 12
                )
                optimiser.zero_grad()
                logits = logits_of(model, RESNET, images)
                torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                right += int((logits.argmax(dim=1) == labels).sum())
                step += 1
            accuracies.append(right / 97)
    log, weights = run(RESNET, data)
    assert [epoch.accuracy for epoch in log] == accuracies
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())


# What later recipes ask for

RECIPES = {
    "mixup": {"mixup": 1.0},
    "cutmix and mixup": {"cutmix": 1.0, "mixup": 0.5},
    "rand-augment": {"rand_augment": RandAugmentSpec(operations=2, magnitude=9)},
    "sam": {"sam": 0.05},
    "mixup with sam": {"mixup": 1.0, "sam": 0.05},
    "part and noise": {"train_share": 0.6, "label_noise": 0.4},
    "small images first": {"resolutions": [20, 32], "crop_fill": "reflect", "flip": "alternating"},
}


@pytest.mark.parametrize("values", RECIPES.values(), ids=RECIPES)
def test_resuming_such_a_recipe_gives_the_same_bits(values, data, tmp_path):
    recipe, path = change(epochs=3, **values), tmp_path / "run.pt"

    def kill(progress):
        if progress.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run(RESNET, data, recipe, checkpoint=path, checkpoint_seconds=0, on_progress=kill)
    np.random.rand()  # noqa: NPY002 - whoever drew meanwhile
    before = np.random.get_state()[1:3]  # noqa: NPY002
    resumed = run(RESNET, data, recipe, checkpoint=path)
    after = np.random.get_state()[1:3]  # noqa: NPY002
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]
    whole = run(RESNET, data, recipe)
    assert_same(resumed, whole)
    assert whole[0] != run(RESNET, data, change(epochs=3))[0]


def test_mixed_targets_are_what_is_learnt_and_given_labels_what_is_counted(data):
    """In a batch where every image meets itself turned round, mixup leaves images and labels alone."""
    recipe = change(mixup=1.0, label_smoothing=0.2, crop_padding=0, flip=False, cutout=0)
    model = seeded_model(RESNET, 4, SEEDS.weights)
    trainer = loop.Trainer(model, RESNET, data, recipe, SEEDS, None)
    images, labels = next(trainer.batches())
    images, labels = torch.cat([images, images.flip(0)]), torch.cat([labels, labels.flip(0)])
    logits, loss = trainer.step(images, labels, 0.0)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert loss == pytest.approx(expected.item(), rel=1e-5)

    met = []
    step = trainer.step

    def watched(images, labels, rate):
        logits, loss = step(images, labels, rate)
        met.append((logits.argmax(dim=1) == labels).sum().item())
        assert labels.dtype == torch.int64
        return logits, loss

    trainer.step = watched
    trainer.run_epoch()
    assert trainer.log[0].accuracy == sum(met) / 97


def small_network():
    """Smooth and in double precision, so that rounding stays rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 5, stride=4),
            torch.nn.BatchNorm2d(8),
            torch.nn.SiLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(8 * 7 * 7, 4),
        ).double()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sam_by_hand(data, momentum, monkeypatch):
    """Two passes a step, the second without a trace in batch normalisation (here: by its momentum)."""
    monkeypatch.setattr(loop, "logits_of", lambda model, card, images: model(images.double()))
    recipe = change(sam=0.1, optimiser="sgd", momentum=momentum, learning_rate=0.05, clip_norm=None)
    trainer = loop.Trainer(small_network(), RESNET, data, recipe, SEEDS, None)
    model = small_network()
    optimiser = build_optimiser(model, recipe)
    parameters = list(model.parameters())

    def gradients(images, labels, statistics):
        optimiser.zero_grad()
        model[1].momentum = 0.1 if statistics else 0.0
        loss = torch.nn.functional.cross_entropy(model(images.double()), labels, label_smoothing=0.1)
        loss.backward()
        return loss.item(), [parameter.grad.clone() for parameter in parameters]

    for step, (images, labels) in enumerate(trainer.batches()):
        rate = learning_rate(recipe, step, trainer.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss, uphill = gradients(images, labels, statistics=True)
        assert trainer.step(images, labels, rate)[1].item() == pytest.approx(loss)
        weights = [parameter.detach().clone() for parameter in parameters]
        norm = sum((gradient**2).sum() for gradient in uphill) ** 0.5
        for parameter, gradient in zip(parameters, uphill, strict=True):
            parameter.data = parameter.data + 0.1 * gradient / norm
        gradients(images, labels, statistics=False)
        for parameter, own in zip(parameters, weights, strict=True):
            parameter.data = own
        optimiser.step()
    found = trainer.model.state_dict()
    assert found["1.num_batches_tracked"] == len(trainer.sizes)
    for key, value in model.state_dict().items():
        if key != "1.num_batches_tracked":  # here every pass is counted
            assert torch.allclose(found[key], value, rtol=1e-9, atol=1e-12), key
    plain = loop.Trainer(small_network(), RESNET, data, change(recipe, sam=None), SEEDS, None)
    for step, (images, labels) in enumerate(plain.batches()):
        plain.step(images, labels, learning_rate(recipe, step, trainer.steps))
    assert not torch.allclose(plain.model.state_dict()["0.weight"], found["0.weight"], atol=1e-6)


def test_sam_leads_uphill_and_back():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    (model(images)[:, 0] ** 3).sum().backward()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with suppress(Killed), loop.uphill(model, 0.3):
        moved = [p.detach() - before[name] for name, p in model.named_parameters()]
        assert sum((step**2).sum() for step in moved) ** 0.5 == pytest.approx(0.3, rel=1e-5)
        assert sum((step * p.grad).sum() for step, p in zip(moved, model.parameters(), strict=True)) > 0
        model(images)
        raise Killed
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_stopping_early_is_the_beginning_of_the_whole(data, tmp_path):
    path, told = tmp_path / "run.pt", []
    recipe = change(early_stop=0.5)
    early = run(RESNET, data, recipe, checkpoint=path, on_progress=told.append)

    def kill(progress):
        if progress.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run(RESNET, data, checkpoint=tmp_path / "whole.pt", checkpoint_seconds=0, on_progress=kill)
    whole = load_checkpoint(tmp_path / "whole.pt")
    assert [epoch.model_dump() for epoch in early[0]] == whole["epochs"]
    assert all(torch.equal(value, whole["model"][key]) for key, value in early[1].items())
    assert {(p.epochs, p.steps) for p in told} == {(2, 6)}
    assert (told[-1].step, told[-1].eta) == (6, 0)
    assert len(load_checkpoint(path)["epochs"]) == 2
    told.clear()
    assert_same(run(RESNET, data, recipe, checkpoint=path, on_progress=told.append), early)
    assert told == []


def test_a_part_with_noise_is_what_is_trained_on(data):
    recipe = change(epochs=2, train_share=0.6, label_noise=0.4)
    assert_same(run(RESNET, data, recipe), run(RESNET, training_set(data, recipe, SEEDS), change(epochs=2)))


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


@pytest.mark.parametrize("values", [{"sam": 0.05}, {"mixup": 1.0}], ids=["sam", "mixup"])
def test_scarce_memory_keeps_the_step_of_such_a_recipe(values, data, monkeypatch):
    recipe = change(epochs=2, **values)
    whole = run(STILL, data, recipe)
    scarce(monkeypatch, 10)
    log, weights = run(STILL, data, recipe)
    assert [epoch.parts for epoch in log] == [4, 4]
    assert [epoch.loss for epoch in log] == pytest.approx([epoch.loss for epoch in whole[0]], rel=1e-4)
    for key, value in weights.items():
        assert torch.allclose(value, whole[1][key], atol=2e-3), key


def test_memory_may_end_in_the_second_pass(data, monkeypatch):
    recipe = change(epochs=1, sam=0.05)
    whole = run(STILL, data, recipe)
    real, tried = loop.logits_of, []

    def logits(model, card, images):
        tried.append(len(images))
        if len(tried) > 1 and len(images) > 17:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(model, card, images)

    monkeypatch.setattr(loop, "logits_of", logits)
    log, weights = run(STILL, data, recipe)
    assert tried[:4] == [32, 32, 16, 16]
    assert log[0].parts == 2
    assert log[0].loss == pytest.approx(whole[0][0].loss, rel=1e-4)
    for key, value in weights.items():
        assert torch.allclose(value, whole[1][key], atol=2e-3), key


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
@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon"])
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
    assert {found.name for found in tmp_path.iterdir()} == {"run.pt", "run.seconds"}


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
