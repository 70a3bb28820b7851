"""Run a network's first downsampling stages at stride 1, whatever the network.

Networks made for 224-pixel images shrink a 32-pixel one to a single position. Most of that can be
undone without knowing the architecture: one traced forward pass shows which convolutions and pools
shrink their input, and at stride 1 their weights still fit. What shrinks its input by other means
(reshaping, interpolation) is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


class Downsampling(NamedTuple):
    """A leaf module whose stride makes its output smaller than its input."""

    name: str
    module: nn.Module
    before: torch.Size
    """Shape of its input (n, C, H, W)."""
    after: torch.Size
    """Shape of its output (n, C, H, W)."""


def unstride_first(model: nn.Module, trace: Callable[[], object]) -> list[str]:
    """Set the first stage that shrinks its input to stride 1, in place.

    Parallel branches, such as a residual block's convolutions and its shortcut, go from one
    resolution to the same other one; whatever does so with the first is one stage. Changed one by
    one, their sum would no longer fit.

    Parameters
    ----------
    model
        The network, in evaluation mode.
    trace
        Runs the network forward once.

    Returns
    -------
    list
        Names of the changed modules; empty where no stride shrinks anything.

    Raises
    ------
    RuntimeError
        If the changed network does not run; `trace` may raise its own errors as well.
    """
    downsamplings = find_downsamplings(model, trace)
    sizes = [(item.before[2:], item.after[2:]) for item in downsamplings]
    stage = [item for item, size in zip(downsamplings, sizes, strict=True) if size == sizes[0]]
    for item in stage:
        _keep_size(model, item)
    # Weights may fit at stride 1 and shapes further on may not.
    if stage:
        trace()
    return [item.name for item in stage]


def find_downsamplings(model: nn.Module, trace: Callable[[], object]) -> list[Downsampling]:
    """Return the leaf modules whose stride shrinks their input, in forward order."""
    downsamplings: list[Downsampling] = []

    def hook(name: str) -> Callable[..., None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            before = inputs[0].shape
            if len(before) == 4 and output.ndim == 4 and output.shape[2] < before[2]:
                downsamplings.append(Downsampling(name, module, before, output.shape))

        return record

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if _strided(m)]
    try:
        trace()
    finally:
        for handle in handles:
            handle.remove()
    return downsamplings


def _strided(module: nn.Module) -> bool:
    stride: Any = getattr(module, "stride", None)
    leaf = next(module.children(), None) is None
    return leaf and isinstance(stride, int | tuple) and _pair(stride)[0] > 1


def _keep_size(model: nn.Module, item: Downsampling) -> None:
    """Set a module's stride to 1 so that its output is as large as its input."""
    module: Any = item.module
    window = _pair(getattr(module, "kernel_size", None) or module.filt_size)[0]
    if not isinstance(module, nn.Conv2d) and window % 2 == 0:
        # An even pool has no centre: at stride 1 it would only shift the image by half a pixel.
        parent, _, name = item.name.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Identity())
        return
    module.stride = (1, 1) if isinstance(module.stride, tuple) else 1
    if _preserves_size(module, item.before):
        return
    if isinstance(module, nn.Conv2d):
        _pad_input(module)
    else:
        module.padding = window // 2


def _preserves_size(module: nn.Module, shape: torch.Size) -> bool:
    """Ask the module itself: timm has several kinds of padding that no attribute tells."""
    device = next((p.device for p in module.parameters()), None)
    with torch.no_grad():
        output: Tensor = module(torch.zeros(shape, device=device))
    return output.shape[2:] == shape[2:]


def _pad_input(convolution: nn.Conv2d) -> None:
    """Pad what a convolution is given: padding="same" warns about even windows (2 x 2, 4 x 4)."""
    spans = [d * (k - 1) for k, d in zip(convolution.kernel_size, convolution.dilation, strict=True)]
    rows, columns = ([span // 2, span - span // 2] for span in spans)
    convolution.padding = (0, 0)
    convolution.register_forward_pre_hook(lambda _, inputs: pad(inputs[0], columns + rows))


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
