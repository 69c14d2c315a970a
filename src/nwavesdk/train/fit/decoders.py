"""What follows a net on the host: from the spikes or the membranes of its output layer to outputs.

`nwavesdk.encoding.RateDecoder` is another one. A decoder is causal and has no weights. Each is
called as `decoder(spk, mem, lengths)`, with spikes and membranes of the output layer, `[B, T, N]`,
and the steps of each recording, `[B]`, or None.
"""

import math

from torch import Tensor, nn

from nwavesdk.layers.lengths import sum_over_steps
from nwavesdk.loss import rate_logits

__all__ = [
    "ClassDecoder",
    "GivenDecoder",
    "MembraneDecoder",
]


class ClassDecoder(nn.Module):
    """Logits of the classes: the firing rates of their populations over the recording.

    Args:
        n_classes: Number of populations.
        sharpness: Logit per spike and step; see `nwavesdk.loss.rate_logits`.
    """

    def __init__(self, n_classes: int, sharpness: float) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.sharpness = sharpness

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Logits `[B, C]`."""
        return rate_logits(spk, self.n_classes, self.sharpness, lengths)


class GivenDecoder(nn.Module):
    """Outputs of a net that the user built: what it gives itself, or the rates of its spikes.

    A net gives scores as one tensor that is both `spk` and `mem`.

    Args:
        of_spikes: The decoder of a net that spikes, for one decision per recording; None for
            outputs of each step, which are the membranes.
    """

    def __init__(self, of_spikes: nn.Module | None = None) -> None:
        super().__init__()
        self.of_spikes = of_spikes

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Outputs `[B, C]`, the mean over valid steps for scores of each step; or `[B, T, D]`."""
        if self.of_spikes is None or mem.ndim == 2:
            return mem
        if mem is not spk:
            outputs: Tensor = self.of_spikes(spk, mem, lengths)
            return outputs
        if lengths is None:
            return mem.mean(dim=1)
        return sum_over_steps(mem, lengths) / lengths[:, None]


class MembraneDecoder(nn.Module):
    """The membranes of a read-out as outputs of each step.

        output[t] = √(1 - β²) · v[t],  β = exp(-dt/tau)

    The factor cancels what the leaky integration adds: if the charges of the steps are independent,
    an output has the deviation of a charge, whatever tau and dt are.

    Args:
        tau: Time constant of the read-out [s].
        dt: Time step [s].
    """

    def __init__(self, tau: float, dt: float) -> None:
        super().__init__()
        self.scale = math.sqrt(-math.expm1(-2 * dt / tau))

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Outputs `[B, T, N]`."""
        return self.scale * mem
