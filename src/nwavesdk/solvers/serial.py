"""The fastest serial solver where the tensors are: compiled on the CPU, Triton on a GPU, else the torch reference."""

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.serial import backward_cpu, forward_cpu
from nwavesdk.solvers.gpu.serial import backward_gpu, forward_gpu, has_gpu_kernel
from nwavesdk.solvers.problem import Problem, Trace, TraceGradient
from nwavesdk.solvers.reference import backward_reference, solve_reference

__all__ = ["backward_serial", "forward_serial"]


def forward_serial(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> Trace:
    """Run the problem without a graph; `needs_membrane` and `needs_saved` say what is needed beside the spikes."""
    if problem.x.device.type == "cpu":
        return forward_cpu(problem, needs_membrane, needs_saved)
    if has_gpu_kernel(problem.x, problem.recurrent is not None):
        return forward_gpu(problem, needs_membrane, needs_saved)
    with torch.no_grad():
        solution = solve_reference(problem)
    return Trace(solution.spikes, solution.mem, solution.last, solution.saved)


def backward_serial(
    problem: Problem, trace: Trace, grads: TraceGradient, learn: bool, reuse: bool = False
) -> tuple[Tensor | None, ...]:
    """The adjoint where the problem's tensors are."""
    if problem.x.device.type == "cpu":
        return backward_cpu(problem, trace, grads, learn, reuse)
    if has_gpu_kernel(problem.x, problem.recurrent is not None):
        return backward_gpu(problem, trace, grads, learn)
    return backward_reference(problem, trace, grads, learn)
