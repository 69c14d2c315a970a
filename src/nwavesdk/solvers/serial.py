"""The fastest serial solver for a device: numba on the CPU, Triton on a GPU, torch elsewhere.

Two functions, which all solvers build on; comPaSSo runs its chunks through them.
"""

import torch

from nwavesdk.solvers.cpu.serial import backward_cpu, forward_cpu
from nwavesdk.solvers.gpu.serial import backward_gpu, forward_gpu, has_gpu_kernel
from nwavesdk.solvers.problem import PassResult, Problem, ProblemGradient, ResultGradient
from nwavesdk.solvers.reference import backward_reference, solve_reference

__all__ = ["backward_serial", "forward_serial"]


def forward_serial(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> PassResult:
    """Run the problem without a graph.

    Args:
        problem: The problem.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether the tensors that backward needs are returned.
    """
    if problem.x.device.type == "cpu":
        return forward_cpu(problem, needs_membrane, needs_saved)
    if has_gpu_kernel(problem.x, problem.recurrent is not None):
        return forward_gpu(problem, needs_membrane, needs_saved)

    with torch.no_grad():
        result = solve_reference(problem)
    return result._replace(
        mem=result.mem if needs_membrane else None,
        saved=result.saved if needs_saved else (),
    )


def backward_serial(
    problem: Problem,
    result: PassResult,
    grads: ResultGradient,
    learns_constants: bool,
    may_overwrite: bool = False,
) -> ProblemGradient:
    """The neuron's adjoint: gradients of the problem from gradients of the result.

    Args:
        problem: The problem of the forward pass; of `x`, only device and dtype are read.
        result: The forward pass; only `saved` and (with recurrence) `spikes` are read.
        grads: Gradients of spikes, membrane and last states.
        learns_constants: Whether the constants need gradients.
        may_overwrite: Whether ∂L/∂x may be written over `result.saved[0]`.
    """
    if problem.x.device.type == "cpu":
        return backward_cpu(problem, result, grads, learns_constants, may_overwrite)
    if has_gpu_kernel(problem.x, problem.recurrent is not None):
        return backward_gpu(problem, result, grads, learns_constants)
    return backward_reference(problem, result, grads, learns_constants)
