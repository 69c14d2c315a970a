"""The one entry to all solvers.

Which solver `device="gpu"` takes: a model of what each costs, by tables that ship with the package.

Nothing is timed while a net runs, so results repeat. The rate of the spikes is not asked for: whether comPaSSo gets
along with them is seen in its first passes, after which it leaves the rest to the serial solver (see `chunks`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nwavesdk.solvers.gpu.serial import has_gpu_kernel
from nwavesdk.solvers.parallel.chunks import LEAST_CHUNKS, wanted_length
from nwavesdk.solvers.problem import Problem, Solution
from nwavesdk.solvers.reference import solve_reference
from nwavesdk.solvers.sweep import FORWARD, backward_for, sweep
from nwavesdk.surrogate import Foreign

__all__ = [
    "COSTS",
    "NOT_COMPILED",
    "PASSES",
    "SOLVERS",
    "Costs",
    "choose_solver",
    "has_serial_kernel",
    "predicted_seconds",
    "solve",
]

SOLVERS = ("reference", *FORWARD)
NOT_COMPILED = (
    "spike_grad is a callable whose gradient only autograd knows, which compiled code cannot ask: give its derivative, "
    "as in spike_grad=custom(lambda z: ...)."
)


def has_serial_kernel(x: Tensor, recurrent: bool) -> bool:
    """Whether the serial solver runs a problem with the charge `x`: on CPU tensors any, on CUDA tensors see `gpu`."""
    return x.device.type == "cpu" or has_gpu_kernel(x, recurrent)


def solve(
    problem: Problem,
    solver: str = "serial",
    needs_membrane: bool = True,
    needs_saved: bool = True,
    name: str | None = None,
) -> Solution:
    """Run `problem` with the solver of that name.

    Args:
        problem: what to run.
        solver: a name in `SOLVERS`.
        needs_membrane: whether the membrane after each step is wanted; without it, less is written.
        needs_saved: whether `Solution.saved` is wanted where no gradient asks for it.
        name: `name_of(problem.spec)`, needed in compiled code.

    Raises:
        RuntimeError: the solver cannot run it on that device, or not that neuron or topology, or not inside of
            `torch.func` transforms.
    """
    device = problem.x.device.type
    if solver == "serial" and not has_serial_kernel(problem.x, problem.recurrent is not None):
        what = (
            "a recurrent layer" if device == "cuda" and problem.recurrent is not None else "a layer"
        )
        raise RuntimeError(
            'solver="serial" runs on CPU tensors, and without recurrence on CUDA tensors where triton is installed, '
            f'got {what} on {device} tensors: use solver="reference".'
        )
    if solver.startswith("compasso") and (
        problem.recurrent is not None or problem.spec.neuron.carry is None
    ):
        what = (
            "recurrent layers"
            if problem.recurrent is not None
            else f"the neuron {problem.spec.neuron.name}"
        )
        raise RuntimeError(
            f'comPaSSo does not run {what}: use device="cpu", which runs on CUDA tensors too.'
        )
    if torch.compiler.is_compiling() and solver != "reference":
        from nwavesdk.solvers.ops import solve_in_graph

        assert name is not None
        if isinstance(problem.spec.surrogate, Foreign):
            raise RuntimeError(NOT_COMPILED)
        return solve_in_graph(problem, name, solver, needs_membrane, needs_saved)
    if forward_ad._current_level >= 0:
        raise RuntimeError(
            "forward-mode derivatives (torch.autograd.forward_ad) do not go through neuron layers: use reverse mode."
        )
    if solver != "reference" and torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            f"the {solver} solver knows no torch.func transforms (vmap, grad, jvp): give it the batch as [B, T, N], or "
            'build the layers with solver="reference", which is transformed like any torch code.'
        )
    with torch.autocast(device, enabled=False):
        if solver == "reference":
            return solve_reference(problem)
        return sweep(problem, FORWARD[solver], needs_membrane, needs_saved, backward_for(solver))


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


def choose_solver(device: str, neuron: str, lanes: int, T: int, decay: float) -> str:
    """`"serial"` or `"compasso"`, whichever takes less time by the tables.

    Args:
        device: `"cpu"` or `"cuda"`; others count as `"cuda"`.
        neuron: name of the neuron, which tells the reset.
        lanes: B * N.
        T: steps.
        decay: of the slowest neuron.

    Example:
        >>> choose_solver("cuda", "lif_subtraction", lanes=64, T=100_000, decay=0.9)
        'compasso'
        >>> choose_solver("cuda", "lif_subtraction", lanes=1 << 20, T=128, decay=0.9)
        'serial'
    """
    serial, compasso = predicted_seconds(device, neuron, lanes, T, decay)
    return "compasso" if compasso < serial else "serial"


def predicted_seconds(
    device: str, neuron: str, lanes: int, T: int, decay: float
) -> tuple[float, float]:
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
