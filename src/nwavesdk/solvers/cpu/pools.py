"""Pools over channels-last images on the CPU, which save no images for backward.

torch saves the input of a pool, and of a maximum also its place as int64. A maximum needs its place
within the window, one byte per output, and a mean needs nothing.
"""

import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import keep_large_blocks, run_jobs
from nwavesdk.solvers.kernel_cache import load_python_kernels

__all__ = ["LARGEST_WINDOW", "max_pool", "mean_pool"]

LARGEST_WINDOW = 15
"""Places of a window are one byte, of which 255 is none."""

_SMALL = 1 << 15  # numbers of an input below which a second thread costs more than it saves


def max_pool(x: Tensor, size: int, stride: int) -> Tensor:
    """The maximum of each window, as `torch.nn.functional.max_pool2d`, with its gradient.

    Args:
        x: Images [R, C, H, W], channels-last, float32, on the CPU.
        size: Height and width of a window, at most `LARGEST_WINDOW`, H and W.
        stride: Distance of windows, at least `size`.
    """
    y: Tensor = _MaxPool.apply(x, size, stride)
    return y


def mean_pool(x: Tensor, size: int, stride: int) -> Tensor:
    """The mean of each window, as `torch.nn.functional.avg_pool2d`; see `max_pool`."""
    y: Tensor = _MeanPool.apply(x, size, stride)
    return y


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, stride: int) -> Tensor:
        out = _empty_outputs(x.shape, size, stride)
        places = torch.empty_like(out, dtype=torch.uint8)
        _run("pool_maxima", x.shape, size, stride, x, out, places)
        ctx.save_for_backward(places)
        ctx.sizes = (x.shape, size, stride)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        # A separate function, so that a gradient of the gradient goes through it.
        return _SpreadToMaxima.apply(grad, places, *ctx.sizes), None, None


class _SpreadToMaxima(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, places: Tensor, shape: torch.Size, size: int, stride: int
    ) -> Tensor:
        grad_x = _empty_images(shape)
        _run("spread_to_maxima", shape, size, stride, grad, places, grad_x)
        ctx.save_for_backward(places)
        ctx.sizes = (size, stride)
        return grad_x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (places,) = ctx.saved_tensors
        size, stride = ctx.sizes
        windows = grad.unfold(2, size, stride).unfold(3, size, stride).flatten(-2)
        picked = windows.gather(-1, places.long().unsqueeze(-1)).squeeze(-1)
        return picked, None, None, None, None


class _MeanPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, stride: int) -> Tensor:
        out = _empty_outputs(x.shape, size, stride)
        _run("pool_means", x.shape, size, stride, x, out)
        ctx.sizes = (x.shape, size, stride)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _SpreadMeans.apply(grad, *ctx.sizes), None, None


class _SpreadMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, shape: torch.Size, size: int, stride: int) -> Tensor:
        grad_x = _empty_images(shape)
        _run("spread_means", shape, size, stride, grad, grad_x)
        ctx.sizes = (size, stride)
        return grad_x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return torch.nn.functional.avg_pool2d(grad, *ctx.sizes), None, None, None


def _empty_images(shape: Sequence[int]) -> Tensor:
    """Images [R, C, H, W], channels-last."""
    R, C, H, W = shape
    return torch.empty(R, H, W, C, device="cpu").movedim(-1, 1)


def _empty_outputs(shape: Sequence[int], size: int, stride: int) -> Tensor:
    R, C, *places = shape
    return _empty_images((R, C, *((n - size) // stride + 1 for n in places)))


def _run(name: str, shape: Sequence[int], size: int, stride: int, *images: Tensor) -> None:
    """Run a kernel on all images, whose numbers it gets in the order R, H, W, C."""
    R, C, H, W = shape
    keep_large_blocks()
    arrays = [t.detach().movedim(1, -1).contiguous().view(-1).numpy() for t in images]
    kernel = getattr(_kernels(), name)
    is_small = math.prod(shape) < _SMALL
    run_jobs(lambda i, j: kernel(i, j, size, stride, H, W, C, *arrays), R, serial=is_small)


@cache
def _kernels() -> Any:
    text = files("nwavesdk.solvers.cpu").joinpath("pool_kernels.py").read_text("utf-8")
    return load_python_kernels("pools", text)
