"""Decoders on the host: from the spikes or membranes of the output layer of a net to outputs.

`nwavesdk.encoding.RateDecoder` is a third decoder. A decoder is causal and has no weights. It is
called as `decoder(spk, mem, lengths)`, with spikes and membranes of the output layer, `[B, T, N]`,
and the steps of each recording, `[B]`, or None.
"""

import math

from torch import Tensor, nn

from nwavesdk.layers.lengths import sum_over_steps
from nwavesdk.loss import rate_logits

__all__ = ["ClassDecoder", "MembraneDecoder"]


class ClassDecoder(nn.Module):
    """Logits of the classes: the firing rates of their populations over the recording.

    Args:
        n_classes: Number of populations.
        sharpness: Logit per spike and step; see `nwavesdk.loss.rate_logits`.
        takes_scores: Whether the net may return scores instead of spikes, as one tensor that is
            both `spk` and `mem`.
    """

    def __init__(self, n_classes: int, sharpness: float, *, takes_scores: bool = False) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.sharpness = sharpness
        self.takes_scores = takes_scores

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits `[B, C]`; for scores of each step, their mean over valid steps."""
        if mem is not spk or not self.takes_scores:
            return rate_logits(spk, self.n_classes, self.sharpness, lengths)
        if mem.ndim == 2:
            return mem
        if lengths is None:
            return mem.mean(dim=1)
        return sum_over_steps(mem, lengths) / lengths[:, None]


class MembraneDecoder(nn.Module):
    """The membranes of a read-out as outputs of each step.

        output[t] = √(1 - β²) · v[t],  β = exp(-dt/tau)

    The factor cancels the gain of the leaky integration: if the charges of the steps are
    independent, an output has the deviation of a charge, whatever tau and dt are.

    Args:
        tau: Time constant of the read-out [s]; 0 for membranes that are the outputs.
        dt: Time step [s].
    """

    def __init__(self, tau: float, dt: float) -> None:
        super().__init__()
        self.scale = math.sqrt(-math.expm1(-2 * dt / tau)) if tau else 1.0

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Outputs `[B, T, N]`."""
        return self.scale * mem
