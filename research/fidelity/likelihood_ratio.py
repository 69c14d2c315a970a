"""The gradient of the expected loss of a net with noisy thresholds, by likelihood ratios, unbiased.

The expected loss J is smooth in the weights. With the spikes of a sample held fixed, the membranes
are differentiable, and

    ∇J = E[(L - c) ∇ log P(s)  +  ∇C  +  ∇L],    log P(s) = Σ log F(±z)

over all sites, that is neurons and steps (+ where there is a spike). ∇L is the part of the gradient
that does not pass through spikes: of a read-out. The control c = b + Σ a (s - F(z)) removes
most of the noise. a and b are regressed for each recording on separate samples. (s - F) is
uncorrelated with ∇ log P of every other site, so what the control adds to the first term has the
expectation -∇C, C = Σ a F(z). There is no bias, whatever a and b are.

References:
    R. J. Williams, "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning", 1992, doi:10.1007/BF00992696. S. Gu, S. Levine, I. Sutskever, A. Mnih,
    "MuProp", 2016, arXiv:1511.05176 (a control that is linear in the samples).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from research.fidelity.noisy_net import NoisyNet

__all__ = ["Control", "LikelihoodRatio"]

_RIDGE = 1e-3
"""Regularization, relative to the mean variance of a site: limits sites that hardly ever vary."""
_MAX_BYTES = 4 << 30
"""Memory of the regression."""


@dataclass(frozen=True, eq=False)
class Control:
    """The control c = offset + Σ slope (s - F).

    Attributes:
        offset: One number per recording, [B].
        slope: One number per recording and site, [B, K].
    """

    offset: Tensor
    slope: Tensor

    @classmethod
    def fit(cls, net: NoisyNet, samples: int | None = None) -> "Control":
        """Regress the losses of each recording on samples that are used for nothing else.

        Args:
            net: The net of the losses.
            samples: Samples per recording. [3 per site, and 1000]

        Raises:
            ValueError: If the regression would need too much memory.
        """
        B = len(net.x)
        K = net.sites
        needed = 8 * B * K * K
        if needed > _MAX_BYTES:
            raise ValueError(
                f"{B} recordings with {K} steps of noisy neurons each need {needed / 1e9:.1f} GB, "
                f"expected at most {_MAX_BYTES / 1e9:.1f}: use fewer recordings, steps or neurons."
            )
        count = 3 * K + 1000 if samples is None else samples
        moments = _Moments(net, count)
        for recording in range(B):
            moments.solve(recording)
        return cls(moments.offset, moments.slope)


class _Moments:
    """First and second moments of surprise and loss over `count` samples, by recording.

    Sums are taken around a typical sample, so that float32 preserves small differences.
    """

    def __init__(self, net: NoisyNet, count: int) -> None:
        B = len(net.x)
        K = net.sites
        self.products = torch.zeros(B, K, K, dtype=torch.float64)  # of surprise with itself
        self.slopes = torch.zeros(B, K, dtype=torch.float64)  # surprise · loss, then the solution
        self.means = torch.zeros(B, K, dtype=torch.float64)  # of surprise
        self.levels = torch.zeros(B, dtype=torch.float64)  # means of the loss
        with torch.no_grad():
            typical = net.sample(20)
            self.center = typical.loss.mean(0)
            usual = typical.surprise.median(0).values
            for part in net.chunk_sizes(count):
                sample = net.sample(part)
                surprise = (sample.surprise - usual).transpose(0, 1)
                loss = sample.loss - self.center
                self.products += surprise.transpose(1, 2) @ surprise / count
                self.slopes += (surprise.transpose(1, 2) @ loss.t()[..., None]).squeeze(2) / count
                self.means += surprise.sum(1, dtype=torch.float64) / count
                self.levels += loss.sum(0) / count

    def solve(self, recording: int) -> None:
        """Replace the products of a recording by the slopes of its regression."""
        mean = self.means[recording]
        covariance = self.products[recording]
        rounding = 1e-5 * covariance.diagonal()
        # Around the means: a site that has not varied must not take over the offset.
        covariance.addr_(mean, mean, alpha=-1)
        variance = covariance.diagonal().mean().clamp(min=0)
        ridge = _RIDGE * variance + torch.finfo(torch.float64).tiny
        covariance.diagonal().add_(rounding + ridge)
        right = (self.slopes[recording] - self.levels[recording] * mean)[:, None]
        factor = torch.linalg.cholesky(covariance)
        self.slopes[recording] = torch.cholesky_solve(right, factor)[:, 0]

    @property
    def offset(self) -> Tensor:
        """Mean loss of each recording."""
        return self.center + self.levels.to(self.center)

    @property
    def slope(self) -> Tensor:
        """Solved slopes, in the dtype of the losses."""
        return self.slopes.to(self.center)


class LikelihoodRatio:
    """Estimates of ∇J of a noisy net.

    Args:
        net: The net.
        control: Subtracted from the losses; None fits one.

    Attributes:
        explained: Share of the loss's variance over samples that the control has explained. It is
            negative where the control did harm, and NaN before the first estimate.
    """

    def __init__(self, net: NoisyNet, control: Control | None = None) -> None:
        self.net = net
        self.control = Control.fit(net) if control is None else control
        self.explained = math.nan

    def gradients(self, samples: int, blocks: int = 20) -> Tensor:
        """Return independent unbiased estimates of ∇J, [blocks, P]; see `NoisyNet.split`.

        Args:
            samples: Samples per recording in all blocks together, rounded down to a multiple of
                `blocks`.
            blocks: Number of estimates; their spread gives the error of their mean.
        """
        per_block = samples // blocks
        estimates = torch.zeros(blocks, self.net.size, dtype=torch.float64)
        remaining = 0.0
        total = 0.0
        for estimate in estimates:
            for part in self.net.chunk_sizes(per_block):
                gradient, residual, variance = self._estimate(part)
                estimate += gradient.double() * (part / per_block)
                remaining += residual * part
                total += variance * part
        self.explained = 1 - remaining / total if total else math.nan
        return estimates

    def _estimate(self, count: int) -> tuple[Tensor, float, float]:
        """Return the mean gradient of `count` samples of each recording, and two variances.

        They are the variance of the loss that the control leaves, and the whole variance.
        """
        with torch.enable_grad():
            sample = self.net.sample(count)
            slope = self.control.slope
            centered = (sample.loss - self.control.offset).detach()
            residual = centered - (sample.surprise * slope).sum(2)
            score = self.net.noise.log_probability(sample.z, sample.spikes).sum(2)
            expected = (slope * self.net.noise.probability(sample.z)).sum(2)
            surrogate_loss = (residual * score + expected + sample.loss).mean()
            gradient = self.net.differentiate(surrogate_loss)
        return gradient, residual.square().mean().item(), centered.square().mean().item()
