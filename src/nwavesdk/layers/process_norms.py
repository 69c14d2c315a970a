"""Sums and batch statistics over all processes of a data-parallel run.

torch's `SyncBatchNorm` runs on GPUs only; this is plain torch, so it runs on any device.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from nwavesdk.layers.norms import TimeBatchNorm

__all__ = ["normalize_over_processes", "process_count", "sum_over_processes"]


def process_count() -> int:
    """Number of processes that train together."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def normalize_over_processes(norm: "TimeBatchNorm", rows: Tensor) -> Tensor:
    """Normalize rows [M, C, ...] with the statistics of the rows of all processes.

    Args:
        norm: The norm; its running statistics are updated.
        rows: The values of this process; M may differ between processes.

    Raises:
        RuntimeError: If there are fewer than two values per channel in all processes together.
    """
    x = rows.to(norm.running_mean.dtype)
    pooled = (0, *range(2, x.ndim))
    by_channel = (-1, *[1] * (x.ndim - 2))

    # One message for sums and count: [C + 1].
    count = x.new_full((1,), x.numel() / norm.num_features)
    sums = sum_over_processes(torch.cat([x.sum(pooled), count]))
    count = sums[-1].detach()
    if count < 2:
        raise RuntimeError(
            f"{type(norm).__name__} needs at least 2 values per channel in train(), got "
            f"{count:.0f}: pass longer sequences or more recordings, or call eval()."
        )

    # The variance from centered values, because a difference of squares cancels.
    mean = sums[:-1] / count
    centered = x - mean.reshape(by_channel)
    variance = sum_over_processes(centered.square().sum(pooled)) / count

    norm.num_batches_tracked += 1
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)

    scale = torch.rsqrt(variance + norm.eps)
    scale = scale if norm.scale is None else scale * norm.scale
    y = centered * scale.reshape(by_channel)
    return (y if norm.bias is None else y + norm.bias.reshape(by_channel)).to(rows.dtype)


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
