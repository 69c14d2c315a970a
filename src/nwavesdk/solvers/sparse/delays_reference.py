"""The product of spikes and delayed weights: the plain torch version, which is the specification.

Every other version must return the values and gradients of this one. It runs on any device and
dtype, under autocast, `torch.func` and `torch.compile`, and has derivatives of any order.
"""

from functools import reduce

import torch
from torch import Tensor

__all__ = ["INTERPOLATIONS", "delay_kernel", "delayed_product"]

INTERPOLATIONS = ("linear", "gaussian", "none")
"""How a delay that is not a whole number of steps is divided among steps."""


def delayed_product(
    spk: Tensor,
    past: Tensor,
    weight: Tensor,
    delay: Tensor,
    max_delay: int,
    interpolation: str,
    width: float,
) -> Tensor:
    """The charge of spikes that arrive after a delay of their connection.

        cur[b, t, o] = Σ_i weight[i, o] · Σ_k κ_k(delay[i, o]) · spk[b, t - k, i]

    k runs from 0 to `max_delay`, and `delay_kernel` gives κ. A step before the first one is read
    from `past`.

    Args:
        spk: Spikes or other values [B, T, N_in].
        past: The values before the first step [B, D, N_in], the most recent one last, with
            D ≥ `max_delay`.
        weight: Weights [N_in, N_out].
        delay: Delays [steps], each from 0 to `max_delay`: [N_in, N_out], or [N_in, 1] for one delay
            per input.
        max_delay: Largest delay [steps].
        interpolation: One of `INTERPOLATIONS`; see `delay_kernel`.
        width: Standard deviation of the Gaussian [steps]; not used by the others.

    Returns:
        Charge [B, T, N_out], with gradient for `spk`, `past`, `weight` and `delay`.
    """
    D = past.shape[1]
    T = spk.shape[1]
    sequence = torch.cat([past, spk], 1)
    kernel = delay_kernel(delay, max_delay, interpolation, width).to(weight.dtype)
    # Step t of the input is at place D + t: shifted[k][:, t] is the input of step t - k.
    shifted = [sequence[:, D - k : D - k + T] for k in range(max_delay + 1)]
    if delay.shape[1] == 1:
        return reduce(torch.add, map(torch.mul, shifted, kernel[:, :, 0])) @ weight
    return reduce(torch.add, map(torch.matmul, shifted, weight * kernel))


def delay_kernel(delay: Tensor, max_delay: int, interpolation: str, width: float) -> Tensor:
    """The share κ_k of a spike that arrives k steps later, k = 0 … `max_delay`; shares add up to 1.

        linear:    κ_k(d) = 1 - p if k = f,  p if k = f + 1,  0 elsewhere
                   with f = min(⌊d⌋, max_delay - 1) and p = d - f
        gaussian:  κ_k(d) = exp(-(k - d)² / 2σ²) / Σ_j exp(-(j - d)² / 2σ²),  j = 0 … max_delay
        none:      κ_k(d) = 1 if k = round(d),  0 elsewhere; half steps go to the even neighbor

    The derivative of the linear share by d is -1 at f and 1 at f + 1. At a whole step it is
    therefore taken from the interval to the right, and at `max_delay` from the interval to the
    left: no delay is without a gradient. `none` has no gradient for delays.

    Args:
        delay: Delays d [steps], of any shape.
        max_delay: Largest delay [steps].
        interpolation: One of `INTERPOLATIONS`.
        width: σ [steps].

    Returns:
        Shares [max_delay + 1, *delay.shape].

    References:
        Hammouamri, Khalfaoui-Hassani and Masquelier 2024, "Learning delays in spiking neural
        networks using dilated convolutions with learnable spacings", ICLR, arXiv:2306.17670. Their
        code adds a small number to the sum, with which a narrow Gaussian between two steps
        vanishes; here shares always add up to 1.
    """
    steps = torch.arange(max_delay + 1, device=delay.device).reshape(-1, *[1] * delay.ndim)
    if interpolation == "gaussian":
        return torch.softmax(-0.5 * ((steps - delay) / width) ** 2, 0)
    if interpolation == "none" or max_delay == 0:
        return (steps == delay.round()).to(delay.dtype)

    first = delay.detach().floor().clamp(max=max_delay - 1)
    part = delay - first
    return (steps == first) * (1 - part) + (steps == first + 1) * part
