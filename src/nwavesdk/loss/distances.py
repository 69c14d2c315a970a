"""Distances between spike trains."""

import math

import torch
from torch import Tensor

from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers import LILayer, prepare_net
from nwavesdk.layers.lengths import check_lengths, fill_padding
from nwavesdk.loss.arguments import LossModule, check_options, check_spikes

__all__ = ["VanRossumDistance", "van_rossum_distance"]


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

    The gradient is that of the sum: each spike gets the difference filtered forward and backward.

    Args:
        spk: Spikes, [B, T, *features].
        targets: Wanted spikes, in the shape of `spk`.
        tau: Time constant of the kernel [s]: how far apart two spikes may be to count as one.
        dt: Time step [s].
        lengths: Number of steps of each recording, int64 [B]; None for all steps. Spikes in padding
            do not count.

    Returns:
        A scalar.

    Raises:
        TypeError: If spikes or targets are not floating, or `lengths` is not an int64 tensor.
        ValueError: If the shapes differ or have fewer than two dimensions, `tau` or `dt` is not
            above 0, or a length is not from 1 to T.

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
    if lengths is not None:
        lengths = check_lengths(owner, lengths, spk)
        difference = fill_padding(difference, lengths)
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
