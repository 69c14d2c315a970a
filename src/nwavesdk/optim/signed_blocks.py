"""A weight whose blocks share a soft sign: the formula and its inverse, as torch's parametrizations take them."""

import torch
from torch import Tensor, nn

from nwavesdk.chip.signs import block_peaks, block_sums, over_blocks

__all__ = ["SignedBlocks"]

FIRMNESS = 2.0
"""|alpha · s| at the start of a block whose weights nearly agree; tanh of it is 0.96."""

LEAST_SIGN = 0.2
"""Smallest |alpha · s| at the start: a block at 0 would have no weights, and no gradient for their magnitudes."""

EDGE = 1e-3
"""How far a magnitude stays from 0 and from the limit at the start, relative to it: sigmoid hardly learns there."""


class SignedBlocks(nn.Module):
    """The parametrization.

        W = tanh(alpha · s) · limit · sigmoid(m)

    s is one number a block, in the shape of `nwavesdk.chip.signs.block_sums`, m one a weight, [N_in, N_out].

    Args:
        shape: of the weight, [N_in, N_out].
        block: weights that share a sign.
        axis: `"inputs"` or `"outputs"`, see `nwavesdk.chip.signs`.
        limit: largest magnitude.
        alpha: steepness of the sign.

    Example:
        >>> signed = SignedBlocks((2, 1), block=5, axis="inputs", limit=0.9, alpha=0.5)
        >>> signed(*signed.right_inverse(torch.tensor([[0.3], [0.2]]))).flatten()
        tensor([0.3000, 0.2000])
    """

    def __init__(self, shape: tuple[int, ...], block: int, axis: str, limit: float, alpha: float) -> None:
        super().__init__()
        self.shape, self.block, self.axis, self.limit, self.alpha = tuple(shape), block, axis, limit, alpha
        self.order: tuple[str, ...] = ()  # of the parameters of its module, as it was

    def forward(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W from s and m."""
        return self._over(torch.tanh(self.alpha * sign)) * (self.limit * torch.sigmoid(magnitude))

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Find s and m of a weight: alpha · s = 2 Σw / Σ|w| of its block, at least 0.2 in size; m so that |W| = |w|.

        A block that agrees keeps its weights, for which |s| grows as far as needed. In a block that does not, all get
        its sign, and magnitudes beyond limit · tanh(alpha |s|) are cut off there. Magnitudes stay a thousandth off the
        ends of their range.
        """
        above, below = (block_sums(side.clamp(min=0), self.block, self.axis) for side in (weight, -weight))
        mass = above + below
        balance = torch.where(mass == 0, mass, (above - below) / mass)
        size = (FIRMNESS * balance.abs()).clamp(min=LEAST_SIGN) / self.alpha
        share = (weight.abs() / self.limit).clamp(max=1 - EDGE)
        needed = torch.atanh(block_peaks(share, self.block, self.axis).sqrt()) / self.alpha
        size = torch.where((above == 0) | (below == 0), torch.maximum(size, needed), size)
        reach = self._over(torch.tanh(self.alpha * size))
        return torch.where(balance < 0, -size, size), torch.logit((share / reach).clamp(EDGE, 1 - EDGE / 2))

    @torch.no_grad()
    def harden(self, alpha: float, sign: Tensor, magnitude: Tensor) -> None:
        """Set alpha, and m so that W stays what it is, as far as tanh(alpha · |s|) · limit reaches.

        Otherwise weights would grow with alpha by themselves, several times over in a whole schedule.
        """
        if alpha == self.alpha:
            return
        weight = self(sign, magnitude)
        self.alpha = alpha
        reach = self._over(torch.tanh(alpha * sign.abs())) * self.limit
        share = torch.where(reach == 0, 0.5, weight.abs() / reach)  # not 0 / 0; other NaN must be seen
        magnitude.copy_(torch.logit(share.clamp(EDGE / 10, 1 - EDGE / 2)))

    @torch.no_grad()
    def hard(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W with its signs decided: sign(s) · limit · sigmoid(m), + where s is 0."""
        return self._over(torch.where(sign < 0, -1.0, 1.0).to(sign)) * (self.limit * torch.sigmoid(magnitude))

    def _over(self, values: Tensor) -> Tensor:
        return over_blocks(values, self.shape, self.block, self.axis)

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return f"block={self.block}, axis={self.axis!r}, limit={self.limit:g}, alpha={self.alpha:.4g}"
