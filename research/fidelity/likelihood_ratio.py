"""The gradient of the expected loss of a net with noisy thresholds, by likelihood ratios, without bias.

The expected loss J is smooth in the weights. With the spikes of a sample held fixed the membranes are differentiable,
and

    ∇J = E[(L - c) ∇ log P(s)  +  ∇C  +  ∇L],    log P(s) = Σ log F(±z)

over all sites, that is neurons and steps (+ where there is a spike). ∇L is what the loss depends on weights by other
ways than spikes: a read-out's. The control c = b + Σ a (s - F(z)) takes most of the noise out: a and b are regressed
for each recording on samples of their own, and as (s - F) has no correlation with ∇ log P of any other site, what it
adds to the first term has the expectation -∇C, C = Σ a F(z). So there is no bias, whatever a and b are.

References:
    R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992,
    doi:10.1007/BF00992696. S. Gu, S. Levine, I. Sutskever, A. Mnih, "MuProp", 2016, arXiv:1511.05176 (a control that is
    linear in the samples).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from research.fidelity.noisy_net import NoisyNet

__all__ = ["Control", "LikelihoodRatio"]

_RIDGE = 1e-3  # of a site's mean variance: what a site that hardly ever varies may weigh
_LARGEST = 4 << 30  # bytes of the regression


@dataclass(frozen=True, eq=False)
class Control:
    """The control c = offset + Σ slope (s - F).

    Attributes:
        offset: [B].
        slope: [B, K].
    """

    offset: Tensor
    slope: Tensor

    @classmethod
    def fit(cls, net: NoisyNet, samples: int | None = None) -> "Control":
        """Regress the losses of each recording on samples that are used for nothing else.

        Args:
            net: Of which the losses are.
            samples: Of each recording. [3 for each site, and 1000]

        Raises:
            ValueError: The regression would need too much memory.
        """
        B, K = len(net.x), net.sites
        if 8 * B * K * K > _LARGEST:
            raise ValueError(
                f"{B} recordings with {K} steps of noisy neurons each need {8e-9 * B * K * K:.1f} GB, expected at most "
                f"{_LARGEST / 1e9:.1f}: take fewer recordings, steps or neurons."
            )
        count = 3 * K + 1000 if samples is None else samples
        both, own = (
            torch.zeros(B, K, K, dtype=torch.float64),
            torch.zeros(B, K, dtype=torch.float64),
        )
        mean, level = torch.zeros_like(own), torch.zeros(B, dtype=torch.float64)
        with torch.no_grad():
            first = net.sample(20)  # sums are around these, so that float32 keeps small differences
            centre, usual = first.loss.mean(0), first.surprise.median(0).values
            for part in net.parts(count):
                sample = net.sample(part)
                surprise, loss = (sample.surprise - usual).transpose(0, 1), sample.loss - centre
                both += surprise.transpose(1, 2) @ surprise / count
                own += (surprise.transpose(1, 2) @ loss.t()[..., None]).squeeze(2) / count
                mean += surprise.sum(1, dtype=torch.float64) / count
                level += loss.sum(0) / count
            for b in range(
                B
            ):  # around the means: a site that has not varied must not stand in for the offset
                square, rounding = both[b], 1e-5 * both[b].diagonal()
                square.addr_(mean[b], mean[b], alpha=-1)
                ridge = (
                    _RIDGE * square.diagonal().mean().clamp(min=0) + torch.finfo(torch.float64).tiny
                )
                square.diagonal().add_(rounding + ridge)
                right = (own[b] - level[b] * mean[b])[:, None]
                own[b] = torch.cholesky_solve(right, torch.linalg.cholesky(square))[:, 0]
        return cls(centre + level.to(centre), own.to(centre))


class LikelihoodRatio:
    """Estimates of ∇J of a noisy net.

    Args:
        net: The net.
        control: Taken out of the losses; None: fitted.

    Attributes:
        explained: Share of the loss's variance over samples that the control has explained, below 0 where it did harm;
            NaN before the first estimate.
    """

    def __init__(self, net: NoisyNet, control: Control | None = None) -> None:
        self.net = net
        self.control = Control.fit(net) if control is None else control
        self.explained = math.nan

    def gradients(self, samples: int, blocks: int = 20) -> Tensor:
        """Estimates of ∇J, each without bias and independent of the others, [blocks, P]; see `NoisyNet.split`.

        Args:
            samples: Of each recording, in all blocks together; rounded down to as many for each block.
            blocks: How many estimates; their spread is the error of their mean.
        """
        each = samples // blocks
        found, left, whole = torch.zeros(blocks, self.net.size, dtype=torch.float64), 0.0, 0.0
        for block in found:
            for part in self.net.parts(each):
                gradient, residual, variance = self._estimate(part)
                block += gradient.double() * (part / each)
                left, whole = left + residual * part, whole + variance * part
        self.explained = 1 - left / whole if whole else math.nan
        return found

    def _estimate(self, count: int) -> tuple[Tensor, float, float]:
        """The mean gradient of so many samples of each recording; variances of what the control leaves, and in all."""
        with torch.enable_grad():
            sample, slope = self.net.sample(count), self.control.slope
            free = (sample.loss - self.control.offset).detach()
            rest = free - (sample.surprise * slope).sum(2)
            score = self.net.noise.log_probability(sample.z, sample.spikes).sum(2)
            expected = (slope * self.net.noise.probability(sample.z)).sum(2)
            found = self.net.differentiate((rest * score + expected + sample.loss).mean())
        return found, rest.square().mean().item(), free.square().mean().item()
