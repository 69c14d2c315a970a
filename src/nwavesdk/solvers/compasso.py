"""comPaSSo, the whole sequence at once: the reference form, plain iteration that is exact.

From no spikes: the membrane by a scan with the spikes held fixed, then the spikes of that membrane, until two iterates
agree. By causality iterate k is right in its first k steps, so the fixed point is unique and two equal iterates prove
it. A step with its spike fixed is the map v -> max(a v + b, c); such maps compose associatively, so the scan takes
log2(T) combinations. It sums in another order than the serial solver: where a membrane meets the threshold to within
rounding, a spike may differ. Input is taken to be finite: an infinite charge spreads otherwise than in a serial pass.
"""

import torch
from torch import Tensor

from nwavesdk.solvers.problem import Problem, Trace, before, torch_page
from nwavesdk.surrogate import heaviside

__all__ = ["forward"]


def forward(problem: Problem, mem: bool = True, keep: bool = True) -> Trace:
    """Run the problem without a graph; feed-forward neurons of one state."""
    neuron, x, (v0,) = problem.spec.neuron, problem.x.contiguous(), problem.states
    assert neuron.carry is not None
    assert problem.recurrent is None
    integrate, fire = (torch_page(neuron, p, spike=heaviside, held=torch.detach) for p in ("integrate", "fire"))
    spikes = torch.zeros_like(x)
    for _ in range(x.shape[1] + 1):
        a, b, c = _scan(*neuron.carry(x, spikes, *problem.constants))
        v = torch.maximum(a * v0[:, None] + b, c)
        w = integrate(x, *before([v0], [v]), *problem.constants)
        found, *_ = fire(w, *problem.constants)
        if torch.equal(found, spikes):
            break
        spikes = found
    else:
        assert not x.shape[1], "an iterate is right in one step more than the one before"
    last = v[:, -1].clone() if x.shape[1] else v0.clone()
    return Trace(spikes, v if mem else None, (last,), (w,) if keep else None)


def _scan(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Composition of the maps v -> max(a v + b, c) of steps 0…t, for every t [B, T, N] (Hillis and Steele)."""
    shift = 1
    while shift < a.shape[1]:
        a1, b1, c1 = (m[:, :-shift] for m in (a, b, c))
        a2, b2, c2 = (m[:, shift:] for m in (a, b, c))
        floor = torch.where(c1.isinf(), c2, torch.maximum(a2 * c1 + b2, c2))
        joined = a2 * a1, a2 * b1 + b2, floor
        a, b, c = (torch.cat([m[:, :shift], new], 1) for m, new in zip((a, b, c), joined, strict=True))
        shift *= 2
    return a, b, c
