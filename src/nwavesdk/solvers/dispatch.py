"""The entry point to all solvers, and the choice between the serial solver and comPaSSo.

The choice is a cost model with tables that ship with the package. Nothing is timed while a net
runs, so results repeat. The spike rate is not an input: comPaSSo finds out in its first passes
whether it can solve these spikes, and otherwise leaves the rest to the serial solver (see
`chunks`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nwavesdk.dynamics import Neuron
from nwavesdk.solvers.gpu.serial import has_gpu_kernel
from nwavesdk.solvers.parallel.chunks import MIN_CHUNKS, wanted_length
from nwavesdk.solvers.problem import PassResult, Problem
from nwavesdk.solvers.reference import solve_reference
from nwavesdk.solvers.sweep import BACKWARD, FORWARD, sweep
from nwavesdk.surrogate import Foreign

__all__ = [
    "NOT_COMPILED",
    "SOLVERS",
    "choose_solver",
    "has_serial_kernel",
    "solve",
]

SOLVERS = ("reference", *FORWARD)
"""The names of the solvers that `solve` takes."""

NOT_COMPILED = (
    "spike_grad is a callable whose gradient only autograd knows, which torch.compile cannot use: "
    "pass its derivative, as in spike_grad=custom(lambda z: ...)."
)
"""The error of a surrogate that `torch.compile` cannot use."""


def has_serial_kernel(x: Tensor, recurrent: bool) -> bool:
    """Whether `solver="serial"` can run a problem with the charge `x`.

    On CPU tensors it always can; for CUDA tensors see `has_gpu_kernel`.

    Example:
        >>> has_serial_kernel(torch.zeros(2, 5, 3), recurrent=True)
        True
    """
    return x.device.type == "cpu" or has_gpu_kernel(x, recurrent)


def solve(
    problem: Problem,
    solver: str = "serial",
    needs_membrane: bool = True,
    needs_saved: bool = True,
    name: str | None = None,
) -> PassResult:
    """Run `problem` with a solver.

    Args:
        problem: The problem.
        solver: A name in `SOLVERS`.
        needs_membrane: Whether the membrane after each step is returned; without it, less memory is
            written.
        needs_saved: Whether `PassResult.saved` is returned as for a record, even if nothing needs a
            gradient.
        name: `spec_name(problem.spec)`; required under `torch.compile`.

    Raises:
        RuntimeError: If the solver does not support the device, the neuron, the topology, or
            `torch.func` transforms.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.solvers import Spec
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> problem = Problem(spec, torch.full((1, 4, 1), 0.6), (torch.zeros(1, 1),), constants)
        >>> [solve(problem, solver).spikes.flatten().tolist() for solver in ("serial", "reference")]
        [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """
    _check_support(problem, solver)
    problem = _with_saves(problem, needs_saved)

    if torch.compiler.is_compiling():
        # Imported here, because registering operators loads a large part of torch.
        from nwavesdk.solvers.ops import solve_in_graph, solve_reference_outside

        if solver == "reference":
            result: PassResult = solve_reference_outside(problem)
            return result if needs_membrane else result._replace(mem=None)
        assert name is not None
        if isinstance(problem.spec.surrogate, Foreign):
            raise RuntimeError(NOT_COMPILED)
        return solve_in_graph(problem, name, solver, needs_membrane, needs_saved)

    if forward_ad._current_level >= 0:
        raise RuntimeError(
            "forward-mode derivatives (torch.autograd.forward_ad) do not go through neuron layers: "
            "use reverse mode."
        )
    if solver != "reference" and torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            f"the {solver} solver does not support torch.func transforms (vmap, grad, jvp): pass "
            'the batch as [B, T, N], or build the layers with solver="reference", which can be '
            "transformed like any torch code."
        )

    with torch.autocast(problem.x.device.type, enabled=False):
        if solver == "reference":
            result = solve_reference(problem)
            return result if needs_membrane else result._replace(mem=None)
        return sweep(problem, FORWARD[solver], BACKWARD[solver], needs_membrane, needs_saved)


def _with_saves(problem: Problem, is_record: bool) -> Problem:
    """The problem, with the saved values that will be needed."""
    learns = torch.is_grad_enabled() and any(c.requires_grad for c in problem.constants)
    saves = "record" if is_record else "learning" if learns else "gradient"
    return Problem(
        problem.spec,
        problem.x,
        problem.states,
        problem.constants,
        recurrent=problem.recurrent,
        spikes=problem.spikes,
        saves=saves,
    )


def _check_support(problem: Problem, solver: str) -> None:
    """Raise a RuntimeError if the solver cannot run the problem on its device."""
    recurrent = problem.recurrent is not None
    if solver == "serial" and not has_serial_kernel(problem.x, recurrent):
        device = problem.x.device.type
        layer = "a recurrent layer" if device == "cuda" and recurrent else "a layer"
        raise RuntimeError(
            'solver="serial" runs on CPU tensors, and without recurrence on CUDA tensors if triton '
            f'is installed, got {layer} on {device} tensors: use solver="reference".'
        )

    neuron = problem.spec.neuron
    if solver == "compasso" and (recurrent or neuron.carry is None):
        unsupported = "recurrent layers" if recurrent else f"the neuron {neuron.name}"
        raise RuntimeError(
            f'comPaSSo does not run {unsupported}: use device="cpu", which runs on CUDA tensors '
            "too."
        )


@dataclass(frozen=True, kw_only=True)
class _Costs:
    """Costs of the solvers on one kind of device [s].

    Attributes:
        call: A call of a serial kernel.
        step: A step of a serial kernel in the narrowest layer, where it waits for the step before.
        neuron_step: A step of a serial kernel in a wide layer, per neuron.
        chunk_pass: The fixed cost of a pass over chunks besides its kernel: the scan, comparisons,
            and reading the result.
        chunk_neuron_step: The cost of a pass over chunks besides its kernel, per neuron and step.
    """

    call: float
    step: float
    neuron_step: float
    chunk_pass: float
    chunk_neuron_step: float


_COSTS = {
    # `python -m benchmarks.parallel` on two cores of an Intel Xeon, 24 November 2026.
    "cpu": _Costs(
        call=5e-5, step=7e-9, neuron_step=1e-9, chunk_pass=3e-4, chunk_neuron_step=2.5e-9
    ),
    # Estimated, not measured: the latency of a load over tiles of eight steps, bytes at 2 TB/s,
    # launches of 10 µs.
    "cuda": _Costs(
        call=1e-5, step=6e-8, neuron_step=6e-12, chunk_pass=4e-4, chunk_neuron_step=1e-11
    ),
}
# Medians at T = 20,000, over drives for which no neuron was finished serially:
# `python -m benchmarks.parallel`.
_PASSES = {"lif_none": 5, "lif_zero": 5, "lif_subtraction": 7, "h1v1": 2, "h1v2": 2}


def choose_solver(device: str, neuron: Neuron, lanes: int, T: int, decay: float) -> str:
    """`"serial"` or `"compasso"`: the one that the cost model predicts to be faster.

    It is `"serial"` for a neuron that comPaSSo does not run.

    Args:
        device: `"cpu"` or `"cuda"`; other devices count as `"cuda"`.
        neuron: The neuron.
        lanes: B * N.
        T: Steps.
        decay: Decay of the slowest neuron.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> lif = LIF_PAGES["subtraction"].neuron
        >>> choose_solver("cuda", lif, lanes=64, T=100_000, decay=0.9)
        'compasso'
        >>> choose_solver("cuda", lif, lanes=1 << 20, T=128, decay=0.9)
        'serial'
    """
    costs = _COSTS.get(device, _COSTS["cuda"])
    chunk_steps = wanted_length(decay)
    if neuron.carry is None or MIN_CHUNKS * chunk_steps > T:
        return "serial"

    def kernel_time(steps: int, width: int) -> float:
        """Predicted time of one call of a serial kernel [s]."""
        return costs.call + steps * max(costs.step, costs.neuron_step * width)

    # The times of a forward and a backward pass together. In a pass of comPaSSo, one kernel runs
    # all chunks side by side. Its backward is three passes with one scan.
    serial = 2 * kernel_time(T, lanes)
    one_pass = kernel_time(chunk_steps, T // chunk_steps * lanes)
    overhead = costs.chunk_pass + costs.chunk_neuron_step * T * lanes
    passes = _PASSES.get(neuron.name, 7)
    compasso = passes * (one_pass + overhead) + 3 * one_pass + costs.chunk_pass
    return "compasso" if compasso < serial else "serial"
