"""The effective weight as a torch operator for compiled code.

In compiled code a comparison of values would break the graph. This module is imported only when
something is compiled, because registering an operator loads a large part of torch. The operator,
its fake and its gradient take the same arguments, whether they use them or not.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.layers.checks import check_unchanged

__all__ = ["effective_in_graph"]


@torch.library.custom_op("nwavesdk::effective", mutates_args=())
def effective_in_graph(
    weight: Tensor,
    value: Tensor,
    slope: Tensor,  # noqa: ARG001
    source: Tensor,
    owner: str,
) -> Tensor:
    """`value`, with the elementwise gradient `slope` for `weight`.

    Raises:
        RuntimeError: If `weight` is no longer `source`.
    """
    check_unchanged(owner, weight, source)
    return value.clone()


@effective_in_graph.register_fake
def _(weight: Tensor, value: Tensor, slope: Tensor, source: Tensor, owner: str) -> Tensor:  # noqa: ARG001
    return torch.empty_like(value)


def _save_slope(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(inputs[2])


def _weight_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    return grad * ctx.saved_tensors[0], None, None, None, None


effective_in_graph.register_autograd(_weight_gradient, setup_context=_save_slope)
