"""The one entry to all solvers."""

from collections.abc import Callable
from functools import partial

import torch

from nwavesdk.solvers import compasso, reference, serial
from nwavesdk.solvers.problem import Problem, Solution
from nwavesdk.solvers.sweep import sweep

__all__ = ["SOLVERS", "run"]

SOLVERS: dict[str, Callable[..., Solution]] = {
    "reference": lambda problem, mem=True, keep=True: reference.solve(problem),  # noqa: ARG005
    "serial": partial(sweep, forward=serial.forward),
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
    if solver == "serial" and device != "cpu":
        raise RuntimeError(f'solver="serial" runs on CPU tensors, got {device} tensors: use solver="reference".')
    if solver == "compasso" and (problem.recurrent is not None or problem.spec.neuron.carry is None):
        what = "recurrent layers" if problem.recurrent is not None else f"the neuron {problem.spec.neuron.name}"
        raise RuntimeError(f'comPaSSo does not run {what}: use device="cpu", which runs on CUDA tensors too.')
    with torch.autocast(device, enabled=False):
        return SOLVERS[solver](problem, mem=mem, keep=keep)
