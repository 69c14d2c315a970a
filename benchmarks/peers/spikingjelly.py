"""SpikingJelly: `lif_multi_step`, the function of `LIFNode(step_mode="m")`, with its state.

Its `SoftSign(25)` is 12.5 times the derivative of our fast_sigmoid(25). It also spikes at the
threshold, not only above.
"""

import torch
from spikingjelly.activation_based import functional, surrogate
from torch import Tensor

TIME_FIRST = True


def sequence(decay: float):
    """Return a call for a whole sequence."""
    soft_sign = surrogate.SoftSign(25.0)
    tau = 1 / (1 - decay)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        v = torch.zeros_like(x[0]) if state is None else state
        spikes, v, _ = functional.lif_multi_step(x, v, tau, False, 1.0, None, soft_sign, True)
        return spikes, v

    return run


def step(decay: float):
    """Return a call for one time step."""
    soft_sign = surrogate.SoftSign(25.0)
    tau = 1 / (1 - decay)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        v = torch.zeros_like(x) if state is None else state
        return functional.lif_step(x, v, tau, False, 1.0, None, soft_sign, True)

    return run
