"""Sums and batch statistics over all processes of a data-parallel run.

torch's `SyncBatchNorm` runs on GPUs only; this is plain torch, so it runs on any device.
"""

from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["moments_over_processes", "process_count", "sum_over_processes"]


def process_count() -> int:
    """Number of processes that train together."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def moments_over_processes(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The number, mean and variance of the values of all processes by channel, and centered values.

    Args:
        x: The values of this process, [M, C, ...]; M may differ between processes.

    Returns:
        The values per channel, their mean [C], their variance [C] without Bessel's correction, and
        `x` minus the mean.
    """
    pooled = (0, *range(2, x.ndim))

    # One message for sums and count: [C + 1].
    count = x.new_full((1,), x.numel() / x.shape[1])
    sums = sum_over_processes(torch.cat([x.sum(pooled), count]))
    count = sums[-1].detach()
    mean = sums[:-1] / count

    # The variance from centered values, because a difference of squares cancels.
    centered = x - mean.reshape(-1, *[1] * (x.ndim - 2))
    variance = sum_over_processes(centered.square().sum(pooled)) / count
    return count, mean, variance, centered


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes, which must all call this, with gradient."""
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]  # torch does not type it
    return total


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient of each process is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004  # nothing is saved
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ARG004
        total = grad.clone()
        distributed.all_reduce(total)
        return total
