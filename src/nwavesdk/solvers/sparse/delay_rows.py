"""The kernels of delayed products on tensors: which rows they read, in which jobs, and how long.

Three kernels compute the same bits: one reads all values of the input, two only its non-zeros. The
faster one is taken, by a count of clock cycles; a wrong choice costs time only. Gradients of
weights and delays are always sparse, gradients of the input always dense.
"""

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import run_kernel
from nwavesdk.solvers.kernel_cache import package_kernels
from nwavesdk.solvers.sparse.gather import Nonzeros, order_by_input

__all__ = [
    "DelayedWork",
    "SpikeList",
    "Way",
    "add_all_inputs",
    "add_listed_spikes",
    "add_recent_spikes",
    "add_upstream",
    "delay_kernels",
    "list_spikes",
    "parameter_gradients",
]

_QUAD = 4  # rows that a kernel reads or writes together
_VECTOR = 64  # bytes
_CACHED = 1 << 15  # bytes of the first-level cache
_TILE = 64  # columns of a job of the dense kernel
_SMALL = 1 << 18  # multiplications below which threads cost more than they save
# Clock cycles, measured on an AMD EPYC (model 17). Per connection, to split a delay:
_SPLIT = 5
# Per call of a row function of a quad, and of the one for a spike in a step:
_DENSE_CALL = 200
_PLACES_CALL = 60
_STEP_CALL = 20
# Per vector of values in the dense kernel, spike and quad, and vector of outputs in a step:
_DENSE_VECTOR = 12
_PLACE = 5
_STEP_VECTOR = 6

delay_kernels = partial(package_kernels, "nwavesdk.solvers.sparse", "delay_kernels")
"""The functions of `delay_kernels` by dtype."""


class Way(Enum):
    """The kernel of a product."""

    DENSE = "all values"
    PLACES = "spikes, over all their connections"
    STEPS = "spikes, over the connections that are due in each step"


@dataclass(frozen=True, kw_only=True)
class DelayedWork:
    """The sizes of a product, and the cycles that each kernel takes on one thread."""

    batch: int
    steps: int
    inputs: int
    outputs: int
    max_delay: int
    dtype: torch.dtype

    @property
    def lanes(self) -> int:
        """Batch elements in a block of the dense kernel.

        They fill a vector, and with all steps at least eight vectors.
        """
        vector = _VECTOR // self.dtype.itemsize
        return min(self.batch, max(vector, -(-8 * vector // self.steps)))

    def cycles(self, spikes: int) -> dict[Way, int]:
        """The cycles of each kernel for a number of spikes."""
        vector = _VECTOR // self.dtype.itemsize
        split = _SPLIT * self.inputs * self.outputs

        dense_calls = -(-self.batch // self.lanes) * _quads(self.inputs) * self.outputs
        dense_call = _DENSE_CALL + _DENSE_VECTOR * -(-self.steps * self.lanes // vector)

        # Few spikes have a call each, more share one per block and input.
        calls = min(spikes, self.batch * self.inputs)
        places = _quads(self.outputs) * (spikes * _PLACE + calls * _PLACES_CALL)

        visits = spikes * min(self.steps, self.max_delay + 1)
        visit = _STEP_CALL + _STEP_VECTOR * -(-self.outputs // vector)
        return {
            Way.DENSE: split + dense_calls * dense_call,
            Way.PLACES: split + places,
            Way.STEPS: visits * visit,
        }

    def choose(self, spikes: int, *, with_steps: bool) -> Way:
        """The fastest way for a number of spikes.

        Args:
            spikes: Number of non-zeros.
            with_steps: Whether the way over steps may be taken.
        """
        cycles = self.cycles(spikes)
        if not with_steps:
            del cycles[Way.STEPS]
        return min(cycles, key=lambda way: cycles[way])


def _quads(count: int) -> int:
    """Number of quads that hold so many rows."""
    return -(-count // _QUAD)


@dataclass(frozen=True, kw_only=True)
class SpikeList:
    """The non-zeros of a sequence [B, S, N_in], in blocks of batch elements.

    Attributes:
        ends: Where the non-zeros of each input end, [blocks, N_in] int64. They begin at the
            end of the input before, and the first input of a block at the end of the block before.
        places: The place of each non-zero in the rows [lanes, length] of its block: lane · length +
            step, [count] int32.
        values: Their values, or None if all are 1.
        lanes: Batch elements in a block.
        length: S, and the largest delay.
    """

    ends: Tensor
    places: Tensor
    values: Tensor | None
    lanes: int
    length: int

    def arguments(self) -> tuple[Any, ...]:
        """The list as the kernels take it."""
        return self.ends, self.places.numpy().view("uint32"), self.values


def list_spikes(
    active: Nonzeros, sequence: Tensor, max_delay: int, *, lanes: int | None = None
) -> SpikeList:
    """The list of a sequence [B, S, N_in] whose non-zeros, as rows [B · S], have been looked up.

    Args:
        active: The non-zeros.
        sequence: The sequence.
        max_delay: Largest delay [steps].
        lanes: Batch elements in a block. [as many as the first-level cache holds]
    """
    batch, steps, inputs = sequence.shape
    dtype = sequence.dtype
    length = steps + max_delay
    if lanes is None:
        # The rows of a quad stay in the first-level cache.
        lanes = max(1, min(batch, _CACHED // (_QUAD * length * dtype.itemsize)))

    serial = active.count < _SMALL
    ends, order, moved, has_values = order_by_input(
        active, lanes * steps, inputs, dtype, serial=serial
    )

    element, first_step = np.divmod(order, np.uint32(steps))
    places = element % np.uint32(lanes) * np.uint32(length) + first_step
    values = moved if has_values else None
    return SpikeList(
        ends=torch.from_numpy(ends),
        places=torch.from_numpy(places.view("int32")),
        values=values,
        lanes=lanes,
        length=length,
    )


def add_listed_spikes(
    spikes: SpikeList, weight: Tensor, delay: Tensor, max_delay: int, shape: torch.Size
) -> Tensor:
    """The sparse product [B, T, N_out] of the last T steps of a sequence."""
    batch, steps, _ = shape
    outputs = weight.shape[1]
    out = weight.new_empty(batch, steps, outputs)

    past = spikes.length - max_delay - steps
    split = _split_delays(weight, delay, max_delay)
    arguments = *spikes.arguments(), spikes.lanes, spikes.length, past, *split, out

    jobs = len(spikes.ends) * _quads(outputs)
    serial = len(spikes.places) * outputs < _SMALL
    run_kernel(delay_kernels(weight.dtype).add_places, jobs, *arguments, serial=serial)
    return out


def add_recent_spikes(
    spikes: SpikeList, weight: Tensor, delay: Tensor, max_delay: int, shape: torch.Size
) -> Tensor:
    """As `add_listed_spikes` for a few steps, of spikes listed with one lane."""
    out = weight.new_empty(*shape[:2], weight.shape[1])
    past = spikes.length - max_delay - shape[1]
    arguments = *spikes.arguments(), past, max_delay, weight, delay, out
    serial = len(spikes.places) * weight.shape[1] < _SMALL
    run_kernel(delay_kernels(weight.dtype).add_recent, len(out), *arguments, serial=serial)
    return out


def add_all_inputs(
    sequence: Tensor, weight: Tensor, delay: Tensor, max_delay: int, steps: int
) -> Tensor:
    """The dense product [B, T, N_out] of the last T = `steps` steps of a sequence [B, S, N_in].

    S is T, or T + `max_delay`.
    """
    before = max_delay + steps - sequence.shape[1]
    # To each output, the rows of all inputs are added, so the roles of the two are swapped.
    split = _split_delays(weight.t(), delay.t(), max_delay, is_mirrored=True)
    return _add_rows(sequence, before, max_delay + steps, split, steps, weight.shape[1])


def add_upstream(grad: Tensor, weight: Tensor, delay: Tensor, max_delay: int, past: int) -> Tensor:
    """The gradient of a sequence [B, past + T, N_in] for an upstream gradient [B, T, N_out].

    `past` is 0 or `max_delay`.
    """
    steps = past + grad.shape[1]
    split = _split_delays(weight, delay, max_delay)
    return _add_rows(grad, past, steps + max_delay, split, steps, weight.shape[0])


def _add_rows(
    x: Tensor, before: int, length: int, split: tuple[Any, Any], steps: int, columns: int
) -> Tensor:
    """The sums [B, steps, columns] of the delayed rows of x [B, S, N].

    Args:
        x: Values of the rows from step `before` on.
        before: Number of steps with zeros before x.
        length: Number of steps of a row.
        split: See `_split_delays`.
        steps: Number of steps of the sums.
        columns: Number of sums per step.
    """
    batch, _, inputs = x.shape
    lanes = DelayedWork(
        batch=batch,
        steps=steps,
        inputs=inputs,
        outputs=columns,
        max_delay=length - steps,
        dtype=x.dtype,
    ).lanes
    blocks = -(-batch // lanes)
    rows = x.new_empty(blocks, _QUAD * _quads(inputs), length, lanes)
    kernels = delay_kernels(x.dtype)
    serial = batch * steps * inputs * columns < _SMALL
    run_kernel(kernels.write_rows, blocks, x, before, rows, serial=serial)

    # The chunks of the four rows of a quad stay in the first-level cache.
    chunk = max(1, min(steps, _CACHED // (_QUAD * lanes * x.dtype.itemsize)))
    jobs = blocks * -(-steps // chunk) * -(-columns // _TILE)
    out = x.new_empty(batch, steps, columns)
    flat = rows.view(blocks, -1, length * lanes)
    arguments = flat, lanes, chunk, _TILE, *split, out
    run_kernel(kernels.add_rows, jobs, *arguments, serial=serial)
    return out


def parameter_gradients(
    spikes: SpikeList, weight: Tensor, delay: Tensor, max_delay: int, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of weights and delays for an upstream gradient [B, T, N_out]."""
    grad_weight = torch.empty(weight.shape, dtype=weight.dtype)
    grad_delay = torch.empty_like(grad_weight)

    whole, _ = _split_delays(weight, delay, max_delay)
    past = spikes.length - max_delay - grad.shape[1]
    listed = *spikes.arguments(), spikes.lanes, spikes.length, past

    kernel = delay_kernels(weight.dtype).sum_places
    arguments = *listed, whole, weight, delay, grad, grad_weight, grad_delay
    serial = len(spikes.places) * weight.shape[1] < _SMALL
    run_kernel(kernel, _quads(weight.shape[1]), *arguments, serial=serial)
    return grad_weight, grad_delay


def _split_delays(
    weight: Tensor, delay: Tensor, max_delay: int, *, is_mirrored: bool = False
) -> tuple[Any, Tensor]:
    """Whole steps and shares of the quads of columns of a weight; see `delay_kernels`."""
    rows, columns = weight.shape
    count = _quads(columns)
    whole = np.empty((count, rows, _QUAD), np.uint32)
    shares = torch.empty(count, rows, 2 * _QUAD, dtype=weight.dtype)

    arguments = weight, delay, max_delay, is_mirrored, whole, shares
    split = delay_kernels(weight.dtype).split_delays
    run_kernel(split, count, *arguments, serial=weight.numel() < _SMALL)
    return whole, shares
