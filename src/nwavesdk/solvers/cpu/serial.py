"""The serial solver on the CPU: one compiled pass forward and one backward."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.passes import backward_pass, forward_pass, stacked
from nwavesdk.solvers.feedback import bounded_feedback
from nwavesdk.solvers.problem import Problem, Solution, SolutionGradient, spike_argument

__all__ = ["backward_cpu", "forward_cpu"]


def forward_cpu(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> Solution:
    """Run the problem without a graph.

    Args:
        problem: The problem, on the CPU.
        needs_membrane: Whether to write `Solution.mem`.
        needs_saved: Whether to write `Solution.saved`.
    """
    x = problem.x
    run = forward_pass(
        problem.program.step,
        x.dtype,
        tuple(x.shape),
        problem.recurrent is not None,
        torch.get_num_threads(),
    ).run
    constants = stacked(problem.constants, x)
    recurrence = [t.contiguous() for t in problem.recurrence]
    return Solution(*run(x, problem.states, constants, recurrence, needs_membrane, needs_saved))


def backward_cpu(
    problem: Problem,
    solution: Solution,
    grads: SolutionGradient,
    learns_constants: bool,
    may_overwrite: bool = False,
) -> tuple[Tensor | None, ...]:
    """The adjoint of `forward_cpu`.

    Args:
        problem: The problem that was run.
        solution: The forward pass; `saved` and (with recurrence) `spikes` are read.
        grads: Gradients of spikes, membrane and last states.
        learns_constants: Whether the constants need gradients.
        may_overwrite: Whether ∂L/∂x may be written over `solution.saved[0]`.

    Returns:
        As `backward_serial`.
    """
    saved = solution.saved
    w = saved[0]
    surrogate = problem.spec.surrogate
    backward = backward_pass(
        problem.program.adjoint(learns_constants),
        w.dtype,
        surrogate,
        tuple(w.shape),
        problem.recurrent is not None,
        may_overwrite,
        torch.get_num_threads(),
    )
    sigma = None
    if backward.needs_sigma:
        sigma = surrogate.derivative(spike_argument(problem, saved))
    arguments = (saved, problem.states, stacked(problem.constants, w), *grads, sigma)
    through_recurrence: Sequence[Tensor] = ()
    if problem.recurrent is None:
        grad_x, grad_states, grad_constants = backward.run(*arguments)
    else:
        grad_x, grad_states, grad_constants, *through_recurrence = backward.run_recurrent(
            *arguments, (bounded_feedback(problem), *problem.recurrence[1:]), solution.spikes
        )
    learned = (None,) * len(problem.constants)
    sums = learned if grad_constants is None else grad_constants.sum(1)
    return grad_x, *grad_states, *sums, *through_recurrence
