"""comPaSSo's other forms: the certified iteration, and the jump from spike to spike.

A step with its spike held fixed is the map v -> max(a v + b, c). Such maps compose associatively,
so a scan finds all membranes of a sequence whose spikes are known in log2(T) combinations. Both
forms search for the spikes that such a scan confirms. By causality there is only one such set, and
two equal iterates prove it: an iterate that is right before step t is right at t in the next one.

The scan sums in another order than the serial pass. The iteration, which is the reference of all
forms, therefore finds the spikes of the neuron in the arithmetic of the scan: a membrane within
rounding of the threshold may spike differently than in the serial pass, and the first step that
differs lies within `rounding_bound(problem)` of the threshold. The jump hands its states to
`chunks`, which proves the spikes of the serial pass. The input is assumed to be finite: an infinite
charge spreads differently in a scan.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nwavesdk.dynamics import torch_function
from nwavesdk.solvers.parallel.chunks import Effort, chunk_length_for, forward_chunks
from nwavesdk.solvers.problem import PassResult, Problem, delay_one_step
from nwavesdk.surrogate import heaviside

__all__ = ["forward_iteration", "forward_jump", "rounding_bound"]

RunFixed = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def forward_iteration(
    problem: Problem,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    iterates: list[int] | None = None,
) -> PassResult:
    """Start without spikes; compute membranes by a scan and their spikes, until two iterates agree.

    The number of iterates is appended to the list `iterates`.
    """
    x = problem.x.contiguous()
    (v0,) = problem.states
    run_fixed = _run_with_fixed_spikes(problem)
    spikes = torch.zeros_like(x)
    count = 0
    while True:
        w, next_spikes, v = run_fixed(x, spikes, v0)
        count += 1
        if torch.equal(next_spikes, spikes):
            break
        assert count <= x.shape[1], "an iterate is right in one step more than the one before"
        spikes = next_spikes
    if iterates is not None:
        iterates.append(count)
    last = v[:, -1].clone() if x.shape[1] else v0.clone()
    return PassResult(spikes, v if needs_membrane else None, (last,), (w,) if needs_saved else ())


def forward_jump(
    problem: Problem,
    needs_membrane: bool = True,
    needs_saved: bool = True,
    *,
    steps: int | None = None,
    efforts: list[Effort] | None = None,
    iterates: list[int] | None = None,
) -> PassResult:
    """Go from each spike to the next, chunk by chunk, then prove the result.

    It takes as many scans as the busiest neuron has spikes.

    Args:
        problem: What to run.
        needs_membrane: Whether the membrane after each step is returned.
        needs_saved: Whether `w` of each step is returned.
        steps: Steps per chunk. [`chunk_length_for(problem)`]
        efforts: See `forward_chunks`.
        iterates: A list to which the number of scans is appended.
    """
    x = problem.x.contiguous()
    steps = chunk_length_for(problem) if steps is None else steps
    run_fixed = _run_with_fixed_spikes(problem)
    v = problem.states[0].detach()
    scans = 0
    entries: list[Tensor] = []
    for chunk in x.split(max(steps, 1), 1)[:-1]:
        spikes = torch.zeros_like(chunk)
        while True:
            scans += 1
            _, next_spikes, after = run_fixed(chunk, spikes, v)
            wrong = next_spikes != spikes
            if not bool(wrong.any()):
                break
            # All spikes before the first wrong one are right, so its new value is right.
            first = wrong & (wrong.cumsum(1) == 1)
            spikes = torch.where(first, next_spikes, spikes)
        v = after[:, -1]
        entries.append(v)
    if iterates is not None:
        iterates.append(scans)
    guess = torch.stack(entries, 1) if entries else None
    return forward_chunks(
        problem, needs_membrane, needs_saved, steps=steps, entries=guess, efforts=efforts
    )


def rounding_bound(problem: Problem) -> Tensor:
    """The largest distance from the threshold at which iteration and serial pass may differ [N].

    Both sum the same charges and resets; no partial sum exceeds M = (max |x| + θ) / (1 - decay).
    The serial pass rounds three times per step, the scan four times for each of its log2(T) levels,
    and a rounding at one step fades with `decay` like everything else. This gives
    (3 + 4 log2 T) eps M / (1 - decay), and half as much again for the rounding of the powers of the
    decay.
    """
    decay, threshold = (c.detach() for c in problem.constants)
    largest_charge = problem.x.detach().abs().amax((0, 1))
    largest = largest_charge + threshold + problem.states[0].detach().abs().amax(0)
    levels = (max(problem.x.shape[1], 2) - 1).bit_length()
    eps = torch.finfo(decay.dtype).eps
    return 1.5 * (3 + 4 * levels) * eps * largest / (1 - decay).square()


def _run_with_fixed_spikes(problem: Problem) -> RunFixed:
    """A function of charge, spikes and v0 that runs a sequence whose past has these spikes.

    It returns `w`, the spikes of `w`, and the membrane after each step.
    """
    constants = problem.constants
    carry = problem.spec.neuron.carry
    assert carry is not None
    step = torch_function(problem.program.step.text, "step", problem.x.dtype, spike=heaviside)

    def run_fixed(x: Tensor, spikes: Tensor, v0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b, c = _clamped_scan(*carry(x, spikes, *constants))
        v = torch.maximum(a * v0[:, None] + b, c)
        next_spikes, _, w = step(x, *delay_one_step([v0], [v]), *constants)
        return w, next_spikes, v

    return run_fixed


def _clamped_scan(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maps v -> max(a v + b, c) of steps 0…t composed, for every t; time is dimension 1.

    The maps are composed in log2(T) steps (Hillis and Steele).
    """
    shift = 1
    while shift < a.shape[1]:
        earlier_a, earlier_b, earlier_c = (m[:, :-shift] for m in (a, b, c))
        later_a, later_b, later_c = (m[:, shift:] for m in (a, b, c))
        # 0 * -inf is NaN: after a map without a lower bound, only that of the later map counts.
        passed = torch.maximum(later_a * earlier_c + later_b, later_c)
        composed = (
            later_a * earlier_a,
            later_a * earlier_b + later_b,
            torch.where(earlier_c.isinf(), later_c, passed),
        )
        a, b, c = (
            torch.cat([m[:, :shift], new], 1) for m, new in zip((a, b, c), composed, strict=True)
        )
        shift *= 2
    return a, b, c
