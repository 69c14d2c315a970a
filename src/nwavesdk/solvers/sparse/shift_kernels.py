"""Kernels of inputs that are late. `shifted_input` loads this file through the kernel cache.

Whole steps and parts of delays are those of `delay_kernels`.
"""

import numpy as np
from numba import njit

__all__ = ["shift_back", "shift_inputs"]


@njit(inline="always")
def split_delays(delay, max_delay):
    """The whole steps of delays [N], and the parts beyond them."""
    whole = np.empty(len(delay), np.int64)
    part = np.empty_like(delay)
    for n in range(len(delay)):
        whole[n] = min(int(delay[n]), max_delay - 1)
        part[n] = delay[n] - whole[n]
    return whole, part


@njit(nogil=True, error_model="numpy")
def shift_inputs(first, last, x, delay, max_delay, past, out):
    """Write the inputs x [B, past + T, N], each late by its `delay` [N], to out [B, T, N].

    A job is a batch element. Steps before those of x are zero.
    """
    steps = out.shape[1]
    whole, part = split_delays(delay, max_delay)
    one = out.dtype.type(1)
    zero = out.dtype.type(0)
    for b in range(first, last):
        for t in range(past, past + steps):
            for n in range(len(delay)):
                now = t - whole[n]
                early = x[b, now, n] if now >= 0 else zero
                late = x[b, now - 1, n] if now >= 1 else zero
                out[b, t - past, n] = (one - part[n]) * early + part[n] * late


@njit(nogil=True, error_model="numpy")
def shift_back(first, last, x, delay, max_delay, past, grad, grad_x, grad_delay):
    """Gradients of `shift_inputs`: grad_x as x, and grad_delay [B, N], whose sum over B is due.

    Without `grad_x` (None), only those of delays.
    """
    steps = grad.shape[1]
    whole, part = split_delays(delay, max_delay)
    one = grad.dtype.type(1)
    zero = grad.dtype.type(0)
    for b in range(first, last):
        for n in range(len(delay)):
            grad_delay[b, n] = 0
        for s in range(x.shape[1]):
            for n in range(len(delay)):
                now = s + whole[n] - past
                early = grad[b, now, n] if 0 <= now < steps else zero
                late = grad[b, now + 1, n] if -1 <= now < steps - 1 else zero
                grad_delay[b, n] += x[b, s, n] * (late - early)
                if grad_x is not None:
                    grad_x[b, s, n] = (one - part[n]) * early + part[n] * late
