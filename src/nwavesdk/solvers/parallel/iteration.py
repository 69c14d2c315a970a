"""comPaSSo's other forms: the certified iteration, which is the reference of all, and the jump from spike to spike.

A step with its spike held fixed is the map v -> max(a v + b, c); such maps compose associatively, so a scan finds all
membranes of a sequence whose spikes are known in log2(T) combinations. Both forms look for the spikes that such a scan
confirms. By causality there is just one such set, and two equal iterates prove it: an iterate that is right before step
t is right at t in the next one.

The scan sums in another order than the serial pass. So the iteration finds the spikes of the neuron in the arithmetic
of the scan, where a membrane within rounding of the threshold may spike otherwise than in the serial pass; the first
step that differs lies within `rounding_bound(problem)` of the threshold. The jump hands its states on to `chunks`, which
proves the spikes of the serial pass. Input is taken to be finite: an infinite charge spreads otherwise in a scan.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.parallel.chunks import Effort, chunk_length_for, forward_chunks
from nwavesdk.solvers.parallel.scan import clamped_scan
from nwavesdk.solvers.problem import Problem, Trace, delay_one_step, torch_page
from nwavesdk.surrogate import heaviside

__all__ = ["forward_iteration", "forward_jump", "rounding_bound"]


def forward_iteration(
    problem: Problem,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    iterates: list[int] | None = None,
) -> Trace:
    """From no spikes: membranes by a scan, the spikes of these membranes, and again, until two iterates agree.

    `iterates` is a list to which their number is appended.
    """
    x, (v0,) = problem.x.contiguous(), problem.states
    step, spikes = _step(problem), torch.zeros_like(x)
    count = 0
    while True:
        w, found, v = step(x, spikes, v0)
        count += 1
        if torch.equal(found, spikes):
            break
        assert count <= x.shape[1], "an iterate is right in one step more than the one before"
        spikes = found
    if iterates is not None:
        iterates.append(count)
    last = v[:, -1].clone() if x.shape[1] else v0.clone()
    return Trace(spikes, v if needs_membrane else None, (last,), (w,) if needs_saved else None)


def forward_jump(
    problem: Problem,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    *,
    steps: int | None = None,
    efforts: list[Effort] | None = None,
    iterates: list[int] | None = None,
) -> Trace:
    """Chunk by chunk, from each spike to the next, then proven; as many scans as the busiest neuron has spikes.

    Args:
        problem: what to run.
        needs_membrane: whether the membrane after each step is wanted.
        needs_saved: whether `w` of each step is wanted.
        steps: of a chunk; None takes `chunk_length` for the slowest neuron.
        efforts: see `forward_chunks`.
        iterates: a list to which the number of scans is appended.
    """
    x = problem.x.contiguous()
    steps = chunk_length_for(problem) if steps is None else steps
    step, v, scans, entries = _step(problem), problem.states[0].detach(), 0, []
    for part in x.split(max(steps, 1), 1)[:-1]:
        spikes = torch.zeros_like(part)
        while True:
            scans += 1
            _, found, after = step(part, spikes, v)
            wrong = found != spikes
            if not bool(wrong.any()):
                break
            first = wrong & (
                wrong.cumsum(1) == 1
            )  # all before it is right, so it is right as found
            spikes = torch.where(first, found, spikes)
        v = after[:, -1]
        entries.append(v)
    if iterates is not None:
        iterates.append(scans)
    guess = torch.stack(entries, 1) if entries else None
    return forward_chunks(
        problem, needs_membrane, needs_saved, steps=steps, entries=guess, efforts=efforts
    )


def rounding_bound(problem: Problem) -> Tensor:
    """How far from the threshold a membrane can be whose spike the iteration finds otherwise than a serial pass [N].

    Both sum the same charges and resets, of which no partial sum exceeds M = (max |x| + θ) / (1 - decay); the serial
    pass rounds three times a step, the scan four times for each of its log2(T) levels, and what is rounded at one step
    fades with `decay` like everything else: (3 + 4 log2 T) eps M / (1 - decay), and half as much again for the
    rounding of the decay's own powers.
    """
    decay, threshold = (c.detach() for c in problem.constants)
    levels = max(problem.x.shape[1], 2) - 1
    most = (
        problem.x.detach().abs().amax((0, 1)) + threshold + problem.states[0].detach().abs().amax(0)
    )
    share = 1 - decay
    return (
        1.5 * (3 + 4 * levels.bit_length()) * torch.finfo(decay.dtype).eps * most / share.square()
    )


def _step(problem: Problem) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """`(x, spikes, v0)` -> w, the spikes of w, and the membrane after each step, with `spikes` in the past."""
    neuron, constants = problem.spec.neuron, problem.constants
    carry = neuron.carry
    assert carry is not None
    assert problem.recurrent is None
    pages: list[Any] = [
        torch_page(neuron, p, spike=heaviside, held=torch.detach) for p in ("integrate", "fire")
    ]

    def step(x: Tensor, spikes: Tensor, v0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b, c = clamped_scan(*carry(x, spikes, *constants))
        v = torch.maximum(a * v0[:, None] + b, c)
        w = pages[0](x, *delay_one_step([v0], [v]), *constants)
        found, *_ = pages[1](w, *constants)
        return w, found, v

    return step
