"""The product of an input of few non-zeros and a weight, with its gradients, where that is faster than the dense one.

Forward adds up the rows of the weight that the non-zeros choose, the weight's gradient the rows of the upstream
gradient; each sum runs in the order of inputs, or of rows, so results do not depend on the number of threads. Whether
it is taken depends on shapes, number of non-zeros and the table of crossovers only. Kept for backward is one bit for
each input value, and the non-zeros themselves where one of them is not 1.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import keep_large_blocks, run_jobs
from nwavesdk.solvers.kernel_cache import load_python_kernels
from nwavesdk.solvers.problem import explain_freed_graph
from nwavesdk.solvers.sparse.crossover import active_table

__all__ = [
    "Active",
    "attempt",
    "correlation",
    "gather",
    "gather_gradient",
    "pack",
    "product",
    "unfit",
    "values",
]

_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_SMALL = 1 << 18  # values read or added below which threads cost more than they save
_BLOCK = (
    1 << 18
)  # values of the upstream gradient that stay in the second cache while they are gathered
_PIECES = 32  # jobs of a weight gradient


def unfit(x: Tensor, weight: Tensor) -> str | None:
    """Why the sparse product cannot take these operands, or None when it can."""
    if not {type(x), type(weight)} <= {Tensor, torch.nn.Parameter}:
        return "subclasses of Tensor"
    if x.device.type != "cpu" or weight.device.type != "cpu":
        return f"{x.device.type} tensors"
    if x.dtype not in _NAMES or weight.dtype != x.dtype:
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


def product(
    x: Tensor, weight: Tensor, nonzeros: int | None = None, *, always: bool = False
) -> Tensor:
    """`x @ weight`, by whichever product is the faster one by the table.

    A weight that is not finite is left to the dense product, because there 0 · inf is NaN. In the weight's gradient
    a non-finite upstream gradient reaches the weights of active inputs only, where the dense product gives NaN to all.

    Args:
        x: [..., N_in], any values; operands for which `unfit` is None.
        weight: [N_in, N_out].
        nonzeros: how many values of x are not 0, where that is known; too many, and x is not looked at.
        always: take the sparse product whatever the density.

    Returns:
        [..., N_out].

    Raises:
        RuntimeError: in backward, for a gradient of a gradient, which the dense product has.
    """
    learn = torch.is_grad_enabled() and weight.requires_grad
    forward_limit, gradient_limit = _limits(x, weight, always)
    most = max(forward_limit, gradient_limit if learn else -1)
    if most < 0 or (nonzeros is not None and nonzeros > most) or not _finite(weight):
        return x @ weight
    keep_large_blocks()
    flat = x.detach().reshape(-1, x.shape[-1]).contiguous()
    active = pack(flat, most)
    if active is None:
        return x @ weight
    out: Tensor = _Product.apply(
        x, weight, flat, active, active.count <= forward_limit, active.count <= gradient_limit
    )
    return out


def attempt(x: Tensor, weight: Tensor, *, always: bool = False) -> "tuple[Tensor, Active | None]":
    """As `product` without a graph, for a weight that learns; and the non-zeros of x, where they were looked up."""
    forward_limit, gradient_limit = _limits(x, weight, always)
    most = max(forward_limit, gradient_limit)
    active = None
    if most >= 0 and _finite(weight):
        keep_large_blocks()
        active = pack(x.reshape(-1, x.shape[-1]).contiguous(), most)
    if active is None or active.count > forward_limit:
        return x @ weight, active
    return gather(active, weight).view(*x.shape[:-1], weight.shape[1]), active


def _limits(x: Tensor, weight: Tensor, always: bool) -> tuple[int, int]:
    """The most non-zeros with which the sparse product and the sparse gradient of the weight are taken."""
    rows = x.numel() // max(x.shape[-1], 1)
    return (x.numel(), x.numel()) if always else active_table().limits(rows, *weight.shape)


@dataclass(frozen=True)
class Active:
    """The non-zeros of x [R, N_in].

    Attributes:
        words: one bit a value, [R, ⌈N_in/64⌉] int64.
        start: how many there are before each row, and in all, [R + 1] int64.
        values: what they are, or None if all are 1.
        count: how many there are.
    """

    words: Tensor
    start: Tensor
    values: Tensor | None
    count: int


def pack(x: Tensor, most: int) -> Active | None:
    """The non-zeros of x [R, N_in], or None if they are more than `most`."""
    rows, inputs = x.shape
    kernels, serial = _kernels(x), x.numel() < _SMALL
    words, counts = (
        x.new_empty(rows, -(-inputs // 64), dtype=torch.int64),
        x.new_empty(rows, dtype=torch.int64),
    )
    seen = torch.zeros(3, dtype=torch.int64)
    bits, array = words.numpy().view("uint64"), x.numpy()
    given = array, most, bits, counts.numpy(), seen.numpy()
    run_jobs(lambda i, j: kernels.pack(i, j, *given), rows, serial=serial)
    if seen[1]:
        return None
    start = torch.zeros(rows + 1, dtype=torch.int64)
    torch.cumsum(counts, 0, out=start[1:])
    count = int(start[-1])
    if count > most:
        return None
    return Active(words, start, values(x, words, start) if seen[2] else None, count)


def values(x: Tensor, words: Tensor, start: Tensor) -> Tensor:
    """The non-zeros of x [R, N_in], see `Active`."""
    found = x.new_empty(int(start[-1]))
    picked = x.contiguous().numpy(), words.numpy().view("uint64"), start.numpy(), found.numpy()
    run_jobs(lambda i, j: _kernels(x).pick(i, j, *picked), x.shape[0], serial=x.numel() < _SMALL)
    return found


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        flat: Tensor,
        active: Active,
        forward: bool,
        gradient: bool,
    ) -> Tensor:
        ctx.shape, ctx.count, ctx.gradient = x.shape, active.count, gradient
        kept: list[Tensor | None] = [weight if ctx.needs_input_grad[0] else None]
        if ctx.needs_input_grad[1]:
            kept += [active.words, active.start, active.values] if gradient else [x]
        ctx.save_for_backward(*kept)
        out = gather(active, weight.detach()) if forward else flat @ weight
        return out.view(*x.shape[:-1], weight.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a gradient of a gradient (create_graph=True) goes through the dense product only: build the synapses "
                'with product="dense".'
            )
        try:
            weight, *kept = ctx.saved_tensors
        except RuntimeError as error:
            raise explain_freed_graph(error) from None
        grad = grad.reshape(-1, grad.shape[-1])
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight.t()).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            if ctx.gradient:
                words, start, values = kept
                active = Active(words, start, values, ctx.count)
                grad_weight = gather_gradient(active, grad.contiguous(), ctx.shape[-1])
            else:
                grad_weight = kept[0].reshape(-1, ctx.shape[-1]).t() @ grad
        return grad_x, grad_weight, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:  # noqa: ARG004
        raise RuntimeError(
            'forward-mode derivatives go through the dense product only: build the synapses with product="dense".'
        )


def correlation(
    x: Tensor, grad: Tensor, active: Active | None = None, *, always: bool = False
) -> Tensor:
    """`xᵀ @ grad` [N_in, N_out] of x [R, N_in] and grad [R, N_out], by whichever product is the faster one.

    `active` are the non-zeros of x, where they have been looked up.
    """
    limit = x.numel() if always else active_table().limits(x.shape[0], x.shape[1], grad.shape[1])[1]
    if active is None and limit >= 0:
        active = pack(x.contiguous(), limit)
    if active is None or active.count > limit:
        return x.t() @ grad
    return gather_gradient(active, grad.contiguous(), x.shape[1])


def gather(active: Active, weight: Tensor) -> Tensor:
    """The product of x and `weight`."""
    rows, outputs = active.words.shape[0], weight.shape[1]
    out = weight.new_empty(rows, outputs)
    given = *_arrays(active), weight.contiguous().numpy(), out.numpy()
    kernel = _kernels(weight).product
    run_jobs(
        lambda i, j: kernel(i, j, *given), rows, serial=(active.count + rows) * outputs < _SMALL
    )
    return out


def gather_gradient(active: Active, grad: Tensor, inputs: int) -> Tensor:
    """The product of x, transposed, and `grad` [R, N_out]."""
    rows, outputs = grad.shape
    kernels, serial = _kernels(grad), (active.count + rows) * outputs < _SMALL
    size = max(64, min(rows // 16, _BLOCK // outputs))  # rows a block
    blocks = -(-rows // size)
    words, start, values = _arrays(active)
    ends = torch.empty(blocks, inputs, dtype=torch.int64).numpy()
    order = torch.empty(active.count, dtype=torch.int32).numpy().view("uint32")
    moved = None if values is None else grad.new_empty(active.count).numpy()
    by_rows = size, words, start, values, ends, order, moved
    run_jobs(lambda i, j: kernels.transpose(i, j, *by_rows), blocks, serial=serial)
    out = grad.new_empty(inputs, outputs)
    by_inputs = _cuts(ends), size, start, ends, order, moved, grad.numpy(), out.numpy()
    run_jobs(lambda i, j: kernels.weight_gradient(i, j, *by_inputs), _PIECES, serial=serial)
    return out


def _finite(weight: Tensor) -> bool:
    """Whether all values are finite, and not so large that their sum is not; numpy's sum needs no threads of torch."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(weight.detach().numpy().sum()))


def _cuts(ends: Any) -> Any:
    """Where the inputs are cut into pieces of about the same work."""
    work = ends.sum(0) + np.arange(ends.shape[1])  # of all inputs up to each, but for a constant
    cuts = np.searchsorted(work, np.linspace(work[0], work[-1], _PIECES + 1))
    cuts[0], cuts[-1] = 0, ends.shape[1]
    return cuts


def _arrays(active: Active) -> tuple[Any, Any, Any]:
    values = None if active.values is None else active.values.numpy()
    return active.words.numpy().view("uint64"), active.start.numpy(), values


def _kernels(x: Tensor) -> Any:
    return _load(_NAMES[x.dtype])


@cache
def _load(dtype: str) -> Any:
    text = files("nwavesdk.solvers.sparse").joinpath("kernels.py").read_text("utf-8")
    return load_python_kernels(f"sparse_{dtype}", text)
