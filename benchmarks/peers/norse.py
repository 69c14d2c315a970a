"""Norse: the boxed LIF (no synaptic current) of its `SNN` module, reset by subtraction.

It needs the input x / (1 - decay).
"""

import torch
from norse.torch.functional.lif_box import (
    LIFBoxFeedForwardState,
    LIFBoxParameters,
    lif_box_feed_forward_step,
)
from norse.torch.functional.reset import reset_subtract
from norse.torch.module.snn import SNN
from torch import Tensor

TIME_FIRST = True
DT = 1e-3


def scale(decay: float) -> float:
    """Return the factor for the input."""
    return 1 / (1 - decay)


def _parameters(decay: float) -> LIFBoxParameters:
    rate = torch.tensor((1 - decay) / DT)
    slope = torch.tensor(25.0)
    return LIFBoxParameters(tau_mem_inv=rate, alpha=slope, reset_method=reset_subtract)


def _rest(x: Tensor) -> LIFBoxFeedForwardState:
    return LIFBoxFeedForwardState(torch.zeros_like(x))


def sequence(decay: float):
    """Return a call for a whole sequence."""
    return SNN(lif_box_feed_forward_step, lambda x: _rest(x[0]), _parameters(decay), dt=DT)


def step(decay: float):
    """Return a call for one time step."""
    parameters = _parameters(decay)

    def run(x: Tensor, state: LIFBoxFeedForwardState | None):
        return lif_box_feed_forward_step(x, _rest(x) if state is None else state, parameters, DT)

    return run
