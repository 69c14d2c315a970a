"""Kernels of pools over images. `pools` loads this file as a text through the kernel cache.

Images x [R, H, W, C], outputs and their places [R, out_h, out_w, C], all flat. Windows of `size` by
`size` places begin every `stride` ≥ `size` places, without padding. The place of a maximum in its
window, a · size + b in row a and column b, is one byte.

A window has C numbers side by side, too few to be worth a loop. So rows are long: forward computes
the maximum or the sum of the windows that begin at any place of a row, and picks every `stride`-th
of them; backward writes the gradient of a window to each of its columns, and then whole rows.
"""

# mypy: ignore-errors
import numpy as np
from numba import njit

__all__ = ["pool", "spread"]

NO_PLACE = np.uint8(255)


@njit(inline="never", error_model="numpy")
def start_row(x, at, best, best_place, width):
    for p in range(width):
        best[p] = x[at + p]
        best_place[p] = 0


@njit(inline="never", error_model="numpy")
def extend_row(x, at, k, best, best_place, width):
    """Take the values of place k of all windows where they are larger, or NaN."""
    for p in range(width):
        value = x[at + p]
        is_larger = (value > best[p]) | (value != value)
        best[p] = value if is_larger else best[p]
        best_place[p] = k if is_larger else best_place[p]


@njit(inline="never", error_model="numpy")
def add_row(x, at, total, width):
    for p in range(width):
        total[p] += x[at + p]


@njit(inline="always")
def copy_values(target, to, source, at, count):
    for c in range(count):
        target[to + c] = source[at + c]


@njit(nogil=True, error_model="numpy")
def pool(first, last, size, stride, H, W, C, is_mean, x, out, places):
    """Maxima of the images first…last and the first place of each, or means without places.

    The sums of means run in torch's order.
    """
    out_h = (H - size) // stride + 1
    out_w = (W - size) // stride + 1
    width = np.uint64((W - size + 1) * C)
    # The maximum of the window that begins at each place of a row, or its sum.
    best = np.empty(W * C, np.float32)
    # As wide as the values: with bytes, the loop over a row takes twice the time.
    best_place = np.empty(W * C, np.int32)
    parts = np.float32(size * size)
    count = np.uint64(C)

    for r in range(first, last):
        for i in range(out_h):
            for k in range(size * size):
                at = np.uint64(((r * H + i * stride + k // size) * W + k % size) * C)
                if k == 0:
                    start_row(x, at, best, best_place, width)
                elif is_mean:
                    add_row(x, at, best, width)
                else:
                    extend_row(x, at, np.int32(k), best, best_place, width)

            for j in range(out_w):
                to = np.uint64(((r * out_h + i) * out_w + j) * C)
                start = np.uint64(j * stride * C)
                if is_mean:
                    for c in range(count):
                        out[to + c] = best[start + c] / parts
                else:
                    copy_values(out, to, best, start, count)
                    copy_values(places, to, best_place, start, count)


@njit(inline="always")
def repeat_window(grad, places, at, row, rest, to, b, size, count):
    """Write a window to its column b: gradient, and place minus b, which is a · size in row a."""
    for c in range(count):
        row[to + c] = grad[at + c]
        rest[to + c] = places[at + c] - np.uint8(b) if b < size else NO_PLACE


@njit(inline="never", error_model="numpy")
def write_row(grad_x, at, row, rest, wanted, width):
    for p in range(width):
        grad_x[at + p] = row[p] if rest[p] == wanted else np.float32(0)


@njit(inline="never", error_model="numpy")
def copy_row(grad_x, at, row, width):
    for p in range(width):
        grad_x[at + p] = row[p]


@njit(inline="never", error_model="numpy")
def clear_values(grad_x, at, width):
    for p in range(width):
        grad_x[at + p] = np.float32(0)


@njit(nogil=True, error_model="numpy")
def spread(first, last, size, stride, H, W, C, is_mean, grad, places, grad_x):
    """Gradients of the images first…last: the gradient of a window at its place, 0 elsewhere.

    A mean has the gradient of its window at all places, and 0 between windows; it has no `places`.
    """
    out_h = (H - size) // stride + 1
    out_w = (W - size) // stride + 1
    line = np.uint64(W * C)
    row = np.zeros(W * C, np.float32)
    rest = np.empty(W * C, np.uint8)
    rest[:] = NO_PLACE  # of columns behind the last window
    count = np.uint64(C)

    for r in range(first, last):
        for i in range(out_h):
            for j in range(out_w):
                at = np.uint64(((r * out_h + i) * out_w + j) * C)
                # The last window may end before its stride does.
                for b in range(min(stride, W - j * stride)):
                    to = np.uint64((j * stride + b) * C)
                    if not is_mean:
                        repeat_window(grad, places, at, row, rest, to, b, size, count)
                    elif b < size:
                        copy_values(row, to, grad, at, count)

            # The rows of the windows.
            for a in range(size):
                to = np.uint64((r * H + i * stride + a) * W * C)
                if is_mean:
                    copy_row(grad_x, to, row, line)
                else:
                    write_row(grad_x, to, row, rest, np.uint8(a * size), line)

            # The rows between two windows, and below the last one.
            for h in range(i * stride + size, min((i + 1) * stride, H)):
                clear_values(grad_x, np.uint64((r * H + h) * W * C), line)

        for h in range(min(out_h * stride, H), H):
            clear_values(grad_x, np.uint64((r * H + h) * W * C), line)
