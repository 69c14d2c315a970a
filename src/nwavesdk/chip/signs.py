"""Signs that a chip shares: blocks of consecutive weights of one sign, what breaks that, and the nearest that keeps it.

With `axis="inputs"`, `block` consecutive rows of a weight [N_in, N_out] have one sign in each column; with
`axis="outputs"`, `block` consecutive columns in each row. Blocks do not overlap, and the last one may be smaller.
"""

import torch
from torch import Tensor

from nwavesdk.internal.checks import choice, positive_number, whole_number

__all__ = [
    "block_peaks",
    "block_signs",
    "block_sums",
    "disagreement",
    "nearest_agreeing_weight",
    "offenders",
    "over_blocks",
]


def block_sums(values: Tensor, block: int, axis: str) -> Tensor:
    """Sum of each block: [⌈N_in / block⌉, N_out] for `axis="inputs"`, [N_in, ⌈N_out / block⌉] for `"outputs"`.

    Raises:
        ValueError: `values` has not two dimensions, `block` is no whole number above 0, or `axis` is another word.

    Example:
        >>> block_sums(torch.ones(7, 2), block=5, axis="inputs")
        tensor([[5., 5.],
                [2., 2.]])
    """
    sums = _folded(values, block, axis).sum(dim=1)
    return sums if axis == "inputs" else sums.mT


def block_peaks(values: Tensor, block: int, axis: str) -> Tensor:
    """Largest of each block of values from 0 up, in the shape of `block_sums`.

    Raises:
        ValueError: as `block_sums`.
    """
    peaks = _folded(values, block, axis).amax(dim=1)
    return peaks if axis == "inputs" else peaks.mT


def over_blocks(values: Tensor, shape: tuple[int, ...], block: int, axis: str) -> Tensor:
    """One value a block, as `block_sums` gives them, repeated over the weights [N_in, N_out] of its block."""
    dim = 0 if axis == "inputs" else 1
    return values.repeat_interleave(block, dim).narrow(dim, 0, shape[dim])


def block_signs(weight: Tensor, block: int, axis: str, limit: float | None = None) -> Tensor:
    """1 or -1 for each weight: the sign that its block has in the nearest weights that agree.

    It is that of the larger sum of squares, or 1 where both are equal. With a `limit`, what lies beyond it is lost with
    either sign, and a weight counts as w² - max(|w| - limit, 0)².

    Args:
        weight: [N_in, N_out].
        block: Weights that share a sign.
        axis: `"inputs"` or `"outputs"`, see the module.
        limit: Largest magnitude, or None.

    Raises:
        ValueError: `weight` has not two dimensions, `block` or `limit` is not above 0, or `axis` is another word.

    Example:
        >>> block_signs(torch.tensor([[0.3], [0.3], [-0.4]]), block=5, axis="inputs").flatten()
        tensor([1., 1., 1.])
    """
    wide = weight.detach().double()  # squares of small weights must not vanish
    gain = wide.square()
    if limit is not None:
        gain = gain - (wide.abs() - positive_number("block_signs", "limit", limit)).clamp(min=0).square()
    balance = block_sums(torch.copysign(gain, wide), block, axis)
    signs = torch.where(balance < 0, -1.0, 1.0).to(weight.dtype)
    return over_blocks(signs, weight.shape, block, axis)


def disagreement(weight: Tensor, block: int, axis: str) -> Tensor:
    """Squared distance of each block to the nearest that agrees: min(Σ max(w, 0)², Σ max(-w, 0)²), with gradient.

    Args:
        weight: [N_in, N_out].
        block: Weights that share a sign.
        axis: `"inputs"` or `"outputs"`, see the module.

    Returns:
        One number a block, in the shape of `block_sums`; float32 for half precision.

    Raises:
        ValueError: as `block_sums`.

    Example:
        >>> disagreement(torch.tensor([[1.0], [2.0], [-0.5]]), block=5, axis="inputs")
        tensor([[0.2500]])
    """
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    above, below = (block_sums(side.clamp(min=0).square(), block, axis) for side in (wide, -wide))
    return torch.minimum(above, below)


def offenders(weight: Tensor, block: int, axis: str) -> Tensor:
    """Which weights have not the sign of their block, [N_in, N_out] of bool; a weight of 0 never offends.

    Raises:
        ValueError: as `block_sums`.
    """
    return weight.detach() * block_signs(weight, block, axis) < 0


def nearest_agreeing_weight(
    weight: Tensor, block: int, axis: str, limit: float | None = None
) -> Tensor:
    """The nearest weights that agree within each block and lie in [-limit, limit]; without gradient.

    Weights of the minority sign become 0.

    Raises:
        ValueError: as `block_signs`.

    Example:
        >>> nearest_agreeing_weight(torch.tensor([[1.0], [2.0], [-0.5]]), block=5, axis="inputs", limit=1.5).flatten()
        tensor([1.0000, 1.5000, 0.0000])
    """
    signs = block_signs(weight, block, axis, limit)
    return signs * (weight.detach() * signs).clamp(0, limit)


def _folded(values: Tensor, block: int, axis: str) -> Tensor:
    """Values block by block, [blocks, block, N_out], or [.., N_in] for the other axis; the last is filled up by 0."""
    _check(values, block, axis)
    rows = values if axis == "inputs" else values.mT
    short = -len(rows) % block
    return torch.nn.functional.pad(rows, (0, 0, 0, short)).reshape(-1, block, rows.shape[1])


def _check(values: Tensor, block: int, axis: str) -> None:
    if values.ndim != 2:
        raise ValueError(
            f"a weight with shared signs has the shape [N_in, N_out], got {list(values.shape)}."
        )
    whole_number("block_signs", "block", block)
    choice("block_signs", "axis", axis, ("inputs", "outputs"))
