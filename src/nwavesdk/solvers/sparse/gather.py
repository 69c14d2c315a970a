"""The sparse product and its gradient from gathered rows, of many rows and of a few.

A product of many rows is several kernels, each on all threads. A product of a few rows is one
native call on one thread. Its sums equal the sums of many rows, bit for bit.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import run_kernel
from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_native, package_kernels

__all__ = [
    "DTYPE_NAMES",
    "FEW_ROWS",
    "Nonzeros",
    "find_nonzeros",
    "gather_few_gradient_rows",
    "gather_few_rows",
    "gather_product",
    "gather_weight_gradient",
    "listed_nonzeros",
    "nonzero_values",
    "order_by_input",
    "sparse_kernels",
]

FEW_ROWS = 64
"""Rows up to which a product is one of a few rows."""

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


# Few rows


def gather_few_rows(x: Tensor, weight: Tensor, most: int) -> tuple[Tensor, int] | None:
    """The sparse product of a few rows x [R, N_in] without a graph, and the number of non-zeros.

    Returns None if there are more than `most`.
    """
    x, stride = _with_dense_rows(x)
    rows, inputs = x.shape
    outputs = weight.shape[1]
    weight = weight.contiguous()
    out = torch.empty(rows, outputs, dtype=x.dtype)

    call = _c_function("gather_few_rows", x.dtype, 5)
    addresses = x.data_ptr(), weight.data_ptr(), out.data_ptr()
    count = call(*addresses, rows, stride, inputs, outputs, most)
    return (out, count) if count <= most else None


def gather_few_gradient_rows(x: Tensor, grad: Tensor) -> Tensor:
    """The sparse product of a few rows x [R, N_in], transposed, and `grad` [R, N_out]."""
    x, stride = _with_dense_rows(x)
    rows, inputs = x.shape
    outputs = grad.shape[1]
    grad = grad.contiguous()
    out = torch.empty(inputs, outputs, dtype=grad.dtype)
    call = _c_function("gather_few_gradient_rows", grad.dtype, 4)
    call(x.data_ptr(), grad.data_ptr(), out.data_ptr(), rows, stride, inputs, outputs)
    return out


def _with_dense_rows(x: Tensor) -> tuple[Tensor, int]:
    """The input [R, N_in] with rows that are contiguous, and the distance between them [values].

    A step of a sequence, `x[:, t]`, has such rows and is not copied.
    """
    inputs = x.shape[1]
    if x.is_contiguous():
        return x, inputs
    stride = x.stride(0)
    if x.stride(1) == 1 and stride >= inputs:
        return x, stride
    return x.contiguous(), inputs


@cache
def _c_function(name: str, dtype: torch.dtype, numbers: int) -> Any:
    """A kernel of three addresses and some whole numbers, compiled for Python's ctypes."""
    addresses = [f"CPointer({DTYPE_NAMES[dtype]})"] * 3
    signature = ", ".join([*addresses, *["int64"] * numbers])
    function = getattr(sparse_kernels(dtype), name)
    with COMPILE_LOCK:
        compiled = compile_native(function, f"int64({signature})")

    kinds = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * numbers
    call = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(compiled.address)
    call.compiled = compiled  # type: ignore[attr-defined]  # keeps the machine code in memory
    return call
