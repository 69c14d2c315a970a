"""Losses on spike times: the distance between spike trains, and the time of the first spike."""

import math

import torch
from torch import Tensor

from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers import LILayer, prepare_net
from nwavesdk.layers.lengths import check_optional_lengths, fill_padding, sum_over_steps
from nwavesdk.loss.arguments import (
    LossModule,
    check_options,
    check_outputs,
    check_outputs_and_targets,
    check_spikes,
    cross_entropy,
)

__all__ = [
    "FirstSpikeCrossEntropy",
    "VanRossumDistance",
    "first_spike_cross_entropy",
    "first_spike_steps",
    "van_rossum_distance",
]


def van_rossum_distance(
    spk: Tensor,
    targets: Tensor,
    tau: float = 10e-3,
    dt: float = 1e-3,
    lengths: Tensor | None = None,
) -> Tensor:
    """The van Rossum distance of spike trains from target trains, squared.

        f(t) = Σ over spikes of exp(-(t - t_spike) / τ) after each spike
        D² = (1 / τ) ∫ (f(t) - g(t))² dt, from the first step to infinity

    It is the mean over recordings and neurons. One spike too many or too few costs 1/2, wherever it
    is; two spikes at the distance Δt cost 1 - exp(-Δt/τ) in place of 0. With the difference d[t] of
    the filtered trains after the spikes of step t, and β = exp(-dt/τ), the integral is exact:

        D² = (1 - β²) / 2 · Σ over t of d[t]² + β² / 2 · d[T-1]²,  d[t] = β · d[t-1] + s[t] - s'[t]

    The gradient is exact, too: each spike gets the difference, filtered forward and backward.

    Args:
        spk: Spikes, [B, T, *features].
        targets: Wanted spikes, in the shape of `spk`.
        tau: Time constant of the kernel [s]: spikes that are much closer count as equal.
        dt: Time step [s].
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        van Rossum 2001, "A novel spike distance",
        doi:10.1162/089976601300014321.

    Example:
        >>> spk = torch.zeros(1, 50, 1)
        >>> spk[0, 20] = 1
        >>> van_rossum_distance(spk, torch.zeros(1, 50, 1))
        tensor(0.5000)
    """
    owner = "van_rossum_distance"
    check_spikes(owner, spk)
    require_floating(f"{owner}: targets", targets)
    if spk.ndim < 2 or spk.shape != targets.shape:
        raise ValueError(
            f"{owner}: spikes have the shape {list(spk.shape)} and targets {list(targets.shape)}, "
            "expected [B, T, *features] of both."
        )
    tau, dt = check_options(owner, tau=tau, dt=dt)
    dtype = torch.promote_types(spk.dtype, torch.float32)
    difference = spk.to(dtype) - targets.to(device=spk.device, dtype=dtype)
    difference = fill_padding(difference, check_optional_lengths(owner, lengths, spk))

    # The two terms of D²: steps of the recording, and the tail of the kernels after its end.
    filtered = _leaky_sum(difference.reshape(*difference.shape[:2], -1), tau, dt)
    share = -math.expm1(-2 * dt / tau)  # 1 - β²
    inside = filtered.square().sum(dim=1)
    after = filtered[:, -1].square()
    return (share / 2 * inside + (1 - share) / 2 * after).mean()


def _leaky_sum(x: Tensor, tau: float, dt: float) -> Tensor:
    """y[t] = exp(-dt/tau) · y[t-1] + x[t], of sequences [B, T, N], with gradient."""
    layer = LILayer(x.shape[2], tau=tau, dt=dt).to(x)
    prepare_net(layer)
    y: Tensor = layer(x)[1]
    return y


class VanRossumDistance(LossModule):
    """`van_rossum_distance` as a module: `loss(spk, targets, lengths)`.

    Args:
        tau: Time constant of the kernel [s].
        dt: Time step [s].

    Example:
        >>> spk = torch.tensor([[[1.0], [0.0], [0.0]]])
        >>> VanRossumDistance(tau=10e-3)(spk, spk)
        tensor(0.)
    """

    function = staticmethod(van_rossum_distance)

    def __init__(self, tau: float = 10e-3, dt: float = 1e-3) -> None:
        super().__init__(tau=tau, dt=dt)


def first_spike_steps(
    spk: Tensor, num_classes: int | None = None, lengths: Tensor | None = None
) -> Tensor:
    """The step of the first spike of each population, with gradient.

        first[c] = Σ over t of Π over k ≤ t and neurons n of c of (1 - s[k, n])

    The product is 1 in the steps before the first spike and 0 after it, so the sum is the step of
    the first spike, from 0, and the number of valid steps if there is none. Its gradient at a
    silent step k is minus the number of steps by which a spike in step k would be earlier than the
    first spike; at the first spike it is minus the steps to the second spike. Later spikes have no
    gradient.

    Args:
        spk: Spikes, [B, T, O].
        num_classes: Number of populations; None for one neuron per class.
        lengths: Steps of each recording, int64 [B]; None for all.

    Returns:
        Steps, [B, num_classes].

    Example:
        >>> import torch
        >>> spk = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]], requires_grad=True)
        >>> steps = first_spike_steps(spk)
        >>> steps.tolist()
        [[1.0, 3.0]]
        >>> (-torch.autograd.grad(steps.sum(), spk)[0]).mT.tolist()
        [[[1.0, 1.0, 0.0], [3.0, 2.0, 1.0]]]
    """
    spk, num_classes, lengths = check_outputs("first_spike_steps", spk, num_classes, lengths)
    is_silent = 1 - spk
    if num_classes != spk.shape[2]:
        is_silent = is_silent.reshape(*spk.shape[:2], num_classes, -1).prod(dim=3)
    return sum_over_steps(is_silent.cumprod(dim=1), lengths)


def first_spike_cross_entropy(
    spk: Tensor,
    targets: Tensor,
    num_classes: int | None = None,
    scale: float = 5.0,
    lengths: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of softmax(-first / scale): the right population must spike first.

    `first` is `first_spike_steps`, which describes the gradient. A silent population counts as if
    its first spike came after the end, so the right class gets a gradient even if it is silent.

    Args:
        spk: Output spikes, [B, T, O].
        targets: Class indices, [B].
        num_classes: Number of populations; None for one neuron per class.
        scale: Lead with which a class is e times as likely [steps].
        lengths: Steps of each recording, int64 [B]; None for all.

    References:
        Mostafa 2018, "Supervised learning based on temporal coding in spiking neural networks",
        doi:10.1109/TNNLS.2017.2726060, and Göltz et al. 2021, "Fast and energy-efficient
        neuromorphic deep learning with first-spike times", doi:10.1038/s42256-021-00388-x, for the
        softmax of negative times.

    Example:
        >>> import torch
        >>> spk = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
        >>> first_spike_cross_entropy(spk, torch.tensor([0]), scale=1.0)
        tensor(0.1269)
    """
    owner = "first_spike_cross_entropy"
    spk, num_classes, lengths = check_outputs_and_targets(owner, spk, targets, num_classes, lengths)
    (scale,) = check_options(owner, scale=scale)
    return cross_entropy(first_spike_steps(spk, num_classes, lengths) / -scale, targets)


class FirstSpikeCrossEntropy(LossModule):
    """`first_spike_cross_entropy` as a module: `loss(spk, targets, lengths)`.

    Args:
        num_classes: Number of populations; None for one neuron per class.
        scale: Lead with which a class is e times as likely [steps].

    Example:
        >>> import torch
        >>> spk = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
        >>> FirstSpikeCrossEntropy()(spk, torch.tensor([1]))
        tensor(0.5981)
    """

    function = staticmethod(first_spike_cross_entropy)

    def __init__(self, num_classes: int | None = None, scale: float = 5.0) -> None:
        super().__init__(num_classes=num_classes, scale=scale)
