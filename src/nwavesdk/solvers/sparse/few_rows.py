"""The sparse product of a few rows and its gradient: one native call each, on one thread.

Its sums equal the sums of many rows, bit for bit.
"""

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_native
from nwavesdk.solvers.sparse.many_rows import DTYPE_NAMES, sparse_kernels

__all__ = ["FEW_ROWS", "gather_few_gradient_rows", "gather_few_rows"]

FEW_ROWS = 64
"""Rows up to which a product is one of a few rows."""


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
