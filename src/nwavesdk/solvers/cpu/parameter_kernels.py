"""Kernels over parameters. `parameters` loads this file as a text through the kernel cache.

Each takes the address of a block of 64-bit words, see the functions. Arrays are contiguous.
"""

# mypy: ignore-errors
import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

__all__ = ["are_equal", "chain_float32", "chain_float64"]


@intrinsic
def pointer(context, address):  # noqa: ARG001  # numba gives all arguments
    def generate(context, builder, signature, arguments):  # noqa: ARG001  # as above
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


def are_equal(address):
    """Whether arrays have the same bits: 1 or 0.

    Words: the number of pairs; then, for each, both addresses and the number of 32-bit words.
    """
    head = carray(pointer(address), (1,), np.int64)
    words = carray(pointer(address), (1 + 3 * head[0],), np.int64)

    difference = np.uint32(0)
    for i in range(head[0]):
        size = words[3 + 3 * i]
        a = carray(pointer(words[1 + 3 * i]), (size,), np.uint32)
        b = carray(pointer(words[2 + 3 * i]), (size,), np.uint32)
        for j in range(np.uint64(size)):
            difference |= a[j] ^ b[j]
    return np.int64(difference == np.uint32(0))


@njit(error_model="numpy")
def sum_batch(grad_constants, c, sums):
    """Add up the gradient of constant c over the batch; `grad_constants` is [C, B, N]."""
    for n in range(np.uint64(sums.shape[0])):
        sums[n] = 0.0

    for b in range(grad_constants.shape[1]):
        for n in range(np.uint64(sums.shape[0])):
            sums[n] += grad_constants[c, b, n]


@njit(error_model="numpy")
def chain(address, real):
    """Gradients of parameters, `real` numbers; see `chain_float32`."""
    head = carray(pointer(address), (6,), np.int64)
    C, B, N, P = head[0], head[1], head[2], head[3]

    words = carray(pointer(address), (6 + 3 * P,), np.int64)
    grad_constants = carray(pointer(head[4]), (C, B, N), real)
    derivatives = carray(pointer(head[5]), (C, P, N), np.float64)
    sums = np.empty(N, np.float64)
    grads = np.zeros((P, N), np.float64)

    for c in range(C):
        sum_batch(grad_constants, c, sums)
        for p in range(P):
            for n in range(np.uint64(N)):
                grads[p, n] += sums[n] * derivatives[c, p, n]

    for p in range(P):
        groups = words[6 + 3 * p]
        run = words[7 + 3 * p]
        totals = np.zeros(groups, np.float64)

        # Neurons share a value in runs. After the run of the last value, the first value follows.
        for k in range(N // run):
            total = 0.0
            for n in range(k * run, (k + 1) * run):
                total += grads[p, n]
            totals[k % groups] += total

        out = carray(pointer(words[8 + 3 * p]), (groups,), real)
        for g in range(groups):
            out[g] = totals[g]


def chain_float32(address):
    """Gradients of P parameters from the gradients of C constants, in float32, summed in float64.

    Words: C, B, N, P, the address of the constants' gradients [C, B, N], the address of the
    derivatives of the constants by the parameters [C, P, N] (float64); then, for each parameter,
    its number of values, how many neurons that follow one another share a value, and the address
    of its gradient.
    """
    chain(address, np.float32)
    return 0


def chain_float64(address):
    """As `chain_float32`, in float64."""
    chain(address, np.float64)
    return 0
