"""The loops over time of the CPU kernels, the same for every neuron.

`render_loops` writes them into one module for each dtype, so that they are compiled once. The
neuron is in a separate function, `forward_steps` or `backward_steps`, which runs steps of a block
of neurons; `neuron` is its address. The loops are plain numba and are never called from Python.
`rows` explains why arrays are flat, indices unsigned and row functions not inlined.

There are three ways through a batch, each forward and backward:

- over time: a job is a batch element and a block of neurons;
- packed: a job is several batch elements of a narrow layer, side by side in lanes;
- recurrent: a job is a batch element (backward: four) with all its blocks, as every neuron may
  depend on every other one in each step.

Sizes: B, T, N; the neuron has C constants and K states, saves `saved` values in each step, and
recalls `recalled` of its states in backward. A loop runs the jobs from `first` to before `last`. A
forward loop returns its number of spikes.

Arrays, all flat:

- s, w, mem, grad_s, grad_mem, grad_x: [B, T, N]. Of the values that a step saves, w is the first,
  and `others` [saved - 1, B, T, N] are the rest.
- x: [B, T, N] with strides. Step t of batch element b begins at b batch_stride + t step_stride.
- constants: [C, N]; grad_constants: [learned, B, N], where `learned` is C, or 0 if no constant
  learns.
- weights, transposed: [N, N]; spikes_before, grad_spikes_before: [B, N].
- initial, final, grad_last, grad_states: addresses of arrays [B, N], one for each state. In
  backward, `initial` has the recalled states only.

A call may omit the arrays in `FLAGS`, which are then not touched, and arrays of `grad_last`, which
are then 0.
"""

# mypy: disable-error-code="no-untyped-def"
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from nwavesdk.solvers.cpu import rows
from nwavesdk.solvers.cpu.rows import (
    AHEAD,
    SHARED_BATCH,
    SLOT,
    TILE,
    WIDTH,
    add_rows_of_spikes,
    add_step,
    backward_slots,
    block_bounds,
    copy_step,
    index,
    load_constants,
    load_gradients,
    load_lane_constants,
    load_shared_blocks,
    load_states,
    make_workspace,
    multiply_by_weights,
    pack_lanes,
    real,
    row_at,
    store_gradients,
    store_shared_blocks,
    store_states,
    unpack_lanes,
)

__all__ = [
    "ARRAYS",
    "BACKWARD_LOOPS",
    "CONTROL_WORDS",
    "FLAGS",
    "FORWARD_LOOPS",
    "FUNCTIONS",
    "STATE_ARRAYS",
    "call_words",
    "fixed_words",
]

# Call the function at the address `neuron`. `render_loops` defines them in the module of a dtype.
call_forward_steps: Any = None
call_backward_steps: Any = None


def forward_over_time(
    first, last, neuron, width_of_block, B, T, N, C, K, saved, save_w, save_mem,
    batch_stride, step_stride, x, constants, s, w, mem, others, initial, final,
):  # fmt: skip
    """Jobs with the same block follow one another, so that its constants are loaded once."""
    stride = index(B * T * N if save_w else SLOT)  # between arrays of others
    # In place of an array that the call omits, all steps write to one scratch row.
    w_step = index(N if save_w else 0)
    mem_step = index(N if save_mem else 0)
    workspace = make_workspace(C + K)
    scratch = np.empty((saved + 1) * SLOT, real)  # rows for mem, w and others
    count = 0
    loaded = -1

    for job in range(first, last):
        b = job % B
        block = job // B
        lo, hi = block_bounds(block, width_of_block, N)
        width = index(hi - lo)
        if block != loaded:
            load_constants(workspace, 0, constants, C, N, lo, width)
            loaded = block

        load_states(workspace, C, initial, K, index(b * N + lo), width)
        at = index(b * T * N + lo)
        count += call_forward_steps(
            neuron,
            row_at(x, index(b * batch_stride + lo)),
            row_at(s, at),
            row_at(w, at) if save_w else row_at(scratch, index(SLOT)),
            row_at(mem, at) if save_mem else row_at(scratch, index(0)),
            row_at(others, at) if save_w else row_at(scratch, index(2 * SLOT)),
            index(step_stride), index(N), w_step, mem_step, stride, width, index(T),
            row_at(workspace, index(0)),
        )  # fmt: skip

        store_states(final, K, index(b * N + lo), width, workspace, C)
    return count


def forward_over_time_packed(
    first, last, neuron, group, B, T, N, C, K, save_w, save_mem,
    batch_stride, step_stride, x, constants, s, w, mem, others, initial, final,
):  # fmt: skip
    """A job is `group` batch elements; neurons have one state and save one value."""
    lanes = group * N
    workspace = make_workspace(C + K)
    # A tile of each array over time, [TILE, lanes].
    tile_x = np.empty(TILE * lanes, real)
    tile_s = np.empty(TILE * lanes, real)
    tile_w = np.empty(TILE * lanes, real)
    tile_mem = np.empty(TILE * lanes, real)
    count = 0

    for job in range(first, last):
        start = job * group
        stop = min(B, start + group)
        width = index((stop - start) * N)
        load_lane_constants(workspace, constants, C, N, stop - start)
        load_states(workspace, C, initial, K, index(start * N), width)

        for t in range(0, T, TILE):
            steps = min(TILE, T - t)
            first_x = t * step_stride
            pack_lanes(x, batch_stride, step_stride, N, start, stop, first_x, steps, tile_x, lanes)
            step = index(lanes)
            count += call_forward_steps(
                neuron,
                row_at(tile_x, index(0)),
                row_at(tile_s, index(0)),
                row_at(tile_w, index(0)),
                row_at(tile_mem, index(0)),
                row_at(others, index(0)),
                step, step, step, step, index(0), width, index(steps),
                row_at(workspace, index(0)),
            )  # fmt: skip

            unpack_lanes(tile_s, lanes, start, stop, t, steps, s, T, N)
            if save_w:
                unpack_lanes(tile_w, lanes, start, stop, t, steps, w, T, N)
            if save_mem:
                unpack_lanes(tile_mem, lanes, start, stop, t, steps, mem, T, N)

        store_states(final, K, index(start * N), width, workspace, C)
    return count


def forward_over_time_recurrent(
    first, last, neuron, B, T, N, C, K, saved, save_w, save_mem,
    batch_stride, step_stride, x, constants, s, w, mem, others, weights, spikes_before,
    initial, final,
):  # fmt: skip
    """A job is a batch element; s[t-1] @ weights is gathered over the spikes and added to x[t]."""
    blocks = (N + WIDTH - 1) // WIDTH
    stride = index(B * T * N if save_w else SLOT)
    workspace = make_workspace(blocks * (C + K))
    total = np.empty(N, real)  # the charge of the step, recurrence included
    active = np.empty(N + 1, np.int64)
    step = index(0)  # the distance to the next step: a call of the neuron runs one step only
    scratch = np.empty((saved + 1) * SLOT, real)  # rows for mem, w and others
    count = 0

    for b in range(first, last):
        for block in range(blocks):
            lo, hi = block_bounds(block, WIDTH, N)
            width = index(hi - lo)
            base = block * (C + K)
            load_constants(workspace, base, constants, C, N, lo, width)
            load_states(workspace, base + C, initial, K, index(b * N + lo), width)

        for t in range(T):
            here = (b * T + t) * N
            copy_step(total, index(0), x, index(b * batch_stride + t * step_stride), index(N))
            # The spikes of the step before.
            if t == 0:
                add_rows_of_spikes(total, weights, spikes_before, index(b * N), active)
            else:
                add_rows_of_spikes(total, weights, s, index(here - N), active)

            for block in range(blocks):
                lo, hi = block_bounds(block, WIDTH, N)
                at = index(here + lo)
                count += call_forward_steps(
                    neuron,
                    row_at(total, index(lo)),
                    row_at(s, at),
                    row_at(w, at) if save_w else row_at(scratch, index(SLOT)),
                    row_at(mem, at) if save_mem else row_at(scratch, index(0)),
                    row_at(others, at) if save_w else row_at(scratch, index(2 * SLOT)),
                    step, step, step, step, stride, index(hi - lo), index(1),
                    row_at(workspace, index(block * (C + K) * SLOT)),
                )  # fmt: skip

        for block in range(blocks):
            lo, hi = block_bounds(block, WIDTH, N)
            base = block * (C + K)
            offset = index(b * N + lo)
            store_states(final, K, offset, index(hi - lo), workspace, base + C)
    return count


# Backward. `backward_steps` runs steps from the last to the first. It reads the saved values of
# step t and, to recall the states before it, the saved values of step t - 1. The first step of a
# sequence has no step before it (`has_before`) and takes the initial states from their slots. The
# slots of ∂L/∂states have the gradients after the steps on entry and before the steps on return.
# Backward starts from `grad_last`, or from 0, and writes the gradients before the first step to
# `grad_states`.


def backward_over_time(
    first, last, neuron, width_of_block, B, T, N, C, K, recalled, learned, has_grad_s,
    has_grad_mem, w, others, constants, grad_s, grad_mem, grad_x, grad_constants,
    parameters, initial, grad_last, grad_states,
):  # fmt: skip
    stride = index(B * T * N)
    workspace = make_workspace(backward_slots(C, K, recalled))
    grad_s = grad_s if has_grad_s else np.zeros(SLOT, real)
    s_step = index(N if has_grad_s else 0)
    lead = index(max(1, AHEAD // width_of_block))
    loaded = -1

    for job in range(first, last):
        b = job % B
        block = job // B
        lo, hi = block_bounds(block, width_of_block, N)
        width = index(hi - lo)
        if block != loaded:
            load_constants(workspace, 0, constants, C, N, lo, width)
            loaded = block

        offset = index(b * N + lo)
        load_gradients(workspace, 0, C, K, recalled, grad_last, initial, learned, offset, width)
        at = index(b * T * N + lo)
        call_backward_steps(
            neuron,
            row_at(w, at),
            row_at(others, at),
            row_at(grad_s, at if has_grad_s else index(0)),
            row_at(grad_mem, at),
            row_at(grad_x, at),
            index(N), s_step, stride, width, index(T), lead, False, has_grad_mem,
            row_at(workspace, index(0)), parameters,
        )  # fmt: skip

        store_gradients(
            grad_states, grad_constants, learned, offset, index(B * N), width, workspace, 0, C, K
        )


def backward_over_time_packed(
    first, last, neuron, group, B, T, N, C, K, recalled, learned, has_sigma,
    has_grad_s, has_grad_mem, w, others, constants, grad_s, grad_mem, grad_x, grad_constants,
    parameters, initial, grad_last, grad_states,
):  # fmt: skip
    """A job is `group` batch elements; with `has_sigma`, `grad_x` holds σ' on entry."""
    lanes = group * N
    workspace = make_workspace(backward_slots(C, K, recalled))
    # A tile of each array over time, [TILE, lanes]; the tile of w begins one step earlier.
    tile_w = np.empty((TILE + 1) * lanes, real)
    tile_grad_s = np.zeros(TILE * lanes, real)
    tile_grad_mem = np.empty(TILE * lanes, real)
    tile_grad_x = np.empty(TILE * lanes, real)

    for job in range(first, last):
        start = job * group
        stop = min(B, start + group)
        width = index((stop - start) * N)
        load_lane_constants(workspace, constants, C, N, stop - start)
        offset = index(start * N)
        load_gradients(workspace, 0, C, K, recalled, grad_last, initial, learned, offset, width)

        for tile in range((T + TILE - 1) // TILE - 1, -1, -1):
            t = tile * TILE
            steps = min(TILE, T - t)
            earlier = 1 if t > 0 else 0  # steps before the tile that tile_w has
            first_w = (t - earlier) * N
            pack_lanes(w, T * N, N, N, start, stop, first_w, steps + earlier, tile_w, lanes)

            if has_grad_s:
                pack_lanes(grad_s, T * N, N, N, start, stop, t * N, steps, tile_grad_s, lanes)
            if has_grad_mem:
                pack_lanes(grad_mem, T * N, N, N, start, stop, t * N, steps, tile_grad_mem, lanes)
            if has_sigma:
                pack_lanes(grad_x, T * N, N, N, start, stop, t * N, steps, tile_grad_x, lanes)

            step = index(lanes)
            call_backward_steps(
                neuron,
                row_at(tile_w, index(earlier * lanes)),
                row_at(others, index(0)),
                row_at(tile_grad_s, index(0)),
                row_at(tile_grad_mem, index(0)),
                row_at(tile_grad_x, index(0)),
                step, step, index(0), width, index(steps), index(steps), t > 0, has_grad_mem,
                row_at(workspace, index(0)), parameters,
            )  # fmt: skip

            unpack_lanes(tile_grad_x, lanes, start, stop, t, steps, grad_x, T, N)

        store_gradients(
            grad_states, grad_constants, learned, offset, index(B * N), width, workspace, 0, C, K
        )


def backward_over_time_recurrent(
    first, last, neuron, B, T, N, C, K, recalled, learned, has_grad_s,
    has_grad_mem, w, others, constants, grad_s, grad_mem, grad_x, grad_constants,
    parameters, transposed, grad_spikes_before, initial, grad_last, grad_states,
):  # fmt: skip
    """A job is four batch elements, which share the loads of `transposed`, the weights [to, from].

    `grad_spikes_before` gets the gradient of the spikes before the first step.
    """
    blocks = (N + WIDTH - 1) // WIDTH
    slots = backward_slots(C, K, recalled)
    stride = index(B * T * N)
    workspace = make_workspace(SHARED_BATCH * blocks * slots)
    # ∂L/∂s of a step: per block, one slot for each of the four batch elements. It holds the
    # gradient that comes through the weights from the step after, to which `grad_s` is added.
    grad_spikes = np.empty(blocks * SHARED_BATCH * SLOT, real)
    scale = np.empty(SHARED_BATCH * N, real)  # ∂L/∂x of the step [4, N]

    for job in range(first, last):
        start = SHARED_BATCH * job
        stop = min(B, start + SHARED_BATCH)
        grad_spikes[:] = real(0)
        scale[:] = real(0)

        load_shared_blocks(
            workspace, C, K, recalled, constants, grad_last, initial, learned, start, stop, N
        )

        for t in range(T - 1, -1, -1):
            for b in range(start, stop):
                for block in range(blocks):
                    lo, hi = block_bounds(block, WIDTH, N)
                    width = index(hi - lo)
                    base = ((b - start) * blocks + block) * slots
                    slot = block * SHARED_BATCH + b - start
                    at = index((b * T + t) * N + lo)

                    if has_grad_s:
                        add_step(grad_spikes, slot, grad_s, at, width)
                    call_backward_steps(
                        neuron,
                        row_at(w, at),
                        row_at(others, at),
                        row_at(grad_spikes, index(slot * SLOT)),
                        row_at(grad_mem, at),
                        row_at(grad_x, at),
                        index(N), index(0), stride, width, index(1), index(1), t > 0, has_grad_mem,
                        row_at(workspace, index(base * SLOT)), parameters,
                    )  # fmt: skip

                # ∂L/∂x of all neurons, which the weights turn into ∂L/∂s of the step before.
                element = index((b - start) * N)
                copy_step(scale, element, grad_x, index((b * T + t) * N), index(N))
            multiply_by_weights(grad_spikes, scale, transposed, N)

        store_shared_blocks(
            workspace, C, K, recalled, grad_spikes, grad_states, grad_constants, learned,
            grad_spikes_before, start, stop, B, N,
        )  # fmt: skip


# The functions that `render_loops` writes into the module of a dtype, in this order, with the numba
# options. Only helpers that are called once per job are inlined.
_ROW = 'error_model="numpy", inline="never"'
_INLINE = 'error_model="numpy", inline="always"'
FUNCTIONS: list[tuple[Callable[..., Any], str]] = [
    (rows.backward_slots, _INLINE),
    (rows.make_workspace, _ROW),
    (rows.block_bounds, _INLINE),
    (rows.load_row, _ROW),
    (rows.store_row, _ROW),
    (rows.add_step, _ROW),
    (rows.copy_step, _ROW),
    (rows.clear_row, _ROW),
    (rows.load_constants, _ROW),
    (rows.load_states, _ROW),
    (rows.store_states, _ROW),
    (rows.load_gradients, _ROW),
    (rows.store_gradients, _ROW),
    (rows.load_lane_constants, _ROW),
    (rows.pack_lanes, _ROW),
    (rows.unpack_lanes, _ROW),
    (rows.add_weight_row, _ROW),
    (rows.add_four_weight_rows, _ROW),
    (rows.add_rows_of_spikes, _ROW),
    (rows.add_product, _ROW),
    (rows.add_four_products, _ROW + ', fastmath={"contract", "reassoc"}'),
    (rows.multiply_by_weights, _ROW),
    (rows.load_shared_blocks, _ROW),
    (rows.store_shared_blocks, _ROW),
]
FORWARD_LOOPS = (forward_over_time, forward_over_time_packed, forward_over_time_recurrent)
BACKWARD_LOOPS = (backward_over_time, backward_over_time_packed, backward_over_time_recurrent)

# A call passes a block of words to a loop: the control words; then the address of the neuron and
# whole numbers, which are the same in all calls of one size (`fixed_words`); then strides and the
# addresses of arrays (`call_words`). An array that the call omits has the address 0. An argument of
# a loop that is in none of these lists is a whole number.
CONTROL_WORDS = ("next_piece", "jobs", "pieces", "spikes")  # spikes: their number so far
STRIDES = ("batch_stride", "step_stride")
ARRAYS = (
    "x",
    "s",
    "w",
    "mem",
    "others",
    "constants",
    "weights",
    "spikes_before",
    "transposed",
    "grad_spikes_before",
    "grad_s",
    "grad_mem",
    "grad_x",
    "grad_constants",
)
STATE_ARRAYS = ("initial", "final", "grad_last", "grad_states")
"""The arguments that are one array, and one word, for each state; they come last."""
FLAGS = {"save_w": "w", "save_mem": "mem", "has_grad_s": "grad_s", "has_grad_mem": "grad_mem"}
"""The arguments that are true if a call has an array, and the array."""


def fixed_words(loop: Callable[..., Any]) -> list[str]:
    """The address of the neuron and the whole numbers that a loop takes, the same in all calls."""
    others = (*STRIDES, *ARRAYS, *STATE_ARRAYS, *FLAGS, "parameters")
    return [name for name in _argument_names(loop) if name not in others]


def call_words(loop: Callable[..., Any]) -> list[str]:
    """The addresses and strides that a loop takes, of one word each (see `STATE_ARRAYS`)."""
    fixed = fixed_words(loop)
    return [name for name in _argument_names(loop) if name not in (*fixed, *FLAGS)]


def _argument_names(loop: Callable[..., Any]) -> list[str]:
    names = [*inspect.signature(loop).parameters]
    return names[2:]  # after the first and the last job
