"""The one entry to all solvers."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nwavesdk.solvers import compasso, gpu, reference, serial
from nwavesdk.solvers.problem import Problem, Solution
from nwavesdk.solvers.sweep import sweep

__all__ = ["SOLVERS", "run", "serial_runs"]


def serial_runs(x: Tensor, recurrent: bool) -> bool:
    """Whether the serial solver runs a problem with the charge `x`: on CPU tensors any, on CUDA tensors see `gpu`."""
    return x.device.type == "cpu" or gpu.runs(x, recurrent)


def _serial(problem: Problem, mem: bool = True, keep: bool = True) -> Solution:
    return sweep(problem, serial.forward if problem.x.device.type == "cpu" else gpu.forward, mem, keep)


SOLVERS: dict[str, Callable[..., Solution]] = {
    "reference": lambda problem, mem=True, keep=True: reference.solve(problem),  # noqa: ARG005
    "serial": _serial,
    "compasso": partial(sweep, forward=compasso.forward),
}


def run(problem: Problem, solver: str = "serial", mem: bool = True, keep: bool = True) -> Solution:
    """Run `problem` with the solver of that name.

    Args:
        problem: what to run.
        solver: a name in `SOLVERS`.
        mem: whether the membrane after each step is wanted; without it, less is written.
        keep: whether `Solution.kept` is wanted where no gradient asks for it.

    Raises:
        RuntimeError: the solver cannot run it on that device, or not that neuron or topology.
    """
    device = problem.x.device.type
    if solver == "serial" and not serial_runs(problem.x, problem.recurrent is not None):
        what = "a recurrent layer" if device == "cuda" and problem.recurrent is not None else "a layer"
        raise RuntimeError(
            'solver="serial" runs on CPU tensors, and without recurrence on CUDA tensors where triton is installed, '
            f'got {what} on {device} tensors: use solver="reference".'
        )
    if solver == "compasso" and (problem.recurrent is not None or problem.spec.neuron.carry is None):
        what = "recurrent layers" if problem.recurrent is not None else f"the neuron {problem.spec.neuron.name}"
        raise RuntimeError(f'comPaSSo does not run {what}: use device="cpu", which runs on CUDA tensors too.')
    with torch.autocast(device, enabled=False):
        return SOLVERS[solver](problem, mem=mem, keep=keep)
