"""The serial solver on the CPU: one compiled pass forward and one backward, from the pages of the neuron.

Nothing is kept for backward but the input charge and the trajectories of the states, of which the first is the `mem`
that the layer returns anyway.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nwavesdk.solvers.kernels import kernels
from nwavesdk.solvers.pool import run_jobs
from nwavesdk.solvers.problem import Problem, Solution, Spec, argument, freed_graph
from nwavesdk.surrogate import Surrogate

__all__ = ["solve", "sweep_backward"]

_WIDTH = 1024  # neurons a job: rows of that length stay in the first cache
_SMALL = 1 << 15  # neuron-steps below which threads cost more than they save


def forward(problem: Problem) -> Trajectories:
    """Spikes, trajectories and total input charge of the problem, without a graph."""
    x = problem.x.contiguous()
    states, constants = [[t.contiguous() for t in group] for group in (problem.states, problem.constants)]
    spikes, trajectories = torch.empty_like(x), tuple(torch.empty_like(x) for _ in states)
    compiled = kernels(problem.spec.neuron, _name(x))
    if problem.recurrent is None:
        _run(compiled.forward, x, _arrays(x, *states, *constants, spikes, *trajectories))
        return spikes, trajectories, x
    assert problem.spikes is not None
    total, recurrent = torch.empty_like(x), (problem.recurrent.contiguous(), problem.spikes.contiguous())
    arrays = _arrays(x, *recurrent, *states, *constants, total, spikes, *trajectories)
    run_jobs(lambda i, j: compiled.forward_recurrent(i, j, *arrays), x.shape[0], serial=x.numel() < _SMALL)
    return spikes, trajectories, total


def backward(run: Run, grads: Grads, learn: bool) -> tuple[Tensor | None, ...]:
    """See `nwavesdk.solvers.sweep.Backward`."""
    spec, total, states, trajectories, constants = run.spec, run.total, run.states, run.trajectories, run.constants
    surrogate, (B, T, N) = spec.surrogate, total.shape
    grad_s = torch.zeros_like(total) if grads.spikes is None else grads.spikes.contiguous()
    grad_states = [
        torch.zeros_like(s) if g is None else g.contiguous().clone() for s, g in zip(states, grad_last, strict=True)
    ]
    grad_x = torch.empty_like(total)
    grad_constants = [total.new_zeros(B, N) for _ in constants] if learn else []
    sigma = []
    if surrogate.pseudo_derivative is None:
        sigma = [surrogate.derivative(argument(spec.neuron, total, states, trajectories, constants)).contiguous()]
    mem = [] if grad_mem is None else [grad_mem.contiguous()]
    compiled = kernels(
        spec.neuron, _name(total), surrogate, backward=True, detach_reset=spec.detach_reset, learn=learn,
        grad_mem=bool(mem),
    )  # fmt: skip
    numbers = [_number(total, k) for k in surrogate.constants] if not sigma else []
    if recurrent:
        weights, before, spikes = recurrent
        shifted = torch.cat([torch.zeros_like(before)[:, None], zeros], 1)
        transposed = weights.t().contiguous()
        tensors = (transposed, total, *states, *trajectories, *constants, shifted, *sigma, *mem, *grad_states, grad_x)
        arrays = _arrays(*tensors, *grad_constants)
        run_jobs(
            lambda i, j: compiled.backward_recurrent(i, j, *arrays, *numbers), B, serial=total.numel() < _SMALL
        )
        previous = torch.cat([before[:, None], spikes[:, :-1]], 1) if T else spikes
        grad_weights = previous.reshape(-1, N).t() @ grad_x.reshape(-1, N)
        tail: tuple[Tensor | None, ...] = (grad_weights, shifted[:, 0])
    else:
        tensors = (total, *states, *trajectories, *constants, zeros, *sigma, *mem, *grad_states, grad_x)
        _run(compiled.backward, total, [*_arrays(*tensors, *grad_constants), *numbers])
        tail = ()
    sums: list[Tensor | None] = [g.sum(0) for g in grad_constants] if learn else [None] * len(constants)
    return grad_x, *grad_states, *sums, *tail


def _run(kernel: Any, x: Tensor, arrays: Sequence[Any]) -> None:
    blocks = -(-x.shape[2] // _WIDTH)
    run_jobs(lambda i, j: kernel(i, j, _WIDTH, *arrays), x.shape[0] * blocks, serial=x.numel() < _SMALL)


def _name(x: Tensor) -> str:
    return {torch.float32: "float32", torch.float64: "float64"}[x.dtype]


def _number(x: Tensor, value: float) -> Any:
    return torch.tensor(value, dtype=x.dtype).numpy()[()]


def _arrays(*tensors: Tensor) -> list[Any]:
    return [t.detach().numpy() for t in tensors]
