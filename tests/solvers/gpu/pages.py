"""Neurons of one to three states, and problems with them, for the tests of the GPU kernels."""

# mypy: disable-error-code="no-untyped-def"
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from nwavesdk.dynamics import (
    H1_PAGES,
    LIF_PAGES,
    Page,
    Positive,
    Real,
    TimeConstant,
    decay,
    held,
    read_page,
    spike,
)
from nwavesdk.solvers.problem import Problem, Solution, Spec
from nwavesdk.solvers.reference import solve_reference
from nwavesdk.surrogate import Surrogate, atan, custom, fast_sigmoid, sigmoid
from tolerances import GRADIENT, STATE, assert_close

__all__ = [
    "NEURONS",
    "PAGES",
    "SMOOTH",
    "SURROGATES",
    "compare_with_reference",
    "gradients",
    "leaves",
    "problem",
    "reference",
]

RATE = 0.9


def adaptive(x, v, a, *, tau: TimeConstant, tau_a: TimeConstant, threshold: Positive, kappa: Real):
    """Two states, five constants of which one is an expression."""
    u = decay(tau) * v + x
    s = spike(u - threshold - kappa * a)
    return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s


def refractory(x, i, v, q, *, tau: TimeConstant, threshold: Positive):
    """Three states; a state that is the spike; a clamp, conditions, and numbers in branches."""
    j = decay(tau) * i + x
    u = torch.where(q > 0.5, 0.0, RATE * v + j)
    s = spike(torch.where(v < -0.3, u - 0.1, u) - threshold)
    leak = torch.where(u < 0.0, 0.1, 0.3)
    return s, j, torch.maximum(u - held(threshold * s), -1.0) - leak * v, s


def smooth(x, v, w, *, tau: TimeConstant, threshold: Positive, delta: Positive):
    """All functions, in the step and in its adjoint."""
    rise = torch.exp(torch.minimum((v - threshold) / delta, 2.0))
    u = decay(tau) * v + x + 0.2 * rise - 0.3 * torch.tanh(w)
    s = spike(u - threshold)
    root = torch.sqrt(torch.abs(u) + 0.1)
    drive = torch.where(s > 0.0, torch.abs(v) ** 1.5 + (v - 4.0) ** -3, torch.log(1.0 + u * u))
    return s, u - held(s) * u, 0.9 * torch.sin(w) + 0.2 * torch.cos(u) * root - 0.1 * drive


def plain(x, v):
    """No constants; a gradient that is 0."""
    u = 0.7 * v + x
    s = spike(u - 1.0)
    return s, 0.25 - 0.5 * s


def readout(x, i, v, *, tau: TimeConstant):
    """Two states and no spike."""
    j = 0.8 * i + x
    return j, decay(tau) * v + (1 - decay(tau)) * j


PAGES = {
    **{f"lif_{reset}": page for reset, page in LIF_PAGES.items()},
    **{f"h1v{version}": page for version, page in H1_PAGES.items()},
    **{f.__name__: read_page(f) for f in (adaptive, refractory, smooth, plain, readout)},
}
NEURONS = {name: page.neuron for name, page in PAGES.items()}

SMOOTH = {"smooth"}  # neurons whose states differ by roundings, as those of any two machines


def lorentzian(z: Tensor) -> Tensor:
    return 1 / (1 + 9 * z * z)


SURROGATES: dict[str, Surrogate] = {
    "atan": atan(alpha=3.0),
    "fast_sigmoid": fast_sigmoid(slope=10.0),
    "sigmoid": sigmoid(slope=5.0),
    "custom": custom(lorentzian),
}


def draw_constants(page: Page, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """What solvers get of constants of a usual size, for n neurons, in float64."""
    values = {}
    for name, constant in page.constants.items():
        draw = torch.rand(n, generator=generator, dtype=torch.float64)
        low, high = (4e-3, 5e-2) if constant.kind.unit == "s" else (0.8, 1.1)
        values[name] = low + (high - low) * draw
    return page.neuron.evaluate_constants(values, 1e-3)


def problem(
    name: str,
    surrogate: str,
    detach: bool,
    dtype: torch.dtype,
    T: int,
    N: int,
    B: int = 3,
    saves: str = "record",
) -> Problem:
    """A random problem, whose constants and states have a dtype of their own for half charge."""
    g = torch.Generator().manual_seed(1000 * T + N)
    real = torch.float64 if dtype == torch.float64 else torch.float32
    neuron = PAGES[name].neuron
    x = 0.6 * torch.randn(B, T, N, generator=g, dtype=torch.float64) + 0.1
    states = (0.3 * torch.randn(B, N, generator=g, dtype=real) for _ in neuron.states)
    constants = (c.expand(N).to(real) for c in draw_constants(PAGES[name], N, g))
    return Problem(
        Spec(neuron, SURROGATES[surrogate], detach),
        x.to(dtype),
        tuple(states),
        tuple(constants),
        saves=saves,
    )


def leaves(p: Problem, learned: bool = True) -> Problem:
    """The same problem on new leaves, each with gradient; constants only if they are learned."""
    return replace(
        p,
        x=p.x.detach().requires_grad_(),
        states=tuple(v.detach().requires_grad_() for v in p.states),
        constants=tuple(c.detach().requires_grad_(learned) for c in p.constants),
    )


def gradients(p: Problem, solution: Solution, upstream: str = "dense") -> list[Tensor]:
    """Gradients of all leaves for random upstream gradients of all outputs."""
    g = torch.Generator().manual_seed(5)
    outputs = [solution.spikes, solution.mem, *solution.last]
    if upstream == "expanded":  # as from .sum(): stride 0 everywhere
        weights = [torch.randn((), generator=g, dtype=t.dtype).expand_as(t) for t in outputs]
    else:
        weights = [torch.randn(t.shape, generator=g, dtype=t.dtype) for t in outputs]
    inputs = [t for t in (p.x, *p.states, *p.constants) if t.requires_grad]
    return list(
        torch.autograd.grad(outputs, inputs, weights, allow_unused=True, materialize_grads=True)
    )


def reference(p: Problem) -> Solution:
    """The reference, which has no half precision: the charge is widened, its outputs narrowed."""
    wide = p.x if p.x.dtype in (torch.float32, torch.float64) else p.x.float()
    s = solve_reference(replace(p, x=wide))
    return s._replace(spikes=s.spikes.to(p.x.dtype), mem=s.mem.to(p.x.dtype))


def compare_with_reference(
    p: Problem, run: Callable[[Problem], Solution], upstream: str = "dense"
) -> None:
    """Equal bits, but for neurons whose functions no two machines round alike."""
    is_exact = p.spec.neuron.name not in SMOOTH
    a, b = (leaves(p, learned=p.saves != "gradient") for _ in range(2))
    expected, got = reference(a), run(b)
    if p.spec.neuron.is_readout:
        assert got.spike_count is None
        assert_close(got.spikes, expected.spikes, STATE, "output")
    else:
        assert torch.equal(got.spikes, expected.spikes)
        assert int(got.spike_count.sum()) == int(expected.spikes.sum())
    states = zip(
        (got.mem, *got.saved, *got.last),
        (expected.mem, *expected.saved, *expected.last),
        strict=True,
    )
    for mine, theirs in states:
        assert_close(mine, theirs, STATE, "state")
        # The interpreter truncates to half precision, where torch and GPUs round.
        if is_exact and mine.dtype in (torch.float32, torch.float64):
            assert torch.equal(mine, theirs)
    found, wanted = gradients(b, got, upstream), gradients(a, expected, upstream)
    for i, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")
