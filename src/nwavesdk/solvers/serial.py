"""The serial solver on the CPU: one compiled pass forward and one backward, from the pages of the neuron.

Nothing is kept for backward but the input charge and the trajectories of the states, of which the first is the `mem`
that the layer returns anyway.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.allocator import keep_large_blocks
from nwavesdk.solvers.kernels import kernels
from nwavesdk.solvers.pool import run_jobs
from nwavesdk.solvers.problem import Problem, Trace, TraceGradient, argument, before

__all__ = ["backward", "forward"]

_WIDTH = 1024  # neurons a job: rows of that length stay in the first cache
_SMALL = 1 << 15  # neuron-steps below which threads cost more than they save


def forward(problem: Problem) -> Trace:
    """Spikes, trajectories and total input charge of the problem, without a graph."""
    keep_large_blocks()
    x = problem.x.contiguous()
    states, (constants, uniform) = [t.contiguous() for t in problem.states], _constants(problem)
    spikes, trajectories = torch.empty_like(x), tuple(torch.empty_like(x) for _ in problem.states)
    compiled = kernels(problem.spec.neuron, _name(x), uniform=uniform)
    if problem.recurrent is None:
        _run_blocks(compiled.forward, x, [*_arrays(x, *states), *constants, *_arrays(spikes, *trajectories)])
        return Trace(spikes, trajectories, x)
    assert problem.spikes is not None
    total = torch.empty_like(x)
    recurrent = problem.recurrent.contiguous(), problem.spikes.contiguous()
    given = [*_arrays(x, *recurrent, *states), *constants, *_arrays(total, spikes, *trajectories)]
    _run_batch(compiled.forward_recurrent, x, given)
    return Trace(spikes, trajectories, total)


def backward(problem: Problem, trace: Trace, grads: TraceGradient, learn: bool) -> tuple[Tensor | None, ...]:
    """∂L/∂ x, states, constants (None unless `learn`), and with recurrence its weights and the spikes before."""
    spec, total = problem.spec, trace.total
    sigma, mem = [], [] if grads.mem is None else [grads.mem.contiguous()]
    if spec.surrogate.pseudo_derivative is None:
        sigma = [spec.surrogate.derivative(argument(problem, trace)).contiguous()]
    numbers = [] if sigma else [torch.tensor(k, dtype=total.dtype).numpy()[()] for k in spec.surrogate.constants]
    constants, uniform = _constants(problem)
    options = {"uniform": uniform, "detach_reset": spec.detach_reset, "learn": learn, "grad_mem": bool(mem)}
    compiled = kernels(spec.neuron, _name(total), spec.surrogate, backward=True, **options)

    grad_s = torch.zeros_like(total) if grads.spikes is None else grads.spikes.contiguous()
    grad_states = [
        torch.zeros_like(s) if g is None else g.contiguous().clone()
        for s, g in zip(problem.states, grads.last, strict=True)
    ]
    grad_x = torch.empty_like(total)
    grad_constants = [total.new_zeros(total.shape[0], total.shape[2]) for _ in problem.constants] if learn else []
    read = [t.contiguous() for t in (total, *problem.states, *trace.trajectories)]
    written = (*sigma, *mem, *grad_states, grad_x, *grad_constants)
    tail: tuple[Tensor | None, ...] = ()
    if problem.recurrent is None:
        arrays = [*_arrays(*read), *constants, *_arrays(grad_s, *written)]
        _run_blocks(compiled.backward, total, [*arrays, *numbers])
    else:
        assert problem.spikes is not None
        grad_s = torch.cat([torch.zeros_like(problem.spikes)[:, None], grad_s], 1)
        transposed = problem.recurrent.t().contiguous()
        arrays = [*_arrays(transposed, *read), *constants, *_arrays(grad_s, *written)]
        _run_batch(compiled.backward_recurrent, total, [*arrays, *numbers])
        (previous,) = before([problem.spikes], [trace.spikes])
        tail = previous.flatten(0, 1).t() @ grad_x.flatten(0, 1), grad_s[:, 0]
    sums: list[Tensor | None] = [g.sum(0) for g in grad_constants] if learn else [None] * len(problem.constants)
    return grad_x, *grad_states, *sums, *tail


def _run_blocks(kernel: Any, x: Tensor, arguments: Sequence[Any]) -> None:
    blocks = -(-x.shape[2] // _WIDTH)
    run_jobs(lambda i, j: kernel(i, j, _WIDTH, *arguments), x.shape[0] * blocks, serial=x.numel() < _SMALL)


def _run_batch(kernel: Any, x: Tensor, arguments: Sequence[Any]) -> None:
    run_jobs(lambda i, j: kernel(i, j, *arguments), x.shape[0], serial=x.numel() < _SMALL)


def _constants(problem: Problem) -> tuple[list[Any], bool]:
    """The constants as the kernels take them, and whether they are numbers (stride 0: one for all neurons)."""
    if all(c.stride(0) == 0 and c.numel() for c in problem.constants):
        return [c.detach()[0].numpy()[()] for c in problem.constants], True
    return _arrays(*(c.contiguous() for c in problem.constants)), False


def _name(x: Tensor) -> str:
    return {torch.float32: "float32", torch.float64: "float64"}[x.dtype]


def _arrays(*tensors: Tensor) -> list[Any]:
    return [t.detach().numpy() for t in tensors]
