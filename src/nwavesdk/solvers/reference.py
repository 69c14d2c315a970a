"""The specification: a plain torch loop over time under autograd, on any device and dtype.

Every other solver must return the spikes, states and gradients of this one.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import torch_function
from nwavesdk.solvers.feedback import bounded_feedback, feedback_scale
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    ProblemGradient,
    ResultGradient,
    delay_one_step,
    load_saved_tensors,
    recent_spikes,
    states_before,
)
from nwavesdk.surrogate import heaviside

__all__ = ["backward_reference", "solve_reference"]


def solve_reference(problem: Problem) -> PassResult:
    """Run the problem step by step under autograd."""
    spec = problem.spec
    program = problem.program
    hold_reset = torch.detach if spec.detach_reset else _identity
    step = torch_function(
        program.reference, "step", problem.x.dtype, spike=spec.surrogate, held=hold_reset
    )

    states = problem.states
    K = len(states)
    recent = problem.spikes
    scale = feedback_scale(problem) if torch.is_grad_enabled() else None
    steps: list[tuple[Tensor, ...]] = []
    for x in problem.x.unbind(1):
        if problem.recurrent is not None:
            assert recent is not None
            x = x + _scale_gradient(recent, scale) @ problem.recurrent
        output, *others = (t.expand_as(x) for t in step(x, *states, *problem.constants))
        states = tuple(others[:K])
        if recent is not None:
            recent = _with_latest(recent, output)
        steps.append((output, states[0], *(value.detach() for value in others[K:])))

    if not steps:
        nothing = (problem.x.detach(),) * len(program.saved)
        return PassResult(problem.x, problem.x, states, nothing, recent=recent)

    spikes, mem, *saved = (torch.stack(sequence, 1) for sequence in zip(*steps, strict=True))
    last = [*states]
    # Under a torch.func transform, tensors cannot pass through a function with hidden state.
    if not torch._C._are_functorch_transforms_active():
        spikes, mem, *last = _ExplainFreedGraph.apply(spikes, mem, *last)

    recent = None if problem.spikes is None else recent_spikes(spikes, problem.spikes)
    return PassResult(spikes, mem, tuple(last), tuple(saved), recent=recent)


def backward_reference(
    problem: Problem, result: PassResult, grads: ResultGradient, learns_constants: bool
) -> ProblemGradient:
    """The neuron's adjoint step by step: `backward_serial` for devices without compiled kernels."""
    saved = result.saved
    query = problem.program.adjoint(learns_constants)
    adjoint = torch_function(
        query.query,
        "adjoint",
        saved[0].dtype,
        spike=heaviside,
        surrogate=problem.spec.surrogate.derivative,
    )

    before = states_before(problem, saved, query)
    K = len(problem.states)
    zeros = torch.zeros_like(problem.states[0])
    grad_states = [zeros if g is None else g for g in grads.last]
    grad_constants = [torch.zeros_like(zeros) for _ in problem.constants]
    feedback = None if problem.recurrent is None else bounded_feedback(problem).t()

    # `grad_s` has the gradient that comes through recurrent weights from the step after.
    grad_s = zeros
    grads_x: list[Tensor] = []
    for t in reversed(range(saved[0].shape[1])):
        if grads.mem is not None:
            grad_states[0] = grad_states[0] + grads.mem[:, t]
        if grads.spikes is not None:
            grad_s = grad_s + grads.spikes[:, t]

        values = [sequence[:, t] for sequence in (*saved, *before)]
        results = adjoint(*values, *problem.constants, grad_s, *grad_states)
        grad_x, *others = (torch.as_tensor(g).to(zeros).expand_as(zeros) for g in results)
        grad_states = others[:K]

        if learns_constants:
            grad_constants = [a + b for a, b in zip(grad_constants, others[K:], strict=True)]
        grad_s = zeros if feedback is None else grad_x @ feedback
        grads_x.append(grad_x)

    grad = torch.stack(grads_x[::-1], 1) if grads_x else torch.zeros_like(saved[0])
    learned = None
    if learns_constants:
        learned = torch.stack(grad_constants) if grad_constants else zeros.new_empty(0)

    if problem.recurrent is None:
        return ProblemGradient(x=grad, states=grad_states, constants=learned)
    (previous,) = delay_one_step(problem.recurrence[1:], [result.spikes])
    grad_recurrent = previous.flatten(0, 1).t() @ grad.flatten(0, 1)
    return ProblemGradient(
        x=grad, states=grad_states, constants=learned, recurrent=grad_recurrent, spikes=grad_s
    )


def _with_latest(recent: Tensor, latest: Tensor) -> Tensor:
    """The spikes [B, K·N] that the next step reads, the most recent step first."""
    n_older = recent.shape[1] - latest.shape[1]
    return torch.cat([latest, recent[:, :n_older]], 1) if n_older else latest


def _scale_gradient(value: Tensor, scale: Tensor | None) -> Tensor:
    """The value, whose gradient is multiplied by `scale`."""
    if scale is None:
        return value
    fixed = value.detach()
    # The difference is exactly 0.
    return fixed + scale * (value - fixed)


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
