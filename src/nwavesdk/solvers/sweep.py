"""Solvers that run forward without a graph and back in one linear recurrence, as one autograd function.

Whatever way the spikes were found, the gradient is the same sweep back through the trajectories, so a new solver is
one forward function. Kept for backward: the total input charge and the trajectories of the states, of which the first
is the `mem` that a layer returns anyway.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers import reference, serial
from nwavesdk.solvers.problem import Problem, Solution, Trace, TraceGradient, freed_graph

__all__ = ["sweep"]


def sweep(problem: Problem, forward: Callable[[Problem], Trace]) -> Solution:
    """Run `forward`, and give what it found the gradient of the neuron's adjoint."""
    spikes, *rest = _Sweep.apply(problem, forward, *_tensors(problem))
    K = len(problem.states)
    current = rest[2 * K] if problem.recurrent is not None else problem.x.detach()
    return Solution(spikes, tuple(rest[:K]), tuple(rest[K : 2 * K]), current)


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, forward: Callable[[Problem], Trace], *_: Tensor) -> tuple[Tensor, ...]:
        trace = forward(problem)
        recurrent = problem.recurrent is not None
        last = [
            trajectory[:, -1].clone() if trajectory.shape[1] else state.clone()
            for state, trajectory in zip(problem.states, trace.trajectories, strict=True)
        ]
        kept = _tensors(problem)[1:]
        ctx.spec, ctx.K, ctx.C = problem.spec, len(problem.states), len(problem.constants)
        ctx.save_for_backward(*kept, trace.total, *trace.trajectories, *([trace.spikes] if recurrent else []))
        currents = [trace.total] if recurrent else []
        ctx.mark_non_differentiable(*trace.trajectories[1:], *currents)
        ctx.set_materialize_grads(False)
        return trace.spikes, *trace.trajectories, *last, *currents

    @staticmethod
    def backward(ctx: Any, grad_s: Tensor | None, *grads: Tensor | None) -> Any:
        K, C = ctx.K, ctx.C
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a gradient of a gradient (create_graph=True) goes through the reference solver only: build the layers "
                'with solver="reference".'
            )
        try:
            saved: tuple[Tensor, ...] = ctx.saved_tensors
        except RuntimeError as error:
            raise freed_graph(error) from None
        recurrent = len(saved) > 2 * K + C + 1
        states, constants, rest = saved[:K], saved[K : K + C], saved[K + C :]
        problem = Problem(ctx.spec, rest[0], states, constants)
        if recurrent:
            problem, rest = replace(problem, recurrent=rest[0], spikes=rest[1]), rest[2:]
        trace = Trace(rest[-1], tuple(rest[1 : 1 + K]), rest[0])
        learn = any(ctx.needs_input_grad[3 + K : 3 + K + C])
        engine = serial if trace.total.device.type == "cpu" else reference
        gradient = TraceGradient(grad_s, grads[0], grads[K : 2 * K])
        with torch.autocast(trace.total.device.type, enabled=False):
            return None, None, *engine.backward(problem, trace, gradient, learn)


def _tensors(problem: Problem) -> tuple[Tensor, ...]:
    recurrent = () if problem.recurrent is None else (problem.recurrent, problem.spikes)
    return problem.x, *problem.states, *problem.constants, *recurrent
