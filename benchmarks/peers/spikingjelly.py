"""SpikingJelly: `lif_multi_step`, the function of `LIFNode(step_mode="m")`, with its state.

Its `SoftSign(25)` is 12.5 times the derivative of our fast_sigmoid(25). It also spikes at the
threshold, not only above.
"""

import math
from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor

from benchmarks.peers import PeerGradient, PeerNeuron, decay_of, loop_of

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


def cell(decay: float):
    """Return its module for one time step, which holds the state."""
    node = neuron.LIFNode(
        1 / (1 - decay), False, 1.0, None, surrogate.SoftSign(25.0), detach_reset=True
    )

    def run(x: Tensor, state: bool | None) -> tuple[Tensor, bool]:
        if state is None:
            node.reset()
        return node(x), True

    return run


GRADIENT = PeerGradient(factor=12.5)


SOFT_SIGN = surrogate.SoftSign(25.0)


def _sequence(function: Callable[..., tuple], rest: tuple[float, ...], **options) -> PeerNeuron:
    """A neuron by its `multi_step` function, which returns spikes and states."""

    def run(x: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        state = [torch.full_like(x[0], v) for v in rest] if state is None else state
        s, *state = function(x, *state, surrogate_function=SOFT_SIGN, detach_reset=True, **options)
        return s, state[: len(rest)]

    return PeerNeuron(run)


def _loop(function: Callable[..., tuple], states: int, *arguments: object) -> PeerNeuron:
    """A neuron by its `step` function, which returns spikes and states."""

    def step(x: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        state = [torch.zeros_like(x)] * states if state is None else state
        s, *state = function(x, *state, *arguments, SOFT_SIGN, True)
        return s, state

    return loop_of(step)


def _izhikevich() -> PeerNeuron:
    """Its parabola by its roots, in twice the unit, as its tau must be above 1."""
    root = math.sqrt(25 - 4 * 0.04 * 140)
    rest, critical = (-5 - root) / 0.08, (-5 + root) / 0.08
    neuron = _sequence(
        functional.izhikevich_multi_step,
        (-65.0, 2 * (-13.0 - 0.2 * rest)),
        **{"tau": 2.0, "v_threshold": 30.0, "v_reset": -65.0, "v_rest": rest, "a": 0.4},
        **{"b": 16.0, "tau_w": 50.0, "v_c": critical, "a0": 0.08},
    )
    return PeerNeuron(neuron.sequence, charge=lambda x: 2 * (x - 0.2 * rest))


def _klif() -> PeerNeuron:
    tau, k = 1 / (1 - decay_of(20e-3)), torch.ones(())
    return _loop(functional.klif_step, 1, k, tau, True, False, 1.0, 0.0)


def _qif() -> PeerNeuron:
    return _sequence(
        functional.qif_multi_step,
        (-65.0,),
        **{"tau": 10.0, "v_threshold": 20.0, "v_reset": -80.0, "v_rest": -65.0},
        **{"v_c": -50.0, "a0": 1 / 15},
    )


def _eif() -> PeerNeuron:
    return _sequence(
        functional.eif_multi_step,
        (-65.0,),
        **{"tau": 10.0, "v_threshold": 20.0, "v_reset": -68.0, "v_rest": -65.0},
        **{"theta_rh": -59.9, "delta_t": 3.48},
    )


def _cuba() -> PeerNeuron:
    return _loop(functional.cuba_lif_step, 2, decay_of(5e-3), decay_of(20e-3), 1.0, None)


def _raf() -> PeerNeuron:
    return _loop(functional.raf_step, 2, -1 / 50, 60e-3, 1.0, 1.0, 0.0)


NEURONS = {
    "CubaLIFLayer": _cuba,
    "EIFLayer": _eif,
    "IFLayer": lambda: _sequence(functional.if_multi_step, (0.0,), v_threshold=1.0, v_reset=None),
    "IzhikevichLayer": _izhikevich,
    "KLIFLayer": _klif,
    "QIFLayer": _qif,
    "ResonateAndFireLayer": _raf,
}
