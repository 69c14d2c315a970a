"""The kernels of delayed products on tensors: which rows they read, in which jobs.

Two kernels compute the same bits: the dense one reads all values of the input, the sparse one only
its non-zeros. The faster one is taken. Gradients of weights and delays are always sparse, those of
the input always dense.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import run_jobs
from nwavesdk.solvers.kernel_cache import load_python_kernels
from nwavesdk.solvers.sparse.delay_costs import QUAD, DelayedWork, quads
from nwavesdk.solvers.sparse.many_rows import DTYPE_NAMES, Nonzeros, sparse_kernels

__all__ = [
    "SpikeList",
    "add_all_inputs",
    "add_listed_spikes",
    "add_recent_spikes",
    "add_upstream",
    "list_spikes",
    "parameter_gradients",
]

_CACHED = 1 << 15  # bytes of the first-level cache
_TILE = 64  # columns of a job of the dense kernel
_SMALL = 1 << 18  # multiplications below which threads cost more than they save


@dataclass(frozen=True)
class SpikeList:
    """The non-zeros of a sequence [B, S, N_in], in blocks of batch elements.

    Attributes:
        ends: Where the non-zeros of each input end, [blocks, N_in] int64. They begin where those of
            the input before end, and those of a block where those of the block before end.
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
        values = None if self.values is None else self.values.numpy()
        places = self.places.numpy().view("uint32")
        return self.ends.numpy(), places, values, self.lanes, self.length


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
        lanes = max(1, min(batch, _CACHED // (QUAD * length * dtype.itemsize)))
    blocks = -(-batch // lanes)
    size = lanes * steps
    words, start, values = active.arrays()
    ends = torch.empty(blocks, inputs, dtype=torch.int64)
    order = np.empty(active.count, np.uint32)
    moved = None if active.values is None else torch.empty_like(active.values)
    moved_array = None if moved is None else moved.numpy()
    by_rows = size, words, start, values, ends.numpy(), order, moved_array
    sort = sparse_kernels(dtype).order_by_input
    serial = active.count < _SMALL
    run_jobs(lambda i, j: sort(i, j, *by_rows), blocks, serial=serial)
    places = torch.empty(active.count, dtype=torch.int32)
    by_block = ends.numpy(), order, size, steps, length, places.numpy().view("uint32")
    place = delay_kernels(dtype).place_spikes
    run_jobs(lambda i, j: place(i, j, *by_block), blocks, serial=serial)
    return SpikeList(ends, places, moved, lanes, length)


def add_listed_spikes(
    spikes: SpikeList, weight: Tensor, delay: Tensor, max_delay: int, shape: torch.Size
) -> Tensor:
    """The sparse product [B, T, N_out] of the last T steps of a sequence."""
    batch, steps, _ = shape
    outputs = weight.shape[1]
    out = weight.new_empty(batch, steps, outputs)
    split = _split_delays(weight, delay, max_delay)
    past = spikes.length - max_delay - steps
    arguments = *spikes.arguments(), past, *split, out.numpy()
    kernel = delay_kernels(weight.dtype).add_places
    jobs = spikes.ends.shape[0] * quads(outputs)
    serial = len(spikes.places) * outputs < _SMALL
    run_jobs(lambda i, j: kernel(i, j, *arguments), jobs, serial=serial)
    return out


def add_recent_spikes(
    spikes: SpikeList, weight: Tensor, delay: Tensor, max_delay: int, shape: torch.Size
) -> Tensor:
    """As `add_listed_spikes` for a few steps, of spikes listed with one lane."""
    out = weight.new_empty(*shape[:2], weight.shape[1])
    ends, places, values, _, length = spikes.arguments()
    past = length - max_delay - shape[1]
    operands = weight.contiguous().numpy(), delay.contiguous().numpy(), out.numpy()
    arguments = ends, places, values, past, max_delay, *operands
    kernel = _step_kernels(weight.dtype).add_recent
    serial = len(places) * weight.shape[1] < _SMALL
    run_jobs(lambda i, j: kernel(i, j, *arguments), len(out), serial=serial)
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
        x: What the rows have from step `before` on.
        before: Number of steps with zeros before those of x.
        length: Number of steps of a row.
        split: See `_split_delays`.
        steps: Number of steps of the sums.
        columns: Number of sums per step.
    """
    batch, _, inputs = x.shape
    lanes = DelayedWork(batch, steps, inputs, columns, length - steps, x.dtype).lanes
    blocks = -(-batch // lanes)
    rows = x.new_empty(blocks, QUAD * quads(inputs), length, lanes)
    kernels = delay_kernels(x.dtype)
    serial = batch * steps * inputs * columns < _SMALL
    written = x.contiguous().numpy(), before, rows.numpy()
    run_jobs(lambda i, j: kernels.write_rows(i, j, *written), blocks, serial=serial)
    # A chunk of a row stays in the first-level cache, with those of a quad.
    chunk = max(1, min(steps, _CACHED // (QUAD * lanes * x.dtype.itemsize)))
    jobs = blocks * -(-steps // chunk) * -(-columns // _TILE)
    out = x.new_empty(batch, steps, columns)
    read = rows.view(blocks, -1, length * lanes).numpy(), lanes, chunk, _TILE, *split, out.numpy()
    run_jobs(lambda i, j: kernels.add_rows(i, j, *read), jobs, serial=serial)
    return out


def parameter_gradients(
    spikes: SpikeList, weight: Tensor, delay: Tensor, max_delay: int, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of weights and delays for an upstream gradient [B, T, N_out]."""
    grad_weight = torch.empty(weight.shape, dtype=weight.dtype)
    grad_delay = torch.empty_like(grad_weight)
    whole, _ = _split_delays(weight, delay, max_delay)
    past = spikes.length - max_delay - grad.shape[1]
    arguments = (
        *(
            *spikes.arguments(),
            past,
            whole,
            weight.contiguous().numpy(),
            delay.contiguous().numpy(),
        ),
        *(grad.contiguous().numpy(), grad_weight.numpy(), grad_delay.numpy()),
    )
    kernel = delay_kernels(weight.dtype).sum_places
    serial = len(spikes.places) * weight.shape[1] < _SMALL
    run_jobs(lambda i, j: kernel(i, j, *arguments), quads(weight.shape[1]), serial=serial)
    return grad_weight, grad_delay


def _split_delays(
    weight: Tensor, delay: Tensor, max_delay: int, *, is_mirrored: bool = False
) -> tuple[Any, Any]:
    """Whole steps and shares of the quads of columns of a weight; see `delay_kernels`."""
    rows, columns = weight.shape
    count = quads(columns)
    whole = np.empty((count, rows, QUAD), np.uint32)
    shares = torch.empty(count, rows, 2 * QUAD, dtype=weight.dtype).numpy()
    arguments = (
        *(weight.contiguous().numpy(), delay.contiguous().numpy()),
        *(max_delay, is_mirrored, whole, shares),
    )
    kernel = delay_kernels(weight.dtype).split_delays
    serial = weight.numel() < _SMALL
    run_jobs(lambda i, j: kernel(i, j, *arguments), count, serial=serial)
    return whole, shares


@cache
def delay_kernels(dtype: torch.dtype) -> Any:
    """The functions of `delay_kernels`, compiled when they are called."""
    text = files("nwavesdk.solvers.sparse").joinpath("delay_kernels.py").read_text("utf-8")
    return load_python_kernels(f"delays_{DTYPE_NAMES[dtype]}", text)


@cache
def _step_kernels(dtype: torch.dtype) -> Any:
    """The function of `step_kernels`, compiled when it is called."""
    text = files("nwavesdk.solvers.sparse").joinpath("step_kernels.py").read_text("utf-8")
    return load_python_kernels(f"delayed_steps_{DTYPE_NAMES[dtype]}", text)
