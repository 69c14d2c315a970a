"""A module without time, such as a convolution, on a sequence: batch and time are one dimension.

Folding [B, T, C, H, W] to [B · T, C, H, W] needs no copy in either layout of images.

Images are channels-last from the first convolution of a net on. On the CPU, oneDNN's convolutions
and torch's pools of channels-last images take 0.4 to 1 times the time of channels-first ones,
because they need not reorder them. Neuron layers, pools and norms follow the layout that they get,
so one conversion at the first convolution is enough.

The exception is a convolution with many weights and few numbers to apply them to: torch reorders
its weight in each call, which then takes longer than the convolution. It runs channels-first.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.layout import is_channels_last, place_rows, select_rows
from nwavesdk.layers.lengths import reads_batch, valid_places
from nwavesdk.net.calls import Outputs, call_module, is_watched
from nwavesdk.solvers.cpu.pools import LARGEST_WINDOW, pool_images

__all__ = [
    "as_module_runs_fastest",
    "require_tensor_output",
    "run_folded",
    "run_on_images",
    "run_rows",
]

# Numbers of an input for each weight, from which on channels-last is faster. Measured with 1 to 512
# channels and images from 3 by 3 to 64 by 64.
_MIN_REUSE = 4


def run_folded(module: nn.Module, x: Tensor, lengths: Tensor | None) -> Outputs:
    """The output [B, T, ...], twice, of a module without time for a sequence [B, T, *features].

    Args:
        module: A module of torch or of a user; it sees [B · T, *features].
        x: The sequence.
        lengths: Number of steps of each recording, int64 [B], or None. A module that keeps
            statistics of its inputs sees valid steps only, and returns zeros in padding.

    Raises:
        TypeError: If the module does not return a tensor.
    """
    rows = x.flatten(0, 1)

    # Statistics must not see padding. Without padding, `places` is None as well.
    places = None
    if lengths is not None and reads_batch(module):
        places = valid_places(lengths, x.shape[1])

    if places is None:
        y = run_rows(module, rows)
    else:
        y = place_rows(run_rows(module, select_rows(rows, places)), places, len(rows))

    y = y.reshape(x.shape[:2] + y.shape[1:])
    return y, y


def run_rows(module: nn.Module, rows: Tensor, **options: Any) -> Tensor:
    """The output of a module for [R, *features], with images in the layout that suits it.

    Raises:
        TypeError: If the module does not return a tensor.
    """
    rows = as_module_runs_fastest(module, rows)
    y = module(rows, **options) if options else run_on_images(module, rows)
    return require_tensor_output(module, y)


def require_tensor_output(module: nn.Module, y: object) -> Tensor:
    """The output of a module of a net, which must be a tensor.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{type(module).__name__} in a SpikingSequential must return a tensor, "
            f"got {type(y).__name__}."
        )
    return y


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

    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    first = next((inner for inner in module.modules() if isinstance(inner, convolutions)), None)
    if first is None or not torch._C._has_mkldnn:
        return rows

    # torch would reorder a large weight in each call; see the module's text.
    weight = first.weight
    if _MIN_REUSE * weight.numel() > rows.numel() and not is_channels_last(weight, 3):
        return rows.contiguous()

    # Both layouts of one channel are the same in memory. The strides select channels-last.
    if rows.shape[1] == 1:
        return rows.squeeze(1).unsqueeze(-1).movedim(-1, 1)

    return rows.contiguous(memory_format=torch.channels_last)


def run_on_images(module: nn.Module, rows: Tensor) -> Any:
    """`module(rows)`; a plain pool of channels-last images saves nothing of its input's size."""
    kind = type(module)
    if kind not in (nn.MaxPool2d, nn.AvgPool2d) or rows.ndim != 4:
        return call_module(module, rows)

    window = _plain_window(module)
    if (
        window is not None
        and rows.dtype is torch.float32
        and min(rows.shape[2:]) >= window[0]
        and is_channels_last(rows, 3)
        and is_plain(rows)
        and not is_watched(module)
    ):
        return pool_images(rows, *window, is_mean=kind is nn.AvgPool2d)
    return call_module(module, rows)


def _plain_window(module: Any) -> tuple[int, int] | None:
    """Size and stride of a pool, if its windows are square, do not overlap and have no padding."""
    size, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
    is_plain_pool = (
        not module.ceil_mode
        and padding == (0, 0)
        and _pair(getattr(module, "dilation", 1)) == (1, 1)
        and not getattr(module, "return_indices", False)
        and getattr(module, "divisor_override", None) is None
        and size[0] == size[1]
        and stride[0] == stride[1]
        and 1 <= size[0] <= min(stride[0], LARGEST_WINDOW)
    )

    return (size[0], stride[0]) if is_plain_pool else None
