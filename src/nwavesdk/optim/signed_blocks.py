"""A weight whose blocks share a soft sign: the formula and its inverse, as a parametrization."""

import torch
from torch import Tensor, nn

from nwavesdk.chip.signs import block_peaks, block_sums, repeat_over_blocks

__all__ = ["SignedBlocks"]

# |alpha · s| at the start of a block whose weights nearly agree; tanh of it is 0.96.
_FIRMNESS = 2.0
# Smallest |alpha · s| at the start. At 0 a block would have no weights, and no gradient for m.
_LEAST_SIGN = 0.2
# Smallest relative distance of a magnitude from 0 and from the limit at the start. Closer to these
# ends the sigmoid hardly learns.
_EDGE = 1e-3


class SignedBlocks(nn.Module):
    """A parametrization of a weight by one soft sign per block and one magnitude per weight.

        W = tanh(alpha · s) · limit · sigmoid(m)

    s has the shape of `nwavesdk.chip.signs.block_sums`, m that of the weight, [N_in, N_out].

    Args:
        shape: Shape of the weight, [N_in, N_out].
        block: Number of weights that share a sign.
        axis: `"inputs"` or `"outputs"`, see `nwavesdk.chip.signs`.
        limit: Largest magnitude.
        alpha: Steepness of the sign.

    Example:
        >>> signed = SignedBlocks((2, 1), block=5, axis="inputs", limit=0.9, alpha=0.5)
        >>> signed(*signed.right_inverse(torch.tensor([[0.3], [0.2]]))).flatten()
        tensor([0.3000, 0.2000])
    """

    def __init__(
        self, shape: tuple[int, ...], block: int, axis: str, limit: float, alpha: float
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.block = block
        self.axis = axis
        self.limit = limit
        self.alpha = alpha
        # The order of the parameters of the module before it was parametrized.
        self.order: tuple[str, ...] = ()

    def forward(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W from s and m."""
        spread = self._spread(torch.tanh(self.alpha * sign))
        return spread * (self.limit * torch.sigmoid(magnitude))

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The s and m of a weight: alpha · s = 2 Σw / Σ|w| of its block, and m so that |W| = |w|.

        |alpha · s| is at least 0.2. A block that agrees keeps its weights: its |s| grows as far as
        needed. In any other block all weights get the block's sign, and magnitudes are cut off at
        limit · tanh(alpha |s|). Magnitudes stay a thousandth away from the ends of their range.
        """
        positive = block_sums(weight.clamp(min=0), self.block, self.axis)
        negative = block_sums((-weight).clamp(min=0), self.block, self.axis)
        mass = positive + negative
        balance = torch.where(mass == 0, mass, (positive - negative) / mass)
        size = (_FIRMNESS * balance.abs()).clamp(min=_LEAST_SIGN) / self.alpha
        # Where a block agrees, its largest weight w needs tanh(alpha |s|) >= √(|w| / limit).
        share = (weight.abs() / self.limit).clamp(max=1 - _EDGE)
        needed = torch.atanh(block_peaks(share, self.block, self.axis).sqrt()) / self.alpha
        agrees = (positive == 0) | (negative == 0)
        size = torch.where(agrees, torch.maximum(size, needed), size)
        reach = self._spread(torch.tanh(self.alpha * size))
        magnitude = torch.logit((share / reach).clamp(_EDGE, 1 - _EDGE / 2))
        return torch.where(balance < 0, -size, size), magnitude

    @torch.no_grad()
    def harden(self, alpha: float, sign: Tensor, magnitude: Tensor) -> None:
        """Set alpha, and m so that W stays the same, as far as tanh(alpha · |s|) · limit allows.

        With m unchanged, weights would grow with alpha, several times over in a whole schedule.
        """
        if alpha == self.alpha:
            return
        weight = self(sign, magnitude)
        self.alpha = alpha
        reach = self._spread(torch.tanh(alpha * sign.abs())) * self.limit
        # Not 0 / 0 where s is 0. Any other NaN must stay visible.
        share = torch.where(reach == 0, 0.5, weight.abs() / reach)
        magnitude.copy_(torch.logit(share.clamp(_EDGE / 10, 1 - _EDGE / 2)))

    @torch.no_grad()
    def decided_weight(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W with its signs decided: sign(s) · limit · sigmoid(m), with + where s is 0."""
        signs = self._spread(torch.where(sign < 0, -1.0, 1.0).to(sign))
        return signs * (self.limit * torch.sigmoid(magnitude))

    def _spread(self, values: Tensor) -> Tensor:
        """One value per block, repeated over the weights of the block."""
        return repeat_over_blocks(values, self.shape, self.block, self.axis)

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return (
            f"block={self.block}, axis={self.axis!r}, limit={self.limit:g}, alpha={self.alpha:.4g}"
        )
