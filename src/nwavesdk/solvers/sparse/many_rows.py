"""The sparse product of many rows and its gradient: several kernels, each on all threads."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import run_kernel
from nwavesdk.solvers.kernel_cache import package_kernels

__all__ = [
    "DTYPE_NAMES",
    "Nonzeros",
    "find_nonzeros",
    "gather_product",
    "gather_weight_gradient",
    "listed_nonzeros",
    "nonzero_values",
    "order_by_input",
    "sparse_kernels",
]

DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_SMALL = 1 << 18  # values read or added below which threads cost more than they save
_CACHED = 1 << 18  # values of the upstream gradient that stay in the second-level cache
_PIECES = 32  # jobs of a weight gradient

sparse_kernels = partial(package_kernels, "nwavesdk.solvers.sparse", "kernels")
"""The functions of `kernels` by dtype."""


@dataclass(frozen=True)
class Nonzeros:
    """The non-zeros of x [R, N_in].

    Attributes:
        words: One bit per value, [R, ⌈N_in/64⌉] int64.
        start: How many there are before each row, and in all, [R + 1] int64.
        values: Their values, or None if all are 1.
        count: How many there are.
    """

    words: Tensor
    start: Tensor
    values: Tensor | None
    count: int

    def arguments(self, dtype: torch.dtype) -> tuple[Any, Tensor, Tensor, int]:
        """Words, start, values and step, as the kernels take them."""
        values = torch.ones(1, dtype=dtype) if self.values is None else self.values
        return self.words.numpy().view("uint64"), self.start, values, int(self.values is not None)


def find_nonzeros(x: Tensor, most: int) -> Nonzeros | None:
    """The non-zeros of x [R, N_in], or None if there are more than `most`."""
    rows, inputs = x.shape
    kernels = sparse_kernels(x.dtype)
    words = x.new_empty(rows, -(-inputs // 64), dtype=torch.int64)
    counts = x.new_empty(rows, dtype=torch.int64)
    seen = torch.zeros(3, dtype=torch.int64)  # see `pack_bits`
    bits = words.numpy().view("uint64")
    serial = x.numel() < _SMALL
    run_kernel(kernels.pack_bits, rows, x, most, bits, counts, seen, serial=serial)

    gave_up, has_other_values = seen[1:].tolist()
    if gave_up:
        return None

    start = torch.zeros(rows + 1, dtype=torch.int64)
    torch.cumsum(counts, 0, out=start[1:])
    count = int(start[-1])
    if count > most:
        return None
    return Nonzeros(
        words, start, nonzero_values(x, words, start) if has_other_values else None, count
    )


def listed_nonzeros(x: Tensor) -> Nonzeros:
    """The non-zeros of a sparse COO tensor x [..., N_in]; all its other dimensions are rows.

    Values at the same place are added up.
    """
    listed = x.detach().coalesce()
    indices = listed.indices()
    values = listed.values()
    if not values.all():
        is_nonzero = values != 0
        indices = indices[:, is_nonzero]
        values = values[is_nonzero]

    # The leading dimensions as one number per row.
    *leading, column = indices
    row = torch.zeros_like(column)
    for size, index in zip(x.shape[:-1], leading, strict=True):
        row = row * size + index
    rows = math.prod(x.shape[:-1])

    # Column c is bit c % 64 of word c // 64 of its row. No column is there twice, so a sum of bits
    # sets each of them.
    n_words = -(-x.shape[-1] // 64)
    words = column.new_zeros(rows * n_words)
    words.scatter_add_(0, row * n_words + (column >> 6), torch.bitwise_left_shift(1, column & 63))
    start = column.new_zeros(rows + 1)
    torch.cumsum(torch.bincount(row, minlength=rows), 0, out=start[1:])

    is_binary = bool((values == 1).all())
    return Nonzeros(
        words.view(rows, n_words), start, None if is_binary else values.contiguous(), len(values)
    )


def nonzero_values(x: Tensor, words: Tensor, start: Tensor) -> Tensor:
    """The values of the non-zeros of x [R, N_in]; see `Nonzeros`."""
    values = x.new_empty(int(start[-1]))
    bits = words.numpy().view("uint64")
    pick = sparse_kernels(x.dtype).pick_values
    run_kernel(pick, len(x), x, bits, start, values, serial=x.numel() < _SMALL)
    return values


def gather_product(active: Nonzeros, weight: Tensor) -> Tensor:
    """The sparse product of x and `weight`."""
    rows = active.words.shape[0]
    outputs = weight.shape[1]
    out = weight.new_empty(rows, outputs)
    add_rows = sparse_kernels(weight.dtype).sum_weight_rows
    serial = (active.count + rows) * outputs < _SMALL
    run_kernel(add_rows, rows, *active.arguments(weight.dtype), weight, out, serial=serial)
    return out


def gather_weight_gradient(active: Nonzeros, grad: Tensor, inputs: int) -> Tensor:
    """The sparse product of x, transposed, and `grad` [R, N_out].

    The first kernel orders the non-zeros of each block of rows by input. The second adds up rows of
    `grad`; its jobs are pieces of the inputs.
    """
    rows, outputs = grad.shape
    serial = (active.count + rows) * outputs < _SMALL
    size = max(64, min(rows // 16, _CACHED // outputs))  # rows of a block
    ends, order, moved, step = order_by_input(active, size, inputs, grad.dtype, serial=serial)
    out = grad.new_empty(inputs, outputs)

    by_inputs = _input_cuts(ends), size, active.start, ends, order, moved, step, grad, out
    kernel = sparse_kernels(grad.dtype).sum_gradient_rows
    run_kernel(kernel, _PIECES, *by_inputs, serial=serial)
    return out


def order_by_input(
    active: Nonzeros, size: int, inputs: int, dtype: torch.dtype, *, serial: bool
) -> tuple[Any, Any, Tensor, int]:
    """The non-zeros in the order of inputs, for each block of `size` rows.

    Returns:
        Ends, order and moved values, as the kernel of the same name writes them, and their step.
    """
    words, start, values, step = active.arguments(dtype)
    blocks = -(-(len(start) - 1) // size)
    ends = np.empty((blocks, inputs), np.int64)
    order = np.empty(active.count, np.uint32)
    moved = torch.empty_like(values) if step else values

    order_blocks = sparse_kernels(dtype).order_by_input
    arguments = size, words, start, values, step, ends, order, moved
    run_kernel(order_blocks, blocks, *arguments, serial=serial)
    return ends, order, moved, step


def _input_cuts(ends: Any) -> Any:
    """Where the inputs are cut into pieces of about the same work."""
    # The work of all inputs up to each, but for a constant: non-zeros, and one per row of out.
    work = ends.sum(0) + np.arange(ends.shape[1])
    cuts = np.searchsorted(work, np.linspace(work[0], work[-1], _PIECES + 1))
    cuts[0] = 0
    cuts[-1] = ends.shape[1]
    return cuts
