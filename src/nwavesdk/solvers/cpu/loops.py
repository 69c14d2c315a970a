"""The loops over time of the CPU kernels, the same for every neuron; `render` writes them out around its steps.

Requirements: plain numba; nothing here is called from Python. Open names: `real` (the float type), `forward_row` and
`backward_row` (one step of a block of neurons). What a block has of its own (constants, states, gradients) stands in
one array `own`, `WIDTH` numbers for each: LLVM then sees one pointer where it would have to tell many apart, and
vectorizes. Steps take flat arrays and unsigned places in them: numba counts references to a slice with an atomic
instruction, which costs more than a short row, and the threads would fight over it; for the same reason no inlined
helper takes arrays in a loop over time. Of K states, the first is the membrane and the others are `others`; arrays that
are stacked have them first.

Two ways through a batch: blocks of neurons of one batch element; and for narrow layers, where a row is too short to be
worth a call, several batch elements packed side by side.

Shapes: x, s, w [B, T, N]; constants [C, N]; initial, final and their gradients [K, B, N]; others [K-1, B, T, N].
"""

# mypy: disable-error-code="no-untyped-def"
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import uint64 as index  # unsigned: no wrap around of negative indices

__all__ = ["DIMENSIONS", "FUNCTIONS", "LOOPS", "TILE", "WIDTH"]

WIDTH = 1024  # neurons of a block: its rows stay in the first cache
TILE = 32  # steps that are packed at once

real: Any = None
forward_row: Any = None
backward_row: Any = None


def load_row(own, slot, row):
    start = index(slot * WIDTH)
    for i in range(row.shape[0]):
        own[index(i) + start] = row[index(i)]


def store_row(row, own, slot):
    start = index(slot * WIDTH)
    for i in range(row.shape[0]):
        row[index(i)] = own[index(i) + start]


def store_step(x, to_x, width, own, slot):
    """`store_row` to a place in a flat array, without a slice."""
    for n in range(width):
        x[to_x + n] = own[n + index(slot * WIDTH)]


def add_step(own, slot, x, from_x, width):
    for n in range(width):
        own[n + index(slot * WIDTH)] += x[from_x + n]


def add_row(total, row):
    for n in range(total.shape[0]):
        total[n] += row[n]


def add_one_row(total, rows, a):
    """Add row a of the flat matrix `rows`."""
    N = total.shape[0]
    at = index(a * N)
    for n in range(index(N)):
        total[n] += rows[at + n]


def add_four_rows(total, rows, a, b, c, d):
    N = total.shape[0]
    at, bt, ct, dt = index(a * N), index(b * N), index(c * N), index(d * N)
    for n in range(index(N)):
        total[n] = (((total[n] + rows[at + n]) + rows[bt + n]) + rows[ct + n]) + rows[dt + n]


def add_product(sums, place, scale, a, rows, at, width):
    """Four sums of width `WIDTH` apart, from `place` on, each with its scale: sums[g] += scale[g, a] · row."""
    k0, k1, k2, k3 = scale[0, a], scale[1, a], scale[2, a], scale[3, a]
    for n in range(width):
        m, value = place + n, rows[at + n]
        sums[m] += k0 * value
        sums[m + index(WIDTH)] += k1 * value
        sums[m + index(2 * WIDTH)] += k2 * value
        sums[m + index(3 * WIDTH)] += k3 * value


def add_four_products(sums, place, scale, a, rows, at, stride, width):
    """As `add_product`, for the rows a…a+3 at once: four times fewer loads and stores of the sums."""
    k00, k01, k02, k03 = scale[0, a], scale[0, a + 1], scale[0, a + 2], scale[0, a + 3]
    k10, k11, k12, k13 = scale[1, a], scale[1, a + 1], scale[1, a + 2], scale[1, a + 3]
    k20, k21, k22, k23 = scale[2, a], scale[2, a + 1], scale[2, a + 2], scale[2, a + 3]
    k30, k31, k32, k33 = scale[3, a], scale[3, a + 1], scale[3, a + 2], scale[3, a + 3]
    at1, at2, at3 = at + stride, at + stride + stride, at + stride + stride + stride
    for n in range(width):
        m = place + n
        v0, v1, v2, v3 = rows[at + n], rows[at1 + n], rows[at2 + n], rows[at3 + n]
        sums[m] += k00 * v0 + k01 * v1 + k02 * v2 + k03 * v3
        sums[m + index(WIDTH)] += k10 * v0 + k11 * v1 + k12 * v2 + k13 * v3
        sums[m + index(2 * WIDTH)] += k20 * v0 + k21 * v1 + k22 * v2 + k23 * v3
        sums[m + index(3 * WIDTH)] += k30 * v0 + k31 * v1 + k32 * v2 + k33 * v3


def load_block(own, constants, states, b, lo, hi):
    C = constants.shape[0]
    for c in range(C):
        load_row(own, c, constants[c, lo:hi])
    for k in range(states.shape[0]):
        load_row(own, C + k, states[k, b, lo:hi])


def forward(
    first, last, width, x, initial, constants, s, w, keep, mem, full, others, final, counts
):
    """Jobs first…last, each a batch element × a block of `width` neurons.

    `w` and `others` have T steps with `keep`, `mem` with `full`.
    """
    T, N = x.shape[1], x.shape[2]
    C, K = constants.shape[0], initial.shape[0]
    blocks = (N + width - 1) // width
    own = np.empty((C + K) * WIDTH, real)
    x, s, w, mem = x.reshape(x.size), s.reshape(x.size), w.reshape(w.size), mem.reshape(mem.size)
    for job in range(first, last):
        b, lo = job // blocks, (job % blocks) * width
        hi = min(N, lo + width)
        load_block(own, constants, initial, b, lo, hi)
        count, cut = 0, index(hi - lo)
        for t in range(T):
            at = index((b * T + t) * N + lo)
            count += forward_row(x, at, s, at, w, at if keep else index(b * N + lo), cut, own)
            if full:
                store_step(mem, at, cut, own, C)
            if keep:
                for k in range(K - 1):
                    store_row(others[k, b, t, lo:hi], own, C + 1 + k)
        counts[job] = count
        for k in range(K):
            store_row(final[k, b, lo:hi], own, C + k)


def pack(x, T, N, start, stop, t, steps, packed, lanes):
    """Batch elements start…stop side by side: `packed` [steps, lanes] gets `x` [B, T, N] at t…t+steps, both flat."""
    for b in range(start, stop):
        for n in range(N):
            read, write = index((b * T + t) * N + n), index((b - start) * N + n)
            for i in range(steps):
                packed[index(i) * index(lanes) + write] = x[index(i) * index(N) + read]


def unpack(packed, lanes, start, stop, t, steps, x, T, N):
    for b in range(start, stop):
        for n in range(N):
            read, write = index((b - start) * N + n), index((b * T + t) * N + n)
            for i in range(steps):
                x[index(i) * index(N) + write] = packed[index(i) * index(lanes) + read]


def load_lanes(own, slot, rows, start, stop):
    """The rows start…stop of `rows` [B, N] side by side."""
    N = rows.shape[1]
    for b in range(start, stop):
        for n in range(N):
            own[slot * WIDTH + (b - start) * N + n] = rows[b, n]


def store_lanes(rows, own, slot, start, stop):
    N = rows.shape[1]
    for b in range(start, stop):
        for n in range(N):
            rows[b, n] = own[slot * WIDTH + (b - start) * N + n]


def load_constants(own, constants, elements):
    C, N = constants.shape
    for c in range(C):
        for b in range(elements):
            for n in range(N):
                own[c * WIDTH + b * N + n] = constants[c, n]


def forward_packed(first, last, group, x, initial, constants, s, w, keep, mem, full, final, counts):
    """Jobs first…last, each `group` batch elements of a narrow layer of neurons with one state."""
    B, T, N = x.shape
    C, lanes = constants.shape[0], group * N
    x, s, w, mem = x.reshape(x.size), s.reshape(s.size), w.reshape(w.size), mem.reshape(mem.size)
    own, flat = np.empty((C + 1) * WIDTH, real), np.empty((4, TILE * lanes), real)
    xs, ss, ws, vs = flat[0], flat[1], flat[2], flat[3]
    for job in range(first, last):
        start, stop = job * group, min(B, job * group + group)
        used = index((stop - start) * N)
        load_constants(own, constants, stop - start)
        load_lanes(own, C, initial[0], start, stop)
        count = 0
        for t in range(0, T, TILE):
            steps = min(TILE, T - t)
            pack(x, T, N, start, stop, t, steps, xs, lanes)
            for i in range(steps):
                at = index(i * lanes)
                count += forward_row(xs, at, ss, at, ws, at, used, own)
                if full:
                    store_step(vs, at, used, own, C)
            unpack(flat[1], lanes, start, stop, t, steps, s, T, N)
            if keep:
                unpack(flat[2], lanes, start, stop, t, steps, w, T, N)
            if full:
                unpack(flat[3], lanes, start, stop, t, steps, mem, T, N)
        counts[job] = count
        store_lanes(final[0], own, C, start, stop)


def forward_recurrent(
    first, last, x, weights, fired, initial, constants, s, w, keep, mem, full, others, final, counts
):  # fmt: skip
    """Jobs first…last, each a batch element; s[t-1] @ weights is gathered over the spikes and added to x[t]."""
    T, N = x.shape[1], x.shape[2]
    C, K = constants.shape[0], initial.shape[0]
    blocks = (N + WIDTH - 1) // WIDTH
    owns, total, active = (
        np.empty((blocks, (C + K) * WIDTH), real),
        np.empty(N, real),
        np.empty(N + 1, np.int64),
    )
    flat_s, flat_w, flat_mem, rows = (
        s.reshape(s.size),
        w.reshape(w.size),
        mem.reshape(mem.size),
        weights.reshape(N * N),
    )
    for b in range(first, last):
        counts[b] = 0
        for block in range(blocks):
            lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
            load_block(owns[block], constants, initial, b, lo, hi)
        for t in range(T):
            before = fired[b] if t == 0 else s[b, t - 1]
            found = 0
            for i in range(N):
                active[found] = i
                found += before[i] != real(0)
            total[:] = x[b, t]
            for k in range(0, found - 3, 4):
                add_four_rows(total, rows, active[k], active[k + 1], active[k + 2], active[k + 3])
            for k in range(found - found % 4, found):
                add_one_row(total, rows, active[k])
            for block in range(blocks):
                lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
                own, cut, at = owns[block], index(hi - lo), index((b * T + t) * N + lo)
                kept = at if keep else index(b * N + lo)
                counts[b] += forward_row(total, index(lo), flat_s, at, flat_w, kept, cut, own)
                if full:
                    store_step(flat_mem, at, cut, own, C)
                if keep:
                    for k in range(K - 1):
                        store_row(others[k, b, t, lo:hi], own, C + 1 + k)
        for block in range(blocks):
            lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
            for k in range(K):
                store_row(final[k, b, lo:hi], owns[block], C + k)


def backward_load(own, constants, grads, initial, learned, b, lo, hi):
    """Rows of `own`: constants, gradients of states, gradients of constants, the membrane before, others before."""
    C, K = constants.shape[0], grads.shape[0]
    load_block(own, constants, grads, b, lo, hi)
    for c in range(learned.shape[0]):
        load_row(own, C + K + c, learned[c, b, lo:hi])
    load_row(own, C + K + C, initial[0, b, lo:hi])


def backward_store(own, grads, learned, C, b, lo, hi):
    K = grads.shape[0]
    for k in range(K):
        store_row(grads[k, b, lo:hi], own, C + k)
    for c in range(learned.shape[0]):
        store_row(learned[c, b, lo:hi], own, C + K + c)


def load_others(own, slot, others, initial, b, t, lo, hi):
    """The states but the first, before step t and before the one before it, to rows of `own` from `slot` on."""
    K = initial.shape[0]
    for k in range(K - 1):
        load_row(own, slot + k, others[k, b, t - 1, lo:hi] if t > 0 else initial[1 + k, b, lo:hi])
        load_row(
            own, slot + K - 1 + k, others[k, b, t - 2, lo:hi] if t > 1 else initial[1 + k, b, lo:hi]
        )


def backward(
    first, last, width, w, others, initial, constants, grad_s, mem, full, grads, grad_x, learned, parameters
):  # fmt: skip
    """Jobs as in `forward`; `mem` is ∂L/∂mem, `grads` ∂L/∂states, `learned` ∂L/∂constants of each batch element."""
    T, N = w.shape[1], w.shape[2]
    C, K = constants.shape[0], initial.shape[0]
    blocks = (N + width - 1) // width
    own = np.empty((2 * C + 3 * K - 1) * WIDTH, real)
    w, grad_s, grad_x, mem = (
        w.reshape(w.size),
        grad_s.reshape(w.size),
        grad_x.reshape(w.size),
        mem.reshape(mem.size),
    )
    for job in range(first, last):
        b, lo = job // blocks, (job % blocks) * width
        hi = min(N, lo + width)
        backward_load(own, constants, grads, initial, learned, b, lo, hi)
        cut = index(hi - lo)
        for t in range(T - 1, -1, -1):
            at = index((b * T + t) * N + lo)
            if full:
                add_step(own, C, mem, at, cut)
            if K > 1:
                load_others(own, 2 * C + K + 1, others, initial, b, t, lo, hi)
            before = at - index(N) if t > 0 else at
            backward_row(w, at, before, t == 0, grad_s, at, grad_x, at, cut, own, parameters)
        backward_store(own, grads, learned, C, b, lo, hi)


def backward_packed(
    first, last, group, w, initial, constants, grad_s, mem, full, grads, grad_x, given, learned, parameters
):  # fmt: skip
    """Jobs as in `forward_packed`; `given` says that `grad_x` holds σ'."""
    B, T, N = w.shape
    C, lanes = constants.shape[0], group * N
    w, grad_s, mem, grad_x = (
        w.reshape(w.size),
        grad_s.reshape(w.size),
        mem.reshape(mem.size),
        grad_x.reshape(w.size),
    )
    own, flat = np.empty((2 * C + 2) * WIDTH, real), np.empty((4, (TILE + 1) * lanes), real)
    ws, gs, vs, xs = flat[0], flat[1], flat[2], flat[3]
    for job in range(first, last):
        start, stop = job * group, min(B, job * group + group)
        used = index((stop - start) * N)
        load_constants(own, constants, stop - start)
        load_lanes(own, C, grads[0], start, stop)
        for c in range(learned.shape[0]):
            load_lanes(own, C + 1 + c, learned[c], start, stop)
        load_lanes(own, 2 * C + 1, initial[0], start, stop)
        for tile in range((T + TILE - 1) // TILE - 1, -1, -1):
            t = tile * TILE
            steps, lead = min(TILE, T - t), 1 if t > 0 else 0
            pack(w, T, N, start, stop, t - lead, steps + lead, flat[0], lanes)
            pack(grad_s, T, N, start, stop, t, steps, flat[1], lanes)
            if full:
                pack(mem, T, N, start, stop, t, steps, flat[2], lanes)
            if given:
                pack(grad_x, T, N, start, stop, t, steps, flat[3], lanes)
            for i in range(steps - 1, -1, -1):
                at, here = index(i * lanes), index((i + lead) * lanes)
                before = here - index(lanes) if i + lead > 0 else here
                if full:
                    add_step(own, C, vs, at, used)
                backward_row(ws, here, before, i + lead == 0, gs, at, xs, at, used, own, parameters)
            unpack(flat[3], lanes, start, stop, t, steps, grad_x, T, N)
        store_lanes(grads[0], own, C, start, stop)
        for c in range(learned.shape[0]):
            store_lanes(learned[c], own, C + 1 + c, start, stop)


def backward_recurrent(
    first, last, transposed, w, others, initial, constants, grad_s, mem, full, grads, grad_x, learned, grad_fired,
    parameters,
):  # fmt: skip
    """Jobs first…last, each four batch elements, which share the rows of `transposed`, the weights [to, from].

    The gradient that reaches a spike by recurrence is a dense product a step: spikes are sparse, gradients are not.
    `grad_fired` [B, N] gets that of the spikes before the first step.
    """
    B, T, N = w.shape
    C, K = constants.shape[0], initial.shape[0]
    blocks = (N + WIDTH - 1) // WIDTH
    owns = np.empty((4, blocks, (2 * C + 3 * K - 1) * WIDTH), real)
    sums, scale = np.empty((blocks, 4 * WIDTH), real), np.zeros((4, N), real)
    flat_sums, flat_w = sums.reshape(sums.size), w.reshape(w.size)
    flat_x, flat_mem, rows = (
        grad_x.reshape(grad_x.size),
        mem.reshape(mem.size),
        transposed.reshape(N * N),
    )
    for job in range(first, last):
        start, stop = 4 * job, min(B, 4 * job + 4)
        sums[:] = real(0)
        scale[:] = real(0)
        for b in range(start, stop):
            for block in range(blocks):
                lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
                backward_load(owns[b - start, block], constants, grads, initial, learned, b, lo, hi)
        for t in range(T - 1, -1, -1):
            for b in range(start, stop):
                for block in range(blocks):
                    lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
                    mine, own = (b - start) * WIDTH, owns[b - start, block]
                    cut, at = index(hi - lo), index((b * T + t) * N + lo)
                    add_row(sums[block, mine : mine + hi - lo], grad_s[b, t, lo:hi])
                    if full:
                        add_step(own, C, flat_mem, at, cut)
                    if K > 1:
                        load_others(own, 2 * C + K + 1, others, initial, b, t, lo, hi)
                    before, gs = at - index(N) if t > 0 else at, index(block * 4 * WIDTH + mine)
                    backward_row(
                        flat_w, at, before, t == 0, flat_sums, gs, flat_x, at, cut, own, parameters
                    )  # fmt: skip
                scale[b - start, :] = grad_x[b, t]
            for block in range(blocks):
                lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
                sums[block, :] = real(0)
                place, cut = index(block * 4 * WIDTH), index(hi - lo)
                for j in range(0, N - 3, 4):
                    add_four_products(
                        flat_sums, place, scale, j, rows, index(j * N + lo), index(N), cut
                    )
                for j in range(N - N % 4, N):
                    add_product(flat_sums, place, scale, j, rows, index(j * N + lo), cut)
        for b in range(start, stop):
            for block in range(blocks):
                lo, hi = block * WIDTH, min(N, block * WIDTH + WIDTH)
                backward_store(owns[b - start, block], grads, learned, C, b, lo, hi)
                grad_fired[b, lo:hi] = sums[
                    block, (b - start) * WIDTH : (b - start) * WIDTH + hi - lo
                ]


_ROW, _INLINE = 'error_model="numpy", inline="never"', 'error_model="numpy", inline="always"'
_BOTH: list[tuple[Callable[..., Any], str]] = [
    (load_row, _ROW), (store_row, _ROW), (add_row, _ROW), (store_step, _ROW), (load_lanes, _ROW), (store_lanes, _ROW),
    (load_constants, _ROW), (pack, _ROW), (unpack, _ROW), (load_block, _INLINE),
]  # fmt: skip
FUNCTIONS: dict[str, list[tuple[Callable[..., Any], str]]] = {
    "forward": [*_BOTH, (add_one_row, _ROW), (add_four_rows, _ROW)],
    "backward": [
        *_BOTH, (add_step, _ROW), (add_product, _ROW),
        (add_four_products, _ROW + ', fastmath={"contract", "reassoc"}'),
        (backward_load, _INLINE), (backward_store, _INLINE), (load_others, _ROW),
    ],
}  # fmt: skip
DIMENSIONS = {
    "counts": 1, "constants": 2, "weights": 2, "transposed": 2, "fired": 2, "grad_fired": 2, "x": 3, "s": 3, "w": 3,
    "mem": 3, "initial": 3, "final": 3, "grad_s": 3, "grads": 3, "grad_x": 3, "learned": 3, "others": 4,
}  # fmt: skip
"""Of the arrays that a kernel takes; its other arguments are whole numbers, and `parameters` are real ones."""
LOOPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "forward": (forward, forward_packed, forward_recurrent),
    "backward": (backward, backward_packed, backward_recurrent),
}
