"""The specification: a plain torch loop over time under autograd, on any device and dtype.

Every other solver must give its spikes, its states and its gradients.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron, bind
from nwavesdk.solvers.problem import Problem, Solution, freed_graph
from nwavesdk.surrogate import Surrogate

__all__ = ["solve", "torch_step"]


def torch_step(neuron: Neuron, surrogate: Surrogate, detach_reset: bool) -> Any:
    """The neuron's step in torch, differentiable."""
    pages = {name: bind(page, m=torch) for name, page in neuron.pages.items()}
    held = torch.detach if detach_reset else lambda s: s
    return bind(neuron.step, m=torch, spike=surrogate, held=held, **pages)


def solve(problem: Problem) -> Solution:
    """Run the problem step by step."""
    spec = problem.spec
    step = torch_step(spec.neuron, spec.surrogate, spec.detach_reset)
    states, s = problem.states, problem.spikes
    kept: list[tuple[Tensor, ...]] = []
    for x in problem.x.unbind(1):
        if problem.recurrent is not None:
            assert s is not None
            x = x + s @ problem.recurrent
        s, _, *after = step(x, *states, *problem.constants)
        states = tuple(after)
        kept.append((x.detach(), s, *states))
    if not kept:
        return Solution(problem.x, (problem.x,) * len(states), states, problem.x.detach())
    current, spikes, *trajectories = (torch.stack(column, 1) for column in zip(*kept, strict=True))
    spikes, *states_out = _Watched.apply(spikes, *trajectories, *states)
    K = len(states)
    return Solution(spikes, tuple(states_out[:K]), tuple(states_out[K:]), current)


class _Watched(torch.autograd.Function):
    """The identity, which answers a second pass through a freed graph with a clear error."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(values[0].new_empty(0))
        return tuple(v.view_as(v) for v in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        try:
            _ = ctx.saved_tensors
        except RuntimeError as error:
            raise freed_graph(error) from None
        return grads
