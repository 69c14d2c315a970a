"""Facts about a neuron, and its responses to a constant drive and to a burst.

A search finds the sizes of the drives, because the units of charges differ by factors of thousands.
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

# A neuron fires regularly if it has this many spikes in a window, and the last of them is in the
# last third of the window. If no drive makes the neuron fire regularly, a longer window is tried.
REGULAR_SPIKES = 5
WINDOWS = (500, 1000, 2000, 4000)

# The step, and the largest drive for which a rate is measured, as multiples of the smallest drive
# that makes the neuron fire regularly; and the number of rates.
STEP_FACTOR = 1.5
RATES_FACTOR = 4.0
RATES = 81

# The burst: number of input spikes, steps from one to the next, and number of spikes it must cause.
BURST = 5
BURST_PERIOD = 4
BURST_SPIKES = 3

# Slope of the surrogate for a neuron whose membrane at rest is one unit below its threshold.
SLOPE = 25.0


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronResponses:
    """The responses of a neuron with default constants, in steps of `STEP`.

    Attributes:
        constants: The constants.
        drive: The smallest constant input that makes the neuron fire regularly; 1 for a read-out.
        step: Record of the response to a constant input that begins and ends, with charges.
        burst: Record of the response to a few input spikes, with charges. The slope of its
            surrogate suits the unit of the membrane.
        drives: The constant inputs for which rates are measured, [81]; empty for a read-out.
        rates: The firing rate for each of `drives` [1/s].
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
    """The facts that a list shows about a neuron, in types that JSON has."""
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
    """Drive a neuron with its default constants, and record its responses.

    Raises:
        ValueError: If no constant drive makes the neuron fire regularly, or if a constant that is
            not a time constant has no default.
    """
    given = {name: c for name, c in neuron.constants.items() if c.argument is not None}
    for name, constant in given.items():
        if constant.default is None and constant.kind.unit != "s":
            raise ValueError(
                f"{neuron.name}: the constant {name} has no default, a response needs its value: "
                "set a default in the equation."
            )
    constants = {name: TAU if c.default is None else c.default for name, c in given.items()}

    run = partial(_run, neuron, constants)
    if neuron.page.neuron.is_readout:
        step, burst = (run(shape(WINDOWS[0])) for shape in (_step, _burst))
        return NeuronResponses(
            constants=constants,
            drive=1.0,
            step=step,
            burst=burst,
            drives=torch.empty(0),
            rates=torch.empty(0),
        )

    # Rates are measured in a second window, when the neuron has adapted to its drive.
    drive, window = _regular_drive(neuron, run)
    drives = torch.linspace(0, RATES_FACTOR * drive, RATES)
    settled = run(drives.expand(2 * window, RATES)).spk[0, window:]

    # The distance from rest to threshold gives the unit of the membrane, and so the slope.
    at_rest = run(torch.zeros(1, 1)).z.abs().item()
    surrogate = fast_sigmoid(float(f"{SLOPE / (at_rest or 1.0):.2g}"))

    # A burst may be unable to cause three spikes: then the size for two, or for one.
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
    """The record of N neurons that start at rest and receive the charges x [T, N]."""
    options: dict[str, Any] = {} if surrogate is None else {"spike_grad": surrogate}
    layer = neuron.build(x.shape[1], constants, dt=STEP, solver="reference", **options)
    prepare_net(layer)
    return layer.record(x[None], charge=True)


def _regular_drive(neuron: CataloguedNeuron, run: Run) -> tuple[float, int]:
    """The smallest constant drive with regular firing, and the length of its window [steps]."""
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
        last_from: The last spike must be at this step or later.
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
    """The firing rate [1/s] from the intervals between spikes [T]; 0 for fewer than two spikes."""
    times = spikes.nonzero().flatten()
    return 0.0 if len(times) < 2 else (len(times) - 1) / (STEP * (times[-1] - times[0]).item())
