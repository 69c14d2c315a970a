"""snnTorch: `Leaky` in a loop over time, as in its documentation.

`reset_delay=False` resets in the step of the spike. A neuron that stays above the threshold after
its reset is reset again in the next step, so some spikes differ.
"""

import torch
from snntorch import Alpha, Leaky, Synaptic, surrogate
from torch import Tensor

from benchmarks.peers import PeerGradient, PeerNeuron, decay_of, loop_of

TIME_FIRST = True


def step(decay: float):
    """Return a call for one time step."""
    neuron = Leaky(decay, spike_grad=surrogate.fast_sigmoid(25), reset_delay=False)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return neuron(x, torch.zeros_like(x) if state is None else state)

    return run


cell = step
"""Its module for one time step."""

GRADIENT = PeerGradient(detach_reset=False)


def sequence(decay: float):
    """Return a call for a whole sequence."""
    once = step(decay)

    def run(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        spikes = []
        for x_t in x:
            s, state = once(x_t, state)
            spikes.append(s)
        return torch.stack(spikes), state

    return run


def _synaptic() -> PeerNeuron:
    neuron = Synaptic(
        decay_of(5e-3), decay_of(20e-3), spike_grad=surrogate.fast_sigmoid(25), reset_delay=False
    )
    return loop_of(_step_of(neuron, 2))


def _alpha() -> PeerNeuron:
    neuron = Alpha(
        decay_of(20e-3),
        decay_of(5e-3),
        spike_grad=surrogate.fast_sigmoid(25),
        reset_mechanism="zero",
    )
    return loop_of(_step_of(neuron, 3))


def _step_of(neuron, states: int):
    def step(x: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        s, *state = neuron(x, *([torch.zeros_like(x)] * states if state is None else state))
        return s, state

    return step


NEURONS = {"AlphaLayer": _alpha, "CubaLIFLayer": _synaptic}
