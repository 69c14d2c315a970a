"""Neurons of one to three states, and problems with them, for the tests of the GPU kernels."""

# mypy: disable-error-code="no-untyped-def"
from collections.abc import Callable
from dataclasses import replace

import torch

from contract import MORE_NEURONS, NEURONS, SURROGATES, Row
from nwavesdk.dynamics import Positive, TimeConstant, decay, held, read_page, spike
from nwavesdk.solvers import PassResult, Problem, Spec, spike_argument
from nwavesdk.solvers.reference import solve_reference
from solvers.parity import gradients, leaves
from tolerances import GRADIENT, NEAR_THRESHOLD, STATE, assert_close

__all__ = ["ROWS", "compare_with_reference", "problem", "reference"]

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


def reference(p: Problem) -> PassResult:
    """The reference, which has no half precision: the charge is widened, its outputs narrowed."""
    wide = p.x if p.x.dtype in (torch.float32, torch.float64) else p.x.float()
    s = solve_reference(replace(p, x=wide))
    return s._replace(spikes=s.spikes.to(p.x.dtype), mem=s.mem.to(p.x.dtype))


def compare_with_reference(
    p: Problem, run: Callable[[Problem], PassResult], upstream: str = "dense"
) -> None:
    """Equal bits; or, for functions that machines round differently, equal until |z| is small."""
    a, b = leaves(p), leaves(p)
    expected, got = reference(a), run(b)
    is_exact = p.spec.neuron.name != "smooth"
    is_compared = torch.ones(p.x.shape, dtype=torch.bool)
    if not is_exact:
        z = spike_argument(p, expected.saved).abs()
        is_compared = (z <= NEAR_THRESHOLD[z.dtype]).cumsum(1) == 0
    if p.spec.neuron.is_readout:
        assert got.spike_count is None
        assert_close(got.spikes, expected.spikes, STATE, "output")
    else:
        assert torch.equal(got.spikes * is_compared, expected.spikes * is_compared)
        assert int(got.spike_count.sum()) == int(got.spikes.sum())
    sequences = zip((got.mem, *got.saved), (expected.mem, *expected.saved), strict=True)
    pairs = [(mine * is_compared, theirs * is_compared) for mine, theirs in sequences]
    at_end = is_compared[:, -1:].all(1)
    pairs += [(u * at_end, v * at_end) for u, v in zip(got.last, expected.last, strict=True)]
    for mine, theirs in pairs:
        assert_close(mine, theirs, STATE, "state")
        # The interpreter truncates to half precision, where torch and GPUs round.
        if is_exact and mine.dtype in (torch.float32, torch.float64):
            assert torch.equal(mine, theirs)
    until = None if bool(is_compared.all()) else is_compared
    found, wanted = gradients(b, got, upstream, until), gradients(a, expected, upstream, until)
    for i, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert_close(mine, theirs, GRADIENT, f"gradient {i}")
