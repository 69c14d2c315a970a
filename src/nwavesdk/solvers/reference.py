"""The specification: a plain torch loop over time under autograd, on any device and dtype.

Every other solver must return the spikes, states and gradients of this one.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    SolutionGradient,
    delay_one_step,
    load_saved_tensors,
    state_trajectories,
    torch_page,
)
from nwavesdk.surrogate import heaviside

__all__ = ["backward_reference", "solve_reference"]


def solve_reference(problem: Problem) -> Solution:
    """Run the problem step by step under autograd."""
    spec = problem.spec
    held = torch.detach if spec.detach_reset else _identity
    integrate, fire = (
        torch_page(spec.neuron, page, spike=spec.surrogate, held=held)
        for page in ("integrate", "fire")
    )
    states = problem.states
    s = problem.spikes
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
    spikes, w, mem, *others = (torch.stack(sequence, 1) for sequence in zip(*steps, strict=True))
    # Under a torch.func transform, tensors cannot pass through a function with hidden state.
    if not torch._C._are_functorch_transforms_active():
        spikes, mem, *states = _ExplainFreedGraph.apply(spikes, mem, *states)
    return Solution(spikes, mem, tuple(states), (w, *others))


def backward_reference(
    problem: Problem, solution: Solution, grads: SolutionGradient, learns_constants: bool
) -> tuple[Tensor | None, ...]:
    """The neuron's adjoint step by step: `backward_serial` for devices without compiled kernels."""
    spec = problem.spec
    w = solution.saved[0]
    states = delay_one_step(problem.states, state_trajectories(problem, solution.saved))
    adjoint = torch_page(
        spec.neuron,
        "adjoint",
        spike=heaviside,
        surrogate=spec.surrogate.derivative,
        held=(lambda _: 0.0) if spec.detach_reset else _identity,
    )
    K = len(states)
    zeros = torch.zeros_like(problem.states[0])
    grad_states = [zeros if g is None else g for g in grads.last]
    grad_constants = [torch.zeros_like(zeros) for _ in problem.constants]
    grad_s = zeros
    grads_x: list[Tensor] = []
    for t in reversed(range(w.shape[1])):
        if grads.mem is not None:
            grad_states[0] = grad_states[0] + grads.mem[:, t]
        if grads.spikes is not None:
            grad_s = grad_s + grads.spikes[:, t]
        before = [v[:, t] for v in states]
        grad_x, *others = adjoint(w[:, t], *before, *problem.constants, grad_s, *grad_states)
        grad_states = others[:K]
        grad_constants = [a + b for a, b in zip(grad_constants, others[K:], strict=True)]
        grad_s = zeros if problem.recurrent is None else grad_x @ problem.recurrent.t()
        grads_x.append(grad_x)
    grad = torch.stack(grads_x[::-1], 1) if grads_x else torch.zeros_like(w)
    sums = [g.sum(0) if learns_constants else None for g in grad_constants]
    if problem.recurrent is None:
        return grad, *grad_states, *sums
    (previous,) = delay_one_step(problem.recurrence[1:], [solution.spikes])
    grad_recurrent = previous.flatten(0, 1).t() @ grad.flatten(0, 1)
    return grad, *grad_states, *sums, grad_recurrent, grad_s


def _identity(value: Any) -> Any:
    return value


class _ExplainFreedGraph(torch.autograd.Function):
    """The identity; a second backward pass through its freed graph raises a clear error."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(values[0].new_empty(0))
        return tuple(v.view_as(v) for v in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        load_saved_tensors(ctx)
        return grads
