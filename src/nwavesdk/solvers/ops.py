"""The solvers as torch operators, for `torch.compile`: one node of the graph forward, one backward, no graph break.

Imported when something is compiled: to register an operator loads a good part of torch. Outside of compiled code the
autograd function of `sweep` does the same with less overhead. Operators take tensors, numbers and texts, so a `Spec`
goes by a name under which this process remembers it. A fake gives shapes alone, but takes all that its operator takes.

torch keeps compiled code on disk and finds it again by the operators' names alone, its backward graph with it. So that
none of it outlives a change of the operators here, their names end in a hash of this file.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    Trace,
    TraceGradient,
    from_saved_dtype,
    spec_by_name,
    to_saved_dtype,
)
from nwavesdk.solvers.sparse import product as sparse
from nwavesdk.solvers.sweep import FORWARD, backward_for

__all__ = ["product_in_graph", "solve_in_graph"]

_HASH = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


def solve_in_graph(
    problem: Problem, name: str, solver: str, needs_membrane: bool, needs_saved: bool
) -> Solution:
    """As `sweep` with the solver of that name, through the operators; `name` is that of the problem's spec."""
    K = len(problem.states)
    extra = [
        t
        for t in (problem.recurrent, problem.spikes)
        if t is not None and problem.recurrent is not None
    ]
    outputs = _forward_operator(
        problem.x, [*problem.states], [*problem.constants], extra, name, solver, needs_membrane
    )
    spikes, rest = outputs[0], outputs[1:]
    trajectory, rest = (rest[0], rest[1:]) if needs_membrane else (None, rest)
    return Solution(
        spikes,
        trajectory,
        tuple(rest[:K]),
        from_saved_dtype(problem, tuple(rest[K:])) if needs_saved else None,
    )


@torch.library.custom_op(f"nwavesdk::forward_{_HASH}", mutates_args=())
def _forward_operator(
    x: Tensor,
    states: list[Tensor],
    constants: list[Tensor],
    recurrent: list[Tensor],
    name: str,
    solver: str,
    needs_membrane: bool,
) -> list[Tensor]:
    """Spikes, with `mem` the membrane after each step, the states after the last step, and what the steps leave."""
    problem = Problem(spec_by_name(name), x, tuple(states), tuple(constants), *recurrent)
    trace = FORWARD[solver](problem, needs_membrane, True)
    assert trace.saved is not None
    mine = [] if trace.mem is None else [trace.mem]
    return _apart([trace.spikes, *mine, *trace.last, *to_saved_dtype(problem, trace.saved)])


@_forward_operator.register_fake
def _(
    x: Tensor,
    states: list[Tensor],
    constants: list[Tensor],  # noqa: ARG001
    recurrent: list[Tensor],  # noqa: ARG001
    name: str,
    solver: str,  # noqa: ARG001
    needs_membrane: bool,
) -> list[Tensor]:
    B, T, N = x.shape
    sequences = [x.new_empty(B, T, N) for _ in range(1 + needs_membrane)]
    kept = [x.new_empty(B, T, N) for _ in states]
    if spec_by_name(name).saved_dtype == "bfloat16":
        kept[0] = kept[0].bfloat16()
    return [*sequences, *(x.new_empty(B, N) for _ in states), *kept]


def _apart(outputs: list[Tensor]) -> list[Tensor]:
    """`outputs`, copied where they are part of something larger: what an operator returns must not share memory."""
    return [
        t if t.untyped_storage().nbytes() == t.numel() * t.element_size() else t.clone()
        for t in outputs
    ]


@torch.library.custom_op(f"nwavesdk::adjoint_{_HASH}", mutates_args=())
def _adjoint_operator(
    grads: list[Tensor | None],
    saved: list[Tensor],
    name: str,
    solver: str,
    needs_membrane: bool,
    learn: bool,
    recurrent: bool,
) -> list[Tensor]:
    """∂L/∂ x, states, with `learn` constants, with `recurrent` its weights and the spikes before."""
    spec = spec_by_name(name)
    K, C = len(spec.neuron.states), len(spec.neuron.constants)
    states, constants, extra = saved[:K], saved[K : K + C], saved[2 * K + C :]
    problem = Problem(spec, saved[K + C], tuple(states), tuple(constants), *extra[:2])
    kept = from_saved_dtype(problem, tuple(saved[K + C : 2 * K + C]))
    trace = Trace(extra[2] if recurrent else kept[0], None, (), kept)
    gradient = TraceGradient(
        grads[0],
        grads[1] if needs_membrane else None,
        grads[1 + needs_membrane : 1 + needs_membrane + K],
    )
    found = backward_for(solver)(problem, trace, gradient, learn, False)
    return _apart([g for g in found if g is not None])


@_adjoint_operator.register_fake
def _(
    grads: list[Tensor | None],  # noqa: ARG001
    saved: list[Tensor],
    name: str,
    solver: str,  # noqa: ARG001
    needs_membrane: bool,  # noqa: ARG001
    learn: bool,
    recurrent: bool,
) -> list[Tensor]:
    spec = spec_by_name(name)
    K, C = len(spec.neuron.states), len(spec.neuron.constants)
    like = [saved[K + C].to(saved[0].dtype), *saved[:K], *(saved[K : K + C] if learn else ())]
    like += saved[2 * K + C : 2 * K + C + 2] if recurrent else []
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in like]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, states, constants, recurrent, ctx.name, ctx.solver, mem = inputs
    ctx.mem, ctx.K, ctx.recurrent = mem, len(states), bool(recurrent)
    ctx.learn, ctx.C = any(c.requires_grad for c in constants), len(constants)
    ctx.save_for_backward(
        *states,
        *constants,
        *output[1 + mem + ctx.K :],
        *recurrent,
        *output[: int(bool(recurrent))],
    )


def _gradient(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    K, C = ctx.K, ctx.C
    given = list(
        grads[: 1 + ctx.mem + K]
    )  # zeros for what was kept would be written out, and nobody reads them
    found = _adjoint_operator(
        given, list(ctx.saved_tensors), ctx.name, ctx.solver, ctx.mem, ctx.learn, ctx.recurrent
    )
    constants = found[1 + K : 1 + K + C] if ctx.learn else [None] * C
    return (
        found[0],
        found[1 : 1 + K],
        constants,
        found[-2:] if ctx.recurrent else [],
        None,
        None,
        None,
    )


_forward_operator.register_autograd(_gradient, setup_context=_keep)


def product_in_graph(x: Tensor, weight: Tensor, *, always: bool = False) -> Tensor:
    """As `sparse.product`: whether it is taken is decided when the graph runs."""
    outputs: list[Tensor] = _product_operator(x, weight, always)
    return outputs[0]


@torch.library.custom_op(f"nwavesdk::product_{_HASH}", mutates_args=())
def _product_operator(x: Tensor, weight: Tensor, always: bool) -> list[Tensor]:
    """The product, the bits and starts of its non-zeros, and whether backward may use them and needs no values."""
    out, active = sparse.attempt(x.detach(), weight.detach(), always=always)
    rows, words = out.numel() // max(weight.shape[1], 1), -(-x.shape[-1] // 64)
    if active is None:
        empty = (
            x.new_empty(rows, words, dtype=torch.int64),
            x.new_empty(rows + 1, dtype=torch.int64),
        )
        return [out, *empty, torch.tensor([False, False])]
    return [out, active.words, active.start, torch.tensor([True, active.values is None])]


@_product_operator.register_fake
def _(x: Tensor, weight: Tensor, always: bool) -> list[Tensor]:  # noqa: ARG001
    out = x.new_empty(*x.shape[:-1], weight.shape[1])
    rows, words = math.prod(x.shape[:-1]), -(-x.shape[-1] // 64)
    integers = [x.new_empty(size, dtype=torch.int64) for size in ((rows, words), (rows + 1,))]
    return [out, *integers, x.new_empty(2, dtype=torch.bool)]


@torch.library.custom_op(f"nwavesdk::product_weight_gradient_{_HASH}", mutates_args=())
def _weight_gradient_operator(
    x: Tensor, words: Tensor, start: Tensor, state: Tensor, grad: Tensor, always: bool
) -> Tensor:
    x, grad = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
    found, binary = state.tolist()
    if not found:
        return x.t() @ grad
    active = sparse.Active(
        words, start, None if binary else sparse.values(x, words, start), int(start[-1])
    )
    return sparse.correlation(x, grad, active, always=always)


@_weight_gradient_operator.register_fake
def _(x: Tensor, words: Tensor, start: Tensor, state: Tensor, grad: Tensor, always: bool) -> Tensor:  # noqa: ARG001
    return grad.new_empty(x.shape[-1], grad.shape[-1])


def _keep_operands(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weight, ctx.always = inputs
    learns, passes = weight.requires_grad, x.requires_grad
    ctx.save_for_backward(weight if passes else None, *([x, *output[1:]] if learns else []))


def _product_gradient(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    weight, *kept = ctx.saved_tensors
    grad_x = None if weight is None else grads[0] @ weight.t()
    return grad_x, _weight_gradient_operator(*kept, grads[0], ctx.always) if kept else None, None


_product_operator.register_autograd(_product_gradient, setup_context=_keep_operands)
