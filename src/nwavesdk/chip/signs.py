"""Shared signs: blocks of weights that have one sign on a chip, and the nearest weights that agree.

With `axis="inputs"`, `block` consecutive rows of a weight `[N_in, N_out]` share a sign in each
column; with `axis="outputs"`, `block` consecutive columns share a sign in each row. Blocks do not
overlap, and the last block may be smaller.
"""

import torch
from torch import Tensor

from nwavesdk.internal.checks import choice, positive_number, whole_number
from nwavesdk.internal.tensors import widen

__all__ = [
    "block_peaks",
    "block_signs",
    "block_sums",
    "disagreeing_weights",
    "disagreement",
    "nearest_agreeing_weight",
    "repeat_over_blocks",
]


def block_sums(values: Tensor, block: int, axis: str) -> Tensor:
    """The sum of each block.

    Args:
        values: `[N_in, N_out]`.
        block: Number of weights that share a sign.
        axis: `"inputs"` or `"outputs"`.

    Returns:
        `[⌈N_in / block⌉, N_out]` for `axis="inputs"`, `[N_in, ⌈N_out / block⌉]` for `"outputs"`.

    Raises:
        ValueError: If `values` does not have two dimensions, `block` is not a whole number above 0,
            or `axis` is another word.

    Example:
        >>> block_sums(torch.ones(7, 2), block=5, axis="inputs")
        tensor([[5., 5.],
                [2., 2.]])
    """
    sums = _fold_blocks(values, block, axis).sum(dim=1)
    return sums if axis == "inputs" else sums.mT


def block_peaks(values: Tensor, block: int, axis: str) -> Tensor:
    """The largest value of each block, for values from 0 up, in the shape of `block_sums`."""
    peaks = _fold_blocks(values, block, axis).amax(dim=1)
    return peaks if axis == "inputs" else peaks.mT


def repeat_over_blocks(values: Tensor, shape: tuple[int, ...], block: int, axis: str) -> Tensor:
    """One value per block, in the shape of `block_sums`, repeated over the weights of its block.

    Args:
        values: A value for each block.
        shape: `(N_in, N_out)`, the shape of the weights.
        block: Number of weights that share a sign.
        axis: `"inputs"` or `"outputs"`.
    """
    dim = 0 if axis == "inputs" else 1
    return values.repeat_interleave(block, dim).narrow(dim, 0, shape[dim])


def block_signs(weight: Tensor, block: int, axis: str, limit: float | None = None) -> Tensor:
    """1 or -1 for each weight: the sign of its block in the nearest weights that agree.

    It is the sign with the larger sum of squares, or 1 if both are equal. With a `limit`, the part
    of a weight beyond it is lost with either sign, so a weight counts as w² - max(|w| - limit, 0)².

    Args:
        weight: `[N_in, N_out]`.
        block: Number of weights that share a sign.
        axis: `"inputs"` or `"outputs"`.
        limit: Largest magnitude, or None.

    Example:
        >>> block_signs(torch.tensor([[0.3], [0.3], [-0.4]]), block=5, axis="inputs").flatten()
        tensor([1., 1., 1.])
    """
    # In float32, squares of small weights would become 0.
    wide = weight.detach().double()
    squares = wide.square()
    if limit is not None:
        excess = wide.abs() - positive_number("block_signs", "limit", limit)
        squares = squares - excess.clamp(min=0).square()

    balance = block_sums(torch.copysign(squares, wide), block, axis)
    signs = torch.where(balance < 0, -1.0, 1.0).to(weight.dtype)
    return repeat_over_blocks(signs, weight.shape, block, axis)


def disagreement(weight: Tensor, block: int, axis: str) -> Tensor:
    """The squared distance of each block to the nearest block that agrees, with gradient.

    It is min(Σ max(w, 0)², Σ max(-w, 0)²).

    Args:
        weight: `[N_in, N_out]`.
        block: Number of weights that share a sign.
        axis: `"inputs"` or `"outputs"`.

    Returns:
        One number per block, in the shape of `block_sums`; float32 for half precision.

    Example:
        >>> disagreement(torch.tensor([[1.0], [2.0], [-0.5]]), block=5, axis="inputs")
        tensor([[0.2500]])
    """
    wide = widen(weight)
    positive = block_sums(wide.clamp(min=0).square(), block, axis)
    negative = block_sums((-wide).clamp(min=0).square(), block, axis)
    return torch.minimum(positive, negative)


def disagreeing_weights(weight: Tensor, block: int, axis: str) -> Tensor:
    """Which weights do not have the sign of their block, bool `[N_in, N_out]`; never a weight of 0.

    Example:
        >>> weight = torch.tensor([[1.0], [2.0], [-0.5]])
        >>> disagreeing_weights(weight, block=5, axis="inputs").flatten()
        tensor([False, False,  True])
    """
    return weight.detach() * block_signs(weight, block, axis) < 0


def nearest_agreeing_weight(
    weight: Tensor, block: int, axis: str, limit: float | None = None
) -> Tensor:
    """The nearest weights that agree within each block and are in [-limit, limit].

    Weights of the minority sign become 0. The result has no gradient.

    Example:
        >>> weight = torch.tensor([[1.0], [2.0], [-0.5]])
        >>> nearest_agreeing_weight(weight, block=5, axis="inputs", limit=1.5).flatten()
        tensor([1.0000, 1.5000, 0.0000])
    """
    signs = block_signs(weight, block, axis, limit)
    return signs * (weight.detach() * signs).clamp(0, limit)


def _fold_blocks(values: Tensor, block: int, axis: str) -> Tensor:
    """Values block by block; the last block is filled with 0.

    Returns:
        `[blocks, block, N_out]`, or `[blocks, block, N_in]` for `axis="outputs"`.
    """
    if values.ndim != 2:
        raise ValueError(
            f"a weight with shared signs has the shape [N_in, N_out], got {list(values.shape)}."
        )
    whole_number("shared signs", "block", block)
    choice("shared signs", "axis", axis, ("inputs", "outputs"))

    rows = values if axis == "inputs" else values.mT
    # Rows of 0 complete the last block.
    padded = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % block))
    return padded.reshape(-1, block, rows.shape[1])
