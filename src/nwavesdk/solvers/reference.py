"""The specification: a plain torch loop over time under autograd, on any device and dtype.

Every other solver must give its spikes, its states and its gradients.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    Trace,
    TraceGradient,
    delay_one_step,
    explain_freed_graph,
    state_trajectories,
    torch_page,
)
from nwavesdk.surrogate import heaviside

__all__ = ["backward_reference", "solve_reference"]


def solve_reference(problem: Problem) -> Solution:
    """Run the problem step by step under autograd."""
    neuron = problem.spec.neuron
    names = {
        "spike": problem.spec.surrogate,
        "held": torch.detach if problem.spec.detach_reset else _identity,
    }
    integrate, fire = (torch_page(neuron, page, **names) for page in ("integrate", "fire"))
    states, s = problem.states, problem.spikes
    steps: list[tuple[Tensor, ...]] = []
    for x in problem.x.unbind(1):
        if problem.recurrent is not None:
            assert s is not None
            x = x + s @ problem.recurrent
        w = integrate(x, *states, *problem.constants)
        s, _, *after = fire(w, *states[1:], *problem.constants)
        states = tuple(after)
        steps.append((s, w.detach(), states[0], *(v.detach() for v in states[1:])))
    if not steps:
        return Solution(problem.x, problem.x, states, (problem.x.detach(),) * len(states))
    spikes, w, mem, *others = (torch.stack(column, 1) for column in zip(*steps, strict=True))
    if (
        not torch._C._are_functorch_transforms_active()
    ):  # they hand tensors to no function with hidden state
        spikes, mem, *states = _Watched.apply(spikes, mem, *states)
    return Solution(spikes, mem, tuple(states), (w, *others))


def backward_reference(
    problem: Problem,
    trace: Trace,
    grads: TraceGradient,
    learn: bool,
) -> tuple[Tensor | None, ...]:
    """The neuron's adjoint step by step, the counterpart of `serial.backward` on any device."""
    spec, kept = problem.spec, trace.saved
    assert kept is not None
    held = _nothing if spec.detach_reset else _identity
    adjoint = torch_page(
        spec.neuron, "adjoint", spike=heaviside, surrogate=spec.surrogate.derivative, held=held
    )
    w, states = kept[0], delay_one_step(problem.states, state_trajectories(problem, kept))
    zeros = torch.zeros_like(problem.states[0])
    grad_states = [zeros if g is None else g for g in grads.last]
    grad_constants, grad_spikes, found = (
        [torch.zeros_like(zeros) for _ in problem.constants],
        zeros,
        [],
    )
    for t in reversed(range(w.shape[1])):
        if grads.mem is not None:
            grad_states[0] = grad_states[0] + grads.mem[:, t]
        if grads.spikes is not None:
            grad_spikes = grad_spikes + grads.spikes[:, t]
        here = [v[:, t] for v in states]
        grad_x, *rest = adjoint(w[:, t], *here, *problem.constants, grad_spikes, *grad_states)
        grad_states = rest[: len(states)]
        grad_constants = [a + b for a, b in zip(grad_constants, rest[len(states) :], strict=True)]
        grad_spikes = zeros if problem.recurrent is None else grad_x @ problem.recurrent.t()
        found.append(grad_x)
    grad = torch.stack(found[::-1], 1) if found else torch.zeros_like(w)
    tail: tuple[Tensor | None, ...] = ()
    if problem.recurrent is not None:
        assert problem.spikes is not None
        (previous,) = delay_one_step([problem.spikes], [trace.spikes])
        tail = previous.flatten(0, 1).t() @ grad.flatten(0, 1), grad_spikes
    sums = [g.sum(0) if learn else None for g in grad_constants]
    return grad, *grad_states, *sums, *tail


def _identity(value: Any) -> Any:
    return value


def _nothing(_: Any) -> float:
    return 0.0


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
            raise explain_freed_graph(error) from None
        return grads
