"""Row functions of the CPU kernels: they move one step of a block of neurons.

`render_loops` writes them into the module of a dtype, next to the loops over time (`loops`). They
are plain numba and are never called from Python.

Workspace. All that a block of neurons needs besides the arrays over time lies in one flat array,
`workspace`, in slots of `WIDTH` numbers, `SLOT` apart. It begins where a cache line begins, because
a vector that lies in two lines is stored and loaded slowly. For a neuron with C constants and K
states, of which some are recalled, the slots are, in this order:

    Forward:  constants (C) | states (K)
    Backward: constants (C) | ∂L/∂states (K) | ∂L/∂constants (C) | initial (recalled)

`initial` are the initial states that serve as recalled states in the first step.

Rules that keep the kernels fast. Each was found by measurements, and a small change breaks it:

- The row of a neuron (`forward_row`, `later_row`) takes addresses (`row_at`), not arrays, which are
  seven arguments each. Its loads and stores declare that no two rows overlap. LLVM would check
  that in each call, and gives up vectorizing above eight pairs.
- A row function is a separate function for numba (`inline="never"`): inlined by numba into a loop
  over steps, its loop would not be vectorized. LLVM may inline it.
- The loops call the steps of a block (`forward_steps`, `backward_steps`) through their address. A
  call for each step would cost 13 ns, as much as a step of 64 neurons.
- The other functions that run in every step take flat arrays and indices instead of slices:
  numba counts references to a slice with atomic instructions, which cost more than a short row,
  and the threads would compete for the counter. For the same reason no inlined helper takes arrays
  inside a loop over time.
- Indices are unsigned (`index`). A signed index may be negative and then counts from the end, as in
  Python. With this case in the code, nothing vectorizes.
- numba frees an array after its last use, so an address is taken where it is used.
"""

# mypy: disable-error-code="no-untyped-def"
from typing import Any

import numpy as np
from numpy import uint64 as index

__all__ = [
    "AHEAD",
    "SHARED_BATCH",
    "SLOT",
    "TILE",
    "WIDTH",
    "backward_slots",
    "index",
    "numbers_of_a_line",
    "real",
]

WIDTH = 1024  # neurons of a block: its rows stay in the first-level cache
# Numbers from one slot to the next. With a multiple of 4096 bytes, one place of all slots would be
# in one set of the first-level cache, and loads would wait for stores to other slots.
SLOT = WIDTH + 64
# Backward reads its arrays from the last step to the first. Processors do not load rows ahead in
# this order, so each step requests rows that lie about this many numbers before it. Memory is then
# read at 30 instead of 13 GB/s.
AHEAD = 1024
TILE = 32  # steps that are packed together for a narrow layer
SHARED_BATCH = 4  # batch elements that share each load of a recurrent weight in backward

# Open names that `render_loops` defines: the float type, functions, numbers of a cache line.
real: Any = np.float32
row_at: Any = None
array_at: Any = None
LINE = 0


def numbers_of_a_line(dtype: str) -> int:
    """Numbers of a dtype in a cache line."""
    return 64 // np.dtype(dtype).itemsize


def backward_slots(C, K, recalled):
    """The slots of a block in backward."""
    return 2 * C + K + recalled


def make_workspace(slots):
    """Slots, the first of which begins where a cache line begins."""
    numbers = np.empty(slots * SLOT + LINE, real)
    skip = -(numbers.ctypes.data // numbers.itemsize) % LINE
    return numbers[skip : skip + slots * SLOT]


def block_bounds(block, block_width, N):
    lo = block * block_width
    return lo, min(N, lo + block_width)


# Between an array and a slot. Arrays are flat; `offset` is where the row begins.


def load_row(workspace, slot, array, offset, width):
    start = index(slot * SLOT)
    for n in range(width):
        workspace[n + start] = array[offset + n]


def store_row(array, offset, width, workspace, slot):
    start = index(slot * SLOT)
    for n in range(width):
        array[offset + n] = workspace[n + start]


def add_step(workspace, slot, array, offset, width):
    start = index(slot * SLOT)
    for n in range(width):
        workspace[n + start] += array[offset + n]


def copy_step(target, to, array, offset, width):
    for n in range(width):
        target[to + n] = array[offset + n]


def clear_row(workspace, slot, width):
    start = index(slot * SLOT)
    for n in range(width):
        workspace[n + start] = real(0)


# Between the arrays of a block and its slots. `offset` is where the block begins in an array
# [B, N]. `states` are addresses of such arrays. Of constants [C, N] and of their gradients
# [C, B, N], N and `stride` = B N lie between rows.


def load_constants(workspace, slot, constants, C, N, lo, width):
    for c in range(C):
        load_row(workspace, slot + c, constants, index(c * N + lo), width)


def load_states(workspace, slot, states, count, offset, width):
    """Load `count` states, with 0 in place of a state whose address is 0."""
    for k in range(count):
        if states[k] != 0:
            load_row(workspace, slot + k, array_at(states[k]), offset, width)
        else:
            clear_row(workspace, slot + k, width)


def store_states(states, count, offset, width, workspace, slot):
    for k in range(count):
        store_row(array_at(states[k]), offset, width, workspace, slot + k)


# The gradients from which backward starts, and the gradients that it returns. `base` is the first
# slot of the block, and `learned` the number of constants that have gradients.


def load_gradients(workspace, base, C, K, recalled, grad_last, initial, learned, offset, width):
    load_states(workspace, base + C, grad_last, K, offset, width)
    for c in range(learned):
        clear_row(workspace, base + C + K + c, width)
    load_states(workspace, base + 2 * C + K, initial, recalled, offset, width)


def store_gradients(
    grad_states, grad_constants, learned, offset, stride, width, workspace, base, C, K
):
    store_states(grad_states, K, offset, width, workspace, base + C)
    for c in range(learned):
        at = offset + index(c) * stride
        store_row(grad_constants, at, width, workspace, base + C + K + c)


# Lanes. In a narrow layer (fewer than five neurons), a row is too short to be worth a call. So
# several batch elements lie side by side: neuron n of batch element b is lane (b - start) * N + n,
# and a step of all lanes is one row. This is also their order in arrays [B, N]. Arrays [B, T, N]
# are packed one tile of `TILE` steps at a time into a buffer [steps, lanes]; both are flat.


def pack_lanes(array, batch_stride, step_stride, N, start, stop, first, steps, buffer, lanes):
    """Copy some steps of the batch elements start…stop into `buffer`.

    `first` is where the first of the steps begins in batch element 0.
    """
    for b in range(start, stop):
        for n in range(N):
            read = index(b * batch_stride + first + n)
            write = index((b - start) * N + n)
            for i in range(steps):
                buffer[index(i) * index(lanes) + write] = array[
                    index(i) * index(step_stride) + read
                ]


def unpack_lanes(buffer, lanes, start, stop, t, steps, array, T, N):
    """The inverse of `pack_lanes`."""
    for b in range(start, stop):
        for n in range(N):
            read = index((b - start) * N + n)
            write = index((b * T + t) * N + n)
            for i in range(steps):
                array[index(i) * index(N) + write] = buffer[index(i) * index(lanes) + read]


def load_lane_constants(workspace, constants, C, N, elements):
    """Each constant of the N neurons, repeated for each batch element."""
    for c in range(C):
        for b in range(elements):
            lane = index(c * SLOT + b * N)
            copy_step(workspace, lane, constants, index(c * N), index(N))


# Recurrence, forward: spikes are sparse, so s[t-1] @ weights is a gather of the rows of `weights`
# (flat, [from, to]) that belong to spikes.


def add_weight_row(total, weights, a):
    N = total.shape[0]
    at = index(a * N)
    for n in range(index(N)):
        total[n] += weights[at + n]


def add_four_weight_rows(total, weights, a, b, c, d):
    """As four calls of `add_weight_row`, in the same order of sums, with a quarter of the loads."""
    N = total.shape[0]
    at = index(a * N)
    bt = index(b * N)
    ct = index(c * N)
    dt = index(d * N)
    for n in range(index(N)):
        four = ((total[n] + weights[at + n]) + weights[bt + n]) + weights[ct + n]
        total[n] = four + weights[dt + n]


def add_rows_of_spikes(total, weights, spikes, offset, active):
    """Add to `total` [N] the rows of `weights` whose neuron has spiked.

    `spikes` is flat, its N values start at `offset`; `active` [N + 1] is scratch.
    """
    N = total.shape[0]

    # A number is written for every neuron and overwritten unless it has spiked: no branch.
    count = 0
    for i in range(N):
        active[count] = i
        count += spikes[offset + index(i)] != real(0)

    for k in range(0, count - 3, 4):
        add_four_weight_rows(total, weights, active[k], active[k + 1], active[k + 2], active[k + 3])
    for k in range(count - count % 4, count):
        add_weight_row(total, weights, active[k])


# Recurrence, backward: gradients are not sparse, so the gradient that reaches s[t-1] is a dense
# product of ∂L/∂x[t] and the transposed weights. Four batch elements share it: each row of weights
# is loaded once for four sums. `sums` has, per block, one slot for each of the four batch elements;
# scale [4, N] is ∂L/∂x[t], flat.


def add_product(sums, offset, scale, a, weights, at, width):
    """Add scale[g, a] · (row of weights at `at`) to sums[g], for each batch element g."""
    N = scale.size // SHARED_BATCH
    k0 = scale[a]
    k1 = scale[a + N]
    k2 = scale[a + 2 * N]
    k3 = scale[a + 3 * N]

    for n in range(width):
        m = offset + n
        value = weights[at + n]
        sums[m] += k0 * value
        sums[m + index(SLOT)] += k1 * value
        sums[m + index(2 * SLOT)] += k2 * value
        sums[m + index(3 * SLOT)] += k3 * value


def add_four_products(sums, offset, scale, a, weights, at, stride, width):
    """As `add_product`, for the rows a…a+3 together: a quarter of the loads and stores of sums."""
    b = a + scale.size // SHARED_BATCH
    c = b + scale.size // SHARED_BATCH
    d = c + scale.size // SHARED_BATCH

    # k[g][i] is the scale of row a + i for batch element g.
    k00, k01, k02, k03 = scale[a], scale[a + 1], scale[a + 2], scale[a + 3]
    k10, k11, k12, k13 = scale[b], scale[b + 1], scale[b + 2], scale[b + 3]
    k20, k21, k22, k23 = scale[c], scale[c + 1], scale[c + 2], scale[c + 3]
    k30, k31, k32, k33 = scale[d], scale[d + 1], scale[d + 2], scale[d + 3]

    # Where the four rows begin.
    at1 = at + stride
    at2 = at1 + stride
    at3 = at2 + stride

    for n in range(width):
        m = offset + n
        v0, v1, v2, v3 = weights[at + n], weights[at1 + n], weights[at2 + n], weights[at3 + n]
        sums[m] += k00 * v0 + k01 * v1 + k02 * v2 + k03 * v3
        sums[m + index(SLOT)] += k10 * v0 + k11 * v1 + k12 * v2 + k13 * v3
        sums[m + index(2 * SLOT)] += k20 * v0 + k21 * v1 + k22 * v2 + k23 * v3
        sums[m + index(3 * SLOT)] += k30 * v0 + k31 * v1 + k32 * v2 + k33 * v3


def multiply_by_weights(sums, scale, weights, N):
    """Set sums to scale @ weights for four batch elements, block of columns by block."""
    for block in range((N + WIDTH - 1) // WIDTH):
        lo, hi = block_bounds(block, WIDTH, N)
        width = index(hi - lo)
        offset = index(block * SHARED_BATCH * SLOT)
        for g in range(SHARED_BATCH):
            clear_row(sums, block * SHARED_BATCH + g, width)

        # Four rows at a time, and then the rest.
        for a in range(0, N - 3, 4):
            at = index(a * N + lo)
            add_four_products(sums, offset, scale, a, weights, at, index(N), width)
        for a in range(N - N % 4, N):
            add_product(sums, offset, scale, a, weights, index(a * N + lo), width)


def load_shared_blocks(
    workspace, C, K, recalled, constants, grad_last, initial, learned, start, stop, N
):
    """All blocks of the batch elements start…stop."""
    blocks = (N + WIDTH - 1) // WIDTH
    base = 0

    for b in range(start, stop):
        for block in range(blocks):
            lo, hi = block_bounds(block, WIDTH, N)
            width = index(hi - lo)
            offset = index(b * N + lo)

            load_constants(workspace, base, constants, C, N, lo, width)
            load_gradients(
                workspace, base, C, K, recalled, grad_last, initial, learned, offset, width
            )
            base += backward_slots(C, K, recalled)


def store_shared_blocks(
    workspace, C, K, recalled, sums, grad_states, grad_constants, learned, grad_spikes_before,
    start, stop, B, N,
):  # fmt: skip
    blocks = (N + WIDTH - 1) // WIDTH
    base = 0

    for b in range(start, stop):
        for block in range(blocks):
            lo, hi = block_bounds(block, WIDTH, N)
            width = index(hi - lo)
            offset = index(b * N + lo)
            stride = index(B * N)

            store_gradients(
                grad_states, grad_constants, learned, offset, stride, width, workspace, base, C, K
            )

            slot = block * SHARED_BATCH + b - start
            store_row(grad_spikes_before, offset, width, sums, slot)
            base += backward_slots(C, K, recalled)
