"""The product of an input with few non-zeros and a weight, and its gradients.

Forward, the sparse product adds up the rows of the weight that the non-zeros choose. The weight's
gradient adds up rows of the upstream gradient in the same way. Each sum runs in the order of
inputs, or of rows, so results do not depend on the number of threads. Whether the sparse or the
dense product is taken depends only on the shapes and the number of non-zeros (`limits`). Saved for
backward is one bit per input value, and the non-zeros themselves where one of them is not 1.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nwavesdk.solvers.cpu.threads import keep_large_blocks
from nwavesdk.solvers.problem import load_saved_tensors
from nwavesdk.solvers.sparse.finite import is_finite
from nwavesdk.solvers.sparse.gather import (
    DTYPE_NAMES,
    FEW_ROWS,
    Nonzeros,
    find_nonzeros,
    gather_few_gradient_rows,
    gather_few_rows,
    gather_product,
    gather_weight_gradient,
    listed_nonzeros,
)
from nwavesdk.solvers.sparse.limits import SparseLimits, sparse_limits

__all__ = [
    "is_sparse_operand",
    "list_obstacle",
    "list_product",
    "most_nonzeros",
    "product_limits",
    "product_within",
    "sparse_obstacle",
    "spike_product",
    "spike_product_and_nonzeros",
    "weight_gradient",
]

# Kernels read the memory of these types; a subclass may mean something else by its values.
_TORCH_TYPES = (Tensor, torch.nn.Parameter)


def sparse_obstacle(x: Tensor, weight: Tensor) -> str | None:
    """Why the sparse product cannot take these operands, or None if it can."""
    if type(x) not in _TORCH_TYPES or type(weight) not in _TORCH_TYPES:
        return "subclasses of Tensor"
    if x.device.type != "cpu" or weight.device.type != "cpu":
        return f"{x.device.type} tensors"
    if x.dtype not in DTYPE_NAMES or weight.dtype != x.dtype:
        return f"inputs of {x.dtype} and weights of {weight.dtype}"
    if x.layout != torch.strided or weight.layout != torch.strided:
        return "tensors of a sparse layout"

    if torch.is_autocast_enabled("cpu"):
        return "autocast"

    if torch.compiler.is_compiling():
        return None
    if torch._C._get_tracing_state() is not None:
        return "tracing"
    if torch._C._are_functorch_transforms_active():
        return "the transforms of torch.func"
    return None


def list_obstacle(x: Tensor, weight: Tensor) -> str | None:
    """Why `list_product` cannot take a sparse COO tensor and a weight, or None if it can."""
    if torch.compiler.is_compiling():
        return "torch.compile"
    if torch._C._are_functorch_transforms_active():
        return "the transforms of torch.func"
    if x.requires_grad:
        return "a gradient of the list"
    if x.dense_dim() or x.ndim < 2:
        return "sparse tensors of other dimensions than [B, N_in] and [B, T, N_in]"
    return sparse_obstacle(x.detach()._values(), weight)


def is_sparse_operand(weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether the sparse product takes this weight with a plain input of that dtype."""
    return (
        type(weight) in _TORCH_TYPES
        and weight.dtype is dtype
        and weight.is_cpu
        and weight.layout is torch.strided
        and not torch.is_autocast_enabled("cpu")
    )


def spike_product(
    x: Tensor, weight: Tensor, nonzeros: int | None = None, *, always: bool = False
) -> Tensor:
    """`x @ weight`, by the product that is faster according to `sparse_limits`.

    A weight that is not finite is left to the dense product, in which 0 · inf is NaN. In the
    weight's gradient, an upstream gradient that is not finite reaches only the weights of active
    inputs; the dense product gives NaN to all.

    Args:
        x: Input [..., N_in] with any values. `sparse_obstacle` must be None for the operands.
        weight: Weight [N_in, N_out].
        nonzeros: Number of values of x that are not 0, if known. If there are too many, x is not
            read.
        always: Whether to take the sparse product at any density.

    Returns:
        The product [..., N_out].

    Raises:
        RuntimeError: In backward, for a gradient of a gradient, which only the dense product has.
    """
    limits = product_limits(x, weight, always=always)
    return product_within(x, weight, limits, nonzeros, partial(is_finite, weight))


def list_product(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight` for an x that lists its non-zeros, by the sparse product at any density.

    Result and gradient of the weight have the bits of `spike_product(x.to_dense(), weight,
    always=True)`, without a dense x. A weight that is not finite needs the dense product.

    Args:
        x: Sparse COO tensor [..., N_in]; values at the same place are added up. `list_obstacle`
            must be None for the operands.
        weight: Weight [N_in, N_out].

    Returns:
        The product [..., N_out].

    Raises:
        RuntimeError: See `spike_product`.
    """
    if not is_finite(weight):
        return x.to_dense() @ weight
    keep_large_blocks()
    active = listed_nonzeros(x)
    out = gather_product(active, weight.detach())
    if torch.is_grad_enabled() and weight.requires_grad:
        out = _attach_graph(x, weight, [out], active, True)
    return out.view(*x.shape[:-1], weight.shape[1])


def product_limits(x: Tensor, weight: Tensor, *, always: bool = False) -> SparseLimits:
    """The most non-zeros of x with which each product is sparse; see `spike_product`."""
    if always:
        return SparseLimits(x.numel(), x.numel(), x.numel())
    return sparse_limits(x.numel() // max(x.shape[-1], 1), *weight.shape)


def most_nonzeros(limits: SparseLimits, x: Tensor, weight: Tensor) -> int:
    """The most non-zeros of x with which the product or a gradient is sparse; -1 means never."""
    if not torch.is_grad_enabled() or not (x.requires_grad or weight.requires_grad):
        return limits.forward
    gradient = limits.weight_gradient if weight.requires_grad else -1
    return max(limits.forward_with_graph, gradient)


def product_within(
    x: Tensor,
    weight: Tensor,
    limits: SparseLimits,
    nonzeros: int | None,
    is_weight_finite: Callable[[], bool],
) -> Tensor:
    """As `spike_product`, with limits that are known.

    Args:
        x: See `spike_product`.
        weight: See `spike_product`.
        limits: See `product_limits`.
        nonzeros: See `spike_product`.
        is_weight_finite: Called for products of up to `FEW_ROWS` rows. For more, reading the weight
            takes little time compared with the product.
    """
    has_graph = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if forward_ad._current_level >= 0:
        has_graph = True  # The functions of the graph reject forward-mode derivatives.
    most_forward = limits.forward_with_graph if has_graph else limits.forward
    most_gradient = limits.weight_gradient if has_graph and weight.requires_grad else -1

    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    is_few = rows.shape[0] <= FEW_ROWS
    most = most_forward if is_few else max(most_forward, most_gradient)
    if most < 0 or (nonzeros is not None and nonzeros > most):
        return x @ weight

    active = None
    if is_few:
        product = gather_few_rows(rows, weight, most)
        # The weight is checked last: most inputs with too many non-zeros never ask for it.
        if product is None or not is_weight_finite():
            return x @ weight
        out, count = product
    else:
        active = _find_nonzeros(rows, weight, most)
        if active is None:
            return x @ weight
        out, count = _multiply(rows, weight, active, most_forward), active.count

    if has_graph:
        is_gradient_sparse = count <= most_gradient
        listed = active if is_gradient_sparse else None
        out = _attach_graph(rows, weight, [out], listed, is_gradient_sparse)
    return out if x.ndim == 2 else out.view(*x.shape[:-1], weight.shape[1])


def _find_nonzeros(rows: Tensor, weight: Tensor, most: int) -> Nonzeros | None:
    """The non-zeros of many rows; None if there are too many or the weight is not finite."""
    if not is_finite(weight):
        return None
    keep_large_blocks()
    return find_nonzeros(rows.detach().contiguous(), most)


def _multiply(rows: Tensor, weight: Tensor, active: Nonzeros, most: int) -> Tensor:
    """The product of many rows without a graph, sparse up to a number of non-zeros."""
    if active.count > most:
        return rows.detach() @ weight.detach()
    return gather_product(active, weight.detach())


def spike_product_and_nonzeros(
    x: Tensor, weight: Tensor, *, always: bool = False
) -> "tuple[Tensor, Nonzeros | None]":
    """As `spike_product` within a graph, for a weight that learns; it makes no graph.

    Returns:
        The product, and the non-zeros of x where they were looked up.
    """
    limits = product_limits(x, weight, always=always)
    most = max(limits.forward_with_graph, limits.weight_gradient)
    rows = x.reshape(-1, x.shape[-1])
    active = _find_nonzeros(rows, weight, most) if most >= 0 else None
    if active is None:
        return x @ weight, None
    out = _multiply(rows, weight, active, limits.forward_with_graph)
    return out.view(*x.shape[:-1], weight.shape[1]), active


def weight_gradient(
    x: Tensor, grad: Tensor, active: "Nonzeros | None" = None, *, always: bool = False
) -> Tensor:
    """`xᵀ @ grad` [N_in, N_out], by the product that is faster according to `sparse_limits`.

    Args:
        x: Input [R, N_in].
        grad: Upstream gradient [R, N_out].
        active: The non-zeros of x, if they have been looked up.
        always: Whether to take the sparse product at any density.
    """
    limit = (
        x.numel() if always else sparse_limits(len(x), x.shape[1], grad.shape[1]).weight_gradient
    )

    if active is None and limit >= 0:
        active = find_nonzeros(x.contiguous(), limit)
    if active is None or active.count > limit:
        return x.t() @ grad
    return gather_weight_gradient(active, grad.contiguous(), x.shape[1])


class _SparseProduct(torch.autograd.Function):
    """The graph of a product that has been computed; it is in the list `product`.

    Many rows save the non-zeros in `active`, one bit per value, in place of x.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        product: list[Tensor],
        active: Nonzeros | None,
        is_gradient_sparse: bool,
    ) -> Tensor:
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        saved: list[Tensor | None] = [weight if needs_x else None]
        if needs_weight:
            saved += [x] if active is None else [active.words, active.start, active.values]
        ctx.save_for_backward(*saved)

        ctx.inputs = x.shape[-1]
        ctx.count = None if active is None else active.count
        ctx.is_gradient_sparse = is_gradient_sparse
        return product[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        _reject_second_derivative()
        weight, *saved = load_saved_tensors(ctx)
        grad_x = None if weight is None else grad @ weight.t()

        grad_weight = None
        if ctx.count is not None:
            words, start, values = saved
            active = Nonzeros(words, start, values, ctx.count)
            grad_weight = gather_weight_gradient(active, grad.contiguous(), ctx.inputs)
        elif saved and ctx.is_gradient_sparse:
            grad_weight = gather_few_gradient_rows(saved[0], grad)
        elif saved:
            grad_weight = saved[0].t() @ grad

        return grad_x, grad_weight, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # noqa: ARG004  # torch gives all arguments
        raise RuntimeError(
            "forward-mode derivatives go only through the dense product: "
            'build the synapses with product="dense".'
        )


# Without the transforms of torch.func, which never reach it, the base of `apply` does the same in
# half of the time.
_attach_graph: Callable[..., Tensor] = super(torch.autograd.Function, _SparseProduct).apply


def _reject_second_derivative() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a gradient of a gradient (create_graph=True) goes only through the dense product: "
            'build the synapses with product="dense".'
        )
