"""The cosine of surrogate gradients with the gradient of the net with noisy thresholds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.analysis.slopes.candidates import Candidates, name_candidates
from nwavesdk.layers import SpikingSequential
from nwavesdk.surrogate import Surrogate
from research.fidelity.likelihood_ratio import LikelihoodRatio
from research.fidelity.noisy_net import LossOfEach, NoisyNet
from research.fidelity.threshold_noise import ThresholdNoise

__all__ = ["GradientFidelity", "gradient_fidelity"]

Array = npt.NDArray[np.float64]

HIDDEN = "hidden"
"""All parameters that act through noisy spikes, as one vector."""


@dataclass(frozen=True, eq=False)
class GradientFidelity:
    """Cosines of C candidates for each part of the gradient.

    Attributes:
        noise: Noise on the thresholds.
        candidates: Names of the candidates.
        surrogates: One surrogate per layer, for each candidate.
        parts: `"hidden"`, all parameters that act through noisy spikes as one vector, and the names
            of single parameters.
        cosine: Cosine with the gradient of the expected loss, [C, parts]. It is an estimate, and
            its error may move it above 1. NaN where a gradient is 0, or smaller than its noise.
        error: Standard error of the cosine from the samples (jackknife over blocks), [C, parts].
        norm: Norm of the gradient of the expected loss, [parts], corrected for sampling noise.
        norm_error: Standard error of the norm, [parts].
        loss: Mean over recordings with hard thresholds, and with noisy ones.
        explained: Share of the loss's variance that the control of the estimate has explained.
    """

    noise: ThresholdNoise
    candidates: tuple[str, ...]
    surrogates: tuple[tuple[Surrogate, ...], ...]
    parts: tuple[str, ...]
    cosine: Array
    error: Array
    norm: Array
    norm_error: Array
    loss: tuple[float, float]
    explained: float


def gradient_fidelity(
    net: SpikingSequential,
    x: Tensor,
    targets: Tensor,
    loss_fn: LossOfEach,
    noise: ThresholdNoise,
    surrogates: Candidates | None = None,
    *,
    samples: int = 10_000,
    blocks: int = 20,
    seed: int = 0,
) -> GradientFidelity:
    """Measure how well surrogate gradients point to where the loss of the noisy net falls.

    The surrogate gradient is of the net as trained, with hard thresholds, but without
    dropout. It is compared with ∇J, the gradient of the expected loss when every threshold is
    noisy; see `LikelihoodRatio`. With a cosine of 0.8, a small step along the surrogate gradient
    lowers J 0.8 times as much as the best step of the same length.

    This is for small nets: about ten recordings with a thousand steps of noisy neurons (K) each.
    The work is one pass of the reference solver, forward and backward, for each sample of each
    recording. Before that come 3 K + 1000 forward passes to fit a control, and a regression of K
    numbers per recording.

    Args:
        net: See `NoisyNet`; it is not changed. Dropout is off.
        x: Recordings [B, T, *features].
        targets: Targets of the loss, [B, ...].
        loss_fn: `loss_fn(spk, mem, targets)`, one loss per recording.
        noise: Noise on the thresholds. It favors its own density as a surrogate: compare several.
        surrogates: Candidates, as for `scan_slopes`.
        samples: Samples per recording, rounded down to a multiple of `blocks`.
        blocks: Number of groups of samples from which errors are computed, at least 3.
        seed: Seed of samples, and of mismatch unless a `ChipInstance` is held on the net.

    Raises:
        TypeError: See `NoisyNet`.
        ValueError: See `NoisyNet`; also if candidates do not fit the net, or if there are fewer
            samples than blocks.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> from nwavesdk.surrogate import atan, fast_sigmoid
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(LIFSynapse(4, 6), LIFLayer(6, 10e-3), LIFSynapse(6, 1),
        ...                         LIFLayer(1, 10e-3, reset_mechanism="none"))
        >>> def loss_fn(spk, mem, targets):
        ...     return (mem.mean((1, 2)) - targets) ** 2
        >>> noise, surrogates = ThresholdNoise("normal", 0.5), [atan(2), fast_sigmoid(100)]
        >>> result = gradient_fidelity(net, torch.rand(3, 10, 4), torch.ones(3), loss_fn, noise,
        ...                            surrogates, samples=500)
        >>> bool(result.cosine[0, 0] > result.cosine[1, 0])
        True
    """
    if blocks < 3 or samples < blocks:
        raise ValueError(
            "errors need at least 3 blocks with one sample each, "
            f"got {samples} samples and {blocks} blocks."
        )
    noisy = NoisyNet(net, x, targets, loss_fn, noise, seed)
    candidates = name_candidates(surrogates, noisy.surrogates)
    ratio = LikelihoodRatio(noisy)
    estimates = ratio.gradients(samples, blocks)
    parts = _by_part(noisy, estimates)
    cosine = np.full((len(candidates), len(parts)), np.nan)
    error = np.full_like(cosine, np.nan)
    hard_loss = np.nan
    for row, chosen in enumerate(candidates.values()):
        hard_loss, flat = noisy.surrogate_gradient(chosen)
        gradients = _by_part(noisy, flat.double())
        for column, (name, estimates_of_part) in enumerate(parts.items()):
            cosine[row, column], error[row, column] = _cosine(gradients[name], estimates_of_part)
    norms = [_norm(estimates_of_part) for estimates_of_part in parts.values()]
    noisy_loss = noisy.losses(max(100, samples // 20)).double().mean().item()
    return GradientFidelity(
        noise=noise,
        candidates=tuple(candidates),
        surrogates=tuple(candidates.values()),
        parts=tuple(parts),
        cosine=cosine,
        error=error,
        norm=np.array([norm for norm, _ in norms]),
        norm_error=np.array([error for _, error in norms]),
        loss=(hard_loss, noisy_loss),
        explained=ratio.explained,
    )


def _by_part(noisy: NoisyNet, flat: Tensor) -> dict[str, Tensor]:
    """Split [..., P] into all hidden parameters together, and each parameter."""
    pieces = noisy.split(flat)
    return {HIDDEN: torch.cat([pieces[name] for name in noisy.hidden], -1), **pieces}


def _cosine(gradient: Tensor, estimates: Tensor) -> tuple[float, float]:
    """Return cosine and standard error from K independent estimates [K, P] of ∇J."""
    K = len(estimates)
    dots = estimates @ gradient / gradient.norm()
    squares = _SquaredNorm(estimates)
    cosine = _dot_over_norm(dots.mean(), squares.of_all())
    without_each = [
        _dot_over_norm((dots.sum() - dots[k]) / (K - 1), squares.without(k)) for k in range(K)
    ]
    return cosine.item(), _jackknife(torch.stack(without_each)).item()


def _norm(estimates: Tensor) -> tuple[float, float]:
    """Return the norm of the estimated gradient, and its standard error."""
    squares = _SquaredNorm(estimates)
    without_each = torch.stack([squares.without(k) for k in range(len(estimates))])
    return squares.of_all().sqrt().item(), _jackknife(without_each.sqrt()).item()


class _SquaredNorm:
    """The squared norm of the gradient that estimates [K, P] estimate, without bias.

    It is the mean of the products of two different estimates, whose errors are independent.
    """

    def __init__(self, estimates: Tensor) -> None:
        self.products = estimates @ estimates.t()
        self.products.fill_diagonal_(0.0)
        self.K = len(estimates)

    def of_all(self) -> Tensor:
        return self.products.sum() / (self.K * (self.K - 1))

    def without(self, k: int) -> Tensor:
        return (self.products.sum() - 2 * self.products[k].sum()) / ((self.K - 1) * (self.K - 2))


def _dot_over_norm(dot: Tensor, square: Tensor) -> Tensor:
    # NaN where noise makes the estimate of the square negative.
    return dot / square.sqrt()


def _jackknife(without_each: Tensor) -> Tensor:
    """Return the standard error of a statistic from its values without each block."""
    K = len(without_each)
    return ((K - 1) / K * (without_each - without_each.mean()).square().sum()).sqrt()
