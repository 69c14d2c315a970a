"""The serial solver on a GPU: one fused Triton kernel forward and one backward, from the pages of the neuron.

The charge may be bfloat16, float16, float32 or float64; spikes, `mem` and ∂L/∂x have its dtype. States, constants and
`w` are float32 (float64 with float64). Nothing here waits for the device, so that both passes can stand in a CUDA
graph. Triton is imported when a kernel first runs. Recurrent layers are the reference solver's.
"""

import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron
from nwavesdk.solvers.gpu.render import render_triton
from nwavesdk.solvers.kernel_cache import load_source
from nwavesdk.solvers.problem import Problem, Trace, TraceGradient, spike_argument
from nwavesdk.surrogate import Surrogate

__all__ = ["backward_gpu", "forward_gpu", "gpu_kernels", "has_gpu_kernel"]


def has_gpu_kernel(x: Tensor, recurrent: bool) -> bool:
    """Whether the kernels here run a problem with the charge `x`: a CUDA tensor, no recurrence, Triton installed."""
    return x.device.type == "cuda" and not recurrent and _installed()


@cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def forward_gpu(problem: Problem, needs_membrane: bool = True, needs_saved: bool = True) -> Trace:
    """Run the problem without a graph; `needs_membrane` and `needs_saved` say what is written beside the spikes."""
    assert problem.recurrent is None
    x, neuron, real = _rows(problem.x.detach()), problem.spec.neuron, _real(problem.x)
    (B, T, N), K = x.shape, len(problem.states)
    spikes = x.new_empty(B, T, N)
    trajectory = x.new_empty(B, T, N) if needs_membrane else None
    kept = tuple(x.new_empty(B, T, N, dtype=real) for _ in range(K)) if needs_saved else None
    last = tuple(x.new_empty(B, N, dtype=real) for _ in range(K))
    counts = x.new_empty(-(-B * N // _block(B * N)), dtype=torch.int32)
    w, *others = kept or (None,) * K
    arguments = [
        x,
        *x.stride(),
        *_constants(problem, real),
        *_states(problem, real),
        spikes,
        w,
        trajectory,
        *others,
    ]
    _launch(gpu_kernels(neuron, real).forward, B * N, K, [*arguments, *last, counts, B * N, T, N])
    return Trace(spikes, trajectory, last, kept, counts)


def backward_gpu(
    problem: Problem,
    trace: Trace,
    grads: TraceGradient,
    learn: bool,
) -> tuple[Tensor | None, ...]:
    """∂L/∂ x, states, constants (None unless `learn`); x's in the dtype in which ∂L/∂spikes or ∂L/∂mem arrives."""
    assert trace.saved is not None
    assert problem.recurrent is None
    spec, (w, *others) = problem.spec, [t.contiguous() for t in trace.saved]
    (B, T, N), real = w.shape, w.dtype
    if spec.surrogate.pseudo_derivative is None:
        sigma: list[Any] = [
            spec.surrogate.derivative(spike_argument(problem, trace.saved)).contiguous()
        ]
    else:
        sigma = list(spec.surrogate.constants)
    grad_s, grad_mem = (None if g is None else _rows(g) for g in (grads.spikes, grads.mem))
    dtype = next((g.dtype for g in (grad_s, grad_mem) if g is not None), real)
    grad_x = w.new_empty(B, T, N, dtype=dtype)
    grad_states = [w.new_empty(B, N) for _ in problem.states]
    learned = [w.new_empty(B, N) for _ in problem.constants] if learn else []
    kernels = gpu_kernels(
        spec.neuron,
        real,
        spec.surrogate,
        backward=True,
        detach_reset=spec.detach_reset,
        learn=learn,
    )
    last = [None if g is None else g.contiguous() for g in grads.last]
    arguments = [w, *others, *_states(problem, real), *_constants(problem, real)]
    arguments += [*_strided(grad_s), *_strided(grad_mem)]
    arguments += [*last, *sigma, grad_x, *grad_states, *learned, B * N, T, N]
    _launch(kernels.backward, B * N, len(trace.saved), arguments)
    sums = [g.sum(0) for g in learned] if learn else [None] * len(problem.constants)
    return grad_x, *grad_states, *sums


def gpu_kernels(
    neuron: Neuron, dtype: torch.dtype, surrogate: Surrogate | None = None, **options: Any
) -> ModuleType:
    """The module of Triton kernels for `neuron`; see `render_triton` for the options."""
    if surrogate is None or surrogate.pseudo_derivative is None:
        return _load(neuron, str(dtype)[6:], None, 0, tuple(sorted(options.items())))
    return _load(
        neuron,
        str(dtype)[6:],
        type(surrogate),
        len(surrogate.constants),
        tuple(sorted(options.items())),
    )


@cache
def _load(
    neuron: Neuron,
    dtype: str,
    surrogate: type[Surrogate] | None,
    parameters: int,
    options: tuple[tuple[str, Any], ...],
) -> ModuleType:
    text = render_triton(neuron, dtype, surrogate, parameters, **dict(options))
    return load_source(f"gpu_{neuron.name}", "triton", text)[0]


def _block(lanes: int) -> int:
    """Lanes a program: few where there is little to share out among the processors. Reasoned, not measured."""
    return 64 if lanes < 1 << 15 else 128 if lanes < 1 << 18 else 256


def _shape(lanes: int, states: int) -> tuple[int, int]:
    """Lanes and warps a program: a lane a thread, or two where it is wide and registers suffice for that."""
    block = _block(lanes)
    return block, block // (64 if block == 256 and states == 1 else 32)


def _launch(kernel: Any, lanes: int, states: int, arguments: list[Any]) -> None:
    """Run the kernel, with no product and sum fused, which would flip spikes at the threshold against the CPU."""
    block, warps = _shape(lanes, states)
    if lanes:
        with torch.cuda.device_of(arguments[0]):
            kernel[(-(-lanes // block),)](
                *arguments, BLOCK=block, num_warps=warps, enable_fp_fusion=False
            )


def _real(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _rows(t: Tensor) -> Tensor:
    """`t` with its neurons side by side, or all one number; other layouts are copied."""
    return t if t.stride(2) in (0, 1) else t.contiguous()


def _strided(t: Tensor | None) -> list[Any]:
    return [None, 0, 0, 0] if t is None else [t, *t.stride()]


def _constants(problem: Problem, real: torch.dtype) -> list[Any]:
    return [a for c in problem.constants for a in _strided(c.detach().to(real))]


def _states(problem: Problem, real: torch.dtype) -> list[Tensor]:
    return [v.detach().to(real).contiguous() for v in problem.states]
