"""The leaky integrate-and-fire neuron with its three resets, and the neurons of the H1 chips.

The reset acts in the step of its spike. On a chip the membrane is never negative: the clamp has
derivative 1 at exactly 0, so that an unstimulated neuron still learns.

References:
    W. Gerstner et al., "Neuronal Dynamics", 2014, section 1.3; surrogate training as in
    doi:10.1109/MSP.2019.2931595.
"""

# mypy: disable-error-code="no-untyped-def, arg-type"
from functools import partial
from typing import Any

import torch

from nwavesdk.dynamics.page import read_page
from nwavesdk.dynamics.vocabulary import Positive, TimeConstant, decay, held, spike

__all__ = ["H1_PAGES", "LIF_PAGES", "carry_subtraction", "carry_zero"]


def lif_subtraction(x, v, *, tau: TimeConstant, threshold: Positive = 1.0):
    u = decay(tau) * v + x
    s = spike(u - threshold)
    return s, u - threshold * held(s)


def lif_zero(x, v, *, tau: TimeConstant, threshold: Positive = 1.0):
    u = decay(tau) * v + x
    s = spike(u - threshold)
    return s, u - held(s) * u


def lif_none(x, v, *, tau: TimeConstant, threshold: Positive = 1.0):
    u = decay(tau) * v + x
    s = spike(u - threshold)
    return s, u


# With its spike fixed, a step is the map v -> max(a v + b, c). These functions return a, b and c;
# see `Neuron.carry`. Before the reset, the map is v -> max(decay v + x, floor).


def carry_none(floor: float, x: Any, s: Any, decay: Any, threshold: Any) -> Any:
    return decay.expand_as(x), x, torch.full_like(x, floor)


def carry_subtraction(floor: float, x: Any, s: Any, decay: Any, threshold: Any) -> Any:
    """The map of a neuron with a reset by subtraction."""
    drop = threshold * s
    return decay.expand_as(x), x - drop, torch.full_like(x, floor) - drop


def carry_zero(floor: float, x: Any, s: Any, decay: Any, threshold: Any) -> Any:
    """The map of a neuron with a reset to zero."""
    is_reset = s > 0.0
    a, b, c = decay.expand_as(x), x, torch.full_like(x, floor)

    # After a spike, v is 0 whatever it was: the map max(0 v + 0, 0).
    return tuple(torch.where(is_reset, 0.0, part) for part in (a, b, c))


def has_spiked(u: Any, s: Any) -> Any:
    """The steps after which a reset to zero has made the membrane forget."""
    return s > 0.0


_NO_FLOOR = float("-inf")
LIF_PAGES = {
    "none": read_page(lif_none, partial(carry_none, _NO_FLOOR)),
    "subtraction": read_page(lif_subtraction, partial(carry_subtraction, _NO_FLOOR)),
    "zero": read_page(lif_zero, partial(carry_zero, _NO_FLOOR), has_spiked),
}
"""The pages of the LIF neuron by their reset."""


def h1v1(x, v, *, tau: TimeConstant, threshold: Positive = 1.0):
    w = decay(tau) * v + x
    u = torch.maximum(w, 0.0)
    s = spike(u - threshold)
    return s, u - held(s) * u


def h1v2(x, v, *, tau: TimeConstant, threshold: Positive = 1.0):
    w = decay(tau) * v + x
    u = torch.maximum(w, 0.0)
    s = spike(u - threshold)
    return s, u - threshold * held(s)


def is_clamped(w: Any, s: Any) -> Any:
    """The steps after which the clamp has made the membrane forget."""
    return w < 0.0


def is_clamped_or_has_spiked(w: Any, s: Any) -> Any:
    """The steps after which the clamp or a reset to zero has made the membrane forget."""
    return (w < 0.0) | (s > 0.0)


H1_PAGES = {
    1: read_page(h1v1, partial(carry_zero, 0.0), is_clamped_or_has_spiked),
    2: read_page(h1v2, partial(carry_subtraction, 0.0), is_clamped),
}
"""The pages of the chips by their version."""
