"""One autograd function for every solver that runs forward without a graph.

The gradient does not depend on how the spikes were computed: it is one linear recurrence, backward
in time, through what the steps have saved (see `Program`). So a new solver is one forward function.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.parallel.chunk_gradient import backward_chunks
from nwavesdk.solvers.parallel.chunks import forward_chunks
from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    SolutionGradient,
    flatten_call,
    from_saved_dtype,
    load_saved_tensors,
    to_saved_dtype,
    unflatten_call,
)
from nwavesdk.solvers.serial import backward_serial, forward_serial

__all__ = ["BACKWARD", "FORWARD", "NO_SECOND_GRADIENT", "charge_gradient", "sweep"]

NO_SECOND_GRADIENT = (
    "a gradient of a gradient (create_graph=True) goes through the reference solver only: build "
    'the layers with solver="reference".'
)

Forward = Callable[[Problem, bool, bool], Solution]
Backward = Callable[[Problem, Solution, SolutionGradient, bool, bool], tuple[Tensor | None, ...]]

# Forward pass by solver: `(problem, needs_membrane, needs_saved) -> Solution`.
FORWARD: dict[str, Forward] = {
    "serial": forward_serial,
    "compasso": forward_chunks,
}
# Adjoint by solver; arguments and result as in `backward_serial`.
BACKWARD: dict[str, Backward] = {
    "serial": backward_serial,
    "compasso": backward_chunks,
}


def sweep(
    problem: Problem,
    forward: Forward,
    backward: Backward = backward_serial,
    needs_membrane: bool = True,
    needs_saved: bool = True,
) -> Solution:
    """Run `forward`, with `backward` as its gradient.

    Args:
        problem: What to run.
        forward: A solver, see `FORWARD`.
        backward: Its adjoint, see `BACKWARD`.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether `Solution.saved` is returned, even if nothing needs a gradient.
    """
    tensors = [problem.x, *problem.states, *problem.constants, *problem.recurrence]
    if not torch.is_grad_enabled() or not any(t.requires_grad for t in tensors):
        return forward(problem, needs_membrane, needs_saved)
    spike_counts: list[int | Tensor | None] = []
    spikes, *others = _Sweep.apply(
        problem, forward, backward, needs_membrane, needs_saved, spike_counts, *tensors
    )
    mem = others.pop(0) if needs_membrane else None
    K = len(problem.states)
    return Solution(spikes, mem, tuple(others[:K]), tuple(others[K:]), *spike_counts)


class _Sweep(torch.autograd.Function):
    """Outputs: spikes, `mem` if needed, the last states, and the saved tensors if needed."""

    @staticmethod
    def forward(
        ctx: Any,
        problem: Problem,
        forward: Forward,
        backward: Backward,
        needs_membrane: bool,
        needs_saved: bool,
        spike_counts: list[int | Tensor | None],
        *_: Tensor,
    ) -> tuple[Tensor, ...]:
        solution = forward(problem, needs_membrane, True)
        spike_counts.append(solution.spike_count)
        ctx.spec = problem.spec
        ctx.saves = problem.saves
        ctx.run_back = backward
        ctx.has_membrane = needs_membrane
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
        ctx.saved_is_shared = needs_saved or hooks is not None
        ctx.save_for_backward(*flatten_call(problem, solution))
        saved = solution.saved if needs_saved else ()
        ctx.mark_non_differentiable(*saved)
        ctx.set_materialize_grads(False)
        return (
            solution.spikes,
            *([] if solution.mem is None else [solution.mem]),
            *solution.last,
            *saved,
        )

    @staticmethod
    def backward(ctx: Any, grad_s: Tensor | None, *grads: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(NO_SECOND_GRADIENT)
        problem, solution = unflatten_call(ctx.spec, ctx.saves, load_saved_tensors(ctx))
        K, C = len(problem.states), len(problem.constants)
        grad_mem, last = (grads[0], grads[1 : 1 + K]) if ctx.has_membrane else (None, grads[:K])
        # The inputs before the constants: six that are not tensors, x, and the states.
        first_constant = 6 + 1 + K
        learns_constants = any(ctx.needs_input_grad[first_constant : first_constant + C])
        # Nobody reads the first saved tensor again if it is not an output, no hook has seen it, and
        # the graph is freed after this pass.
        keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph()
        may_overwrite = not ctx.saved_is_shared and not keeps_graph
        with torch.autocast(problem.x.device.type, enabled=False):
            gradients = ctx.run_back(
                problem,
                solution,
                SolutionGradient(grad_s, grad_mem, last),
                learns_constants,
                may_overwrite,
            )
        return None, None, None, None, None, None, *gradients


def charge_gradient(
    problem: Problem,
    spikes: Tensor,
    saved: tuple[Tensor, ...],
    grad_spikes: Tensor | None,
    grad_mem: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """The backward pass alone, through what a forward pass with any surrogate has saved.

    Args:
        problem: What was run, with the surrogate whose gradient is wanted; of `x`, only device and
            dtype are read.
        spikes: The spikes of the forward pass [B, T, N].
        saved: `Solution.saved` of the forward pass.
        grad_spikes: ∂L/∂spikes [B, T, N], or None.
        grad_mem: ∂L/∂mem [B, T, N], or None.

    Returns:
        ∂L/∂x [B, T, N]; and ∂L/∂recurrent [N, N], or None without recurrence.

    Raises:
        RuntimeError: If recurrent weights have delays.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import Spec, solve
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(LIF_PAGES["subtraction"].neuron, atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> problem = Problem(spec, x, (torch.zeros(1, 1),), constants, saves="record")
        >>> found = solve(problem)
        >>> ones = torch.ones_like(x)
        >>> grad_x, _ = charge_gradient(problem, found.spikes, found.saved, ones, None)
        >>> grad_x.flatten()
        tensor([1.1391, 1.5028, 1.1853, 0.4188])
    """
    if problem.recurrent is not None and len(problem.recurrent) > spikes.shape[2]:
        raise RuntimeError(
            "gradients of a record, as in a scan of slopes, are not computed for a layer with "
            "recurrent_delays: use backward(), or the layer without delays."
        )
    # Round `saved` as autograd would have saved it.
    rounded = from_saved_dtype(problem, to_saved_dtype(problem, saved))
    grads = SolutionGradient(grad_spikes, grad_mem, (None,) * len(problem.states))
    with torch.autocast(spikes.device.type, enabled=False):
        gradients = backward_serial(problem, Solution(spikes, None, (), rounded), grads, False)
    grad_x = gradients[0]
    grad_recurrent = None if problem.recurrent is None else gradients[-2]
    assert grad_x is not None
    return grad_x, grad_recurrent
