"""The serial solver on the CPU: one compiled pass forward and one backward."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.kernels import NativeKernel, cpu_kernels
from nwavesdk.solvers.cpu.rows import SHARED_BATCH, WIDTH
from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    SolutionGradient,
    delay_one_step,
    spike_argument,
)
from nwavesdk.solvers.sparse.product import weight_gradient

__all__ = ["backward_cpu", "forward_cpu"]

_NARROW = 5  # neurons below which batch elements are packed side by side
_LANES = 128  # lanes that they are packed to
_SMALL = 1 << 14  # neuron-steps below which a second thread costs more than it saves
_DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64"}


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
    K = len(problem.states)
    B, T, N = x.shape
    kernels = cpu_kernels(problem.spec.neuron, _DTYPE_NAMES[x.dtype])
    # Arrays that are not needed still have the right number of dimensions. A pass that does not
    # save w writes each step over the one before.
    spikes = torch.empty_like(x)
    w = x.new_empty(B, T if needs_saved else 1, N)
    mem = x.new_empty((B, T, N) if needs_membrane else (0, 0, 0))
    others = x.new_empty((K - 1, B, T, N) if needs_saved else (K - 1, 0, 0, 0))
    final = x.new_empty(K, B, N)
    read = [_stacked(problem.states), _stacked(problem.constants)]
    written = [spikes, w, int(needs_saved), mem, int(needs_membrane)]
    group = _packed_elements(problem, B, N)
    if group > 1:
        counts = torch.empty(-(-B // group), dtype=torch.int64)
        arguments = [group, B, T, N, x, *read, *written, final, counts]
        _run_kernel(kernels.forward_over_time_packed, len(counts), x.numel(), arguments)
    elif problem.recurrent is None:
        width, jobs = _blocks(B, N)
        counts = torch.empty(jobs, dtype=torch.int64)
        arguments = [width, T, N, x, *read, *written, others, final, counts]
        _run_kernel(kernels.forward_over_time, jobs, x.numel(), arguments)
    else:
        counts = torch.empty(B, dtype=torch.int64)
        recurrence = [t.contiguous() for t in problem.recurrence]
        arguments = [T, N, x, *recurrence, *read, *written, others, final, counts]
        work = x.numel() * _recurrent_cost(N)
        _run_kernel(kernels.forward_over_time_recurrent, B, work, arguments)
    saved = (w, *others.unbind()) if needs_saved else ()
    return Solution(
        spikes, mem if needs_membrane else None, final.unbind(), saved, int(counts.sum())
    )


def backward_cpu(
    problem: Problem, solution: Solution, grads: SolutionGradient, learn: bool, reuse: bool = False
) -> tuple[Tensor | None, ...]:
    """The adjoint of `forward_cpu`.

    Args:
        problem: The problem that was run.
        solution: What the forward pass left.
        grads: The upstream gradients.
        learn: Whether gradients of the constants are needed.
        reuse: Whether ∂L/∂x may take the memory of `solution.saved[0]`, which nobody reads again.

    Returns:
        ∂L/∂ x, each state, each constant (None unless `learn`), and for a recurrent problem the
        weights and the spikes before the first step.
    """
    spec = problem.spec
    w = solution.saved[0].contiguous()
    B, T, N = w.shape
    group = _packed_elements(problem, B, N)
    needs_sigma = spec.surrogate.pseudo_derivative is None
    reuse = reuse and group == 1 and problem.recurrent is None and not needs_sigma
    grad_x = w if reuse else torch.empty_like(w)
    if needs_sigma:  # a surrogate without a formula: the kernel finds σ' where ∂L/∂x goes
        grad_x.copy_(spec.surrogate.derivative(spike_argument(problem, solution.saved)))
    parameters = () if needs_sigma else spec.surrogate.constants
    # The kernel starts from `grad_states` and `grad_constants` and leaves its results in them.
    grad_s, grad_mem, grad_states = _upstream(grads, w)
    grad_constants = w.new_zeros(len(problem.constants) if learn else 0, B, N)
    kernels = cpu_kernels(
        spec.neuron, _DTYPE_NAMES[w.dtype],
        None if needs_sigma else type(spec.surrogate), len(parameters),
        backward=True, detach_reset=spec.detach_reset, learn=learn, reuse=reuse,
    )  # fmt: skip
    read = [_stacked(problem.states), _stacked(problem.constants)]
    upstream = [grad_s, grad_mem, int(grads.mem is not None), grad_states, grad_x]
    shared = [w, _stacked(solution.saved[1:], like=w), *read, *upstream, grad_constants, parameters]
    through_recurrence: tuple[Tensor, ...] = ()
    if group > 1:
        arguments = [group, B, T, N, w, *read, *upstream]
        arguments += [int(needs_sigma), grad_constants, parameters]
        _run_kernel(kernels.backward_over_time_packed, -(-B // group), w.numel(), arguments)
    elif problem.recurrent is None:
        width, jobs = _blocks(B, N)
        _run_kernel(kernels.backward_over_time, jobs, w.numel(), [width, T, N, *shared])
    else:
        grad_before = w.new_empty(B, N)
        arguments = [B, T, N, problem.recurrent.t().contiguous(), grad_before, *shared]
        work = w.numel() * _recurrent_cost(N)
        _run_kernel(kernels.backward_over_time_recurrent, -(-B // SHARED_BATCH), work, arguments)
        (previous,) = delay_one_step(problem.recurrence[1:], [solution.spikes])
        grad_weights = weight_gradient(previous.flatten(0, 1), grad_x.flatten(0, 1))
        through_recurrence = (grad_weights, grad_before)
    sums = grad_constants.sum(1) if learn else [None] * len(problem.constants)
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
    can_pack = problem.recurrent is None and len(problem.states) == 1 and 0 < N < _NARROW
    share = -(-B // torch.get_num_threads())
    return max(1, min(_LANES // N, share)) if can_pack else 1


def _run_kernel(kernel: NativeKernel, jobs: int, work: int, arguments: Sequence[Any]) -> None:
    if jobs:
        kernel(jobs, arguments, serial=work < _SMALL)


def _stacked(tensors: Sequence[Tensor], like: Tensor | None = None) -> Tensor:
    """The tensors as one contiguous array; of no tensors, an array with the shape of `like`."""
    if not tensors:
        assert like is not None
        return like.new_empty(0, *like.shape)
    if len(tensors) == 1:
        return tensors[0].detach().contiguous()[None]
    return torch.stack([t.detach() for t in tensors])
