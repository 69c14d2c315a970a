"""Solvers that run forward without a graph and back in one linear recurrence, as one autograd function.

Whatever way the spikes were found, the gradient is the same sweep back through what the steps have left, so a new
solver is one forward function. Kept for backward: one tensor, `w` (and the states other than the membrane, if any).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.parallel.chunks import backward_chunks, forward_chunks
from nwavesdk.solvers.parallel.iteration import forward_iteration, forward_jump
from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    Spec,
    Trace,
    TraceGradient,
    explain_freed_graph,
    from_saved_dtype,
    to_saved_dtype,
)
from nwavesdk.solvers.serial import backward_serial, forward_serial

__all__ = ["FORWARD", "backward_for", "charge_gradient", "sweep"]

Forward = Callable[[Problem, bool, bool], Trace]
Backward = Callable[[Problem, Trace, TraceGradient, bool, bool], tuple[Tensor | None, ...]]


FORWARD: dict[str, Forward] = {
    "serial": forward_serial,
    "compasso": forward_chunks,
    "forward_jump": forward_jump,
    "forward_iteration": forward_iteration,
}
"""Solvers that run forward without a graph: `forward(problem, needs_membrane, needs_saved) -> Trace`."""


def sweep(
    problem: Problem,
    forward: Forward,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    backward: Backward | None = None,
) -> Solution:
    """Run `forward`, and give what it found the gradient of the neuron's adjoint.

    Args:
        problem: what to run.
        forward: a solver, `forward(problem, needs_membrane, needs_saved) -> Trace`.
        needs_membrane: whether the membrane after each step is wanted.
        needs_saved: whether `Solution.saved` is wanted, also where no gradient is.
        backward: what runs the adjoint; None takes the fastest serial one.
    """
    tensors = _tensors(problem)
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if not graph:
        trace = forward(problem, needs_membrane, needs_saved)
        return Solution(trace.spikes, trace.mem, trace.last, trace.saved, trace.spike_count)
    counted: list[int | Tensor | None] = []
    run_back = backward or backward_serial
    spikes, *rest = _Sweep.apply(
        problem, forward, run_back, needs_membrane, needs_saved, counted, *tensors
    )
    K = len(problem.states)
    return Solution(
        spikes,
        rest.pop(0) if needs_membrane else None,
        tuple(rest[:K]),
        tuple(rest[K:]) or None,
        *counted,
    )


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        problem: Problem,
        forward: Forward,
        backward: Backward,
        needs_membrane: bool,
        needs_saved: bool,
        counted: list[int | Tensor | None],
        *_: Tensor,
    ) -> tuple[Tensor, ...]:
        trace = forward(problem, needs_membrane, True)
        assert trace.saved is not None
        counted.append(trace.spike_count)
        recurrent = (
            [] if problem.recurrent is None else [problem.recurrent, problem.spikes, trace.spikes]
        )
        ctx.spec, ctx.K, ctx.mem, ctx.run_back = (
            problem.spec,
            len(problem.states),
            needs_membrane,
            backward,
        )
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
        ctx.keep = needs_saved or hooks is not None
        ctx.save_for_backward(
            *problem.states, *problem.constants, *to_saved_dtype(problem, trace.saved), *recurrent
        )
        kept = trace.saved if needs_saved else ()
        ctx.mark_non_differentiable(*kept)
        ctx.set_materialize_grads(False)
        return trace.spikes, *([] if trace.mem is None else [trace.mem]), *trace.last, *kept

    @staticmethod
    def backward(ctx: Any, grad_s: Tensor | None, *grads: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a gradient of a gradient (create_graph=True) goes through the reference solver only: build the layers "
                'with solver="reference".'
            )
        try:
            saved: tuple[Tensor, ...] = ctx.saved_tensors
        except RuntimeError as error:
            raise explain_freed_graph(error) from None
        spec: Spec = ctx.spec
        K, C = ctx.K, len(spec.neuron.constants)
        states, constants, recurrent = saved[:K], saved[K : K + C], saved[2 * K + C :]
        problem = Problem(spec, saved[K + C], states, constants, *recurrent[:2])
        kept = from_saved_dtype(problem, saved[K + C : 2 * K + C])
        trace = Trace(recurrent[2] if recurrent else kept[0], None, (), kept)
        grad_mem, last = (grads[0], grads[1 : 1 + K]) if ctx.mem else (None, grads[:K])
        learn = any(ctx.needs_input_grad[7 + K : 7 + K + C])
        # Nobody reads w again: it is no output, no hook has seen it, and the graph is freed after this pass.
        reuse = not ctx.keep and not torch._C._autograd._get_current_graph_task_keep_graph()
        with torch.autocast(kept[0].device.type, enabled=False):
            found = ctx.run_back(
                problem, trace, TraceGradient(grad_s, grad_mem, last), learn, reuse
            )
        return None, None, None, None, None, None, *found


def charge_gradient(
    problem: Problem,
    spikes: Tensor,
    saved: tuple[Tensor, ...],
    grad_spikes: Tensor | None,
    grad_mem: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """The sweep back by itself, through what a pass has left, whatever surrogate that pass had.

    Args:
        problem: what was run, with the surrogate whose gradient is wanted; of `x` only device and dtype are read.
        spikes: what came out, [B, T, N].
        kept: what the steps have left, see `Trace`.
        grad_spikes: ∂L/∂spikes [B, T, N], or None.
        grad_mem: ∂L/∂mem [B, T, N], or None.

    Returns:
        ∂L/∂x [B, T, N]; and ∂L/∂recurrent [N, N], or None without recurrence.
    """
    trace = Trace(spikes, None, (), from_saved_dtype(problem, to_saved_dtype(problem, saved)))
    last = (None,) * len(problem.states)
    with torch.autocast(spikes.device.type, enabled=False):
        found = backward_serial(
            problem, trace, TraceGradient(grad_spikes, grad_mem, last), False, False
        )
    grad_x, recurrent = found[0], found[-2] if problem.recurrent is not None else None
    assert grad_x is not None
    return grad_x, recurrent


def backward_for(solver: str) -> Backward:
    """The adjoint that goes with a solver: in chunks for comPaSSo, else serial."""
    return backward_chunks if solver.startswith("compasso") else backward_serial


def _tensors(problem: Problem) -> tuple[Tensor, ...]:
    recurrent = [
        t
        for t in (problem.recurrent, problem.spikes)
        if t is not None and problem.recurrent is not None
    ]
    return problem.x, *problem.states, *problem.constants, *recurrent
