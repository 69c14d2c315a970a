"""Calls of modules, without what torch does for hooks where there are none."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

__all__ = ["call_module", "is_watched"]

# Tools that watch all calls of modules replace it.
_TORCH_CALL = nn.Module.__call__


def call_module(module: nn.Module, x: Tensor) -> Any:
    """`module(x)`; without hooks, it saves what torch does for each call of a module."""
    return module(x) if is_watched(module) else module.forward(x)


def is_watched(module: nn.Module) -> bool:
    """Whether hooks, compiled code or another `__call__` wait for a call of the module itself."""
    return bool(
        type(module).__call__ is not _TORCH_CALL
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or _has_any_global_hook()  # type: ignore[no-untyped-call]  # torch does not type it
    )
