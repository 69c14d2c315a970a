"""Which solver `device="gpu"` takes: a model of what each costs, by tables that ship with the package.

Nothing is timed while a net runs, so results repeat. The rate of the spikes is not asked for: whether comPaSSo gets
along with them is seen in its first passes, after which it leaves the rest to the serial solver (see `chunks`).
"""

from dataclasses import dataclass

from nwavesdk.solvers.chunks import LEAST_CHUNKS, wanted_length

__all__ = ["COSTS", "PASSES", "Costs", "choose", "seconds"]


@dataclass(frozen=True)
class Costs:
    """What solvers cost on a kind of device, in seconds.

    Attributes:
        call: a call of a serial kernel.
        step: a step of it that waits for the step before, in the narrowest layer.
        neuron_step: a neuron and step of it in a wide layer.
        chunk_pass: what stands around a pass over chunks: the scan, comparisons, a look at the result.
        chunk_neuron_step: the same, for each neuron and step.
    """

    call: float
    step: float
    neuron_step: float
    chunk_pass: float
    chunk_neuron_step: float


COSTS = {
    # From the times of `python -m benchmarks.parallel` on two cores of an Intel Xeon, 24 November 2026.
    "cpu": Costs(5e-5, 7e-9, 1e-9, 3e-4, 2.5e-9),
    # Reasoned, not measured: the latency of a load over tiles of eight steps, bytes at 2 TB/s, launches of 10 µs.
    "cuda": Costs(1e-5, 6e-8, 6e-12, 4e-4, 1e-11),
}
# Medians at T = 20,000 over drives of which no neuron had to be finished serially: `python -m benchmarks.parallel`.
PASSES = {"lif_none": 5, "lif_zero": 5, "lif_subtraction": 7, "h1v1": 2, "h1v2": 2}


def choose(device: str, neuron: str, lanes: int, T: int, decay: float) -> str:
    """`"serial"` or `"compasso"`, whichever takes less time by the tables.

    Args:
        device: `"cpu"` or `"cuda"`; others count as `"cuda"`.
        neuron: name of the neuron, which tells the reset.
        lanes: B * N.
        T: steps.
        decay: of the slowest neuron.

    Example:
        >>> choose("cuda", "lif_subtraction", lanes=64, T=100_000, decay=0.9)
        'compasso'
        >>> choose("cuda", "lif_subtraction", lanes=1 << 20, T=128, decay=0.9)
        'serial'
    """
    serial, compasso = seconds(device, neuron, lanes, T, decay)
    return "compasso" if compasso < serial else "serial"


def seconds(device: str, neuron: str, lanes: int, T: int, decay: float) -> tuple[float, float]:
    """What the model says a forward and backward pass takes, serially and by comPaSSo."""
    costs, steps = COSTS.get(device, COSTS["cuda"]), wanted_length(decay)

    def sweep(length: int, width: int) -> float:
        return costs.call + length * max(costs.step, costs.neuron_step * width)

    serial = 2 * sweep(T, lanes)
    if LEAST_CHUNKS * steps > T:
        return serial, serial
    one = sweep(steps, T // steps * lanes)
    around = costs.chunk_pass + costs.chunk_neuron_step * T * lanes
    return serial, PASSES.get(neuron, 7) * (one + around) + 3 * one + costs.chunk_pass
