"""What a neuron is and does: facts, and responses to a constant drive and to a burst.

The drives are found by trying, because the units of charges differ by factors of thousands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron
from nwavesdk.init.drive import smallest_scale
from nwavesdk.layers import Record, prepare_net
from nwavesdk.layers.catalogue import CataloguedNeuron, NeuronConstant, NeuronValue
from nwavesdk.surrogate import FastSigmoid, fast_sigmoid

__all__ = ["NeuronResponses", "Response", "neuron_facts", "neuron_responses"]

Array = npt.NDArray[np.float64]

STEP = 1e-3  # s
# The value of a time constant that has no default [s].
TAU = 20e-3

# A drive makes a neuron fire regularly if there are this many spikes in a window, one of them in
# its last third. If no drive does, the window is doubled, up to the longest.
REGULAR_SPIKES = 5
WINDOW = 500
LONGEST_WINDOW = 4000

# The step is this many times as large as the smallest drive that makes the neuron fire regularly;
# rates are measured up to another multiple.
STEP_FACTOR = 1.5
RATES_FACTOR = 4.0
RATES = 81

# The burst: input spikes, the steps from one to the next, and the spikes that it shall cause.
BURST = 5
BURST_PERIOD = 4
BURST_SPIKES = 3

# Slope of the surrogate for a neuron that is one unit below its threshold at rest.
SLOPE = 25.0


@dataclass(frozen=True, eq=False)
class Response:
    """What a neuron does under one input; all arrays are [T].

    Attributes:
        x: Input.
        spikes: Spikes; 0 for a read-out.
        states: Each state after each step, by name.
        u: Membrane before the reset, or None if the equation compares no membrane.
        threshold: What `u` is compared with in each step, or None.
        slope: The surrogate's derivative along the response, or None for a read-out.
        gradient: Derivative of the number of spikes by the input of each step, or None.
    """

    x: Array
    spikes: Array
    states: dict[str, Array]
    u: Array | None = None
    threshold: Array | None = None
    slope: Array | None = None
    gradient: Array | None = None


@dataclass(frozen=True, eq=False)
class NeuronResponses:
    """The responses of a neuron.

    Attributes:
        constants: The constants.
        dt: Length of a step [s].
        drive: The smallest constant input that makes it fire regularly; 1 for a read-out.
        step: Response to a constant input that begins and ends.
        burst: Response to a few spikes in a row.
        drives: Constant inputs, or None for a read-out.
        rates: The firing rate at each [1/s], or None.
        surrogate: The surrogate of the derivatives, or None.
    """

    constants: dict[str, float]
    dt: float
    drive: float
    step: Response
    burst: Response
    drives: Array | None
    rates: Array | None
    surrogate: FastSigmoid | None


# Runs x [T, N] from rest.
Run = Callable[[Tensor], Record]


def neuron_facts(neuron: CataloguedNeuron) -> dict[str, Any]:
    """What a list shows of a neuron, with JSON's types."""
    return {
        "name": neuron.name,
        "layer": neuron.call,
        "summary": neuron.summary,
        "equation": neuron.equation,
        "input": _value_facts(neuron.input),
        "states": [{**_value_facts(state), "start": state.start} for state in neuron.states],
        "constants": [
            {
                **_value_facts(constant),
                "argument": constant.argument,
                "kind": constant.kind_text,
                "default": constant.default,
            }
            for constant in neuron.constants.values()
        ],
        "solvers": neuron.solvers,
        "sources": neuron.sources,
    }


def _value_facts(value: NeuronValue | NeuronConstant) -> dict[str, Any]:
    return {"name": value.name, "unit": value.unit, "text": value.text}


def neuron_responses(neuron: CataloguedNeuron) -> NeuronResponses:
    """Drive a neuron with its default constants, and record what it does.

    Raises:
        ValueError: If no constant drive makes it fire, or a constant that is not a time constant
            has no default.
    """
    given = {name: c for name, c in neuron.constants.items() if c.argument is not None}
    for name, constant in given.items():
        if constant.default is None and constant.kind.unit != "s":
            raise ValueError(
                f"{neuron.name}: the constant {name} has no default, a response needs its value: "
                "give it a default in the equation."
            )
    constants = {name: TAU if c.default is None else c.default for name, c in given.items()}

    run = partial(_run, neuron, constants)
    respond = partial(_response, neuron, constants)
    if neuron.page.neuron.is_readout:
        step = respond(_step(1.0, WINDOW))
        burst = respond(_burst(1.0, WINDOW))
        return NeuronResponses(constants, STEP, 1.0, step, burst, None, None, None)
    drive, window = _regular_drive(neuron, run)
    drives = torch.linspace(0, RATES_FACTOR * drive, RATES)
    settled = run(drives.expand(2 * window, RATES)).spk[0, window:]
    at_rest = run(torch.zeros(1, 1)).z.abs().item()
    surrogate = fast_sigmoid(float(f"{SLOPE / (at_rest or 1.0):.2g}"))
    size = _burst_size(run, window)
    return NeuronResponses(
        constants=constants,
        dt=STEP,
        drive=drive,
        step=respond(_step(STEP_FACTOR * drive, window)),
        burst=respond(_burst(size, window), surrogate),
        drives=_array(drives),
        rates=np.array([_rate(spikes) for spikes in settled.T]),
        surrogate=surrogate,
    )


def _run(
    neuron: CataloguedNeuron,
    constants: dict[str, float],
    x: Tensor,
    surrogate: FastSigmoid | None = None,
) -> Record:
    """The record of one call with x [T, N]."""
    options: dict[str, Any] = {} if surrogate is None else {"spike_grad": surrogate}
    layer = neuron.build(x.shape[1], constants, dt=STEP, solver="reference", **options)
    prepare_net(layer)
    return layer.record(x[None])


def _regular_drive(neuron: CataloguedNeuron, run: Run) -> tuple[float, int]:
    """The smallest constant drive with regular firing, and the window in which it is."""
    window = WINDOW
    while window <= LONGEST_WINDOW:

        def is_regular(drives: Tensor, window: int = window) -> Tensor:
            spikes = run(drives.expand(window, len(drives))).spk[0]
            lasts = spikes[2 * window // 3 :].sum(0) > 0
            return (spikes.sum(0) >= REGULAR_SPIKES) & lasts

        drive = smallest_scale(is_regular)
        if drive is not None:
            return drive, window
        window *= 2
    raise ValueError(f"{neuron.name}: no constant drive makes it fire regularly.")


def _burst_size(run: Run, window: int) -> float:
    """The smallest input spikes whose burst causes the wanted number of spikes, or at least one."""
    shape = _burst(1.0, window)
    for wanted in range(BURST_SPIKES, 0, -1):

        def is_enough(sizes: Tensor, wanted: int = wanted) -> Tensor:
            return run(shape * sizes).spk[0].sum(0) >= wanted

        size = smallest_scale(is_enough)
        if size is not None:
            return size
    return 1.0


def _step(size: float, window: int) -> Tensor:
    """A constant input with silence before and after it, [T, 1]."""
    x = torch.zeros(window, 1)
    x[window // 10 : 7 * window // 10] = size
    return x


def _burst(size: float, window: int) -> Tensor:
    """A few input spikes in a row, [T, 1]."""
    x = torch.zeros(3 * window // 10, 1)
    first = len(x) // 10
    x[first : first + BURST * BURST_PERIOD : BURST_PERIOD] = size
    return x


def _compared(
    neuron: Neuron, constants: dict[str, float], record: Record
) -> tuple[Array, Array] | None:
    """The membrane before the reset and the threshold of each step [T].

    They are known if the argument of the spike is `u - ...`, or anything minus `threshold`.
    """
    step = neuron.step
    nodes = step.graph.nodes
    membrane = z = step.z
    while membrane is not None and nodes[membrane].op == "-":
        membrane = nodes[membrane].inputs[0]
    if z is None or membrane is None or membrane == z:
        return None
    argument = _array(record.z[0, :, 0])
    if step.names.get(membrane) == "u":
        u = _array(record.u[0, :, 0])
        return u, u - argument
    if "threshold" in constants and nodes[z].inputs == (membrane, step.input("threshold")):
        threshold = np.full_like(argument, constants["threshold"])
        return argument + threshold, threshold
    return None


def _response(
    neuron: CataloguedNeuron,
    constants: dict[str, float],
    x: Tensor,
    surrogate: FastSigmoid | None = None,
) -> Response:
    record = _run(neuron, constants, x, surrogate)
    compared = _compared(neuron.page.neuron, constants, record)
    states = {name: _array(value[0, :, 0]) for name, value in record.states.items()}
    u, threshold = (None, None) if compared is None else compared
    if record.is_readout or surrogate is None:
        spikes = torch.zeros(len(x)) if record.is_readout else record.spk[0, :, 0]
        return Response(_array(x[:, 0]), _array(spikes), states, u, threshold)
    gradient, _ = record.charge_gradient(torch.ones_like(record.spk))
    return Response(
        x=_array(x[:, 0]),
        spikes=_array(record.spk[0, :, 0]),
        states=states,
        u=u,
        threshold=threshold,
        slope=_array(surrogate.derivative(record.z[0, :, 0])),
        gradient=_array(gradient[0, :, 0]),
    )


def _rate(spikes: Tensor) -> float:
    """The rate of a train of spikes [T] from its intervals [1/s]; 0 for fewer than two spikes."""
    times = spikes.nonzero().flatten()
    return 0.0 if len(times) < 2 else (len(times) - 1) / (STEP * (times[-1] - times[0]).item())


def _array(values: Tensor) -> Array:
    return values.detach().double().numpy()
