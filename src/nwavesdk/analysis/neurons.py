"""What a neuron is and does: facts, and responses to a constant drive and to a burst.

The drives are found by trying, because the units of charges differ by factors of thousands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nwavesdk.init.drive import smallest_scale
from nwavesdk.layers import Record, prepare_net
from nwavesdk.layers.catalogue import CataloguedNeuron, NeuronConstant, NeuronValue
from nwavesdk.surrogate import FastSigmoid, fast_sigmoid

__all__ = [
    "REGULAR_SPIKES",
    "STEP",
    "STEP_FACTOR",
    "NeuronResponses",
    "neuron_facts",
    "neuron_responses",
]

STEP = 1e-3  # s
# The value of a time constant that has no default [s].
TAU = 20e-3

# A drive makes a neuron fire regularly if there are this many spikes in a window, one of them in
# its last third. If no drive does, a longer window is tried.
REGULAR_SPIKES = 5
WINDOWS = (500, 1000, 2000, 4000)

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
class NeuronResponses:
    """The responses of a neuron with default constants, in steps of `STEP`.

    Attributes:
        constants: The constants.
        drive: The smallest constant input that makes it fire regularly; 1 for a read-out.
        step: Record of a constant input that begins and ends, with its charges.
        burst: Record of a few input spikes in a row, with its charges. Its surrogate suits the
            unit of the membrane.
        drives: Constant inputs; none for a read-out.
        rates: The firing rate at each [1/s].
    """

    constants: dict[str, float]
    drive: float
    step: Record
    burst: Record
    drives: Tensor
    rates: Tensor


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
    if neuron.page.neuron.is_readout:
        step, burst = (run(shape(WINDOWS[0])) for shape in (_step, _burst))
        return NeuronResponses(constants, 1.0, step, burst, torch.empty(0), torch.empty(0))
    drive, window = _regular_drive(neuron, run)
    drives = torch.linspace(0, RATES_FACTOR * drive, RATES)
    settled = run(drives.expand(2 * window, RATES)).spk[0, window:]
    at_rest = run(torch.zeros(1, 1)).z.abs().item()
    surrogate = fast_sigmoid(float(f"{SLOPE / (at_rest or 1.0):.2g}"))

    burst_shape = _burst(window)
    sizes = (_smallest_size(run, burst_shape, count) for count in range(BURST_SPIKES, 0, -1))
    size = next((size for size in sizes if size is not None), 1.0)
    return NeuronResponses(
        constants=constants,
        drive=drive,
        step=run(_step(window) * STEP_FACTOR * drive),
        burst=run(burst_shape * size, surrogate),
        drives=drives,
        rates=torch.tensor([_rate(spikes) for spikes in settled.T]),
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
    return layer.record(x[None], charge=True)


def _regular_drive(neuron: CataloguedNeuron, run: Run) -> tuple[float, int]:
    """The smallest constant drive with regular firing, and the window in which it is."""
    for window in WINDOWS:
        constant = torch.ones(window, 1)
        drive = _smallest_size(run, constant, REGULAR_SPIKES, last_from=2 * window // 3)
        if drive is not None:
            return drive, window
    raise ValueError(f"{neuron.name}: no constant drive makes it fire regularly.")


def _smallest_size(run: Run, shape: Tensor, count: int, last_from: int = 0) -> float | None:
    """The smallest size of an input [T, 1] that causes enough spikes; None if none does.

    Args:
        run: Runs the neuron.
        shape: The input of size 1.
        count: Number of spikes.
        last_from: The step from which on the last of them is.
    """

    def is_enough(sizes: Tensor) -> Tensor:
        spikes = run(shape * sizes).spk[0]
        return (spikes.sum(0) >= count) & (spikes[last_from:].sum(0) > 0)

    return smallest_scale(is_enough)


def _step(window: int) -> Tensor:
    """A constant input of 1 with silence before and after it, [T, 1]."""
    x = torch.zeros(window, 1)
    x[window // 10 : 7 * window // 10] = 1.0
    return x


def _burst(window: int) -> Tensor:
    """A few input spikes of 1 in a row, [T, 1]."""
    x = torch.zeros(3 * window // 10, 1)
    first = len(x) // 10
    x[first : first + BURST * BURST_PERIOD : BURST_PERIOD] = 1.0
    return x


def _rate(spikes: Tensor) -> float:
    """The rate of a train of spikes [T] from its intervals [1/s]; 0 for fewer than two spikes."""
    times = spikes.nonzero().flatten()
    return 0.0 if len(times) < 2 else (len(times) - 1) / (STEP * (times[-1] - times[0]).item())
