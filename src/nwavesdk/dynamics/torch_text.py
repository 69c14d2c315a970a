"""Program texts run by torch: on tensors of any shape, under autograd or not."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["TorchMaths", "torch_function"]


class TorchMaths:
    """The open name `m` of program texts: torch, which also takes plain numbers.

    Args:
        dtype: Dtype of numbers that meet no tensor.

    Example:
        >>> m = TorchMaths(torch.float32)
        >>> m.where(torch.tensor([True, False]), 1.0, 0.0)
        tensor([1., 0.])
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def where(self, condition: Tensor, a: Any, b: Any) -> Tensor:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            a = torch.full((), a, dtype=self._dtype, device=condition.device)
        return torch.where(condition, a, b)

    def pow(self, base: Tensor, exponent: float) -> Tensor:
        return torch.pow(base, exponent)

    def sqrt(self, value: Tensor) -> Tensor:
        # torch does not round a float32 root exactly on every CPU, kernels do.
        return torch.sqrt(value.double()).to(value.dtype)

    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    tanh = staticmethod(torch.tanh)
    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    abs = staticmethod(torch.abs)


@cache
def _compiled(text: str) -> Any:
    return compile(text, "<program text>", "exec")


def torch_function(
    text: str, name: str, dtype: torch.dtype, **names: Any
) -> Callable[..., tuple[Any, ...]]:
    """The function `name` of a program text, for tensors.

    Args:
        text: The text, see `nwavesdk.dynamics.program`.
        name: Name of the function.
        dtype: Dtype of numbers that meet no tensor.
        names: What its other open names mean.

    Example:
        >>> text = "def leak(v, ratio): return (m.exp(-ratio) * v,)"
        >>> leak = torch_function(text, "leak", torch.float32)
        >>> leak(torch.ones(2), torch.tensor([0.5, 1.0]))
        (tensor([0.6065, 0.3679]),)
    """
    scope = {"m": TorchMaths(dtype), **names}
    exec(_compiled(text), scope)  # written by `function_text`, see there
    function: Callable[..., tuple[Any, ...]] = scope[name]
    return function
