"""Neurons of one to three states, and problems with them, for the tests of the GPU kernels."""

# mypy: disable-error-code="no-untyped-def"

import torch

from contract import MORE_NEURONS, NEURONS, SURROGATES, Row
from nwavesdk.dynamics import Positive, TimeConstant, decay, held, read_page, spike
from nwavesdk.solvers import Problem, Spec

__all__ = ["ROWS", "problem"]

RATE = 0.9


def refractory(x, i, v, q, *, tau: TimeConstant, threshold: Positive):
    """Three states; a state that is the spike; a clamp, conditions, and numbers in branches."""
    j = decay(tau) * i + x
    u = torch.where(q > 0.5, 0.0, RATE * v + j)
    s = spike(torch.where(v < -0.3, u - 0.1, u) - threshold)
    leak = torch.where(u < 0.0, 0.1, 0.3)
    return s, j, torch.maximum(u - held(threshold * s), -1.0) - leak * v, s


def unread(x, v, before):  # noqa: ARG001
    """No constants; a state that nothing reads, whose gradient is 0."""
    u = 0.7 * v + x
    s = spike(u - 1.0)
    return s, u - held(s), u


ROWS = {
    **NEURONS,
    **MORE_NEURONS,
    "refractory": Row(read_page(refractory)),
    "unread": Row(read_page(unread), lambda _: {}),
}


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
    """A random problem; states and constants are float32 for half charge.

    Constants have gradients if they are saved for.
    """
    g = torch.Generator().manual_seed(1000 * T + N)
    real = torch.float64 if dtype == torch.float64 else torch.float32
    row = ROWS[name]
    x = 0.6 * torch.randn(B, T, N, generator=g, dtype=torch.float64) + 0.1
    states = tuple(0.3 * torch.randn(B, N, generator=g, dtype=real) for _ in row.neuron.states)
    learns = saves != "gradient"
    constants = tuple(c.expand(N).to(real).requires_grad_(learns) for c in row.constants(N, g))
    spec = Spec(neuron=row.neuron, surrogate=SURROGATES[surrogate], detach_reset=detach)
    return Problem(spec, x.to(dtype), states, constants, saves=saves)
