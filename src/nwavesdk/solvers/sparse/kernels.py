"""Kernels of the sparse products. `gather` loads this file as a text through the kernel cache.

Layout. A matrix x [R, N_in] with few non-zeros is `words` [R, ⌈N_in / 64⌉]: bit j of word w of a
row is set where column 64 w + j is not 0. `values` lists the non-zeros row by row, row r from
start[r] to start[r + 1], with `step` 1; where all are 1, it is one 1, with `step` 0. A kernel runs
the rows, blocks of rows or pieces first…last.

Requirements:

- Each sum runs in the order of its terms, whatever the blocks and the threads are. So a result has
  the same bits on any number of threads.
- Row functions take whole arrays and row numbers instead of slices: numba counts references to a
  slice with atomic instructions, for which the threads would compete.
- Columns are unsigned: a signed column may be negative and then means another address, and nothing
  vectorizes.
- Row functions are not inlined: within the loops around them they would not be vectorized.
"""

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]  # numba does not list it

__all__ = [
    "gather_few_gradient_rows",
    "gather_few_rows",
    "order_by_input",
    "pack_bits",
    "pick_values",
    "sum_gradient_rows",
    "sum_weight_rows",
]


# Bits


@njit(inline="always")
def count_bits(word):
    """The number of bits that are set. LLVM turns this pattern into the popcount instruction."""
    # Sums of neighboring bits, then of pairs, of groups of four, and of all eight bytes.
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = word & np.uint64(0x3333333333333333)
    word = pairs + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(inline="always")
def append_columns(word, offset, columns, p):
    """Write offset + j for each bit j of `word` to `columns` from p on; returns the new end.

    Four are written at a time, because a branch per bit would be mispredicted. So up to four
    entries past the end are overwritten: `columns` needs four more than it holds.
    """
    end = p + count_bits(word)
    while p < end:
        for k in range(4):
            # word & -word is the lowest set bit, and the bits below it count its place.
            lowest = word & (np.uint64(0) - word)
            columns[p + k] = offset + count_bits(lowest - np.uint64(1))
            word &= word - np.uint64(1)
        p += 4
    return end


@njit(inline="never", error_model="numpy")
def pack_whole_word(x, r, offset):
    """The bits of the columns offset…offset + 64 of row r. Its constant length vectorizes."""
    word = np.uint64(0)
    for j in range(64):
        word |= np.uint64(x[r, offset + np.uint64(j)] != 0) << np.uint64(j)
    return word


@njit(inline="never", error_model="numpy")
def pack_last_word(x, r, offset, end):
    """The bits of the columns offset…end of row r."""
    word = np.uint64(0)
    for j in range(end - offset):
        word |= np.uint64(x[r, offset + j] != 0) << j
    return word


@njit(inline="always")
def pack_row(x, r, n_in, words):
    """Write the bits of the first `n_in` columns of row r to words[r]; returns their number."""
    count = 0
    for w in range(n_in // 64):
        words[r, w] = pack_whole_word(x, r, np.uint64(64 * w))
        count += count_bits(words[r, w])

    if n_in % 64:
        w = n_in // 64
        words[r, w] = pack_last_word(x, r, np.uint64(64 * w), np.uint64(n_in))
        count += count_bits(words[r, w])
    return count


@njit(inline="never", error_model="numpy")
def is_binary_row(x, r):
    binary = True
    for j in range(x.shape[1]):
        binary &= (x[r, j] == 0) | (x[r, j] == 1)
    return binary


@njit(inline="always")
def list_columns(words, r, columns, p):
    """Write the columns of the non-zeros of row r to `columns` from p on; returns the new end."""
    for w in range(words.shape[1]):
        p = append_columns(words[r, w], 64 * w, columns, p)
    return p


# Sums of rows, over `width` columns: out[r] += scale · rows[a]. Four rows are added per pass, in
# the same order as one after the other, with a quarter of the loads and stores of `out`. Ones are a
# special case only there: their sums have the same bits, and take 0.92 of the time.


@njit(inline="never", error_model="numpy")
def clear_row(out, r, width):
    for j in range(width):
        out[r, j] = 0


@njit(inline="never", error_model="numpy")
def add_row(out, r, width, rows, a, s):
    for j in range(width):
        out[r, j] += s * rows[a, j]


@njit(inline="never", error_model="numpy")
def add_four_rows(out, r, width, rows, a, b, c, d):
    for j in range(width):
        out[r, j] = (((out[r, j] + rows[a, j]) + rows[b, j]) + rows[c, j]) + rows[d, j]


@njit(inline="never", error_model="numpy")
def add_four_scaled_rows(out, r, width, rows, a, b, c, d, s, t, u, v):
    for j in range(width):
        three = ((out[r, j] + s * rows[a, j]) + t * rows[b, j]) + u * rows[c, j]
        out[r, j] = three + v * rows[d, j]


@njit(inline="always")
def add_listed_rows(out, r, width, rows, listed, p, end, values, step):
    """out[r] += Σ values[step · p] · rows[listed[p]], for p up to `end`."""
    while p + 4 <= end:
        a = listed[p]
        b = listed[p + 1]
        c = listed[p + 2]
        d = listed[p + 3]

        if step:
            s = values[p]
            t = values[p + 1]
            u = values[p + 2]
            v = values[p + 3]
            add_four_scaled_rows(out, r, width, rows, a, b, c, d, s, t, u, v)
        else:
            add_four_rows(out, r, width, rows, a, b, c, d)
        p += 4

    # Up to three rows are left.
    while p < end:
        add_row(out, r, width, rows, listed[p], values[step * p])
        p += 1


# Kernels


@njit(nogil=True, error_model="numpy")
def pack_bits(first, last, x, limit, words, counts, seen):
    """Bits and counts of the rows of x.

    `seen` is [non-zeros so far, whether the kernel gave up, whether a value is not 1]. Threads add
    to seen[0] without a lock, and an addition may get lost. It never counts too much, so giving up
    is always right, and the caller adds up the counts.
    """
    for r in range(first, last):
        if seen[0] > limit:
            seen[1] = 1
            return

        count = pack_row(x, r, x.shape[1], words)
        if seen[2] == 0 and not is_binary_row(x, r):
            seen[2] = 1

        counts[r] = count
        seen[0] += count


@njit(nogil=True, error_model="numpy")
def pick_values(first, last, x, words, start, values):
    """The non-zeros of the rows of x, one after the other."""
    columns = np.empty(x.shape[1] + 4, np.int32)

    for r in range(first, last):
        end = list_columns(words, r, columns, 0)
        for p in range(end):
            values[start[r] + p] = x[r, columns[p]]


@njit(nogil=True, error_model="numpy")
def sum_weight_rows(first, last, words, start, values, step, weight, out):
    """Rows of x @ weight: each adds up the rows of `weight` that its non-zeros choose."""
    columns = np.empty(weight.shape[0] + 4, np.uint32)
    width = np.uint64(out.shape[1])

    for r in range(np.uint64(first), np.uint64(last)):
        end = list_columns(words, r, columns, 0)
        clear_row(out, r, width)
        of_row = values[step * start[r] :]
        add_listed_rows(out, r, width, weight, columns, 0, end, of_row, step)


def gather_few_rows(x_start, weight_start, out_start, rows, stride, n_in, n_out, most):
    """All of the sparse product of a few rows, without words of bits that outlive the call.

    It is compiled to a C function. Its sums have the bits of `sum_weight_rows`.

    x [rows, n_in] begins at `x_start`, its rows `stride` values apart; the weight [n_in, n_out] and
    the output [rows, n_out] are contiguous. With more than `most` non-zeros, the kernel gives up:
    it writes no output and returns a number above `most`. Else it returns the number of non-zeros.
    """
    x = carray(x_start, (rows, stride))
    weight = carray(weight_start, (n_in, n_out))
    out = carray(out_start, (rows, n_out))

    # All rows are counted before the first output is written, as the kernel may give up.
    words = np.empty((rows, -(-n_in // 64)), np.uint64)
    count = 0
    for r in range(rows):
        count += pack_row(x, r, n_in, words)
        if count > most:
            return count

    columns = np.empty(n_in + 4, np.uint32)
    values = np.empty(n_in, x.dtype)
    width = np.uint64(n_out)
    for r in range(np.uint64(rows)):
        end = list_columns(words, r, columns, 0)
        for p in range(end):
            values[p] = x[r, columns[p]]

        clear_row(out, r, width)
        add_listed_rows(out, r, width, weight, columns, 0, end, values, 1)
    return count


def gather_few_gradient_rows(x_start, grad_start, out_start, rows, stride, n_in, n_out):
    """All of the sparse product of x, transposed, and `grad` [rows, n_out], for a few rows.

    It is compiled to a C function; see `gather_few_rows`. Each row of the output [n_in, n_out] adds
    up rows of `grad` in their order.
    """
    x = carray(x_start, (rows, stride))
    grad = carray(grad_start, (rows, n_out))
    out = carray(out_start, (n_in, n_out))

    width = np.uint64(n_out)
    for i in range(np.uint64(n_in)):
        clear_row(out, i, width)

    words = np.empty((rows, -(-n_in // 64)), np.uint64)
    columns = np.empty(n_in + 4, np.uint32)
    for r in range(np.uint64(rows)):
        pack_row(x, r, n_in, words)
        end = list_columns(words, r, columns, 0)
        for p in range(end):
            add_row(out, columns[p], width, grad, r, x[r, columns[p]])
    return rows


@njit(nogil=True, error_model="numpy")
def order_by_input(first, last, size, words, start, values, step, ends, order, moved):
    """For blocks of `size` rows: the non-zeros in the order of inputs, and then of rows.

    `order` lists their rows, block after block. The rows of input i of block b end at ends[b, i]
    and begin where the rows of the input before end. `moved` has the values in the same order, or
    one 1.
    It is a counting sort: count per input, turn counts into first positions, distribute.
    """
    for b in range(first, last):
        r0 = b * size
        r1 = min(start.shape[0] - 1, (b + 1) * size)
        base = start[r0]
        count = start[r1] - base

        # The columns of all non-zeros, row by row.
        columns = np.empty(count + 4, np.int32)
        p = 0
        for r in range(r0, r1):
            p = list_columns(words, r, columns, p)

        # Count per input.
        ends[b] = 0
        for p in range(count):
            ends[b, columns[p]] += 1

        # Turn the counts into first positions.
        position = base
        for i in range(ends.shape[1]):
            count_of_input = ends[b, i]
            ends[b, i] = position
            position += count_of_input

        # Each non-zero takes the next position of its input, which leaves the ends in `ends`.
        for r in range(r0, r1):
            for p in range(start[r] - base, start[r + 1] - base):
                position = ends[b, columns[p]]
                order[position] = r
                if step:
                    moved[position] = values[base + p]
                ends[b, columns[p]] = position + 1


@njit(nogil=True, error_model="numpy")
def sum_gradient_rows(first, last, cuts, size, start, ends, order, moved, step, grad, out):
    """Rows cuts[first]…cuts[last] of xᵀ @ grad: sums of rows of `grad` where an input is active.

    It goes block by block, so that the rows of `grad` in a block stay in the cache.
    """
    top = cuts[first]
    bottom = cuts[last]
    width = np.uint64(out.shape[1])

    for i in range(top, bottom):
        clear_row(out, i, width)

    # `p` walks through the list of a block, input by input.
    for b in range(ends.shape[0]):
        p = start[b * size] if top == 0 else ends[b, top - 1]
        for i in range(top, bottom):
            end = ends[b, i]
            add_listed_rows(out, i, width, grad, order, p, end, moved, step)
            p = end
