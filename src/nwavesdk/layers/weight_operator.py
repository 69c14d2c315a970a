"""The effective weight as a torch operator, for compiled code, where a comparison of values would break the graph.

Imported when something is compiled: to register an operator loads a good part of torch. Operator, fake and gradient
take the same arguments, used or not.
"""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.layers.weight import check_fresh

__all__ = ["effective"]


def effective(weight: Tensor, value: Tensor, slope: Tensor, seen: Tensor, owner: str) -> Tensor:
    """`value`, with the gradient `slope` for `weight`.

    Raises:
        RuntimeError: `weight` is no longer `seen`.
    """
    found: Tensor = _effective(weight, value, slope, seen, owner)
    return found


@torch.library.custom_op("nwavesdk::effective", mutates_args=())
def _effective(weight: Tensor, value: Tensor, slope: Tensor, seen: Tensor, owner: str) -> Tensor:  # noqa: ARG001
    check_fresh(weight, seen, owner)
    return value.clone()


@_effective.register_fake
def _(weight: Tensor, value: Tensor, slope: Tensor, seen: Tensor, owner: str) -> Tensor:  # noqa: ARG001
    return torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(inputs[2])


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    return grad * ctx.saved_tensors[0], None, None, None, None


_effective.register_autograd(_gradient, setup_context=_keep)
