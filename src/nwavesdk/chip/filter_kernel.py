"""The kernel of `FilterBank`. `filter_bank` loads this file as a text through the kernel cache.

A section is a filter of second order in the transposed direct form II, in the order of scipy's
`sosfilt`:

    y = b0 x + d0
    d0 = (b1 x - a1 y) + d1
    d1 = b2 x - a2 y

Filters are the last axis, because all of them take the same sample: that loop vectorizes. Over time
a filter depends on its own past.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

__all__ = ["filter_samples"]


@njit(nogil=True, error_model="numpy")
def filter_samples(samples, sections, delays, channels):
    """Filter a block.

    Args:
        samples: Float64 [samples].
        sections: b0, b1, b2, a0, a1, a2 of each section, float64 [order, 6, count]; a0 is 1.
        delays: d0 and d1 of each section, float64 [order, 2, count]; updated.
        channels: Receives the channels, float32 [count, samples].
    """
    order, _, count = sections.shape
    x = np.empty(count)

    for n in range(len(samples)):
        # All filters take the same sample; the output of a section is the input of the next.
        x[:] = samples[n]
        for i in range(order):
            for k in range(count):
                y = sections[i, 0, k] * x[k] + delays[i, 0, k]
                delays[i, 0, k] = sections[i, 1, k] * x[k] - sections[i, 4, k] * y + delays[i, 1, k]
                delays[i, 1, k] = sections[i, 2, k] * x[k] - sections[i, 5, k] * y
                x[k] = y

        for k in range(count):
            channels[k, n] = x[k]
