"""Pools over channels-last images on the CPU, which save no images for backward.

torch saves the input of a pool, and of a maximum also its place as int64. A maximum needs its place
within the window, one byte per output, and a mean needs nothing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import keep_large_blocks, run_kernel
from nwavesdk.solvers.kernel_cache import package_kernels

__all__ = ["LARGEST_WINDOW", "pool_images"]

LARGEST_WINDOW = 15
"""Places of a window are one byte, of which 255 is none."""

_NO_PLACES = torch.empty(0, 0, 0, 0, dtype=torch.uint8)  # of a mean
_SMALL = 1 << 15  # numbers of an input below which a second thread costs more than it saves


def pool_images(x: Tensor, size: int, stride: int, is_mean: bool) -> Tensor:
    """The maximum or the mean of each window, as in `torch.nn.functional`, with its gradient.

    Args:
        x: Images [R, C, H, W], channels-last, float32, on the CPU.
        size: Height and width of a window, at most `LARGEST_WINDOW`, H and W.
        stride: Distance of windows, at least `size`.
        is_mean: Whether to take the mean.
    """
    y: Tensor = _Pool.apply(x, size, stride, is_mean)
    return y


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, stride: int, is_mean: bool) -> Tensor:
        R, C, *lengths = x.shape
        out = _empty_images((R, C, *((n - size) // stride + 1 for n in lengths)))
        places = _NO_PLACES if is_mean else torch.empty_like(out, dtype=torch.uint8)
        _run("pool", x.shape, size, stride, is_mean, x, out, places)
        ctx.save_for_backward(*([] if is_mean else [places]))
        ctx.sizes = (x.shape, size, stride)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # A separate function, so that a gradient of the gradient goes through it.
        return _Spread.apply(grad, *ctx.sizes, *ctx.saved_tensors), None, None, None


class _Spread(torch.autograd.Function):
    """The gradient of a window at its place, or for means without `places` at all of its places."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, shape: torch.Size, size: int, stride: int, *places: Tensor
    ) -> Tensor:
        grad_x = _empty_images(shape)
        is_mean = not places
        share = grad / size**2 if is_mean else grad
        _run("spread", shape, size, stride, is_mean, share, *(places or [_NO_PLACES]), grad_x)

        ctx.save_for_backward(*places)
        ctx.sizes = (size, stride)
        return grad_x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        size, stride = ctx.sizes
        rest = (None,) * (3 + len(ctx.saved_tensors))
        if not ctx.saved_tensors:
            return torch.nn.functional.avg_pool2d(grad, size, stride), *rest
        (places,) = ctx.saved_tensors
        windows = grad.unfold(2, size, stride).unfold(3, size, stride).flatten(-2)
        return windows.gather(-1, places.long().unsqueeze(-1)).squeeze(-1), *rest


def _empty_images(shape: Sequence[int]) -> Tensor:
    """Images [R, C, H, W], channels-last."""
    R, C, H, W = shape
    return torch.empty(R, H, W, C, device="cpu").movedim(-1, 1)


def _run(
    name: str, shape: Sequence[int], size: int, stride: int, is_mean: bool, *images: Tensor
) -> None:
    """Run a kernel on all images, whose numbers it gets in the order R, H, W, C."""
    R, C, H, W = shape
    keep_large_blocks()
    kernel = getattr(package_kernels("nwavesdk.solvers.cpu", "pool_kernels", torch.float32), name)
    flat = [image.movedim(1, -1).reshape(-1) for image in images]
    is_small = math.prod(shape) < _SMALL
    run_kernel(kernel, R, size, stride, H, W, C, is_mean, *flat, serial=is_small)
