"""Strided stages found by tracing and run at stride 1."""

import pytest
import timm
import torch
from timm.layers import BlurPool2d, create_conv2d
from torch import nn

from shiftcast.training.unstride import find_downsamplings, unstride_first

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def unstride(model: nn.Module) -> list[str]:
    return unstride_first(model, lambda: model(IMAGES))


class Residual(nn.Module):
    """Two parallel branches, each with a stride of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 4, 1))
        self.after = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.after(self.main(images) + self.shortcut(images))


def test_parallel_branches_are_one_stage():
    model = Residual()
    assert unstride(model) == ["main.0", "shortcut.0"]
    assert model(IMAGES).shape == (2, 4, 8, 8)
    assert unstride(model) == ["after"]
    assert model(IMAGES).shape == (2, 4, 16, 16)
    assert unstride(model) == []


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Conv2d(3, 4, 1, stride=2),
        nn.Conv2d(3, 4, 3, stride=2),
        nn.Conv2d(3, 4, 2, stride=2),
        nn.Conv2d(3, 4, 4, stride=4),
        nn.Conv2d(3, 4, 4, stride=2, padding=1),
        nn.Conv2d(3, 4, (3, 5), stride=(2, 2), padding=(1, 2), dilation=2),
        create_conv2d(3, 4, 3, stride=2, padding="same"),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(3, stride=2),
        nn.AvgPool2d(3, stride=2),
        BlurPool2d(3, stride=2),
    ],
    ids=str,
)
def test_size_is_kept(module):
    model = nn.Sequential(module)
    assert unstride(model) == ["0"]
    assert model(IMAGES).shape[2:] == IMAGES.shape[2:]


def test_even_pools_become_the_identity():
    model = nn.Sequential(nn.MaxPool2d(2))
    unstride(model)
    assert torch.equal(model(IMAGES), IMAGES)


def test_every_second_output_is_the_former_one():
    """Stride 1 computes the strided outputs and those in between, from the same weights."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1))
    before = model(IMAGES)
    unstride(model)
    torch.testing.assert_close(model(IMAGES)[:, :, ::2, ::2], before)


def test_patches_are_centred():
    """A 4 x 4 window at stride 1 gets one row and column of padding before and two after."""
    model = nn.Sequential(nn.Conv2d(3, 1, 4, stride=4))
    before = model(IMAGES)
    unstride(model)
    torch.testing.assert_close(model(IMAGES)[:, :, 1::4, 1::4], before)


def test_what_does_not_shrink_is_left():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 3, stride=2, padding=1))
    assert find_downsamplings(model, lambda: model(IMAGES)) == []


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("resnet18", [1, 2, 4, 8]),  # 7 x 7 stem, max pool, three stages
        ("resnet18d", [1, 2, 4, 8]),  # average pools in the shortcuts
        ("resnetblur18", [1, 2, 4, 8]),  # blur pools
        ("test_convnext", [1, 4, 8, 16]),  # 4 x 4 patches, 2 x 2 convolutions
        ("fasternet_t0", [1, 4, 8]),
    ],
)
def test_maps_grow_stage_by_stage(name, maps):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=10).eval()
        images = torch.zeros(1, 3, 32, 32)
    sizes = [model.forward_features(images).shape[2]]
    while len(sizes) < len(maps):
        with torch.device("meta"):
            unstride_first(model, lambda: model(images))
        sizes.append(model.forward_features(images).shape[2])
    assert sizes == maps
