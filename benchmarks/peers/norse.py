"""Norse: the boxed LIF (no synaptic current) of its `SNN` module, reset by subtraction.

It needs the input x / (1 - decay).
"""

from collections.abc import Callable
from typing import Any

import torch
from norse.torch.functional import izhikevich, lif, lif_adex, lif_ex, lif_refrac, lsnn
from norse.torch.functional.lif_box import (
    LIFBoxFeedForwardState,
    LIFBoxParameters,
    lif_box_feed_forward_step,
)
from norse.torch.functional.reset import reset_subtract
from norse.torch.module.lif_box import LIFBoxCell
from norse.torch.module.snn import SNN
from torch import Tensor

from benchmarks.peers import PeerGradient, PeerNeuron, decay_of

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


def cell(decay: float):
    """Return its module for one time step."""
    return LIFBoxCell(_parameters(decay), dt=DT)


# Its surrogate ignores the slope.
GRADIENT = PeerGradient(detach_reset=False, slope=1.0)


NO_SYNAPSE = 1 / DT  # an inverse time constant [1/s] with which a current lasts one step


def _neuron(
    function: Callable[..., tuple[Tensor, Any]], parameters: Any, rest: Callable[[Tensor], Any]
) -> PeerNeuron:
    """A neuron by its feed-forward step, in Norse's `SNN`; `rest(zeros)` is its state at rest."""
    parameters = parameters._replace(
        **{k: torch.tensor(v) for k, v in parameters._asdict().items() if isinstance(v, float)}
    )
    whole = SNN(function, lambda x: rest(torch.zeros_like(x[0])), parameters, dt=DT)

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return function(x, rest(torch.zeros_like(x)) if state is None else state, parameters, DT)

    return PeerNeuron(whole, step)


def _with_charge(neuron: PeerNeuron, factor: float) -> PeerNeuron:
    return PeerNeuron(neuron.sequence, neuron.step, lambda x: factor * x)


def _lsnn() -> PeerNeuron:
    parameters = lsnn.LSNNParameters(NO_SYNAPSE, 50.0, 5.0, beta=1.6, alpha=25.0)
    return _neuron(
        lsnn.lsnn_feed_forward_step,
        parameters,
        lambda zero: lsnn.LSNNFeedForwardState(zero, zero, zero + 1.0),
    )


def _refractory() -> PeerNeuron:
    rate = (1 - decay_of(20e-3)) / DT
    inner = lif.LIFParameters(
        *(torch.tensor(v) for v in (NO_SYNAPSE, rate)), alpha=torch.tensor(25.0)
    )
    neuron = _neuron(
        lif_refrac.lif_refrac_feed_forward_step,
        lif_refrac.LIFRefracParameters(inner, 5.0),
        lambda zero: lif_refrac.LIFRefracFeedForwardState(
            lif.LIFFeedForwardState(zero, zero), zero
        ),
    )
    return _with_charge(neuron, 1 / (rate * DT))


def _eif() -> PeerNeuron:
    parameters = lif_ex.LIFExParameters(
        **{"delta_T": 3.48, "tau_syn_inv": NO_SYNAPSE, "tau_mem_inv": 100.0, "v_leak": -65.0},
        **{"v_th": -55.0, "v_reset": -68.0, "alpha": 25.0},
    )
    return _neuron(
        lif_ex.lif_ex_feed_forward_step,
        parameters,
        lambda zero: lif_ex.LIFExFeedForwardState(zero - 65.0, zero),
    )


def _adex() -> PeerNeuron:
    parameters = lif_adex.LIFAdExParameters(
        **{"adaptation_current": 4 / 30, "adaptation_spike": 80.5 / 30, "delta_T": 2.0},
        **{"tau_ada_inv": 1 / 144e-3, "tau_syn_inv": NO_SYNAPSE, "tau_mem_inv": 30e3 / 281},
        **{"v_leak": -70.6, "v_th": -45.0, "v_reset": -70.6, "alpha": 25.0},
    )
    return _neuron(
        lif_adex.lif_adex_feed_forward_step,
        parameters,
        lambda zero: lif_adex.LIFAdExFeedForwardState(zero - 70.6, zero, zero),
    )


def _izhikevich() -> PeerNeuron:
    return _neuron(
        izhikevich.izhikevich_feed_forward_step,
        izhikevich.IzhikevichParameters(0.02, 0.2, -65.0, 8.0, tau_inv=1000.0, alpha=25.0),
        lambda zero: izhikevich.IzhikevichState(zero - 65.0, zero - 13.0),
    )


NEURONS = {
    "ALIFLayer": _lsnn,
    "AdExLayer": _adex,
    "EIFLayer": _eif,
    "IzhikevichLayer": _izhikevich,
    "RefractoryLIFLayer": _refractory,
}
