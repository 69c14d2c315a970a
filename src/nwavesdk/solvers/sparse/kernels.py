"""Kernels of the sparse products, as text: `solvers/sparse.py` loads it through the cache of kernels.

A matrix of few non-zeros is one bit a value (`words`), and its values where they are not all 1. Requirements: each sum
runs in the order of its terms, whatever the blocks and the threads; row functions take whole arrays and row numbers,
because numba counts references to slices with atomic instructions, which the threads would fight over; columns are
counted without sign, because a column that could be negative would mean another address, and nothing would vectorize.
"""

import numpy as np
from numba import njit

__all__ = ["pack", "pick", "product", "transpose", "weight_gradient"]


@njit(inline="always")
def ones(word):
    """How many bits are set; LLVM knows the pattern and takes the machine's instruction."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(inline="always")
def unpack(word, offset, columns, p):
    """Write the places of the bits of `word` to `columns` from p on, four at a time; returns where they end.

    A branch for each bit would be mispredicted. Up to four entries past the end are overwritten with nothing.
    """
    end = p + ones(word)
    while p < end:
        for k in range(4):
            columns[p + k] = offset + ones((word & (np.uint64(0) - word)) - np.uint64(1))
            word &= word - np.uint64(1)
        p += 4
    return end


@njit(inline="never", error_model="numpy")
def whole_word(x, r, offset):
    word = np.uint64(0)
    for j in range(64):
        word |= np.uint64(x[r, offset + np.uint64(j)] != 0) << np.uint64(j)
    return word


@njit(inline="never", error_model="numpy")
def last_word(x, r, offset):
    word = np.uint64(0)
    for j in range(np.uint64(x.shape[1]) - offset):
        word |= np.uint64(x[r, offset + j] != 0) << j
    return word


@njit(inline="never", error_model="numpy")
def is_binary(x, r):
    binary = True
    for j in range(x.shape[1]):
        binary &= (x[r, j] == 0) | (x[r, j] == 1)
    return binary


@njit(inline="never", error_model="numpy")
def add_row(out, r, width, rows, a):
    for j in range(width):
        out[r, j] += rows[a, j]


@njit(inline="never", error_model="numpy")
def add_four_rows(out, r, width, rows, a, b, c, d):
    for j in range(width):
        out[r, j] = (((out[r, j] + rows[a, j]) + rows[b, j]) + rows[c, j]) + rows[d, j]


@njit(inline="never", error_model="numpy")
def add_scaled_row(out, r, width, rows, a, s):
    for j in range(width):
        out[r, j] += s * rows[a, j]


@njit(inline="never", error_model="numpy")
def add_four_scaled_rows(out, r, width, rows, a, b, c, d, s, t, u, v):
    for j in range(width):
        out[r, j] = (((out[r, j] + s * rows[a, j]) + t * rows[b, j]) + u * rows[c, j]) + v * rows[
            d, j
        ]


@njit(inline="always")
def add_rows(out, r, width, rows, which, p, end, values, q):
    """out[r] += Σ values[q…] · rows[which[p…end]], without `values` if they are None."""
    if values is None:
        while p + 4 <= end:
            add_four_rows(out, r, width, rows, which[p], which[p + 1], which[p + 2], which[p + 3])
            p += 4
        while p < end:
            add_row(out, r, width, rows, which[p])
            p += 1
    else:
        while p + 4 <= end:
            add_four_scaled_rows(
                out, r, width, rows, which[p], which[p + 1], which[p + 2], which[p + 3],
                values[q], values[q + 1], values[q + 2], values[q + 3],
            )  # fmt: skip
            p, q = p + 4, q + 4
        while p < end:
            add_scaled_row(out, r, width, rows, which[p], values[q])
            p, q = p + 1, q + 1


@njit(nogil=True, error_model="numpy", cache=True)
def pack(first, last, x, limit, words, counts, seen):
    """Bits and counts of rows of x; `seen` is [non-zeros so far, whether we gave up, whether a value is not 1].

    Threads add to seen[0] without a lock, and an addition may get lost: it never counts too much, so that giving up
    is always right, and the caller adds up the counts.
    """
    whole = x.shape[1] // 64
    for r in range(first, last):
        if seen[0] > limit:
            seen[1] = 1
            return
        count = 0
        for w in range(whole):
            word = whole_word(x, r, np.uint64(64 * w))
            words[r, w] = word
            count += ones(word)
        if whole < words.shape[1]:
            word = last_word(x, r, np.uint64(64 * whole))
            words[r, whole] = word
            count += ones(word)
        if seen[2] == 0 and not is_binary(x, r):
            seen[2] = 1
        counts[r] = count
        seen[0] += count


@njit(nogil=True, error_model="numpy", cache=True)
def pick(first, last, x, words, start, values):
    """The non-zeros of rows of x, one after the other."""
    columns = np.empty(x.shape[1] + 4, np.int32)
    for r in range(first, last):
        end = 0
        for w in range(words.shape[1]):
            end = unpack(words[r, w], 64 * w, columns, end)
        for p in range(end):
            values[start[r] + p] = x[r, columns[p]]


@njit(nogil=True, error_model="numpy", cache=True)
def product(first, last, words, start, values, weight, out):
    """Rows of x @ weight."""
    columns, width = np.empty(weight.shape[0] + 4, np.uint32), np.uint64(out.shape[1])
    for r in range(np.uint64(first), np.uint64(last)):
        end = 0
        for w in range(words.shape[1]):
            end = unpack(words[r, w], 64 * w, columns, end)
        for j in range(width):
            out[r, j] = 0
        add_rows(out, r, width, weight, columns, 0, end, values, start[r])


@njit(nogil=True, error_model="numpy", cache=True)
def transpose(first, last, size, words, start, values, ends, order, moved):
    """For blocks of `size` rows: the rows in which each input is active, by input and then by row.

    ends[b, i] says where those of input i end in `order`; `moved` are the values in that order.
    """
    for b in range(first, last):
        r0, r1 = b * size, min(start.shape[0] - 1, (b + 1) * size)
        base, count = start[r0], start[r1] - start[r0]
        columns = np.empty(count + 4, np.int32)
        p = 0
        for r in range(r0, r1):
            for w in range(words.shape[1]):
                p = unpack(words[r, w], 64 * w, columns, p)
        for i in range(ends.shape[1]):
            ends[b, i] = 0
        for p in range(count):
            ends[b, columns[p]] += 1
        place = base
        for i in range(ends.shape[1]):
            place, ends[b, i] = place + ends[b, i], place
        for r in range(r0, r1):
            for p in range(start[r] - base, start[r + 1] - base):
                place = ends[b, columns[p]]
                order[place] = r
                if values is not None:
                    moved[place] = values[base + p]
                ends[b, columns[p]] = place + 1


@njit(nogil=True, error_model="numpy", cache=True)
def weight_gradient(first, last, cuts, size, start, ends, order, moved, grad, out):
    """Rows cuts[first]…cuts[last] of xᵀ @ grad, block by block, so that a block of `grad` stays in the cache."""
    top, bottom, width = cuts[first], cuts[last], np.uint64(out.shape[1])
    for i in range(top, bottom):
        for j in range(width):
            out[i, j] = 0
    for b in range(ends.shape[0]):
        p = start[b * size] if top == 0 else ends[b, top - 1]
        for i in range(top, bottom):
            end = ends[b, i]
            add_rows(out, i, width, grad, order, p, end, moved, p)
            p = end
