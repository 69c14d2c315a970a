"""Kernels of inputs that are late. `shifted_input` loads this file through the kernel cache.

Whole steps and parts of delays are those of `delay_kernels`.
"""

import numpy as np
from numba import njit

__all__ = ["shift_back", "shift_inputs"]


@njit(nogil=True, error_model="numpy")
def shift_inputs(first, last, x, delay, max_delay, past, out):
    """Write the inputs x [B, past + T, N], each late by its `delay` [N], to out [B, T, N].

    A job is a batch element. Steps before those of x are zero.
    """
    steps = out.shape[1]
    whole = np.empty(len(delay), np.int64)
    part = np.empty(len(delay), out.dtype)
    for n in range(len(delay)):
        whole[n] = min(int(delay[n]), max_delay - 1)
        part[n] = delay[n] - whole[n]
    one = out.dtype.type(1)
    for b in range(first, last):
        for t in range(past, past + steps):
            for n in range(len(delay)):
                now = t - whole[n]
                early = x[b, now, n] if now >= 0 else 0
                late = x[b, now - 1, n] if now >= 1 else 0
                out[b, t - past, n] = (one - part[n]) * early + part[n] * late


@njit(nogil=True, error_model="numpy")
def shift_back(first, last, x, delay, max_delay, past, grad, grad_x, grad_delay):
    """Gradients of `shift_inputs`: grad_x as x, and grad_delay [B, N], whose sum over B is due.

    Without `grad_x` (None), only those of delays.
    """
    steps = grad.shape[1]
    for b in range(first, last):
        for n in range(len(delay)):
            grad_delay[b, n] = 0
        for s in range(x.shape[1]):
            for n in range(len(delay)):
                whole = min(int(delay[n]), max_delay - 1)
                part = delay[n] - whole
                now = s + whole - past
                early = grad[b, now, n] if 0 <= now < steps else 0
                late = grad[b, now + 1, n] if -1 <= now < steps - 1 else 0
                grad_delay[b, n] += x[b, s, n] * (late - early)
                if grad_x is not None:
                    grad_x[b, s, n] = (1 - part) * early + part * late
