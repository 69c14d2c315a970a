"""Whether a weight is finite, looked at again only after it has changed.

The sparse product leaves out `0 · inf`, which is NaN, so a weight that is not finite needs the
dense one. To read a whole weight in each step would take longer than the product.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

__all__ = ["FiniteWeight", "is_finite"]

_steps = 0  # optimizer steps of this process since `_count_steps`


def is_finite(weight: Tensor) -> bool:
    """Whether the sum of all values is finite.

    It is not if a value is not, or if values are too large for it. It is numpy's sum, which does
    not use torch's threads.
    """
    with np.errstate(all="ignore"):
        return math.isfinite(weight.detach().numpy().sum())


class FiniteWeight:
    """Remembers whether a weight is finite, for products of a few rows.

    The weight counts as changed if it is another tensor, has another address or another version, if
    `prepare_net` was called since, or if any optimizer has made a step. A fused optimizer and a
    write to `.data` do not change the version; after a write to `.data`, call `prepare_net`.
    """

    def __init__(self) -> None:
        # Not a weak reference, with which torch does not swap the contents of a tensor
        # (`torch.utils.swap_tensors`).
        self._last: tuple[Tensor, tuple[int, ...], bool] | None = None

    def check(self, weight: Tensor, times_prepared: int) -> bool:
        """As `is_finite`.

        Args:
            weight: The weight, on the CPU.
            times_prepared: How often `prepare_net` has prepared its module.
        """
        # A tensor of inference mode has no version. One that a graph has computed is new in each
        # call, and would keep its graph here.
        if weight.is_inference() or weight.grad_fn is not None:
            return is_finite(weight)
        _count_steps()
        state = (weight.data_ptr(), weight._version, times_prepared, _steps)
        last = self._last
        if last is not None and last[1] == state and last[0] is weight:
            return last[2]
        answer = is_finite(weight)
        self._last = weight, state, answer
        return answer

    def __reduce__(self) -> tuple[type["FiniteWeight"], tuple[()]]:
        return FiniteWeight, ()  # copies and pickles look again


@cache
def _count_steps() -> None:
    """Count the steps of all optimizers from now on."""
    register_optimizer_step_post_hook(_count_step)


def _count_step(*_: Any) -> None:
    global _steps
    # A compiled step does change versions. It would be compiled again for each count.
    if not torch.compiler.is_compiling():
        _steps += 1
