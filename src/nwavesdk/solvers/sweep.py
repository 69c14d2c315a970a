"""Solvers that run forward without a graph and back in one linear recurrence, as one autograd function.

Whatever way the spikes were found, the gradient is the same sweep back through what the steps have left, so a new
solver is one forward function. Kept for backward: one tensor, `w` (and the states other than the membrane, if any).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers import serial as fastest
from nwavesdk.solvers.parallel import chunks
from nwavesdk.solvers.parallel import iteration as compasso
from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    Spec,
    Trace,
    TraceGradient,
    freed_graph,
    pack,
    unpack,
)

__all__ = ["FORWARD", "backward_of", "charge_gradient", "sweep"]

Forward = Callable[[Problem, bool, bool], Trace]
Backward = Callable[[Problem, Trace, TraceGradient, bool, bool], tuple[Tensor | None, ...]]


FORWARD: dict[str, Forward] = {
    "serial": fastest.forward,
    "compasso": chunks.forward,
    "compasso-jump": compasso.jump,
    "compasso-iteration": compasso.iteration,
}
"""Solvers that run forward without a graph: `forward(problem, mem, keep) -> Trace`."""


def sweep(
    problem: Problem,
    forward: Forward,
    mem: bool = True,
    keep: bool = True,
    backward: Backward | None = None,
) -> Solution:
    """Run `forward`, and give what it found the gradient of the neuron's adjoint.

    Args:
        problem: what to run.
        forward: a solver, `forward(problem, mem, keep) -> Trace`.
        mem: whether the membrane after each step is wanted.
        keep: whether `Solution.kept` is wanted, also where no gradient is.
        backward: what runs the adjoint; None takes the fastest serial one.
    """
    tensors = _tensors(problem)
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if not graph:
        trace = forward(problem, mem, keep)
        return Solution(trace.spikes, trace.mem, trace.last, trace.kept, trace.spike_count)
    counted: list[int | Tensor | None] = []
    run_back = backward or fastest.backward(problem)
    spikes, *rest = _Sweep.apply(problem, forward, run_back, mem, keep, counted, *tensors)
    K = len(problem.states)
    return Solution(
        spikes, rest.pop(0) if mem else None, tuple(rest[:K]), tuple(rest[K:]) or None, *counted
    )


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        problem: Problem,
        forward: Forward,
        backward: Backward,
        mem: bool,
        keep: bool,
        counted: list[int | Tensor | None],
        *_: Tensor,
    ) -> tuple[Tensor, ...]:
        trace = forward(problem, mem, True)
        assert trace.kept is not None
        counted.append(trace.spike_count)
        recurrent = (
            [] if problem.recurrent is None else [problem.recurrent, problem.spikes, trace.spikes]
        )
        ctx.spec, ctx.K, ctx.mem, ctx.run_back = problem.spec, len(problem.states), mem, backward
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
        ctx.keep = keep or hooks is not None
        ctx.save_for_backward(
            *problem.states, *problem.constants, *pack(problem, trace.kept), *recurrent
        )
        kept = trace.kept if keep else ()
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
            raise freed_graph(error) from None
        spec: Spec = ctx.spec
        K, C = ctx.K, len(spec.neuron.constants)
        states, constants, recurrent = saved[:K], saved[K : K + C], saved[2 * K + C :]
        problem = Problem(spec, saved[K + C], states, constants, *recurrent[:2])
        kept = unpack(problem, saved[K + C : 2 * K + C])
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
    kept: tuple[Tensor, ...],
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
    trace = Trace(spikes, None, (), unpack(problem, pack(problem, kept)))
    last = (None,) * len(problem.states)
    with torch.autocast(spikes.device.type, enabled=False):
        found = fastest.backward(problem)(
            problem, trace, TraceGradient(grad_spikes, grad_mem, last), False, False
        )
    grad_x, recurrent = found[0], found[-2] if problem.recurrent is not None else None
    assert grad_x is not None
    return grad_x, recurrent


def backward_of(solver: str, problem: Problem) -> Backward:
    """The adjoint that goes with a solver: in chunks for comPaSSo, else serial."""
    return chunks.backward if solver.startswith("compasso") else fastest.backward(problem)


def _tensors(problem: Problem) -> tuple[Tensor, ...]:
    recurrent = [
        t
        for t in (problem.recurrent, problem.spikes)
        if t is not None and problem.recurrent is not None
    ]
    return problem.x, *problem.states, *problem.constants, *recurrent
