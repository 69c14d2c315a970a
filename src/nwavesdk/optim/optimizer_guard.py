"""A guard for parameters that were replaced: an optimizer that still holds one would train nothing, silently."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

__all__ = ["guard_replaced"]


def guard_replaced(parameters: Iterable[nn.Parameter], owner: str) -> RemovableHandle:
    """Make every optimizer that holds one of `parameters` raise a RuntimeError in its next step.

    They are held weakly: as a rule all are gone when the optimizer is built, and a step then costs nothing.

    Args:
        parameters: that no longer belong to their net.
        owner: who replaced them, for the error.

    Returns:
        A handle whose `remove()` ends it.
    """
    replaced = [weakref.ref(parameter) for parameter in parameters]

    def check(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001 (torch's hook)
        alive = {id(parameter) for ref in replaced if (parameter := ref()) is not None}
        if alive and any(id(p) in alive for group in optimizer.param_groups for p in group["params"]):
            raise RuntimeError(
                f"{type(optimizer).__name__} holds weights that {owner} has replaced since, and would train nothing: "
                f"build {owner} before the optimizer."
            )

    return register_optimizer_step_pre_hook(check)
