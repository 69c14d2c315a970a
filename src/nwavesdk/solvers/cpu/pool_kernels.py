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

__all__ = ["pool_maxima", "pool_means", "spread_means", "spread_to_maxima"]

NO_PLACE = np.uint8(255)


@njit(inline="never", error_model="numpy")
def start_row(x, at, best, place, width):
    for p in range(width):
        best[p] = x[at + p]
        place[p] = 0


@njit(inline="never", error_model="numpy")
def extend_row(x, at, k, best, place, width):
    """Take the values of place k of all windows where they are larger, or NaN."""
    for p in range(width):
        value = x[at + p]
        is_larger = (value > best[p]) | (value != value)
        best[p] = value if is_larger else best[p]
        place[p] = k if is_larger else place[p]


@njit(inline="never", error_model="numpy")
def copy_row(x, at, total, width):
    for p in range(width):
        total[p] = x[at + p]


@njit(inline="never", error_model="numpy")
def add_row(x, at, total, width):
    for p in range(width):
        total[p] += x[at + p]


@njit(inline="always")
def copy_values(target, to, source, at, count):
    for c in range(count):
        target[to + c] = source[at + c]


@njit(nogil=True, error_model="numpy")
def pool_maxima(first, last, size, stride, H, W, C, x, out, places):
    """Maxima of the images first…last, and the first place of each."""
    out_h = (H - size) // stride + 1
    out_w = (W - size) // stride + 1
    width = np.uint64((W - size + 1) * C)
    best = np.empty(W * C, np.float32)
    # As wide as the values: with bytes, the loop over a row takes twice the time.
    place = np.empty(W * C, np.int32)
    count = np.uint64(C)
    for r in range(first, last):
        for i in range(out_h):
            for a in range(size):
                for b in range(size):
                    at = np.uint64(((r * H + i * stride + a) * W + b) * C)
                    if a == 0 and b == 0:
                        start_row(x, at, best, place, width)
                    else:
                        extend_row(x, at, np.int32(a * size + b), best, place, width)
            for j in range(out_w):
                to = np.uint64(((r * out_h + i) * out_w + j) * C)
                start = np.uint64(j * stride * C)
                copy_values(out, to, best, start, count)
                copy_values(places, to, place, start, count)


@njit(nogil=True, error_model="numpy")
def pool_means(first, last, size, stride, H, W, C, x, out):
    """Means of the images first…last; the sums run in torch's order."""
    out_h = (H - size) // stride + 1
    out_w = (W - size) // stride + 1
    width = np.uint64((W - size + 1) * C)
    total = np.empty(W * C, np.float32)
    places = np.float32(size * size)
    for r in range(first, last):
        for i in range(out_h):
            for a in range(size):
                for b in range(size):
                    at = np.uint64(((r * H + i * stride + a) * W + b) * C)
                    if a == 0 and b == 0:
                        copy_row(x, at, total, width)
                    else:
                        add_row(x, at, total, width)
            for j in range(out_w):
                to = np.uint64(((r * out_h + i) * out_w + j) * C)
                start = np.uint64(j * stride * C)
                for c in range(np.uint64(C)):
                    out[to + c] = total[start + c] / places


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
def clear_values(grad_x, at, width):
    for p in range(width):
        grad_x[at + p] = np.float32(0)


@njit(nogil=True, error_model="numpy")
def spread_to_maxima(first, last, size, stride, H, W, C, grad, places, grad_x):
    """Gradients of the images first…last: that of a window at its place, 0 at all others."""
    out_h = (H - size) // stride + 1
    out_w = (W - size) // stride + 1
    line = np.uint64(W * C)
    row = np.empty(W * C, np.float32)
    rest = np.empty(W * C, np.uint8)
    rest[:] = NO_PLACE  # of columns behind the last window
    for r in range(first, last):
        for i in range(out_h):
            for j in range(out_w):
                at = np.uint64(((r * out_h + i) * out_w + j) * C)
                # The last window may end before its stride does.
                for b in range(min(stride, W - j * stride)):
                    to = np.uint64((j * stride + b) * C)
                    repeat_window(grad, places, at, row, rest, to, b, size, np.uint64(C))
            for a in range(size):
                to = np.uint64((r * H + i * stride + a) * W * C)
                write_row(grad_x, to, row, rest, np.uint8(a * size), line)
            for h in range(i * stride + size, min((i + 1) * stride, H)):
                clear_values(grad_x, np.uint64((r * H + h) * W * C), line)
        for h in range(min(out_h * stride, H), H):
            clear_values(grad_x, np.uint64((r * H + h) * W * C), line)


@njit(nogil=True, error_model="numpy")
def spread_means(first, last, size, stride, H, W, C, grad, grad_x):
    """Gradients of the images first…last: each place of a window has an equal share."""
    out_h = (H - size) // stride + 1
    out_w = (W - size) // stride + 1
    line = np.uint64(W * C)
    row = np.zeros(W * C, np.float32)  # 0 between and behind windows
    places = np.float32(size * size)
    for r in range(first, last):
        for i in range(out_h):
            for j in range(out_w):
                at = np.uint64(((r * out_h + i) * out_w + j) * C)
                for b in range(size):
                    to = np.uint64((j * stride + b) * C)
                    for c in range(np.uint64(C)):
                        row[to + c] = grad[at + c] / places
            for a in range(size):
                to = np.uint64((r * H + i * stride + a) * W * C)
                copy_values(grad_x, to, row, np.uint64(0), line)
            for h in range(i * stride + size, min((i + 1) * stride, H)):
                clear_values(grad_x, np.uint64((r * H + h) * W * C), line)
        for h in range(min(out_h * stride, H), H):
            clear_values(grad_x, np.uint64((r * H + h) * W * C), line)
