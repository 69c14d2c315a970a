"""The serial solver on the CPU: one compiled pass forward and one backward.

`render` writes the source text of the kernels, `kernel_cache` runs it, and `NativeKernel`
compiles a loop over time on its first call and runs it on all threads without Python.
"""

from array import array
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import QueryText, StepText
from nwavesdk.solvers.cpu.render import render_backward, render_forward
from nwavesdk.solvers.cpu.rows import SHARED_BATCH, WIDTH
from nwavesdk.solvers.cpu.threads import keep_large_blocks, run_native, thread_count
from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_native, load_source
from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    SolutionGradient,
    delay_one_step,
    spike_argument,
)
from nwavesdk.solvers.sparse.product import weight_gradient
from nwavesdk.surrogate import Surrogate

__all__ = ["NativeKernel", "backward_cpu", "backward_kernels", "forward_cpu", "forward_kernels"]

_NARROW = 5  # neurons below which batch elements are packed side by side
_LANES = 128  # lanes that they are packed to
_SMALL = 1 << 14  # neuron-steps below which a second thread costs more than it saves
_DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64"}


# Kernels


@cache
def forward_kernels(step: StepText, dtype: str) -> SimpleNamespace:
    """The compiled forward kernels of a neuron, by their names in `loops`."""
    return _load_kernels(step.name, render_forward(step, dtype))


@cache
def backward_kernels(
    adjoint: QueryText,
    dtype: str,
    surrogate: type[Surrogate] | None = None,
    parameters: int = 0,
    *,
    reuse: bool = False,
) -> SimpleNamespace:
    """The compiled backward kernels of a neuron; for the arguments see `render_backward`.

    The parameters of a surrogate are arguments of the kernels, so surrogates that differ in them
    alone share one kernel.
    """
    text = render_backward(adjoint, dtype, surrogate, parameters, reuse=reuse)
    return _load_kernels(adjoint.name, text)


def _load_kernels(name: str, text: str) -> SimpleNamespace:
    module = load_source(name, text)
    natives = {name: f for name, f in vars(module).items() if name.endswith("_native")}
    return SimpleNamespace(
        **{name.removesuffix("_native"): NativeKernel(f) for name, f in natives.items()}
    )


class NativeKernel:
    """A compiled loop over jobs that threads run without Python.

    The machine code takes one address, that of a block of 64-bit words. The first three words are
    the number of the next piece of work, the number of jobs and the number of pieces. Then follows
    per argument: a word for a whole number, an address and the shape for an array, and the address
    of float64 numbers for a tuple. `render` writes the code that reads the block.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.compiled: Any = None

    def __call__(self, jobs: int, arguments: Sequence[Any], *, serial: bool) -> None:
        """Run all jobs.

        Args:
            jobs: Number of jobs.
            arguments: Contiguous tensors, whole numbers, and at most one tuple of floats.
            serial: Whether to run on this thread alone.
        """
        if self.compiled is None:
            with COMPILE_LOCK:
                self.compiled = self.compiled or compile_native(self.function, "void(int64)")
        threads = 1 if serial else thread_count(jobs)
        words = [0, jobs, threads]
        numbers = array("d")  # lives until the call returns: the block holds its address
        for a in arguments:
            if isinstance(a, int):
                words.append(a)
            elif isinstance(a, tuple):
                numbers.extend(a)
                words.append(numbers.buffer_info()[0])
            else:
                words.append(a.data_ptr())
                words += a.shape
        block = array("q", words)
        run_native(self.compiled.address, block.buffer_info()[0], threads)


# Host code


def forward_cpu(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> Solution:
    """Run the problem without a graph.

    Args:
        problem: The problem, on the CPU.
        needs_membrane: Whether to write `Solution.mem`.
        needs_saved: Whether to write `Solution.saved`.
    """
    keep_large_blocks()
    x = problem.x.contiguous()
    step = problem.program.step
    K = step.states
    S = step.saved
    B, T, N = x.shape
    kernels = forward_kernels(step, _DTYPE_NAMES[x.dtype])
    # Arrays that are not needed still have the right number of dimensions. A pass that does not
    # save anything writes each step over the one before.
    spikes = torch.empty_like(x)
    w = x.new_empty(B, T if needs_saved else 1, N)
    mem = x.new_empty((B, T, N) if needs_membrane else (0, 0, 0))
    others = x.new_empty((S - 1, B, T, N) if needs_saved else (S - 1, 0, 0, 0))
    final = x.new_empty(K, B, N)
    read = [_stacked(problem.states, x), _stacked(problem.constants, x.new_empty(N))]
    written = [spikes, w, int(needs_saved), mem, int(needs_membrane)]
    group = _packed_elements(problem, B, N)
    if group > 1:
        counts = torch.empty(-(-B // group), dtype=torch.int64)
        arguments = [group, B, T, N, x, *read, *written, final, counts]
        _run_kernel(kernels.forward_over_time_packed, len(counts), x.numel(), arguments)
    elif problem.recurrent is None:
        width, jobs = _blocks(B, N)
        counts = torch.empty(jobs, dtype=torch.int64)
        arguments = [width, B, T, N, x, *read, *written, others, final, counts]
        _run_kernel(kernels.forward_over_time, jobs, x.numel(), arguments)
    else:
        counts = torch.empty(B, dtype=torch.int64)
        recurrence = [t.contiguous() for t in problem.recurrence]
        arguments = [B, T, N, x, *recurrence, *read, *written, others, final, counts]
        work = x.numel() * _recurrent_cost(N)
        _run_kernel(kernels.forward_over_time_recurrent, B, work, arguments)
    saved = (w, *others.unbind()) if needs_saved else ()
    count = None if step.is_readout else int(counts.sum())
    return Solution(spikes, mem if needs_membrane else None, final.unbind(), saved, count)


def backward_cpu(
    problem: Problem,
    solution: Solution,
    grads: SolutionGradient,
    learns_constants: bool,
    may_overwrite: bool = False,
) -> tuple[Tensor | None, ...]:
    """The adjoint of `forward_cpu`.

    Args:
        problem: The problem that was run.
        solution: The forward pass; `saved` and (with recurrence) `spikes` are read.
        grads: Gradients of spikes, membrane and last states.
        learns_constants: Whether the constants need gradients.
        may_overwrite: Whether ∂L/∂x may be written over `solution.saved[0]`.

    Returns:
        As `backward_serial`.
    """
    spec = problem.spec
    w = solution.saved[0].contiguous()
    B, T, N = w.shape
    group = _packed_elements(problem, B, N)
    adjoint = problem.program.adjoint(learns_constants)
    needs_sigma = adjoint.uses_surrogate and spec.surrogate.pseudo_derivative is None
    reuse = may_overwrite and group == 1 and problem.recurrent is None and not needs_sigma
    grad_x = w if reuse else torch.empty_like(w)
    if needs_sigma:  # a surrogate without a formula: the kernel reads σ' from the array for ∂L/∂x
        grad_x.copy_(spec.surrogate.derivative(spike_argument(problem, solution.saved)))
    surrogate = type(spec.surrogate) if adjoint.uses_surrogate and not needs_sigma else None
    parameters = () if surrogate is None else spec.surrogate.constants
    # The kernel starts from `grad_states` and `grad_constants` and leaves its results in them.
    grad_s, grad_mem, grad_states = _upstream(grads, w)
    grad_constants = w.new_zeros(len(problem.constants) if learns_constants else 0, B, N)
    kernels = backward_kernels(
        adjoint, _DTYPE_NAMES[w.dtype], surrogate, len(parameters), reuse=reuse
    )
    read = [_stacked(problem.states, w), _stacked(problem.constants, w.new_empty(N))]
    upstream = [grad_s, grad_mem, int(grads.mem is not None), grad_states, grad_x]
    shared = [w, _stacked(solution.saved[1:], like=w), *read, *upstream, grad_constants, parameters]
    through_recurrence: tuple[Tensor, ...] = ()
    if group > 1:
        arguments = [group, B, T, N, w, *read, *upstream]
        arguments += [int(needs_sigma), grad_constants, parameters]
        _run_kernel(kernels.backward_over_time_packed, -(-B // group), w.numel(), arguments)
    elif problem.recurrent is None:
        width, jobs = _blocks(B, N)
        _run_kernel(kernels.backward_over_time, jobs, w.numel(), [width, B, T, N, *shared])
    else:
        grad_before = w.new_empty(B, N)
        arguments = [B, T, N, problem.recurrent.t().contiguous(), grad_before, *shared]
        work = w.numel() * _recurrent_cost(N)
        _run_kernel(kernels.backward_over_time_recurrent, -(-B // SHARED_BATCH), work, arguments)
        (previous,) = delay_one_step(problem.recurrence[1:], [solution.spikes])
        grad_weights = weight_gradient(previous.flatten(0, 1), grad_x.flatten(0, 1))
        through_recurrence = (grad_weights, grad_before)
    sums = grad_constants.sum(1) if learns_constants else [None] * len(problem.constants)
    return grad_x, *grad_states.unbind(), *sums, *through_recurrence


def _upstream(grads: SolutionGradient, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """∂L/∂s and ∂L/∂mem [B, T, N], the latter empty if it is zero, and ∂L/∂states [K, B, N]."""
    grad_s = torch.zeros_like(w) if grads.spikes is None else grads.spikes.contiguous()
    grad_mem = w.new_empty(0, 0, 0) if grads.mem is None else grads.mem.contiguous()
    zeros = w.new_zeros(w.shape[0], w.shape[2])
    return grad_s, grad_mem, torch.stack([zeros if g is None else g for g in grads.last])


def _recurrent_cost(N: int) -> int:
    """Roughly how many steps of a plain neuron one step of a recurrent neuron costs."""
    return 1 + N // 8


def _blocks(B: int, N: int) -> tuple[int, int]:
    """Neurons per block, and the number of jobs.

    Blocks are cut for the threads only where they stay wide, and to multiples of 64.
    """
    share = -(-N * max(B, 1) // torch.get_num_threads())
    width = min(WIDTH, max(256, 64 * -(-share // 64))) if N > 256 else max(N, 1)
    return width, B * -(-N // width)


def _packed_elements(problem: Problem, B: int, N: int) -> int:
    """Batch elements that a narrow layer packs side by side; 1 where it does not pack."""
    step = problem.program.step
    is_simple = step.states == 1 and step.saved == 1 and step.constants > 0
    can_pack = is_simple and problem.recurrent is None and 0 < N < _NARROW
    share = -(-B // torch.get_num_threads())
    return max(1, min(_LANES // N, share)) if can_pack else 1


def _run_kernel(kernel: NativeKernel, jobs: int, work: int, arguments: Sequence[Any]) -> None:
    if jobs:
        kernel(jobs, arguments, serial=work < _SMALL)


def _stacked(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """The tensors as one contiguous array; of no tensors, an array with the shape of `like`."""
    if not tensors:
        return like.new_empty(0, *like.shape)
    first, *others = (t.detach() for t in tensors)
    if not others:
        return first.contiguous()[None]
    if _are_adjacent(tensors):
        return first.as_strided((len(tensors), *first.shape), (first.numel(), *first.stride()))
    return torch.stack([first, *others])


def _are_adjacent(tensors: Sequence[Tensor]) -> bool:
    """Whether the tensors follow one another in one block of memory, as a forward pass saves them.

    Stacking would copy whole sequences.
    """
    first = tensors[0]
    size = first.numel() * first.element_size()
    start = first.untyped_storage().data_ptr()
    return first.is_contiguous() and all(
        t.is_contiguous()
        and t.untyped_storage().data_ptr() == start
        and t.data_ptr() == first.data_ptr() + i * size
        for i, t in enumerate(tensors)
    )
