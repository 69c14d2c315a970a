"""The serial solver on a GPU: one fused Triton kernel per pass, written from the neuron's page.

The charge may be bfloat16, float16, float32 or float64; spikes, `mem` and ∂L/∂x have its dtype.
States, constants and saved values are float32 (float64 with float64). Nothing here waits for the
device, so both passes can be recorded in a CUDA graph. Triton is imported when a kernel first runs.
Recurrent layers run on the reference solver.

These kernels have been run by Triton's interpreter and compiled for sm_80 and sm_90. They have not
run on a GPU.
"""

import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import QueryText, StepText
from nwavesdk.solvers.gpu.render import render_backward, render_forward
from nwavesdk.solvers.kernel_cache import load_source
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    ProblemGradient,
    ResultGradient,
    spike_argument,
)
from nwavesdk.surrogate import Surrogate

__all__ = ["backward_gpu", "forward_gpu", "gpu_kernels", "has_gpu_kernel"]


def has_gpu_kernel(x: Tensor, recurrent: bool) -> bool:
    """Whether a problem with the charge `x` can run here: on CUDA, not recurrent, with Triton."""
    return x.device.type == "cuda" and not recurrent and _has_triton()


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def forward_gpu(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> PassResult:
    """Run the problem without a graph; for the arguments see `forward_serial`."""
    x = _with_adjacent_neurons(problem.x.detach())
    real = torch.float64 if x.dtype == torch.float64 else torch.float32
    step = problem.program.step
    B, T, N = x.shape
    lanes = B * N

    spikes = x.new_empty(B, T, N)
    mem = x.new_empty(B, T, N) if needs_membrane else None
    saved = (
        tuple(x.new_empty(B, T, N, dtype=real) for _ in range(step.saved)) if needs_saved else ()
    )
    last = tuple(x.new_empty(B, N, dtype=real) for _ in range(step.states))

    # One number per program; a read-out has no spikes to count.
    programs = -(-lanes // _block(lanes))
    spike_counts = None if step.is_readout else x.new_empty(programs, dtype=torch.int32)

    # In the order of the kernel `forward` in `render`.
    arguments = [
        *_with_strides(x),
        *_constant_arguments(problem, real),
        *_state_arguments(problem, real),
        *(spikes, mem, *(saved or (None,) * step.saved), *last),
        *(spike_counts, lanes, T, N),
    ]

    kernel = gpu_kernels(step, real).forward
    _launch(kernel, lanes, step.saved * real.itemsize, arguments)
    return PassResult(spikes, mem, last, saved, spike_counts)


def backward_gpu(
    problem: Problem, result: PassResult, grads: ResultGradient, learns_constants: bool
) -> ProblemGradient:
    """The adjoint, see `backward_serial`; ∂L/∂x has the dtype of ∂L/∂spikes or ∂L/∂mem."""
    spec = problem.spec
    query = problem.program.adjoint(learns_constants)
    saved = [t.contiguous() for t in result.saved]
    real = saved[0].dtype
    B, T, N = saved[0].shape
    lanes = B * N

    surrogate = None if spec.surrogate.pseudo_derivative is None else type(spec.surrogate)
    sigma: list[Any] = []  # the parameters of a formula, or the values of σ'
    if query.uses_surrogate and surrogate is None:
        sigma = [spec.surrogate.derivative(spike_argument(problem, result.saved)).contiguous()]
    elif query.uses_surrogate:
        sigma = list(spec.surrogate.constants)

    grad_s, grad_mem = (
        None if g is None else _with_adjacent_neurons(g) for g in (grads.spikes, grads.mem)
    )
    last = [None if g is None else g.contiguous() for g in grads.last]
    dtype = next((g.dtype for g in (grad_s, grad_mem) if g is not None), real)
    grad_x = saved[0].new_empty(B, T, N, dtype=dtype)
    grad_states = [saved[0].new_empty(B, N) for _ in range(query.states)]

    # Per lane; torch sums over the batch below. No atomics, so the sums are deterministic.
    learned = query.constants if query.learns_constants else 0
    grad_constants = saved[0].new_empty(learned, B, N)

    # In the order of the kernel `backward` in `render`.
    arguments = [
        *saved,
        *_constant_arguments(problem, real),
        *_state_arguments(problem, real),
        *(*_with_strides(grad_s), *_with_strides(grad_mem), *last, *sigma),
        *(grad_x, *grad_states, *grad_constants),
        *(lanes, T, N),
    ]

    kernels = gpu_kernels(query, real, surrogate, len(sigma))
    _launch(kernels.backward, lanes, query.saved * real.itemsize, arguments)
    return ProblemGradient(
        x=grad_x, states=grad_states, constants=grad_constants if learned else None
    )


@cache
def gpu_kernels(
    text: StepText | QueryText,
    dtype: torch.dtype,
    surrogate: type[Surrogate] | None = None,
    parameters: int = 0,
) -> ModuleType:
    """The module with the kernel `forward` of a step, or `backward` of an adjoint.

    For the arguments see `render_backward`.
    """
    name = str(dtype).removeprefix("torch.")
    if isinstance(text, StepText):
        source = render_forward(text, name)
    else:
        source = render_backward(text, name, surrogate, parameters)
    return load_source(f"gpu_{text.name}", source)


def _block(lanes: int) -> int:
    """Lanes per program: few if there is little work to distribute. Reasoned, not measured."""
    if lanes < 1 << 15:
        return 64
    return 128 if lanes < 1 << 18 else 256


def _launch(kernel: Any, lanes: int, step_bytes: int, arguments: list[Any]) -> None:
    """Run the kernel without fused multiply-add, which would flip spikes against the CPU.

    Args:
        kernel: The kernel.
        lanes: Number of lanes.
        step_bytes: Size of the saved values of a step per lane.
        arguments: The arguments of the kernel except BLOCK.
    """
    if not lanes:
        return
    block = _block(lanes)
    # One lane per thread, or two if registers suffice for that.
    warps = block // (64 if block == 256 and step_bytes == 4 else 32)
    with torch.cuda.device_of(arguments[0]):
        kernel[(-(-lanes // block),)](
            *arguments, BLOCK=block, num_warps=warps, enable_fp_fusion=False
        )


def _with_adjacent_neurons(t: Tensor) -> Tensor:
    """`t` if its neurons are adjacent in memory or all one number; a copy for other layouts."""
    return t if t.stride(2) in (0, 1) else t.contiguous()


def _with_strides(t: Tensor | None) -> list[Any]:
    """A sequence [B, T, N] as kernel arguments: the array, and its three strides."""
    return [None, 0, 0, 0] if t is None else [t, *t.stride()]


def _constant_arguments(problem: Problem, real: torch.dtype) -> list[Any]:
    """The constants as kernel arguments: each an array and its stride, which may be 0."""
    values = [c.detach().to(real) for c in problem.constants]
    return [argument for c in values for argument in (c, *c.stride())]


def _state_arguments(problem: Problem, real: torch.dtype) -> list[Tensor]:
    return [v.detach().to(real).contiguous() for v in problem.states]
