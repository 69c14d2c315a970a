"""Kernels of delayed products. `delay_rows` loads this file as a text through the kernel cache.

Layout. A delay d is cut into whole = min(⌊d⌋, max_delay - 1) steps and the part d - whole, so a
spike of weight w arrives `whole` steps later with the share w · (1 - part), and one step after that
with w · part. A delay is therefore an offset into a row of steps, and no kernel has a loop over
taps. There are two kinds of rows:

- Rows of sequences [block, N, steps, lanes] have the batch elements of a block, the lanes, next to
  each other. A delay moves them by whole vectors. The dense kernel (`add_rows`) reads them.
- Rows of places [lanes, length] have the steps of one batch element next to each other, with zeros
  for the largest delay behind them. There the early and the late share are neighbors, which one
  instruction adds. A list of places has the non-zeros of an input in a block, and `values`
  is None if all are 1: a product by 1 would take a fifth more time.

Four delayed rows, a quad, are read or written together. `whole` is [quad, row, 4] and `shares` is
[quad, row, 8], the earlier and the later share of each. Missing rows of the last quad have the
shares 0.

Requirements:

- Each sum runs in the order of inputs, and of steps within an input. So all kernels give the same
  bits, for any split of batch, time and work.
- Indices are unsigned. A signed index may be negative and then counts from the end, as in Python.
  With this case in the code, nothing vectorizes.
- Row functions are not inlined: within the loops around them they would not be vectorized.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = [
    "add_places",
    "add_recent",
    "add_rows",
    "shift_back",
    "shift_inputs",
    "split_delays",
    "sum_places",
    "write_rows",
]

# Sums may use fused multiply-add, as the processor's own products do.
FUSED = {"contract"}


# Pairs: two neighboring values of an array as one vector. LLVM would not merge them itself, because
# numba turns off its vectorizer of straight code.


def pair_at(context, builder, array_type, array, index):
    """The address of the values `index` and `index + 1` of an array, and its alignment."""
    value_type = context.get_value_type(array_type.dtype)
    start = context.make_array(array_type)(context, builder, array).data
    address = builder.gep(start, [index])
    pointer = ir.VectorType(value_type, 2).as_pointer()
    return builder.bitcast(address, pointer), context.get_abi_sizeof(value_type)


def make_pair(builder, first, second):
    pair = ir.Constant(ir.VectorType(first.type, 2), ir.Undefined)
    for k, value in enumerate((first, second)):
        pair = builder.insert_element(pair, value, ir.Constant(ir.IntType(32), k))
    return pair


def split_pair(builder, pair):
    return [builder.extract_element(pair, ir.Constant(ir.IntType(32), k)) for k in range(2)]


def scaled_sum(builder, total, scale, pair):
    """The sum total + scale · pair."""
    product = builder.fmul(make_pair(builder, scale, scale), pair, flags=("contract",))
    return builder.fadd(total, product, flags=("contract",))


@intrinsic
def add_pair(typing_context, array, index, scale, first, second):
    """array[index] += scale · first; array[index + 1] += scale · second."""
    value = array.dtype

    def generate(context, builder, signature, arguments):
        array_value, index_value, factor, *shares = arguments
        address, alignment = pair_at(context, builder, array, array_value, index_value)
        total = builder.load(address, align=alignment)
        total = scaled_sum(builder, total, factor, make_pair(builder, *shares))
        builder.store(total, address, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.uint64, value, value, value), generate


@intrinsic
def sum_pair(typing_context, total, scale, array, index):
    """The sum total + scale · (array[index], array[index + 1]), for a total that is a tuple."""

    def generate(context, builder, signature, arguments):
        total_value, factor, array_value, index_value = arguments
        address, alignment = pair_at(context, builder, array, array_value, index_value)
        old = make_pair(builder, *(builder.extract_value(total_value, k) for k in range(2)))
        new = scaled_sum(builder, old, factor, builder.load(address, align=alignment))
        return context.make_tuple(builder, signature.return_type, split_pair(builder, new))

    return total(total, array.dtype, array, types.uint64), generate


# Delays


@njit(nogil=True, error_model="numpy")
def split_delays(first, last, weight, delay, max_delay, is_mirrored, whole, shares):
    """Whole steps and shares of the quads first…last of columns of a weight [rows, columns].

    Mirrored shares are for a kernel that reads where the others write. It counts whole steps from
    the end of the largest delay, and the later share comes first.
    """
    unit = shares.dtype.type(1)

    for quad in range(first, last):
        for r in range(weight.shape[0]):
            for m in range(4):
                column = 4 * quad + m
                # Beyond the last column: a row of the quad without shares.
                if column >= weight.shape[1]:
                    whole[quad, r, m] = 0
                    shares[quad, r, 2 * m] = 0
                    shares[quad, r, 2 * m + 1] = 0
                    continue

                # The largest delay is one step less, with the whole share late.
                steps = min(int(delay[r, column]), max_delay - 1)
                part = delay[r, column] - shares.dtype.type(steps)
                early = weight[r, column] * (unit - part)
                late = weight[r, column] * part

                whole[quad, r, m] = max_delay - 1 - steps if is_mirrored else steps
                shares[quad, r, 2 * m] = late if is_mirrored else early
                shares[quad, r, 2 * m + 1] = early if is_mirrored else late


# Rows of sequences


@njit(nogil=True, error_model="numpy")
def write_rows(first, last, x, before, rows):
    """Copy x [B, T, N] to the blocks first…last of rows [blocks, N up to a quad, steps, lanes].

    `before` steps are zero, then come the steps of x, then zeros again. Tiles of 64 columns stay in
    the first-level cache.
    """
    batch, steps, columns = x.shape
    lanes = rows.shape[3]

    for block in range(first, last):
        for n0 in range(0, rows.shape[1], 64):
            n1 = min(columns, n0 + 64)
            # Zeros where x has no step or no column.
            for n in range(n0, min(rows.shape[1], n0 + 64)):
                for t in range(rows.shape[2]):
                    if n >= n1 or t < before or t >= before + steps:
                        for lane in range(lanes):
                            rows[block, n, t, lane] = 0

            for t in range(steps):
                for lane in range(lanes):
                    b = block * lanes + lane
                    for n in range(n0, n1):
                        rows[block, n, before + t, lane] = x[b, t, n] if b < batch else 0


@njit(inline="never", error_model="numpy", fastmath=FUSED)
def add_quad(sums, r, width, rows, row, start, whole, shares, quad, column, lanes):
    """sums[r] += the rows row…row + 3, each twice: at its delay, and one step later.

    Without a delay, a row is read from `start` on.
    """
    # The two shares of each row.
    c0 = shares[quad, column, 0]
    d0 = shares[quad, column, 1]
    c1 = shares[quad, column, 2]
    d1 = shares[quad, column, 3]
    c2 = shares[quad, column, 4]
    d2 = shares[quad, column, 5]
    c3 = shares[quad, column, 6]
    d3 = shares[quad, column, 7]

    # Where each row begins at its delay.
    p0 = start + np.uint64(whole[quad, column, 0]) * lanes
    p1 = start + np.uint64(whole[quad, column, 1]) * lanes
    p2 = start + np.uint64(whole[quad, column, 2]) * lanes
    p3 = start + np.uint64(whole[quad, column, 3]) * lanes

    row1 = row + np.uint64(1)
    row2 = row + np.uint64(2)
    row3 = row + np.uint64(3)

    for j in range(width):
        total = sums[r, j]
        total += c0 * rows[row, p0 + j]
        total += d0 * rows[row, p0 + lanes + j]
        total += c1 * rows[row1, p1 + j]
        total += d1 * rows[row1, p1 + lanes + j]
        total += c2 * rows[row2, p2 + j]
        total += d2 * rows[row2, p2 + lanes + j]
        total += c3 * rows[row3, p3 + j]
        total += d3 * rows[row3, p3 + lanes + j]
        sums[r, j] = total


@njit(nogil=True, error_model="numpy")
def add_rows(first, last, rows, lanes, chunk, tile, whole, shares, out):
    """Write the sums of all delayed rows to out [B, T, columns]; the dense product.

    A job is a tile of columns in a chunk of steps of a block. `rows` is [blocks, 4 · quads,
    steps · lanes].
    """
    batch, steps, columns = out.shape
    tiles = -(-columns // tile)
    chunks = -(-steps // chunk)
    sums = np.empty((tile, chunk * lanes), out.dtype)

    for job in range(first, last):
        # Jobs count tiles of columns first, then chunks of steps, then blocks.
        block = job // (tiles * chunks)
        t0 = job // tiles % chunks * chunk
        n0 = job % tiles * tile
        width = np.uint64(min(chunk, steps - t0) * lanes)
        n1 = min(columns, n0 + tile)
        block_rows = rows[block]

        sums[:] = 0
        for quad in range(np.uint64(whole.shape[0])):
            for n in range(np.uint64(n0), np.uint64(n1)):
                add_quad(
                    sums, n - np.uint64(n0), width, block_rows, quad * np.uint64(4),
                    np.uint64(t0 * lanes), whole, shares, quad, n, np.uint64(lanes),
                )  # fmt: skip

        # From [columns, steps · lanes] to [B, T, columns].
        b0 = block * lanes
        for t in range(min(chunk, steps - t0)):
            for lane in range(min(lanes, batch - b0)):
                for n in range(n0, n1):
                    out[b0 + lane, t0 + t, n] = sums[n - n0, t * lanes + lane]


# Places of spikes


@njit(inline="never", error_model="numpy")
def add_listed_places(sums, length, places, values, p, end, whole, shares, quad, i):
    """Add the shares of a quad to the four rows in `sums` at each listed place, delayed."""
    # The early and the late share of each row.
    e0 = shares[quad, i, 0]
    l0 = shares[quad, i, 1]
    e1 = shares[quad, i, 2]
    l1 = shares[quad, i, 3]
    e2 = shares[quad, i, 4]
    l2 = shares[quad, i, 5]
    e3 = shares[quad, i, 6]
    l3 = shares[quad, i, 7]

    # Where its sums begin, delayed.
    p0 = np.uint64(whole[quad, i, 0])
    p1 = np.uint64(whole[quad, i, 1]) + length
    p2 = np.uint64(whole[quad, i, 2]) + length * np.uint64(2)
    p3 = np.uint64(whole[quad, i, 3]) + length * np.uint64(3)

    for k in range(p, end):
        index = np.uint64(places[k])
        x = sums.dtype.type(1) if values is None else values[k]

        add_pair(sums, index + p0, x, e0, l0)
        add_pair(sums, index + p1, x, e1, l1)
        add_pair(sums, index + p2, x, e2, l2)
        add_pair(sums, index + p3, x, e3, l3)


@njit(nogil=True, error_model="numpy")
def add_places(first, last, ends, places, values, lanes, length, past, whole, shares, out):
    """Write the delayed charge of the listed spikes to out [B, T, N_out]; the sparse product.

    A job is a quad of outputs of a block. `past` is the number of steps before the first of `out`.
    """
    quads, inputs = whole.shape[:2]
    batch, steps, outputs = out.shape
    size = np.uint64(lanes * length)
    sums = np.empty(4 * lanes * length, out.dtype)

    for job in range(first, last):
        block = job // quads
        quad = np.uint64(job % quads)

        sums[:] = 0
        p = np.uint64(ends[block - 1, -1] if block else 0)
        for i in range(np.uint64(inputs)):
            end = np.uint64(ends[block, i])
            if p < end:
                add_listed_places(sums, size, places, values, p, end, whole, shares, quad, i)
            p = end

        # `sums` is [4, lanes, length]. Its first `past` steps are before the output.
        b0 = block * lanes
        n0 = job % quads * 4
        for lane in range(min(lanes, batch - b0)):
            for t in range(steps):
                for m in range(min(4, outputs - n0)):
                    out[b0 + lane, t, n0 + m] = sums[(m * lanes + lane) * length + past + t]


@njit(inline="never", error_model="numpy")
def sum_listed_places(sums, rows, length, places, values, p, end, whole, quad, i):
    """Add to sums[i] four rows at each listed place: delayed, and one step later."""
    # The early and the late sum of each row stay in registers.
    s0 = (sums[i, 0], sums[i, 1])
    s1 = (sums[i, 2], sums[i, 3])
    s2 = (sums[i, 4], sums[i, 5])
    s3 = (sums[i, 6], sums[i, 7])

    p0 = np.uint64(whole[quad, i, 0])
    p1 = np.uint64(whole[quad, i, 1]) + length
    p2 = np.uint64(whole[quad, i, 2]) + length * np.uint64(2)
    p3 = np.uint64(whole[quad, i, 3]) + length * np.uint64(3)

    for k in range(p, end):
        index = np.uint64(places[k])
        x = rows.dtype.type(1) if values is None else values[k]

        s0 = sum_pair(s0, x, rows, index + p0)
        s1 = sum_pair(s1, x, rows, index + p1)
        s2 = sum_pair(s2, x, rows, index + p2)
        s3 = sum_pair(s3, x, rows, index + p3)

    sums[i, 0], sums[i, 1] = s0
    sums[i, 2], sums[i, 3] = s1
    sums[i, 4], sums[i, 5] = s2
    sums[i, 6], sums[i, 7] = s3


@njit(nogil=True, error_model="numpy")
def sum_places(
    first, last, ends, places, values, lanes, length, past, whole, weight, delay,
    grad, grad_weight, grad_delay,
):  # fmt: skip
    """Gradients of weights and delays [N_in, N_out] from the upstream gradient [B, T, N_out].

    A job is a quad of outputs. With the sums E of the upstream gradient where shares arrive early
    and L where they arrive late, the gradients are (1 - part) E + part L and weight · (L - E).
    """
    inputs, outputs = weight.shape
    batch, steps = grad.shape[:2]
    size = np.uint64(lanes * length)
    rows = np.zeros(4 * lanes * length, grad.dtype)
    sums = np.empty((inputs, 8), grad.dtype)

    for quad in range(np.uint64(first), np.uint64(last)):
        n0 = np.int64(quad) * 4
        width = min(4, outputs - n0)

        sums[:] = 0
        for block in range(ends.shape[0]):
            # The upstream gradient as rows of places, [4, lanes, length].
            b0 = block * lanes
            for lane in range(min(lanes, batch - b0)):
                for t in range(steps):
                    for m in range(width):
                        rows[(m * lanes + lane) * length + past + t] = grad[b0 + lane, t, n0 + m]

            # Each spike of an input reads the gradient where its shares have arrived.
            p = np.uint64(ends[block - 1, -1] if block else 0)
            for i in range(np.uint64(inputs)):
                end = np.uint64(ends[block, i])
                if p < end:
                    sum_listed_places(sums, rows, size, places, values, p, end, whole, quad, i)
                p = end

        for i in range(inputs):
            for m in range(width):
                early = sums[i, 2 * m]
                late = sums[i, 2 * m + 1]
                part = delay[i, n0 + m] - whole[quad, i, m]
                grad_weight[i, n0 + m] = (1 - part) * early + part * late
                grad_delay[i, n0 + m] = weight[i, n0 + m] * (late - early)


# Single steps. In one step, most spikes of the past arrive over few of their connections. This
# kernel finds them by comparing delays with the age of a spike, so it needs no rows, and reads
# weights and delays as they are. Its sums have the terms of the others in their order.


@njit(inline="never", error_model="numpy", fastmath=FUSED)
def add_aged(out, b, t, x, age, weight, delay, i):
    """out[b, t] += x · weight[i] · the share that arrives after `age` steps."""
    unit = out.dtype.type(1)
    before = age - unit

    for o in range(np.uint64(out.shape[2])):
        left = delay[i, o] - age
        # 1 - part after the whole steps of a delay, part after one step more.
        share = unit - left if left >= 0 else delay[i, o] - before
        share = max(share, unit - unit)
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


# One delay per input shifts the input.


@njit(nogil=True, error_model="numpy")
def shift_inputs(first, last, x, whole, part, past, out):
    """Write the inputs x [B, past + T, N], late by whole + part [N] steps, to out [B, T, N].

    A job is a batch element. Steps before x are zero.
    """
    unit = out.dtype.type(1)

    zero = out.dtype.type(0)
    for b in range(first, last):
        for t in range(out.shape[1]):
            for n in range(len(whole)):
                now = past + t - whole[n]
                early = x[b, now, n] if now >= 0 else zero
                late = x[b, now - 1, n] if now >= 1 else zero

                out[b, t, n] = (unit - part[n]) * early + part[n] * late


@njit(nogil=True, error_model="numpy")
def shift_back(first, last, x, whole, part, past, grad, grad_x, grad_delay):
    """Gradients of `shift_inputs`: grad_x as x, and grad_delay [B, N], whose sum over B is due."""
    steps = grad.shape[1]
    unit = grad.dtype.type(1)
    zero = grad.dtype.type(0)

    for b in range(first, last):
        grad_delay[b] = 0
        for s in range(x.shape[1]):
            for n in range(len(whole)):
                now = s + whole[n] - past
                early = grad[b, now, n] if 0 <= now < steps else zero
                late = grad[b, now + 1, n] if -1 <= now < steps - 1 else zero

                grad_delay[b, n] += x[b, s, n] * (late - early)
                grad_x[b, s, n] = (unit - part[n]) * early + part[n] * late
