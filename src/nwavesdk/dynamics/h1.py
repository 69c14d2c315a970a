"""The neurons of Neuronova's H1 chips: leaky, with a membrane that is never negative.

The clamp has derivative 1 at exactly 0, so that an unstimulated neuron still learns.
"""

# mypy: disable-error-code="no-untyped-def, arg-type"
from functools import partial
from typing import Any

import torch

from nwavesdk.dynamics.lif import carry_subtraction, carry_zero
from nwavesdk.dynamics.page import read_page
from nwavesdk.dynamics.vocabulary import Positive, TimeConstant, decay, held, spike

__all__ = ["H1_PAGES"]


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
