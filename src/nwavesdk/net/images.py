"""Images between the modules of a net: channels-last from the first convolution on.

On the CPU, oneDNN's convolutions and torch's pools of channels-last images take 0.4 to 1 times the
time of channels-first ones, because they need not reorder them. Neuron layers, pools and norms
follow the layout that they get, so one conversion at the first convolution is enough.

The exception is a convolution with many weights and few numbers to apply them to: torch reorders
its weight in each call, which then takes longer than the convolution. It runs channels-first.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.layout import is_channels_last
from nwavesdk.net.calls import call_module, is_watched
from nwavesdk.solvers.cpu.pools import LARGEST_WINDOW, max_pool, mean_pool

__all__ = ["as_module_runs_fastest", "run_on_images"]

# Numbers of an input for each weight, from which on channels-last is faster. Measured with 1 to 512
# channels and images from 3 by 3 to 64 by 64.
_LEAST_REUSE = 4


def as_module_runs_fastest(module: nn.Module, rows: Tensor) -> Tensor:
    """The same images in the layout in which the module runs fastest.

    Args:
        module: A module without time.
        rows: Its input; images are [R, C, H, W].

    Returns:
        The input of a convolution in 2D, or of a module that contains one, in channels-last, or in
        channels-first where its weight is large. Everything else unchanged.
    """
    if rows.ndim != 4 or not rows.is_cpu or rows.dtype is not torch.float32:
        return rows
    weight = _first_weight(module)
    if weight is None or not torch._C._has_mkldnn:
        return rows
    is_small = _LEAST_REUSE * weight.numel() <= rows.numel()
    if is_small or is_channels_last(weight, 3):
        return _to_channels_last(rows)
    return rows.contiguous()


def _first_weight(module: nn.Module) -> Tensor | None:
    """The weight of the first convolution over images in a module."""
    for inner in module.modules():
        if isinstance(inner, nn.Conv2d | nn.ConvTranspose2d):
            return inner.weight
    return None


def _to_channels_last(rows: Tensor) -> Tensor:
    """A view where the images are channels-last, or have one channel or one place; else a copy."""
    if rows.shape[1] == 1:
        # Both layouts are the same in memory. The strides tell torch which of them is meant.
        return rows.squeeze(1).unsqueeze(-1).movedim(-1, 1)
    return rows.contiguous(memory_format=torch.channels_last)


def run_on_images(module: nn.Module, rows: Tensor) -> Any:
    """`module(rows)`; a plain pool of channels-last images saves nothing of its input's size."""
    kind = type(module)
    if kind not in (nn.MaxPool2d, nn.AvgPool2d) or rows.ndim != 4:
        return call_module(module, rows)
    window = _plain_window(module)
    is_ours = (
        window is not None
        and rows.dtype is torch.float32
        and min(rows.shape[2:]) >= window[0]
        and is_channels_last(rows, 3)
        and is_plain(rows)
        and not is_watched(module)
    )
    if window is None or not is_ours:
        return call_module(module, rows)
    return max_pool(rows, *window) if kind is nn.MaxPool2d else mean_pool(rows, *window)


def _plain_window(module: Any) -> tuple[int, int] | None:
    """Size and stride of a pool, if its windows are square, do not overlap and have no padding."""
    height, width = _as_pair(module.kernel_size)
    stride, other_stride = _as_pair(module.stride)
    has_options = (
        module.ceil_mode
        or _as_pair(module.padding) != (0, 0)
        or _as_pair(getattr(module, "dilation", 1)) != (1, 1)
        or getattr(module, "return_indices", False)
        or getattr(module, "divisor_override", None) is not None
    )
    if has_options or height != width or stride != other_stride:
        return None
    return (height, stride) if 1 <= height <= min(stride, LARGEST_WINDOW) else None


def _as_pair(value: Any) -> tuple[int, int]:
    first, last = (value, value) if isinstance(value, int) else value
    return first, last
