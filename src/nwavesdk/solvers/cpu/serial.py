"""The serial solver on the CPU: one compiled pass forward and one backward, from the pages of the neuron."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.kernels import NativeKernel, cpu_kernels
from nwavesdk.solvers.cpu.loops import WIDTH
from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.problem import Problem, Trace, TraceGradient, delay_one_step, spike_argument
from nwavesdk.solvers.sparse.product import correlation

__all__ = ["backward_cpu", "forward_cpu"]

_NARROW, _LANES = (
    5,
    128,
)  # neurons below which batch elements are packed side by side, and to how many
_SMALL = 1 << 14  # neuron-steps below which a second thread costs more than it saves


def forward_cpu(problem: Problem, needs_membrane: bool = True, needs_saved: bool = True) -> Trace:
    """Run the problem without a graph; `needs_membrane` and `needs_saved` say what is written beside the spikes."""
    keep_large_blocks()
    x, K = problem.x.contiguous(), len(problem.states)
    B, T, N = x.shape
    compiled = cpu_kernels(problem.spec.neuron, _name(x))
    spikes, w = torch.empty_like(x), x.new_empty(B, T if needs_saved else 1, N)
    trajectory = x.new_empty((B, T, N) if needs_membrane else (0, 0, 0))
    others, final = (
        x.new_empty((K - 1, B, T, N) if needs_saved else (K - 1, 0, 0, 0)),
        x.new_empty(K, B, N),
    )
    given = [_stacked(problem.states), _stacked(problem.constants)]
    written = [spikes, w, int(needs_saved), trajectory, int(needs_membrane), others, final]
    group = _group(B, N) if problem.recurrent is None and K == 1 else 1
    if group > 1:
        jobs = -(-B // group)
        counts = torch.empty(jobs, dtype=torch.int64)
        written = [spikes, w, int(needs_saved), trajectory, int(needs_membrane), final, counts]
        _run(compiled.forward_packed, jobs, x.numel(), [group, x, *given, *written])
    elif problem.recurrent is None:
        width, jobs = _blocks(B, N)
        counts = torch.empty(jobs, dtype=torch.int64)
        _run(compiled.forward, jobs, x.numel(), [width, x, *given, *written, counts])
    else:
        assert problem.spikes is not None
        counts = torch.empty(B, dtype=torch.int64)
        read = [x, problem.recurrent.contiguous(), problem.spikes.contiguous()]
        _run(
            compiled.forward_recurrent, B, x.numel() * _steps(N), [*read, *given, *written, counts]
        )
    kept = (w, *others.unbind()) if needs_saved else None
    return Trace(
        spikes, trajectory if needs_membrane else None, final.unbind(), kept, int(counts.sum())
    )


def backward_cpu(
    problem: Problem, trace: Trace, grads: TraceGradient, learn: bool, reuse: bool = False
) -> tuple[Tensor | None, ...]:
    """∂L/∂ x, states, constants (None unless `learn`), and with recurrence its weights and the spikes before.

    With `reuse`, ∂L/∂x may take the memory of `trace.saved[0]`, which nobody reads again.
    """
    assert trace.saved is not None
    spec, w = problem.spec, trace.saved[0].contiguous()
    B, _, N = w.shape
    group = _group(B, N) if problem.recurrent is None and len(problem.states) == 1 else 1
    reuse = (
        reuse
        and group == 1
        and problem.recurrent is None
        and spec.surrogate.pseudo_derivative is not None
    )
    if spec.surrogate.pseudo_derivative is None:
        grad_x = torch.empty_like(w).copy_(
            spec.surrogate.derivative(spike_argument(problem, trace.saved))
        )
        parameters: tuple[Any, ...] = ()
    else:
        grad_x = w if reuse else torch.empty_like(w)
        parameters = spec.surrogate.constants
    grad_s = torch.zeros_like(w) if grads.spikes is None else grads.spikes.contiguous()
    grad_mem = w.new_empty(0, 0, 0) if grads.mem is None else grads.mem.contiguous()
    zeros = torch.zeros_like(problem.states[0])
    grad_states = torch.stack([zeros if g is None else g for g in grads.last])
    learned = w.new_zeros(len(problem.constants) if learn else 0, B, N)
    options = {"detach_reset": spec.detach_reset, "learn": learn, "reuse": reuse}
    compiled = cpu_kernels(spec.neuron, _name(w), spec.surrogate, backward=True, **options)
    read = [
        w,
        _stacked(trace.saved[1:], like=w),
        _stacked(problem.states),
        _stacked(problem.constants),
    ]
    given = [grad_s, grad_mem, int(grads.mem is not None), grad_states, grad_x, learned]
    tail: tuple[Tensor | None, ...] = ()
    if group > 1:
        read = [w, _stacked(problem.states), _stacked(problem.constants)]
        given = [grad_s, grad_mem, int(grads.mem is not None), grad_states, grad_x]
        given += [int(spec.surrogate.pseudo_derivative is None), learned, parameters]
        _run(compiled.backward_packed, -(-B // group), w.numel(), [group, *read, *given])
    elif problem.recurrent is None:
        width, jobs = _blocks(B, N)
        _run(compiled.backward, jobs, w.numel(), [width, *read, *given, parameters])
    else:
        assert problem.spikes is not None
        grad_fired = torch.empty_like(problem.spikes, memory_format=torch.contiguous_format)
        transposed = problem.recurrent.t().contiguous()
        arguments = [transposed, *read, *given, grad_fired, parameters]
        _run(compiled.backward_recurrent, -(-B // 4), w.numel() * _steps(N), arguments)
        (previous,) = delay_one_step([problem.spikes], [trace.spikes])
        tail = correlation(previous.flatten(0, 1), grad_x.flatten(0, 1)), grad_fired
    sums: list[Tensor | None] = list(learned.sum(1)) if learn else [None] * len(problem.constants)
    return grad_x, *grad_states.unbind(), *sums, *tail


def _steps(N: int) -> int:
    """About how many steps of a neuron one step of a recurrent one is worth."""
    return 1 + N // 8


def _blocks(B: int, N: int) -> tuple[int, int]:
    """Neurons a block, and how many jobs that makes; blocks are cut for the threads only where they stay wide."""
    share = -(-N * max(B, 1) // torch.get_num_threads())
    width = min(WIDTH, max(256, 64 * -(-share // 64))) if N > 256 else max(N, 1)
    return width, B * -(-N // width)


def _group(B: int, N: int) -> int:
    """Batch elements that a narrow layer packs side by side."""
    return (
        1 if N >= _NARROW or not N else max(1, min(_LANES // N, -(-B // torch.get_num_threads())))
    )


def _run(kernel: NativeKernel, jobs: int, work: int, arguments: Sequence[Any]) -> None:
    if jobs:
        kernel(jobs, arguments, serial=work < _SMALL)


def _stacked(tensors: Sequence[Tensor], like: Tensor | None = None) -> Tensor:
    if not tensors:
        assert like is not None
        return like.new_empty(0, *like.shape)
    if len(tensors) == 1:
        return tensors[0].detach().contiguous()[None]
    return torch.stack([t.detach() for t in tensors])


def _name(x: Tensor) -> str:
    return {torch.float32: "float32", torch.float64: "float64"}[x.dtype]
