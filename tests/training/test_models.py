"""Every card must be true, and every network must train on 32 x 32 images."""

import pytest
import torch
from torch import nn

from shiftcast.cards.architecture import ArchitectureCard
from shiftcast.cards.base import read_card
from shiftcast.cards.recipe import Recipe
from shiftcast.errors import CardError
from shiftcast.training.loop import seeded_model
from shiftcast.training.network import (
    build_model,
    check_resolutions,
    count_parameters,
    fit_card,
    logits_of,
    measure,
)
from support import REPOSITORY
from support.workspaces import SPEED_RECIPE

CARDS = [
    path
    for path in sorted((REPOSITORY / "architectures").glob("*.toml"))
    if "\nsklearn = " not in path.read_text()
]


@pytest.fixture(params=CARDS, ids=lambda path: path.stem)
def card(request) -> ArchitectureCard:
    return read_card(ArchitectureCard, request.param)


def make(timm, **values) -> ArchitectureCard:
    needed = {"name": "x", "family": "x", "title": "", "citation": "", "parameters": 1, "feature_map": [1, 2]}
    return ArchitectureCard(timm=timm, **needed | values)


def test_card_is_true(card):
    """Without memory for the parameters: building for real takes minutes over all cards."""
    model = build_model(card, 10, "meta")
    assert measure(model, card) == (card.parameters, card.feature_map)
    assert count_parameters(model) == card.parameters
    assert all(parameter.is_meta for parameter in model.parameters())


def test_network_answers_as_timm_has_it_and_trains_one_step(card):
    """The head, taken apart, gives what the whole network gives; then a step in the card's precision."""
    model = seeded_model(card, 10, 0)
    plain, side = card.model_copy(update={"precision": "float32"}), card.input_size
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(logits_of(model, plain, images), model(images))
    model.train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = logits_of(model, card, images)
    assert logits.shape == (4, 10)
    assert logits.dtype == torch.float32
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in [logits, *gradients])


def test_head_is_computed_in_float32():
    card = make("test_resnet", precision="bfloat16")
    model = seeded_model(card, 10, 0).eval()
    with torch.no_grad():
        logits = logits_of(model, card, torch.randn(4, 3, 32, 32))
    assert not torch.equal(logits, logits.bfloat16().float())


@pytest.mark.parametrize(
    ("native", "asked_by", "device", "expected"),
    [
        (True, "card", "cpu", "bfloat16"),
        (False, "card", "cpu", "float32"),
        (False, "card", "cuda", "bfloat16"),
        (False, "recipe", "cpu", "bfloat16"),
    ],
)
def test_an_emulated_bfloat16_gives_way_to_float32(monkeypatch, native, asked_by, device, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    card = make("test_resnet", precision="bfloat16" if asked_by == "card" else "float32")
    recipe = SPEED_RECIPE.model_copy(update={"precision": "bfloat16" if asked_by == "recipe" else None})
    assert fit_card(card, recipe, device).precision == expected


def test_seed_decides_the_weights_and_leaves_the_callers_stream():
    card = make("test_resnet")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (seeded_model(card, 10, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_weights_are_in_channels_last():
    model = build_model(make("test_resnet"), 10)
    assert model.conv1[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_input_size_resizes():
    card = make("test_resnet", input_size=64)
    assert measure(build_model(card, 10), card)[1] == [96, 2, 2]


def test_smaller_images_are_enlarged_by_the_same_factor(monkeypatch):
    seen = []
    card = make("test_resnet", input_size=64)
    model = build_model(card, 4)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    monkeypatch.setattr(model, "forward_features", lambda x: seen.append(x.shape) or torch.zeros(2, 96, 2, 2))
    for side in (32, 20):
        logits_of(model, card, torch.zeros(2, 3, side, side))
    assert [tuple(shape[2:]) for shape in seen] == [(64, 64), (40, 40)]


def small_first(**values):
    needed = {"name": "small", "title": "", "epochs": 4, "batch_size": 8, "optimiser": "sgd"}
    needed |= {"learning_rate": 0.1, "weight_decay": 0, "schedule": "cosine"}
    return Recipe(**needed | values)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (make("vit_tiny_patch16_224", kwargs={"img_size": 32, "patch_size": 8, "depth": 1}), "Input height"),
        (make("ese_vovnet19b_slim"), "Output size is too small"),
    ],
    ids=["one size alone", "nothing left"],
)
def test_images_too_small_for_a_network_are_refused_by_name(card, message):
    model = build_model(card, 4, "meta")
    check_resolutions(model, card, small_first())
    check_resolutions(model, card, small_first(resolutions=[32]))
    with pytest.raises(CardError, match=f"cannot be trained on 16 x 16 images.*'small'.*{message}"):
        check_resolutions(model, card, small_first(resolutions=[16, 32]))


def test_a_card_may_ask_for_whole_images():
    card = make("test_vit", train={"small": {"resolutions": [32]}})
    assert small_first(resolutions=[16, 32]).resolved(card).resolutions == [32]


def test_feature_maps_of_channels_last_trunks_are_normalised():
    card = make("swin_tiny_patch4_window7_224", kwargs={"img_size": 64, "window_size": 2}, input_size=64)
    assert measure(build_model(card, 10, "meta"), card)[1] == [768, 2, 2]


def test_number_of_classes():
    card = make("test_vit")
    assert logits_of(build_model(card, 7), card, torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (make("resnet81"), r"architectures/x\.toml.*Unknown model \(resnet81\).*did you mean resnet"),
        (make("hf-hub:somebody/something"), "Unknown model"),
        (make("resnet18.no_such_tag"), "Invalid pretrained tag"),
        (make("resnet18", kwargs={"nonsense": 1}), "nonsense.*correct timm or"),
        (make("nest_tiny"), "does not run on 32 x 32 images.*raise input_size"),
        (make("test_resnet", unstride=9), "unstride = 9: 'test_resnet' has only 5 downsampling stages"),
        (
            make("vit_tiny_patch16_224", kwargs={"img_size": 32}, unstride=1),
            "fails with downsampling stage 1 at stride 1",
        ),
    ],
    ids=lambda value: value.timm if isinstance(value, ArchitectureCard) else "",
)
def test_refusals_say_what_to_do(card, message):
    with pytest.raises(CardError, match=message):
        build_model(card, 10, "meta")
