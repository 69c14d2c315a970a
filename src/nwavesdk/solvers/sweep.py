"""Solvers that run forward without a graph and back in one linear recurrence, as one autograd function.

Whatever way the spikes were found, the gradient is the same sweep back through the trajectories, so a new solver is
one forward function. Kept for backward: the total input charge and the trajectories of the states, of which the first
is the `mem` that a layer returns anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nwavesdk.solvers import adjoint, serial
from nwavesdk.solvers.problem import Problem, Solution, Trace, TraceGradient, freed_graph

__all__ = ["sweep"]


def sweep(problem: Problem, forward: Callable[[Problem], Trace]) -> Solution:
    """Run `forward`, and give its result the gradient of the neuron's adjoint."""
    recurrent = () if problem.recurrent is None else (problem.recurrent, problem.spikes)
    tensors = (problem.x, *problem.states, *problem.constants, *recurrent)
    spikes, *rest = _Sweep.apply(problem, forward, *tensors)
    K = len(problem.states)
    current = rest[2 * K] if recurrent else problem.x.detach()
    return Solution(spikes, tuple(rest[:K]), tuple(rest[K : 2 * K]), current)


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, forward: Callable[[Problem], Trace], *_: Tensor) -> tuple[Tensor, ...]:
        trace = forward(problem)
        ...
