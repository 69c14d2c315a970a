"""The solvers as torch operators, for `torch.compile`: one graph node per pass, no graph break.

This module is imported when something is compiled, because registering an operator loads a large
part of torch. Outside of compiled code, the autograd function of `sweep` does the same with less
overhead. Operators accept tensors, numbers and text, so a `Spec` is passed by its name, see
`spec_name`. The fake of an operator, which torch calls while it compiles, returns shapes only, but
must accept all arguments of its operator.

torch keeps compiled code on disk, backward graphs included, and finds it by the names of the
operators alone. So these names end in a hash of this file, and code that was compiled before a
change here is not used after it.
"""

import hashlib
import math
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.passes import sum_over_batch
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    ResultGradient,
    from_saved_dtype,
    program_of_spec,
    recent_spikes,
    specs_by_name,
    to_saved_dtype,
)
from nwavesdk.solvers.reference import solve_reference
from nwavesdk.solvers.sparse.gather import Nonzeros, nonzero_values
from nwavesdk.solvers.sparse.product import spike_product_and_nonzeros, weight_gradient
from nwavesdk.solvers.sweep import BACKWARD, FORWARD

__all__ = ["product_in_graph", "solve_in_graph", "solve_reference_outside"]

_HASH = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


# Solvers


# Its text is run by `exec`, with other names for each layer, which torch cannot compile.
solve_reference_outside = torch.compiler.disable(solve_reference)
"""`solve_reference`, which interrupts the graph."""


def solve_in_graph(
    problem: Problem, name: str, solver: str, needs_membrane: bool, needs_saved: bool
) -> PassResult:
    """As `sweep`, through the operators; `name` is the name of the problem's spec."""
    outputs = _forward_operator(
        problem.x,
        [*problem.states],
        [*problem.constants],
        [*problem.recurrence],
        name,
        solver,
        needs_membrane,
        problem.saves,
    )

    spikes = outputs[0]
    mem = outputs[1] if needs_membrane else None
    others = outputs[2:] if needs_membrane else outputs[1:]
    K = len(problem.states)
    saved = from_saved_dtype(problem, tuple(others[K:])) if needs_saved else ()
    recent = None if problem.spikes is None else recent_spikes(spikes, problem.spikes)
    return PassResult(spikes, mem, tuple(others[:K]), saved, recent=recent)


def _problem_of(
    name: str,
    x: Tensor,
    states: Sequence[Tensor],
    constants: Sequence[Tensor],
    recurrence: Sequence[Tensor],
    saves: str,
) -> Problem:
    """The problem of an operator's arguments."""
    weights, spikes = recurrence or (None, None)
    return Problem(
        specs_by_name[name],
        x,
        tuple(states),
        tuple(constants),
        recurrent=weights,
        spikes=spikes,
        saves=saves,
    )


@torch.library.custom_op(f"nwavesdk::forward_{_HASH}", mutates_args=())
def _forward_operator(
    x: Tensor,
    states: list[Tensor],
    constants: list[Tensor],
    recurrence: list[Tensor],
    name: str,
    solver: str,
    needs_membrane: bool,
    saves: str,
) -> list[Tensor]:
    """Spikes, membrane after each step if needed, last states (K), and saved tensors.

    `recurrence` is empty, or the recurrent weights and the spikes before the first step.
    """
    problem = _problem_of(name, x, states, constants, recurrence, saves)
    result = FORWARD[solver](problem, needs_membrane, True)
    mem = [] if result.mem is None else [result.mem]
    return _unshared([result.spikes, *mem, *result.last, *to_saved_dtype(problem, result.saved)])


@_forward_operator.register_fake
def _(
    x: Tensor,
    states: list[Tensor],
    constants: list[Tensor],  # noqa: ARG001  # of the operator
    recurrence: list[Tensor],  # noqa: ARG001  # of the operator
    name: str,
    solver: str,  # noqa: ARG001  # of the operator
    needs_membrane: bool,
    saves: str,
) -> list[Tensor]:
    B, T, N = x.shape
    sequences = [x.new_empty(B, T, N) for _ in range(1 + needs_membrane)]
    spec = specs_by_name[name]
    saved_dtype = x.dtype if spec.saved_dtype is None else torch.bfloat16
    saved = [x.new_empty(B, T, N, dtype=saved_dtype) for _ in program_of_spec(spec, saves).saved]
    return [*sequences, *(x.new_empty(B, N) for _ in states), *saved]


def _unshared(outputs: list[Tensor]) -> list[Tensor]:
    """`outputs`, copied where they are views: outputs of an operator must not share memory.

    Of outputs without values, the size of the memory does not show whether they do.
    """
    return [
        t if 0 < t.untyped_storage().nbytes() == t.numel() * t.element_size() else t.clone()
        for t in outputs
    ]


@torch.library.custom_op(f"nwavesdk::adjoint_{_HASH}", mutates_args=())
def _adjoint_operator(
    grads: list[Tensor | None],
    states: list[Tensor],
    constants: list[Tensor],
    saved: list[Tensor],
    recurrence: list[Tensor],
    spikes: list[Tensor],
    name: str,
    solver: str,
    has_membrane: bool,
    saves: str,
    learns_constants: bool,
) -> list[Tensor]:
    """Gradients of x, the states, the constants if they learn, and the recurrence if there is one.

    `grads` are the gradients of the outputs of `_forward_operator` except the saved tensors, which
    are `saved`; `recurrence` is as there, and `spikes` has the spikes of a recurrent problem.
    """
    problem = _problem_of(name, saved[0], states, constants, recurrence, saves)
    values = from_saved_dtype(problem, tuple(saved))

    grad_s, *others = grads
    grad_mem = others.pop(0) if has_membrane else None
    result = PassResult(spikes[0] if spikes else values[0], None, (), values)

    gradient = BACKWARD[solver](
        problem, result, ResultGradient(grad_s, grad_mem, others), learns_constants, False
    )

    learned = [] if gradient.constants is None else sum_over_batch(gradient.constants)
    through_recurrence = [g for g in (gradient.recurrent, gradient.spikes) if g is not None]
    return _unshared([gradient.x, *gradient.states, *learned, *through_recurrence])


@_adjoint_operator.register_fake
def _(
    grads: list[Tensor | None],  # noqa: ARG001  # of the operator
    states: list[Tensor],
    constants: list[Tensor],
    saved: list[Tensor],
    recurrence: list[Tensor],
    spikes: list[Tensor],  # noqa: ARG001  # of the operator
    name: str,  # noqa: ARG001  # of the operator
    solver: str,  # noqa: ARG001  # of the operator
    has_membrane: bool,  # noqa: ARG001  # of the operator
    saves: str,  # noqa: ARG001  # of the operator
    learns_constants: bool,
) -> list[Tensor]:
    grad_x = saved[0].to(states[0].dtype)
    like = [grad_x, *states, *(constants if learns_constants else []), *recurrence]
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in like]


def _save_call(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, states, constants, recurrence, ctx.name, ctx.solver, ctx.has_membrane, ctx.saves = inputs
    ctx.learns_constants = any(c.requires_grad for c in constants)
    saved = output[1 + ctx.has_membrane + len(states) :]
    spikes = output[:1] if recurrence else []
    # The lists of tensors that the adjoint takes, one after the other.
    lists = states, constants, saved, recurrence, spikes
    ctx.sizes = [len(tensors) for tensors in lists]
    ctx.save_for_backward(*chain.from_iterable(lists))


def _differentiate_call(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    tensors = iter(ctx.saved_tensors)
    lists = [[*islice(tensors, size)] for size in ctx.sizes]
    K, C = ctx.sizes[:2]

    # torch would write out zeros for the gradients of the saved tensors, which nobody reads.
    read = list(grads[: 1 + ctx.has_membrane + K])
    grad_x, *others = _adjoint_operator(
        read, *lists, ctx.name, ctx.solver, ctx.has_membrane, ctx.saves, ctx.learns_constants
    )

    grad_constants = others[K : K + C] if ctx.learns_constants else [None] * C
    has_recurrence = bool(lists[3])
    grad_recurrence = others[-2:] if has_recurrence else []
    return grad_x, others[:K], grad_constants, grad_recurrence, None, None, None, None


_forward_operator.register_autograd(_differentiate_call, setup_context=_save_call)


# Sparse product


def product_in_graph(x: Tensor, weight: Tensor, *, always: bool = False) -> Tensor:
    """As the sparse `product`; whether the product is sparse is decided when the graph runs."""
    outputs: list[Tensor] = _product_operator(x, weight, always)
    return outputs[0]


@torch.library.custom_op(f"nwavesdk::product_{_HASH}", mutates_args=())
def _product_operator(x: Tensor, weight: Tensor, always: bool) -> list[Tensor]:
    """The product, the bits and row starts of the non-zeros of x, and two flags.

    The flags: whether the non-zeros were looked up, and whether all of them are 1.
    """
    out, active = spike_product_and_nonzeros(x.detach(), weight.detach(), always=always)
    if active is not None:
        flags = torch.tensor([True, active.values is None])
        return [out, active.words, active.start, flags]
    words, start = _empty_active(x)
    return [out, words, start, torch.tensor([False, False])]


def _empty_active(x: Tensor) -> tuple[Tensor, Tensor]:
    """Tensors shaped like `Nonzeros.words` and `Nonzeros.start` of x."""
    rows = math.prod(x.shape[:-1])
    words = x.new_empty(rows, -(-x.shape[-1] // 64), dtype=torch.int64)
    return words, x.new_empty(rows + 1, dtype=torch.int64)


@_product_operator.register_fake
def _(x: Tensor, weight: Tensor, always: bool) -> list[Tensor]:  # noqa: ARG001  # of the operator
    out = x.new_empty(*x.shape[:-1], weight.shape[1])
    return [out, *_empty_active(x), x.new_empty(2, dtype=torch.bool)]


@torch.library.custom_op(f"nwavesdk::product_weight_gradient_{_HASH}", mutates_args=())
def _weight_gradient_operator(
    x: Tensor, words: Tensor, start: Tensor, flags: Tensor, grad: Tensor, always: bool
) -> Tensor:
    x = x.reshape(-1, x.shape[-1])
    grad = grad.reshape(-1, grad.shape[-1])

    has_active, all_ones = flags.tolist()
    if not has_active:
        return x.t() @ grad
    nonzeros = None if all_ones else nonzero_values(x, words, start)

    active = Nonzeros(words, start, nonzeros, int(start[-1]))
    return weight_gradient(x, grad, active, always=always)


@_weight_gradient_operator.register_fake
def _(
    x: Tensor,
    words: Tensor,  # noqa: ARG001  # of the operator
    start: Tensor,  # noqa: ARG001  # of the operator
    flags: Tensor,  # noqa: ARG001  # of the operator
    grad: Tensor,
    always: bool,  # noqa: ARG001  # of the operator
) -> Tensor:
    return grad.new_empty(x.shape[-1], grad.shape[-1])


def _save_product(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weight, ctx.always = inputs
    operands = [x, *output[1:]] if weight.requires_grad else []
    ctx.save_for_backward(weight if x.requires_grad else None, *operands)


def _differentiate_product(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    weight, *operands = ctx.saved_tensors
    grad_x = None if weight is None else grads[0] @ weight.t()

    if not operands:
        return grad_x, None, None
    return grad_x, _weight_gradient_operator(*operands, grads[0], ctx.always), None


_product_operator.register_autograd(_differentiate_product, setup_context=_save_product)
