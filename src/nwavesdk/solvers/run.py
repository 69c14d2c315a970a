"""The one entry to all solvers."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nwavesdk.solvers import gpu, reference
from nwavesdk.solvers.problem import Problem, Solution
from nwavesdk.solvers.sweep import FORWARD, backward_of, sweep
from nwavesdk.surrogate import Foreign

__all__ = ["NOT_COMPILED", "SOLVERS", "run", "serial_runs"]

SOLVERS = ("reference", *FORWARD)
NOT_COMPILED = (
    "spike_grad is a callable whose gradient only autograd knows, which compiled code cannot ask: give its derivative, "
    "as in spike_grad=custom(lambda z: ...)."
)


def serial_runs(x: Tensor, recurrent: bool) -> bool:
    """Whether the serial solver runs a problem with the charge `x`: on CPU tensors any, on CUDA tensors see `gpu`."""
    return x.device.type == "cpu" or gpu.runs(x, recurrent)


def run(
    problem: Problem, solver: str = "serial", mem: bool = True, keep: bool = True, name: str | None = None
) -> Solution:
    """Run `problem` with the solver of that name.

    Args:
        problem: what to run.
        solver: a name in `SOLVERS`.
        mem: whether the membrane after each step is wanted; without it, less is written.
        keep: whether `Solution.kept` is wanted where no gradient asks for it.
        name: `name_of(problem.spec)`, needed in compiled code.

    Raises:
        RuntimeError: the solver cannot run it on that device, or not that neuron or topology, or not inside of
            `torch.func` transforms.
    """
    device = problem.x.device.type
    if solver == "serial" and not serial_runs(problem.x, problem.recurrent is not None):
        what = "a recurrent layer" if device == "cuda" and problem.recurrent is not None else "a layer"
        raise RuntimeError(
            'solver="serial" runs on CPU tensors, and without recurrence on CUDA tensors where triton is installed, '
            f'got {what} on {device} tensors: use solver="reference".'
        )
    if solver.startswith("compasso") and (problem.recurrent is not None or problem.spec.neuron.carry is None):
        what = "recurrent layers" if problem.recurrent is not None else f"the neuron {problem.spec.neuron.name}"
        raise RuntimeError(f'comPaSSo does not run {what}: use device="cpu", which runs on CUDA tensors too.')
    if torch.compiler.is_compiling() and solver != "reference":
        from nwavesdk.solvers import ops

        assert name is not None
        if isinstance(problem.spec.surrogate, Foreign):
            raise RuntimeError(NOT_COMPILED)
        return ops.solve(problem, name, solver, mem, keep)
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
            return reference.solve(problem)
        return sweep(problem, FORWARD[solver], mem, keep, backward_of(solver, problem))
