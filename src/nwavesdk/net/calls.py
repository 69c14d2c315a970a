"""Calls of modules without torch's work for hooks, and attributes that change for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

__all__ = ["Outputs", "call_module", "in_eval", "is_watched", "replaced"]

# Spikes and membranes of a module, or twice the output of a module without membranes.
Outputs = tuple[Tensor, Tensor]

# Tools that watch all calls of modules replace this method.
_TORCH_CALL = nn.Module.__call__

# Hooks of all modules; torch fills these dictionaries and never replaces them.
_GLOBAL_HOOKS: tuple[dict[int, Any], ...] = (
    torch_module._global_backward_pre_hooks,
    torch_module._global_backward_hooks,
    torch_module._global_forward_pre_hooks,
    torch_module._global_forward_hooks,
)


def call_module(module: nn.Module, x: Tensor) -> Any:
    """`module(x)`; without hooks, it skips the work of torch for each call of a module."""
    return module(x) if is_watched(module) else module.forward(x)


def is_watched(module: nn.Module) -> bool:
    """Whether the module must be called, because of hooks, compiled code or another `__call__`."""
    return bool(
        type(module).__call__ is not _TORCH_CALL
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or any(_GLOBAL_HOOKS)
    )


@contextmanager
def replaced(changes: Iterable[tuple[nn.Module, str, Any]]) -> Iterator[None]:
    """Within a `with` block, modules have other attributes: `(module, name, value)`."""
    before: list[tuple[dict[str, Any], str, dict[str, Any]]] = []
    for module, name, value in changes:
        attributes = vars(module)

        # Empty if only the class has the attribute, as for methods.
        before.append((attributes, name, {name: attributes[name]} if name in attributes else {}))
        attributes[name] = value

    try:
        yield
    finally:
        # In reverse, because an attribute may be replaced twice.
        for attributes, name, value in reversed(before):
            attributes.pop(name, None)
            attributes.update(value)


@contextmanager
def in_eval(model: nn.Module) -> Iterator[None]:
    """Within a `with` block, a model is in `eval()`; each module then returns to its mode."""
    with replaced([(module, "training", module.training) for module in model.modules()]):
        model.eval()
        yield
