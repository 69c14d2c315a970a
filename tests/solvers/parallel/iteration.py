"""The oracle of comPaSSo: a certified iteration over whole sequences, without chunks.

A step with its spike held fixed is the map v -> max(a v + b, c), see `Neuron.carry`. Such maps
compose associatively, so a scan finds all membranes of a sequence whose spikes are known. The
iteration begins without spikes and takes the spikes of the membranes, until two iterates agree.
By causality there is only one such set of spikes: an iterate that is right before step t is right
at t in the next one.

The scan sums in another order than the serial pass. So a membrane within rounding of the threshold
may spike differently, and the first step that differs lies within `rounding_bound` of it.
"""

import torch
from torch import Tensor

from nwavesdk.dynamics import torch_function
from nwavesdk.solvers import Problem
from nwavesdk.solvers.problem import delay_one_step
from nwavesdk.surrogate import heaviside


def iterate_spikes(problem: Problem) -> Tensor:
    """The spikes [B, T, N] that a scan over the sequence confirms."""
    x = problem.x
    constants = problem.constants
    (v0,) = problem.states
    step = torch_function(problem.program.step.text, "step", x.dtype, spike=heaviside)
    spikes = torch.zeros_like(x)
    for _ in range(x.shape[1] + 1):
        a, b, c = compose_over_time(*problem.spec.neuron.carry(x, spikes, *constants))
        v = torch.maximum(a * v0[:, None] + b, c)
        next_spikes, *_ = step(x, *delay_one_step([v0], [v]), *constants)
        if torch.equal(next_spikes, spikes):
            return spikes
        spikes = next_spikes
    raise AssertionError("an iterate is right in one step more than the one before")


def compose_over_time(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maps v -> max(a v + b, c) of steps 0…t composed, for every t; time is dimension 1.

    It takes log2(T) combinations (Hillis and Steele).
    """
    shift = 1
    while shift < a.shape[1]:
        before_a, before_b, before_c = (m[:, :-shift] for m in (a, b, c))
        after_a, after_b, after_c = (m[:, shift:] for m in (a, b, c))
        # 0 * -inf is NaN: after a map without a lower bound, only that of the later map counts.
        passed = torch.maximum(after_a * before_c + after_b, after_c)
        composed = (
            after_a * before_a,
            after_a * before_b + after_b,
            torch.where(before_c.isinf(), after_c, passed),
        )
        a, b, c = (
            torch.cat([m[:, :shift], new], 1) for m, new in zip((a, b, c), composed, strict=True)
        )
        shift *= 2
    return a, b, c


def rounding_bound(problem: Problem) -> Tensor:
    """The largest distance from the threshold at which iteration and serial pass may differ [N].

    Both sum the same charges and resets; no partial sum exceeds M = (max |x| + θ) / (1 - decay).
    The serial pass rounds three times per step, the scan four times for each of its log2(T) levels,
    and a rounding at one step fades with `decay` like everything else. This gives
    (3 + 4 log2 T) eps M / (1 - decay), and half as much again for the rounding of the powers of the
    decay.
    """
    decay, threshold = problem.constants
    largest_charge = problem.x.abs().amax((0, 1))
    largest = largest_charge + threshold + problem.states[0].abs().amax(0)
    levels = (problem.x.shape[1] - 1).bit_length()
    eps = torch.finfo(decay.dtype).eps
    return 1.5 * (3 + 4 * levels) * eps * largest / (1 - decay).square()
