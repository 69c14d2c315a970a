"""Which solver `device="gpu"` takes: a model of what each costs, by a table that ships with the package.

Nothing is timed while a net runs, so results repeat. The rate of the spikes is not asked for: whether comPaSSo gets
along with them is seen in its first passes, after which it leaves the rest to the serial solver (see `chunks`).
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from nwavesdk.solvers.chunks import chunk_length

__all__ = ["choose", "seconds"]


def choose(device: str, neuron: str, lanes: int, T: int, decay: float) -> str:
    """`"serial"` or `"compasso"`, whichever takes less time by the table.

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
    times = seconds(device, neuron, lanes, T, decay)
    return min(times, key=lambda solver: times[solver])


def seconds(device: str, neuron: str, lanes: int, T: int, decay: float) -> dict[str, float]:
    """What the model says a forward and backward pass takes on each solver that it knows, in seconds."""
    costs = _table()[device if device == "cpu" else "cuda"]
    steps = chunk_length(T, decay)
    chunks = max(T // max(steps, 1), 1)

    def sweep(length: int, width: int) -> float:
        return float(costs["call"] + length * max(costs["step"], costs["neuron_step"] * width))

    times = {"serial": 2 * sweep(T, lanes)}
    if chunks > 1:
        passes = _table()["passes"].get(neuron, _table()["passes"]["other"])
        whole = passes * (sweep(steps, chunks * lanes) + costs["pass"] + costs["neuron_pass"] * T * lanes)
        times["compasso"] = whole + 3 * sweep(steps, chunks * lanes) + costs["pass"]
    return times


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(files("nwavesdk.solvers").joinpath("choice.toml").read_text("utf-8"))
