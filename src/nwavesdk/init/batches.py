"""The first batches of whatever a user has at hand: a tensor, a pair of inputs and targets, a list, a DataLoader."""

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["first_batches"]


def first_batches(caller: str, model: nn.Module, inputs: Any, count: int) -> list[Tensor]:
    """At most `count` batches of inputs, where the model's weights are and in their dtype.

    Args:
        caller: for error messages.
        model: whose weights say where to and in which dtype.
        inputs: one batch [B, T, N_in], or one tuple (inputs, targets), or an iterable of either.
        count: the most batches.

    Raises:
        TypeError: `model` is no module, or `inputs` or a batch is none of these.
        ValueError: there is no batch, or a batch is empty, not finite or no sequence.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
    if isinstance(inputs, Tensor | tuple):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise TypeError(
            f"{caller}: inputs must be a batch [B, T, N_in] or an iterable of batches, got {type(inputs).__name__}."
        )
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(()))
    batches = [_inputs(caller, batch).to(like) for batch in itertools.islice(inputs, count)]
    if not batches:
        raise ValueError(f"{caller}: inputs hold no batch, expected one at least.")
    for x in batches:
        if x.ndim < 3:
            raise ValueError(f"{caller}: inputs must be sequences [B, T, N_in], got a batch of shape {list(x.shape)}.")
        if not x.numel() or not bool(torch.isfinite(x).all()):
            raise ValueError(f"{caller}: inputs must be finite and not empty, got a batch of shape {list(x.shape)}.")
    return batches


def _inputs(caller: str, batch: Any) -> Tensor:
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor):
        raise TypeError(f"{caller}: a batch must be a tensor or (inputs, targets), got {type(x).__name__}.")
    return x
