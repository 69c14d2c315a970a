"""Recordings of different lengths in one batch: which steps are valid, and sums over these only.

A batch [B, T, *features] has as many steps as its longest recording. Recording b has `lengths[b]`
of them, the valid steps; the others are padding. No result may depend on padding.
"""

import math

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_tensor

__all__ = [
    "check_lengths",
    "check_optional_lengths",
    "complete_lengths",
    "fill_padding",
    "mean_of_recordings",
    "mean_over_steps",
    "reads_batch",
    "sum_over_steps",
    "valid_places",
    "valid_steps",
]


def valid_steps(lengths: Tensor, T: int) -> Tensor:
    """Which steps of each recording are valid: True before its length, False in padding.

    Args:
        lengths: Number of steps of each recording, int64 [B].
        T: Number of steps of the batch.

    Returns:
        A mask, bool [B, T].

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        ValueError: If it does not have one dimension, or `T` is not a whole number.

    Example:
        >>> valid_steps(torch.tensor([1, 3]), 3)
        tensor([[ True, False, False],
                [ True,  True,  True]])
    """
    _require_whole("valid_steps", lengths)
    if lengths.ndim != 1:
        raise ValueError(
            f"valid_steps: lengths have the shape {list(lengths.shape)}, expected [B]: one per "
            "recording."
        )
    steps = whole_number("valid_steps", "T", T, least=0)
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def check_lengths(owner: str, lengths: object, x: Tensor, least: int = 1) -> Tensor:
    """Check the lengths of a batch of sequences.

    Args:
        owner: Name of the module or function that takes the lengths, for the message.
        lengths: The argument.
        x: The sequences, [B, T, *features], with at least two dimensions.
        least: The smallest length; 0 where a recording may have ended in an earlier call.

    Returns:
        The lengths, int64 [B], on the device of `x`.

    Raises:
        TypeError: If `lengths` is not an int64 tensor.
        ValueError: If there is not one length per recording, or a length is not from `least` to T;
            in compiled code a RuntimeError.
    """
    _require_whole(owner, lengths)
    assert isinstance(lengths, Tensor)

    B, T = x.shape[:2]
    if lengths.shape != (B,):
        raise ValueError(
            f"{owner}: lengths have the shape {list(lengths.shape)}, expected [{B}]: one per "
            "recording."
        )

    text = f"{owner}: lengths must be from {least} to the {T} steps of the input"
    if torch.compiler.is_compiling():  # which must not read values
        torch._assert_async(((lengths >= least) & (lengths <= T)).all(), f"{text}.")
    elif B:
        shortest, longest = (int(bound) for bound in torch.aminmax(lengths))
        if shortest < least or longest > T:
            raise ValueError(
                f"{text}, got {shortest} to {longest}: pass the number of steps of each recording "
                "before it was padded."
            )
    return lengths.to(x.device)


def check_optional_lengths(owner: str, lengths: object, x: Tensor, least: int = 1) -> Tensor | None:
    """`check_lengths` of lengths that may be None, without padding; None stays None."""
    return None if lengths is None else check_lengths(owner, lengths, x, least)


def complete_lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The lengths, int64 [B]; all steps of x [B, T, ...] if they are None.

    Example:
        >>> complete_lengths(torch.ones(2, 3), None)
        tensor([3, 3])
    """
    return torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths


def fill_padding(values: Tensor, lengths: Tensor | None, value: float = 0.0) -> Tensor:
    """The values with `value` in padding; padding has no gradient, even if it is NaN.

    Args:
        values: A value per step, [B, T, *features].
        lengths: Number of steps of each recording, int64 [B]; None if there is no padding.
        value: The value of padding.

    Example:
        >>> fill_padding(torch.ones(2, 3), torch.tensor([1, 3]))
        tensor([[1., 0., 0.],
                [1., 1., 1.]])
    """
    if lengths is None:
        return values
    mask = valid_steps(lengths, values.shape[1])
    # Not a product, because padding may be NaN.
    return torch.where(mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), values, value)


def sum_over_steps(values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The sum over the valid steps of each recording, with gradient.

    Args:
        values: A value per step, [B, T, *features].
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        Sums, [B, *features]; float32 for half precision, which cannot count far. Spikes are counted
        without rounding, so more padding does not change a bit.
    """
    dtype = torch.promote_types(values.dtype, torch.float32)
    return fill_padding(values, lengths).sum(dim=1, dtype=dtype)


def mean_of_recordings(values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The mean over the valid steps of each recording, [B, *features], with gradient.

    Example:
        >>> mean_of_recordings(torch.tensor([[1.0, 9.0], [1.0, 3.0]]), torch.tensor([1, 2]))
        tensor([1., 2.])
    """
    total = sum_over_steps(values, lengths)
    if lengths is None:
        return total / values.shape[1]
    return total / lengths.reshape(-1, *[1] * (total.ndim - 1))


def mean_over_steps(values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The mean over all valid steps of all recordings, with gradient: each step counts the same.

    Args:
        values: A value per step, [B, T, *features].
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        Means, float64 [*features]; NaN without a valid step.

    Example:
        >>> spk = torch.tensor([[[1.0], [9.0], [9.0]], [[0.0], [1.0], [0.0]]])
        >>> mean_over_steps(spk, torch.tensor([1, 3]))
        tensor([0.5000], dtype=torch.float64)
    """
    total = sum_over_steps(values, lengths).double().sum(0)
    return total / (values.shape[0] * values.shape[1] if lengths is None else lengths.sum())


def mean_rate(spk: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The mean over all valid steps and all neurons, with gradient.

    Args:
        spk: Spikes, [B, T, *features].
        lengths: Number of steps of each recording, int64 [B]; None for all steps.

    Returns:
        A scalar in float64; NaN without a valid step. Spikes are counted without rounding, so more
        padding does not change a bit.

    Example:
        >>> spk = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [9.0, 9.0]]])
        >>> mean_rate(spk, torch.tensor([2, 1]))
        tensor(0.5000, dtype=torch.float64)
    """
    n_neurons = math.prod(spk.shape[2:])

    # The neurons of a step first: they are consecutive in any layout, and a step of padding is then
    # a single value.
    axes = tuple(range(2, spk.ndim))
    dtype = torch.promote_types(spk.dtype, torch.float32)
    per_step = spk.sum(axes, dtype=dtype) if axes else spk
    total = fill_padding(per_step, lengths).sum(dtype=torch.float64)

    n_steps = spk.shape[0] * spk.shape[1] if lengths is None else lengths.sum()
    return total / (n_steps * n_neurons)


def reads_batch(module: nn.Module) -> bool:
    """Whether a call reads statistics of its whole input: batch norm in training, and the like."""
    return any(
        hasattr(inner, "num_batches_tracked")
        and (inner.training or getattr(inner, "running_mean", None) is None)
        for inner in module.modules()
    )


def valid_places(lengths: Tensor, T: int) -> Tensor | None:
    """Places of the valid steps among all B · T, int64; None if no step is padding."""
    if torch.compiler.is_compiling():
        torch._dynamo.graph_break(
            "lengths with a module that keeps statistics are compiled in parts: no fullgraph=True"
        )
    places = valid_steps(lengths, T).flatten().nonzero().squeeze(1)
    return None if len(places) == len(lengths) * T else places


def _require_whole(owner: str, lengths: object) -> None:
    require_tensor(f"{owner}: lengths", lengths)
    assert isinstance(lengths, Tensor)
    if lengths.dtype != torch.int64:
        raise TypeError(
            f"{owner}: lengths must be int64, got {lengths.dtype}: convert them, as in "
            "lengths.long()."
        )
