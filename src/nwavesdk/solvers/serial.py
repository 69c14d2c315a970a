"""The fastest serial solver for a device: numba on the CPU, Triton on a GPU, torch elsewhere.

Two functions, which all solvers build on; comPaSSo runs its chunks through them.
"""

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.serial import backward_cpu, forward_cpu
from nwavesdk.solvers.gpu.serial import backward_gpu, forward_gpu, has_gpu_kernel
from nwavesdk.solvers.problem import Problem, Solution, SolutionGradient
from nwavesdk.solvers.reference import backward_reference, solve_reference

__all__ = ["backward_serial", "forward_serial"]


def forward_serial(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> Solution:
    """Run the problem without a graph.

    Args:
        problem: What to run.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether the tensors that backward needs are returned.
    """
    if problem.x.device.type == "cpu":
        return forward_cpu(problem, needs_membrane, needs_saved)
    if has_gpu_kernel(problem.x, problem.recurrent is not None):
        return forward_gpu(problem, needs_membrane, needs_saved)
    with torch.no_grad():
        solution = solve_reference(problem)
    return solution._replace(
        mem=solution.mem if needs_membrane else None,
        saved=solution.saved if needs_saved else (),
    )


def backward_serial(
    problem: Problem,
    solution: Solution,
    grads: SolutionGradient,
    learns_constants: bool,
    may_overwrite: bool = False,
) -> tuple[Tensor | None, ...]:
    """The neuron's adjoint: gradients from those of the solution.

    Args:
        problem: What was run; of `x`, only device and dtype are read.
        solution: The forward pass; only `saved` and (with recurrence) `spikes` are read.
        grads: Gradients of spikes, membrane and last states.
        learns_constants: Whether the constants need gradients.
        may_overwrite: Whether ∂L/∂x may be written over `solution.saved[0]`.

    Returns:
        ∂L/∂x [B, T, N], ∂L/∂states (each [B, N]), ∂L/∂constants (each [N]; None unless
        `learns_constants`), and with recurrence those of its weights [N, N] and of the spikes
        before the first step [B, N].
    """
    if problem.x.device.type == "cpu":
        return backward_cpu(problem, solution, grads, learns_constants, may_overwrite)
    if has_gpu_kernel(problem.x, problem.recurrent is not None):
        return backward_gpu(problem, solution, grads, learns_constants)
    return backward_reference(problem, solution, grads, learns_constants)
