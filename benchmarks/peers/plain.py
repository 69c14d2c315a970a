"""Plain torch: LIF and adLIF neurons as one writes them without a library.

It counts as a peer of AdLIF.
"""

from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import PeerGradient, PeerNeuron, decay_of, loop_of

TIME_FIRST = True


class _Spike(torch.autograd.Function):
    """A step with the derivative of fast_sigmoid(25)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return (z > 0).to(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return grad / (1 + 25 * z.abs()) ** 2


def cell(decay: float):
    """Return LIF neurons for one time step."""

    def run(x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        u = x if v is None else decay * v + x
        s = _Spike.apply(u - 1.0)
        return s, u - s.detach()

    return run


GRADIENT = PeerGradient()


def _adlif() -> PeerNeuron:
    alpha, beta, a, b = decay_of(15e-3), decay_of(60e-3), 0.02, 0.2

    def step(x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Any]:
        v, w = (torch.zeros_like(x),) * 2 if state is None else state
        u = alpha * v + (1 - alpha) * (x - w)
        s = _Spike.apply(u - 1)
        return s, (u - s.detach(), beta * w + a * u + b * s)

    return loop_of(step)


NEURONS = {"AdLIFLayer": _adlif}
