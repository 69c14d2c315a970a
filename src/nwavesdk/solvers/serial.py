"""The fastest serial solver where the tensors are: compiled on the CPU, Triton on a GPU, else the torch reference."""

from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.solvers import reference
from nwavesdk.solvers.cpu import serial
from nwavesdk.solvers.gpu import serial as gpu
from nwavesdk.solvers.problem import Problem, Trace

__all__ = ["backward", "forward"]


def forward(problem: Problem, mem: bool = True, keep: bool = True) -> Trace:
    """Run the problem without a graph; `mem` and `keep` say what is needed beside the spikes."""
    if problem.x.device.type == "cpu":
        return serial.forward(problem, mem, keep)
    if gpu.runs(problem.x, problem.recurrent is not None):
        return gpu.forward(problem, mem, keep)
    with torch.no_grad():
        solution = reference.solve(problem)
    return Trace(solution.spikes, solution.mem, solution.last, solution.kept)


def backward(problem: Problem) -> Callable[..., tuple[Tensor | None, ...]]:
    """The adjoint that runs where the problem's tensors are: `(problem, trace, grads, learn, reuse)`."""
    if problem.x.device.type == "cpu":
        return serial.backward
    return (
        gpu.backward if gpu.runs(problem.x, problem.recurrent is not None) else reference.backward
    )
