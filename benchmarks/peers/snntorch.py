"""snnTorch: `Leaky` in a loop over time, as its documentation does; `reset_delay=False` resets in the spike's step.

Where a neuron stays above threshold after its reset, it resets once more in the next step: some spikes then differ.
"""

import torch
from snntorch import Leaky, surrogate
from torch import Tensor

TIME_FIRST = True


def step(decay: float):
    """One time step."""
    neuron = Leaky(decay, spike_grad=surrogate.fast_sigmoid(25), reset_delay=False)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return neuron(x, torch.zeros_like(x) if state is None else state)

    return run


def sequence(decay: float):
    """A whole sequence."""
    once = step(decay)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        spikes = []
        for x_t in x:
            s, state = once(x_t, state)
            spikes.append(s)
        return torch.stack(spikes), state

    return run
