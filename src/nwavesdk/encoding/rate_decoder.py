"""`RateDecoder`: values from the firing rates of populations, which may be signed."""

import math

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import finite_number, switch, whole_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers.zoo import LILayer

__all__ = ["RateDecoder"]


class RateDecoder(nn.Module):
    """The firing rates of populations as outputs of each step, for neurons that must spike.

        r[t] = β · r[t-1] + (1 - β) · (mean spikes of the population in step t),  β = exp(-dt/tau)
        output[t] = scale · r[t]

    With `is_signed`, the first half of a population adds and the second half subtracts, each with
    the mean of its half. The decoder is causal and has no weights. It continues from call to call
    until `prepare_net(decoder)`, as layers do. On a chip, a computer next to it runs the filter; it
    needs one number per output.

    Args:
        n_outputs: Number of populations, which are equal parts of the neurons.
        tau: Time constant of the filter [s].
        dt: Length of a step [s].
        scale: Output per spike and step.
        is_signed: Whether outputs can be negative.

    Shape:
        `spk` [B, T, N] -> [B, T, n_outputs]. `mem` and `lengths` are not used: all decoders of a
        net are called as `decoder(spk, mem, lengths)`.

    Raises:
        TypeError: If spikes are not floating.
        ValueError: If an argument is out of its range, or N is not a multiple of `n_outputs`, with
            `is_signed` of `2 · n_outputs`.

    Example:
        >>> decoder = RateDecoder(1, tau=20e-3, is_signed=True)
        >>> spk = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 100, 4)  # the half that adds
        >>> round(decoder(spk)[0, -1, 0].item(), 2)
        0.99
    """

    def __init__(
        self,
        n_outputs: int,
        tau: float,
        dt: float = 1e-3,
        scale: float = 1.0,
        *,
        is_signed: bool = False,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.n_outputs = whole_number(owner, "n_outputs", n_outputs)
        self.is_signed = switch(owner, "is_signed", is_signed)
        self.filter = LILayer(self.n_outputs, tau=tau, dt=dt)
        self.scale = -math.expm1(-dt / tau) * finite_number(owner, "scale", scale)

    def forward(
        self,
        spk: Tensor,
        mem: Tensor | None = None,  # noqa: ARG002  # all decoders take it
        lengths: Tensor | None = None,  # noqa: ARG002  # all decoders take it
    ) -> Tensor:
        """Outputs [B, T, n_outputs]."""
        owner = type(self).__name__
        require_floating(owner, spk)
        parts = self.n_outputs * (2 if self.is_signed else 1)
        if spk.ndim != 3 or not spk.shape[2] or spk.shape[2] % parts:
            raise ValueError(
                f"{owner} takes spikes [B, T, N] with N a multiple of {parts}, got the shape "
                f"{list(spk.shape)}: give each of the {self.n_outputs} outputs as many neurons."
            )
        # Half precision cannot hold the filter's slow decay.
        spikes = spk.to(torch.promote_types(spk.dtype, torch.float32))
        populations = spikes.reshape(*spikes.shape[:2], self.n_outputs, -1)
        if self.is_signed:
            positive, negative = populations.chunk(2, dim=3)
            rates = positive.mean(dim=3) - negative.mean(dim=3)
        else:
            rates = populations.mean(dim=3)
        filtered: Tensor = self.filter(rates)[1]
        return self.scale * filtered
