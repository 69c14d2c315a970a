"""SpikingJelly: `lif_multi_step`, the function behind `LIFNode(step_mode="m")`, which takes and gives a state.

Its `SoftSign(25)` is 12.5 times the derivative of our fast_sigmoid(25); it fires at the threshold too, not only above.
"""

import torch
from spikingjelly.activation_based import functional, surrogate
from torch import Tensor

TIME_FIRST = True


def sequence(decay: float):
    """A whole sequence."""
    soft_sign, tau = surrogate.SoftSign(25.0), 1 / (1 - decay)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        v = torch.zeros_like(x[0]) if state is None else state
        spikes, v, _ = functional.lif_multi_step(x, v, tau, False, 1.0, None, soft_sign, True)
        return spikes, v

    return run


def step(decay: float):
    """One time step."""
    soft_sign, tau = surrogate.SoftSign(25.0), 1 / (1 - decay)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        v = torch.zeros_like(x) if state is None else state
        return functional.lif_step(x, v, tau, False, 1.0, None, soft_sign, True)

    return run
