"""The autograd function of all solvers but the reference, with or without a plan.

The gradient does not depend on how the spikes were computed: it is one linear recurrence, backward
in time, through the saved values of the steps (see `Program`). So a new solver is one forward
function.

The tensors saved for backward are, in this order:

1. the values that `Program.saved` names, in the saved dtype;
2. the states before the first step, if backward reads them (`reads_states`);
3. of a recurrent problem, its weights and the spikes before the first step;
4. the spikes, if backward reads them (`reads_spikes`).

Constants are not among them: the passes hold the values of constants, and `passes.chain` turns
their gradients into the gradients of the learned tensors.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.serial import SerialPasses
from nwavesdk.solvers.parallel.chunk_gradient import backward_chunks
from nwavesdk.solvers.parallel.chunks import forward_chunks
from nwavesdk.solvers.passes import Backward, Forward, ProblemPasses
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    ResultGradient,
    from_saved_dtype,
    load_saved_tensors,
    new_result,
    to_saved_dtype,
)
from nwavesdk.solvers.serial import backward_serial, forward_serial

__all__ = ["BACKWARD", "FORWARD", "charge_gradient", "run_passes", "sweep"]


Passes = ProblemPasses | SerialPasses

# Forward pass by solver: `(problem, needs_membrane, needs_saved) -> PassResult`.
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
) -> PassResult:
    """Run `forward`, with `backward` as its gradient.

    Args:
        problem: The problem.
        forward: A solver, see `FORWARD`.
        backward: Its adjoint, see `BACKWARD`.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether `PassResult.saved` is returned, even if nothing needs a gradient.
    """
    tensors = [problem.x, *problem.states, *problem.constants, *problem.recurrence]
    if not torch.is_grad_enabled() or not any(t.requires_grad for t in tensors):
        return forward(problem, needs_membrane, needs_saved)
    learned = problem.constants if any(c.requires_grad for c in problem.constants) else ()
    passes = ProblemPasses(problem, forward, backward, learns_constants=bool(learned))
    return run_passes(
        passes,
        problem.x,
        problem.states,
        problem.recurrence,
        learned,
        needs_membrane=needs_membrane,
        needs_saved=needs_saved,
    )


def run_passes(
    passes: Passes,
    x: Tensor,
    states: Sequence[Tensor],
    recurrence: Sequence[Tensor],
    learned: Sequence[Tensor],
    *,
    needs_membrane: bool,
    needs_saved: bool = False,
) -> PassResult:
    """Run a forward pass with a graph.

    Args:
        passes: The two passes.
        x: Input charge [B, T, N], or its values in another shape.
        states: States before the first step, each [B, N].
        recurrence: Of a recurrent problem, weights [N, N] and the spikes before the first step
            [B, N].
        learned: The tensors that learn and from which the constants are computed, in the order in
            which `passes.chain` returns their gradients.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether `PassResult.saved` is returned.
    """
    spikes, mem, spike_count, recent, *others = _run(
        passes, needs_membrane, needs_saved, x, *states, *recurrence, *learned
    )
    K = len(states)
    return new_result((spikes, mem, tuple(others[:K]), tuple(others[K:]), spike_count, recent))


class _Sweep(torch.autograd.Function):
    """Outputs: spikes, `mem`, count, `recent`, last states, and the saved values if needed."""

    @staticmethod
    def forward(
        ctx: Any, passes: Passes, needs_membrane: bool, needs_saved: bool, x: Tensor, *rest: Tensor
    ) -> tuple[Any, ...]:
        K = passes.n_states
        states = rest[:K]
        recurrence = rest[K : K + 2] if passes.is_recurrent else ()
        spikes, mem, last, saved, spike_count, recent = passes.forward(
            x, states, recurrence, needs_membrane, True
        )
        ctx.passes = passes

        # Outputs, and tensors that a hook has seen, are not written over.
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
        ctx.saved_is_shared = needs_saved or hooks is not None
        stored = saved
        if passes.spec.saved_dtype is not None:
            stored = to_saved_dtype(passes.problem(x, states), saved)

        states_read = states if passes.reads_states else ()
        spikes_read = (spikes,) if passes.reads_spikes else ()
        ctx.save_for_backward(*stored, *states_read, *recurrence, *spikes_read)
        ctx.set_materialize_grads(False)

        if not needs_saved:
            return spikes, mem, spike_count, recent, *last
        ctx.mark_non_differentiable(*saved)
        return spikes, mem, spike_count, recent, *last, *saved

    @staticmethod
    def backward(
        ctx: Any,
        grad_spikes: Tensor | None,
        grad_mem: Tensor | None,
        _: None,
        grad_recent: Tensor | None,
        *others: Tensor | None,
    ) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a gradient of a gradient (create_graph=True) goes through the reference solver "
                'only: build the layers with solver="reference".'
            )
        passes: Passes = ctx.passes

        # The layout is in the docstring of this module.
        tensors = load_saved_tensors(ctx)
        S = passes.n_saved
        K = passes.n_states if passes.reads_states else 0
        saved = tensors[:S]
        states = tensors[S : S + K]
        recurrence = tensors[S + K : S + K + 2] if passes.is_recurrent else ()

        if passes.spec.saved_dtype is not None:
            saved = from_saved_dtype(passes.problem(saved[0], states), saved)
        if grad_recent is not None:
            grad_spikes = _add_to_last_step(grad_spikes, grad_recent, saved[0])

        grads = ResultGradient(grad_spikes, grad_mem, others[: passes.n_states])
        keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph()
        may_overwrite = not (ctx.saved_is_shared or keeps_graph)

        # The spikes are the last tensor, if backward reads them; otherwise it ignores the argument.
        arguments = saved, states, recurrence, tensors[-1], grads, may_overwrite
        if torch._C._is_any_autocast_enabled():  # products keep their data type
            with torch.autocast(saved[0].device.type, enabled=False):
                gradient = passes.backward(*arguments)
        else:
            gradient = passes.backward(*arguments)

        learned: Sequence[Tensor] = ()
        if passes.chain is not None and gradient.constants is not None:
            learned = passes.chain(gradient.constants)
        through_recurrence = (gradient.recurrent, gradient.spikes) if recurrence else ()
        # In the order of the arguments of `forward`, of which the first three have no gradient.
        return None, None, None, gradient.x, *gradient.states, *through_recurrence, *learned


# `torch.autograd.Function.apply` first looks for transforms of `torch.func`, which is slow compared
# with one step. No call within a transform gets here, so the `apply` of its base class is enough.
_run = super(torch.autograd.Function, _Sweep).apply


def _add_to_last_step(grad: Tensor | None, grad_last: Tensor, like: Tensor) -> Tensor:
    """∂L/∂spikes with the gradient of the spikes of the last step [B, N] added."""
    if like.numel() == grad_last.numel():  # one step
        last = grad_last.reshape(like.shape)
        return last if grad is None else grad + last

    total = torch.zeros_like(like) if grad is None else grad.contiguous().clone()
    if like.shape[1]:
        total[:, -1] += grad_last
    return total


def charge_gradient(
    problem: Problem,
    spikes: Tensor,
    saved: tuple[Tensor, ...],
    grad_spikes: Tensor | None,
    grad_mem: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """The backward pass alone, through the saved values of a forward pass with any surrogate.

    Args:
        problem: The problem, with the surrogate whose gradient is wanted; of `x`, only device and
            dtype are read.
        spikes: The spikes of the forward pass [B, T, N].
        saved: `PassResult.saved` of the forward pass.
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
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> problem = Problem(spec, x, (torch.zeros(1, 1),), constants, saves="record")
        >>> result = solve(problem)
        >>> ones = torch.ones_like(x)
        >>> grad_x, _ = charge_gradient(problem, result.spikes, result.saved, ones, None)
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
    grads = ResultGradient(grad_spikes, grad_mem, (None,) * len(problem.states))
    with torch.autocast(spikes.device.type, enabled=False):
        gradient = backward_serial(problem, PassResult(spikes, None, (), rounded), grads, False)
    return gradient.x, gradient.recurrent
