"""`gradient_fidelity`: the cosine of surrogate gradients with the gradient of the noisy-threshold net."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.analysis.slopes.advice import Candidates, name_candidates
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
    """C candidates, and the parts of the gradient: all hidden parameters together, then each parameter.

    Attributes:
        noise: On the thresholds.
        candidates: Names.
        surrogates: One a layer, for each candidate.
        parts: `"hidden"`, all parameters that act through noisy spikes as one vector, and the names of parameters.
        cosine: With the gradient of the expected loss, [C, parts]: an estimate, which its error may take above 1. NaN
            where a gradient is 0, or lost in its noise.
        error: Standard error of the cosine from the samples alone (jackknife over blocks), [C, parts].
        norm: Of the gradient of the expected loss, [parts]; its own sampling noise is taken out.
        norm_error: Its standard error, [parts].
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
    """How well surrogate gradients point to where the loss of the noisy-threshold net falls.

    The surrogate gradient is that of the net as it is trained, with hard thresholds, but for dropout. Compared with is
    ∇J, the gradient of the loss that is expected when every threshold is noisy, see `LikelihoodRatio`. A cosine of 0.8
    says that a small step along the surrogate gradient lowers J 0.8 times as much as the best step of the same length.

    This is for small nets: some ten recordings, a thousand steps of noisy neurons (K) in each. Work is one pass of the
    reference solver, forward and back, for each sample of each recording, before these 3 K + 1000 passes forward to fit
    a control, and a regression of K numbers a recording.

    Args:
        net: See `NoisyNet`; it stays as it is. Dropout is off.
        x: Recordings [B, T, *features].
        targets: [B, ...].
        loss_fn: `loss_fn(spk, mem, targets)`, one loss for each recording.
        noise: On the thresholds. It favours its own density as a surrogate: compare several.
        surrogates: Candidates, as for `scan_slopes`.
        samples: Of each recording; rounded down to as many for each block.
        blocks: Into which samples are grouped to tell errors, at least 3.
        seed: Of samples; and of mismatch, unless a `ChipInstance` is held on the net.

    Raises:
        TypeError: See `NoisyNet`.
        ValueError: See `NoisyNet`; or candidates do not fit, or there are fewer samples than blocks.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> from nwavesdk.surrogate import atan, fast_sigmoid
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(LIFSynapse(4, 6), LIFLayer(6, 10e-3), LIFSynapse(6, 1),
        ...                         LIFLayer(1, 10e-3, reset_mechanism="none"))
        >>> def loss_fn(spk, mem, targets):
        ...     return (mem.mean((1, 2)) - targets) ** 2
        >>> found = gradient_fidelity(net, torch.rand(3, 10, 4), torch.ones(3), loss_fn, ThresholdNoise("normal", 0.5),
        ...                           [atan(2), fast_sigmoid(100)], samples=500)
        >>> bool(found.cosine[0, 0] > found.cosine[1, 0])
        True
    """
    if blocks < 3 or samples < blocks:
        raise ValueError(
            f"errors need 3 blocks or more, and a sample for each, got {samples} samples, {blocks} blocks."
        )
    noisy = NoisyNet(net, x, targets, loss_fn, noise, seed)
    candidates = name_candidates(surrogates, noisy.surrogates)
    ratio = LikelihoodRatio(noisy)
    estimates = ratio.gradients(samples, blocks)
    pieces = noisy.split(estimates)
    parts = {HIDDEN: torch.cat([pieces[name] for name in noisy.hidden], 1), **pieces}
    cosine, error = (np.full((len(candidates), len(parts)), np.nan) for _ in range(2))
    hard = np.nan
    for row, chosen in enumerate(candidates.values()):
        hard, flat = noisy.surrogate_gradient(chosen)
        own = noisy.split(flat.double())
        own = {HIDDEN: torch.cat([own[name] for name in noisy.hidden]), **own}
        for column, (name, blocks_of) in enumerate(parts.items()):
            cosine[row, column], error[row, column] = _cosine(own[name], blocks_of)
    norms = [_norm(blocks_of) for blocks_of in parts.values()]
    return GradientFidelity(
        noise=noise,
        candidates=tuple(candidates),
        surrogates=tuple(candidates.values()),
        parts=tuple(parts),
        cosine=cosine,
        error=error,
        norm=np.array([norm for norm, _ in norms]),
        norm_error=np.array([error for _, error in norms]),
        loss=(hard, noisy.losses(max(100, samples // 20)).double().mean().item()),
        explained=ratio.explained,
    )


def _cosine(own: Tensor, estimates: Tensor) -> tuple[float, float]:
    """Cosine and standard error from K independent estimates [K, P] of a gradient."""
    length = own.norm()
    dots, squares = estimates @ own / length, _Squares(estimates)
    whole = _quotient(dots.mean(), squares.whole())
    without = [
        _quotient((dots.sum() - dots[k]) / (len(dots) - 1), squares.without(k))
        for k in range(len(dots))
    ]
    return whole.item(), _jackknife(torch.stack(without)).item()


def _norm(estimates: Tensor) -> tuple[float, float]:
    squares = _Squares(estimates)
    without = torch.stack([squares.without(k) for k in range(len(estimates))])
    return squares.whole().sqrt().item(), _jackknife(without.sqrt()).item()


class _Squares:
    """The squared norm of what estimates [K, P] estimate, without bias: products of two different ones count."""

    def __init__(self, estimates: Tensor) -> None:
        self.products = estimates @ estimates.t()
        self.products.fill_diagonal_(0.0)
        self.K = len(estimates)

    def whole(self) -> Tensor:
        return self.products.sum() / (self.K * (self.K - 1))

    def without(self, k: int) -> Tensor:
        return (self.products.sum() - 2 * self.products[k].sum()) / ((self.K - 1) * (self.K - 2))


def _quotient(dot: Tensor, square: Tensor) -> Tensor:
    return dot / square.sqrt()  # NaN where noise makes a square negative


def _jackknife(without: Tensor) -> Tensor:
    K = len(without)
    return ((K - 1) / K * (without - without.mean()).square().sum()).sqrt()
