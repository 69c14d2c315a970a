"""The kernel of delayed products of a few steps. `delay_rows` loads it through the kernel cache.

In one step, most spikes of the past arrive over few of their connections. This kernel finds them by
comparing delays with the age of a spike, so it needs no rows, and reads weights and delays as they
are. Its sums have the terms of `delay_kernels` in their order, and so their bits.
"""

import numpy as np
from numba import njit

__all__ = ["add_recent"]


@njit(inline="never", error_model="numpy", fastmath={"contract"})
def add_aged(out, b, t, x, age, weight, delay, i):
    """out[b, t] += x · weight[i] · the share that arrives after `age` steps."""
    one = out.dtype.type(1)
    before = age - one
    for o in range(np.uint64(out.shape[2])):
        left = delay[i, o] - age
        # 1 - part after the whole steps of a delay, part after one step more.
        share = one - left if left >= 0 else delay[i, o] - before
        share = max(share, one - one)
        out[b, t, o] += x * (weight[i, o] * share)


@njit(nogil=True, error_model="numpy")
def add_recent(first, last, ends, places, values, past, max_delay, weight, delay, out):
    """Write the delayed charge of the listed spikes to out [B, T, N_out].

    A job is a batch element, whose places are its steps. `past` is the number of steps before the
    first of `out`.
    """
    steps = out.shape[1]
    for b in range(np.uint64(first), np.uint64(last)):
        out[b] = 0
        p = ends[b - np.uint64(1), -1] if b else 0
        for i in range(np.uint64(ends.shape[1])):
            for k in range(p, ends[b, i]):
                x = out.dtype.type(1) if values is None else values[k]
                age = past - np.int64(places[k])
                for t in range(max(0, -age), min(steps, max_delay - age + 1)):
                    real = out.dtype.type(age + t)
                    add_aged(out, b, np.uint64(t), x, real, weight, delay, i)
            p = ends[b, i]
