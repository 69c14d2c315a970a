"""The loops over time of the CPU kernels, the same for every neuron.

`render` writes them into a kernel module, around the neuron's own row functions, each one step of a
block of neurons: `forward_row`, and in backward `later_row` and, for step 0, `first_row`. They are
plain numba and are never called from Python. Why arrays are flat, places unsigned and rows not
inlined: see `rows`.

There are three ways through a batch, each forward and backward:

- over time: a job is a batch element and a block of neurons;
- packed: a job is several batch elements of a narrow layer, side by side in lanes;
- recurrent: a job is a batch element (backward: four) with all its blocks, as every neuron may
  depend on every other one in each step.

Shapes: x, s, w, mem, grad_s, grad_mem, grad_x [B, T, N]; weights and transposed [N, N];
spikes_before [B, N]. These come flat: the step t of batch element b begins at (b T + t) N. The
others keep their shape: constants [C, N]; initial and final states and grad_states [K, B, N];
grad_constants [C, B, N], or no rows; grad_spikes_before [B, N]. Of the values that a step saves, w
is the first, and `others` [SAVED - 1, B, T, N], flat, are the rest. The jobs of a call are
first…last. Without `save_w`, w has one step, which serves as scratch, and `others` is empty;
without `save_mem` or `has_grad_mem` that array is empty.
"""

# mypy: disable-error-code="no-untyped-def"
from collections.abc import Callable
from typing import Any

import numpy as np

from nwavesdk.solvers.cpu import rows
from nwavesdk.solvers.cpu.rows import (
    BACKWARD_SLOTS,
    FORWARD_SLOTS,
    SAVED,
    SHARED_BATCH,
    SLOT,
    STATE_SLOT,
    STATES,
    TILE,
    WIDTH,
    add_rows_of_spikes,
    add_step,
    block_bounds,
    index,
    load_backward_block,
    load_backward_lanes,
    load_block,
    load_lane_constants,
    load_lanes,
    load_saved,
    load_shared_blocks,
    multiply_by_weights,
    pack_lanes,
    real,
    store_backward_block,
    store_backward_lanes,
    store_lanes,
    store_row,
    store_saved,
    store_shared_blocks,
    store_step,
    unpack_lanes,
)

__all__ = ["DIMENSIONS", "FLAT", "FUNCTIONS", "LOOPS"]

forward_row: Any = None  # written by `render`
later_row: Any = None
first_row: Any = None


def forward_over_time(
    first, last, block_width, B, T, N, x, initial, constants,
    s, w, save_w, mem, save_mem, others, final, spike_counts,
):  # fmt: skip
    blocks = (N + block_width - 1) // block_width
    stride = index(B * T * N)
    workspace = np.empty(FORWARD_SLOTS * SLOT, real)
    for job in range(first, last):
        b = job // blocks
        lo, hi = block_bounds(job % blocks, block_width, N)
        width = index(hi - lo)
        load_block(workspace, constants, initial, b, lo, hi)
        count = 0
        for t in range(T):
            at = index((b * T + t) * N + lo)
            to_w = at if save_w else index(b * N + lo)
            count += forward_row(x, at, s, at, w, to_w, width, workspace)
            if save_mem:
                store_step(mem, at, width, workspace, STATE_SLOT)
            if save_w and SAVED > 1:
                store_saved(others, at, stride, width, workspace)
        spike_counts[job] = count
        for k in range(STATES):
            store_row(final[k, b, lo:hi], workspace, STATE_SLOT + k)


def forward_over_time_packed(
    first, last, group, B, T, N, x, initial, constants,
    s, w, save_w, mem, save_mem, final, spike_counts,
):  # fmt: skip
    """A job is `group` batch elements; neurons have one state and save one value."""
    lanes = group * N
    workspace = np.empty(FORWARD_SLOTS * SLOT, real)
    # A tile of each array over time, [TILE, lanes].
    tile_x = np.empty(TILE * lanes, real)
    tile_s = np.empty(TILE * lanes, real)
    tile_w = np.empty(TILE * lanes, real)
    tile_mem = np.empty(TILE * lanes, real)
    for job in range(first, last):
        start = job * group
        stop = min(B, start + group)
        width = index((stop - start) * N)
        load_lane_constants(workspace, constants, stop - start)
        load_lanes(workspace, STATE_SLOT, initial[0], start, stop)
        count = 0
        for t in range(0, T, TILE):
            steps = min(TILE, T - t)
            pack_lanes(x, T, N, start, stop, t, steps, tile_x, lanes)
            for i in range(steps):
                at = index(i * lanes)
                count += forward_row(tile_x, at, tile_s, at, tile_w, at, width, workspace)
                if save_mem:
                    store_step(tile_mem, at, width, workspace, STATE_SLOT)
            unpack_lanes(tile_s, lanes, start, stop, t, steps, s, T, N)
            if save_w:
                unpack_lanes(tile_w, lanes, start, stop, t, steps, w, T, N)
            if save_mem:
                unpack_lanes(tile_mem, lanes, start, stop, t, steps, mem, T, N)
        spike_counts[job] = count
        store_lanes(final[0], workspace, STATE_SLOT, start, stop)


def forward_over_time_recurrent(
    first, last, B, T, N, x, weights, spikes_before, initial, constants,
    s, w, save_w, mem, save_mem, others, final, spike_counts,
):  # fmt: skip
    """A job is a batch element; s[t-1] @ weights is gathered over the spikes and added to x[t]."""
    blocks = (N + WIDTH - 1) // WIDTH
    stride = index(B * T * N)
    workspaces = np.empty((blocks, FORWARD_SLOTS * SLOT), real)
    total = np.empty(N, real)  # the charge of the step, recurrence included
    active = np.empty(N + 1, np.int64)
    for b in range(first, last):
        spike_counts[b] = 0
        for block in range(blocks):
            lo, hi = block_bounds(block, WIDTH, N)
            load_block(workspaces[block], constants, initial, b, lo, hi)
        for t in range(T):
            row = (b * T + t) * N
            total[:] = x[row : row + N]
            if t == 0:
                add_rows_of_spikes(total, weights, spikes_before, index(b * N), active)
            else:
                add_rows_of_spikes(total, weights, s, index(row - N), active)
            for block in range(blocks):
                lo, hi = block_bounds(block, WIDTH, N)
                width = index(hi - lo)
                workspace = workspaces[block]
                at = index((b * T + t) * N + lo)
                to_w = at if save_w else index(b * N + lo)
                spike_counts[b] += forward_row(total, index(lo), s, at, w, to_w, width, workspace)
                if save_mem:
                    store_step(mem, at, width, workspace, STATE_SLOT)
                if save_w and SAVED > 1:
                    store_saved(others, at, stride, width, workspace)
        for block in range(blocks):
            lo, hi = block_bounds(block, WIDTH, N)
            for k in range(STATES):
                store_row(final[k, b, lo:hi], workspaces[block], STATE_SLOT + k)


# Backward. `later_row` reads what step t has saved and, to recall states before it, what step
# t - 1 has saved (step 0 takes the initial states from their slots). It reads ∂L/∂states after the
# step from their slots and leaves ∂L/∂states before the step there. `grad_states` and
# `grad_constants` hold the gradients that the caller starts from, and at the end those before the
# first step.


def backward_over_time(
    first, last, block_width, B, T, N, w, others, initial, constants,
    grad_s, grad_mem, has_grad_mem, grad_states, grad_x, grad_constants, parameters,
):  # fmt: skip
    blocks = (N + block_width - 1) // block_width
    stride = index(B * T * N)
    workspace = np.empty(BACKWARD_SLOTS * SLOT, real)
    for job in range(first, last):
        b = job // blocks
        lo, hi = block_bounds(job % blocks, block_width, N)
        width = index(hi - lo)
        load_backward_block(workspace, constants, grad_states, initial, grad_constants, b, lo, hi)
        for t in range(T - 1, -1, -1):
            at = index((b * T + t) * N + lo)
            before = at - index(N) if t > 0 else at
            if has_grad_mem:
                add_step(workspace, STATE_SLOT, grad_mem, at, width)
            if SAVED > 1:
                load_saved(workspace, others, at, before, stride, width)
            if t > 0:
                later_row(w, at, before, grad_s, at, grad_x, at, width, workspace, parameters)
            else:
                first_row(w, at, before, grad_s, at, grad_x, at, width, workspace, parameters)
        store_backward_block(workspace, grad_states, grad_constants, b, lo, hi)


def backward_over_time_packed(
    first, last, group, B, T, N, w, initial, constants,
    grad_s, grad_mem, has_grad_mem, grad_states, grad_x, has_sigma, grad_constants, parameters,
):  # fmt: skip
    """A job is `group` batch elements; with `has_sigma`, `grad_x` holds σ' on entry."""
    lanes = group * N
    workspace = np.empty(BACKWARD_SLOTS * SLOT, real)
    # A tile of each array over time, [TILE, lanes]; that of w begins one step earlier.
    tile_w = np.empty((TILE + 1) * lanes, real)
    tile_grad_s = np.empty(TILE * lanes, real)
    tile_grad_mem = np.empty(TILE * lanes, real)
    tile_grad_x = np.empty(TILE * lanes, real)
    for job in range(first, last):
        start = job * group
        stop = min(B, start + group)
        width = index((stop - start) * N)
        load_backward_lanes(workspace, constants, grad_states, initial, grad_constants, start, stop)
        for tile in range((T + TILE - 1) // TILE - 1, -1, -1):
            t = tile * TILE
            steps = min(TILE, T - t)
            lead = 1 if t > 0 else 0  # whether tile_w has the step before the tile
            pack_lanes(w, T, N, start, stop, t - lead, steps + lead, tile_w, lanes)
            pack_lanes(grad_s, T, N, start, stop, t, steps, tile_grad_s, lanes)
            if has_grad_mem:
                pack_lanes(grad_mem, T, N, start, stop, t, steps, tile_grad_mem, lanes)
            if has_sigma:
                pack_lanes(grad_x, T, N, start, stop, t, steps, tile_grad_x, lanes)
            for i in range(steps - 1, -1, -1):
                at = index(i * lanes)
                w_at = index((i + lead) * lanes)
                w_before = w_at - index(lanes) if i + lead > 0 else w_at
                if has_grad_mem:
                    add_step(workspace, STATE_SLOT, tile_grad_mem, at, width)
                if i + lead > 0:
                    later_row(
                        tile_w, w_at, w_before, tile_grad_s, at, tile_grad_x, at, width,
                        workspace, parameters,
                    )  # fmt: skip
                else:
                    first_row(
                        tile_w, w_at, w_before, tile_grad_s, at, tile_grad_x, at, width,
                        workspace, parameters,
                    )  # fmt: skip
            unpack_lanes(tile_grad_x, lanes, start, stop, t, steps, grad_x, T, N)
        store_backward_lanes(workspace, grad_states, grad_constants, start, stop)


def backward_over_time_recurrent(
    first, last, B, T, N, transposed, grad_spikes_before, w, others, initial, constants,
    grad_s, grad_mem, has_grad_mem, grad_states, grad_x, grad_constants, parameters,
):  # fmt: skip
    """A job is four batch elements, which share the loads of `transposed`, the weights [to, from].

    `grad_spikes_before` gets the gradient of the spikes before the first step.
    """
    blocks = (N + WIDTH - 1) // WIDTH
    stride = index(B * T * N)
    workspaces = np.empty((SHARED_BATCH, blocks, BACKWARD_SLOTS * SLOT), real)
    # ∂L/∂s of a step: per block, one slot for each of the four batch elements. It holds what comes
    # through the weights from the step after, to which `grad_s` of the step is added.
    grad_spikes = np.empty(blocks * SHARED_BATCH * SLOT, real)
    scale = np.empty((SHARED_BATCH, N), real)  # ∂L/∂x of the step
    for job in range(first, last):
        start = SHARED_BATCH * job
        stop = min(B, start + SHARED_BATCH)
        grad_spikes[:] = real(0)
        scale[:] = real(0)
        load_shared_blocks(workspaces, constants, grad_states, initial, grad_constants, start, stop)
        for t in range(T - 1, -1, -1):
            for b in range(start, stop):
                for block in range(blocks):
                    lo, hi = block_bounds(block, WIDTH, N)
                    width = index(hi - lo)
                    workspace = workspaces[b - start, block]
                    slot = block * SHARED_BATCH + b - start
                    at = index((b * T + t) * N + lo)
                    before = at - index(N) if t > 0 else at
                    add_step(grad_spikes, slot, grad_s, at, width)
                    if has_grad_mem:
                        add_step(workspace, STATE_SLOT, grad_mem, at, width)
                    if SAVED > 1:
                        load_saved(workspace, others, at, before, stride, width)
                    if t > 0:
                        later_row(
                            w, at, before, grad_spikes, index(slot * SLOT),
                            grad_x, at, width, workspace, parameters,
                        )  # fmt: skip
                    else:
                        first_row(
                            w, at, before, grad_spikes, index(slot * SLOT),
                            grad_x, at, width, workspace, parameters,
                        )  # fmt: skip
                row = (b * T + t) * N
                scale[b - start, :] = grad_x[row : row + N]
            multiply_by_weights(grad_spikes, scale, transposed, N)
        store_shared_blocks(
            workspaces, grad_spikes, grad_states, grad_constants, grad_spikes_before, start, stop
        )


# What `render` writes into a module, in this order: row functions with their numba options, then
# the loops. Only helpers that are called once per job are inlined.
_ROW = 'error_model="numpy", inline="never"'
_INLINE = 'error_model="numpy", inline="always"'
_BOTH: list[tuple[Callable[..., Any], str]] = [
    (rows.load_row, _ROW),
    (rows.store_row, _ROW),
    (rows.store_step, _ROW),
    (rows.load_lanes, _ROW),
    (rows.store_lanes, _ROW),
    (rows.load_lane_constants, _ROW),
    (rows.pack_lanes, _ROW),
    (rows.unpack_lanes, _ROW),
    (rows.load_block, _INLINE),
    (rows.block_bounds, _INLINE),
]
FUNCTIONS: dict[str, list[tuple[Callable[..., Any], str]]] = {
    "forward": [
        *_BOTH,
        (rows.store_saved, _ROW),
        (rows.add_weight_row, _ROW),
        (rows.add_four_weight_rows, _ROW),
        (rows.add_rows_of_spikes, _ROW),
    ],
    "backward": [
        *_BOTH,
        (rows.add_step, _ROW),
        (rows.load_saved, _ROW),
        (rows.load_backward_block, _INLINE),
        (rows.store_backward_block, _INLINE),
        (rows.load_backward_lanes, _INLINE),
        (rows.store_backward_lanes, _INLINE),
        (rows.load_shared_blocks, _ROW),
        (rows.store_shared_blocks, _ROW),
        (rows.add_product, _ROW),
        (rows.add_four_products, _ROW + ', fastmath={"contract", "reassoc"}'),
        (rows.multiply_by_weights, _ROW),
    ],
}
LOOPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "forward": (forward_over_time, forward_over_time_packed, forward_over_time_recurrent),
    "backward": (backward_over_time, backward_over_time_packed, backward_over_time_recurrent),
}

# Dimensions of the arrays that the loops take, and which of them come flat. `spike_counts` holds
# int64, all others floats. Other arguments are whole numbers; `parameters` is a tuple of floats.
FLAT = {
    **dict.fromkeys(("weights", "transposed", "spikes_before"), 2),
    **dict.fromkeys(("x", "s", "w", "mem", "grad_s", "grad_mem", "grad_x"), 3),
    "others": 4,
}
DIMENSIONS = {
    **{"spike_counts": 1, "constants": 2, "grad_spikes_before": 2},
    **dict.fromkeys(("initial", "final", "grad_states", "grad_constants"), 3),
    **FLAT,
}
