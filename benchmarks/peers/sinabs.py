"""sinabs: `lif_forward`, the function of its `LIF`, with our fast_sigmoid.

It spikes at most once per step.
"""

import math

import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from sinabs.layers import LIF
from sinabs.layers.functional.alif import alif_forward, alif_forward_single
from sinabs.layers.functional.lif import lif_forward, lif_forward_single
from torch import Tensor

from benchmarks.peers import PeerGradient, PeerNeuron, decay_of

TIME_FIRST = False
THRESHOLD = torch.tensor(1.0)


def _fast_sigmoid(v_mem: Tensor, spike_threshold: Tensor) -> Tensor:
    return 1 / (1 + 25 * (v_mem - spike_threshold).abs()) ** 2


def _options(decay: float) -> dict:
    return {
        "alpha_mem": torch.tensor(decay),
        "alpha_syn": None,
        "spike_threshold": THRESHOLD,
        "spike_fn": SingleSpike,
        "reset_fn": MembraneSubtract(),
        "surrogate_grad_fn": _fast_sigmoid,
        "min_v_mem": None,
        "norm_input": False,
    }


def sequence(decay: float):
    """Return a call for a whole sequence."""
    options = _options(decay)

    def run(x: Tensor, state: dict | None) -> tuple[Tensor, dict]:
        spikes, state, _ = lif_forward(
            x, state={"v_mem": torch.zeros_like(x[:, 0])} if state is None else state, **options
        )
        return spikes, {"v_mem": state["v_mem"]}

    return run


def step(decay: float):
    """Return a call for one time step."""
    options = _options(decay)

    def run(x: Tensor, state: dict | None) -> tuple[Tensor, dict]:
        spikes, state = lif_forward_single(
            x, state={"v_mem": torch.zeros_like(x)} if state is None else state, **options
        )
        return spikes, {"v_mem": state["v_mem"]}

    return run


def cell(decay: float):
    """Return its module for one time step; it holds the state, and time is a dimension."""
    neuron = LIF(
        -1 / math.log(decay),
        spike_threshold=THRESHOLD,
        spike_fn=SingleSpike,
        reset_fn=MembraneSubtract(),
        surrogate_grad_fn=_fast_sigmoid,
        norm_input=False,
    )

    def run(x: Tensor, state: bool | None) -> tuple[Tensor, bool]:
        if state is None:
            neuron.reset_states()
        return neuron(x[:, None])[:, 0], True

    return run


GRADIENT = PeerGradient(detach_reset=False)


def _neuron(forward, forward_single, states: tuple[str, ...], charge: float = 1.0, **more):
    """A neuron by the functions of its module for sequences and for one step."""
    options = {
        **{"spike_fn": SingleSpike, "reset_fn": MembraneSubtract(), "min_v_mem": None},
        **{"surrogate_grad_fn": _fast_sigmoid, "norm_input": False, **more},
    }

    def state_of(zero: Tensor, state: dict | None) -> dict:
        return dict.fromkeys(states, zero) if state is None else dict(state)

    def run(x: Tensor, state: dict | None) -> tuple[Tensor, dict]:
        spikes, state, _ = forward(x, state=state_of(torch.zeros_like(x[:, 0]), state), **options)
        return spikes, {name: state[name] for name in states}

    def step(x: Tensor, state: dict | None) -> tuple[Tensor, dict]:
        spikes, state = forward_single(x, state=state_of(torch.zeros_like(x), state), **options)
        return spikes, {name: state[name] for name in states}

    return PeerNeuron(run, step, lambda x: charge * x)


def _lif(alpha_mem: float, alpha_syn: float | None) -> PeerNeuron:
    """Its current decays before it is used."""
    return _neuron(
        *(lif_forward, lif_forward_single),
        ("v_mem",) if alpha_syn is None else ("v_mem", "i_syn"),
        1.0 if alpha_syn is None else 1 / alpha_syn,
        alpha_mem=torch.tensor(alpha_mem),
        alpha_syn=None if alpha_syn is None else torch.tensor(alpha_syn),
        spike_threshold=THRESHOLD,
    )


def _alif() -> PeerNeuron:
    return _neuron(
        *(alif_forward, alif_forward_single),
        ("v_mem", "b", "spike_threshold"),
        alpha_mem=torch.tensor(decay_of(20e-3)),
        alpha_adapt=torch.tensor(decay_of(200e-3)),
        alpha_syn=None,
        adapt_scale=1.6,
        b0=1.0,
        norm_input=True,
    )


NEURONS = {
    "ALIFLayer": _alif,
    "CubaLIFLayer": lambda: _lif(decay_of(20e-3), decay_of(5e-3)),
    "IFLayer": lambda: _lif(1.0, None),
}
