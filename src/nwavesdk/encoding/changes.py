"""Changes of values as spikes of two signs: `delta` (level crossing) and `step_forward`.

Both follow a sequence with a level k, a whole number of thresholds from the first value. With
y[t] = (x[t] − x[0]) / threshold:

    delta         k[t] = min(max(k[t−1], floor(y[t])), ceil(y[t])): always |y − k| < 1
    step forward  k[t] = k[t−1] + (y[t] − k[t−1] > 1) − (k[t−1] − y[t] > 1): one level per step

The ON and OFF spikes of a step are the levels by which k rises or falls.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from nwavesdk.dynamics import read_page
from nwavesdk.encoding.encoder import StatefulEncoder, require_sequence
from nwavesdk.internal.checks import finite_number, positive_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers.lengths import check_optional_lengths, fill_padding
from nwavesdk.solvers import Problem, Spec, has_serial_kernel, solve, spec_name
from nwavesdk.surrogate import atan

__all__ = [
    "DeltaEncoder",
    "StepForwardEncoder",
    "decode_delta",
    "decode_step_forward",
    "encode_delta",
    "encode_step_forward",
]


# From y [B, T, *features] and the level before it, [B, *features], to the level after each step.
Levels = Callable[[Tensor, Tensor], Tensor]


def encode_delta(x: Tensor, threshold: float, lengths: Tensor | None = None) -> Tensor:
    """A spike for each level that the values cross, ON upwards and OFF downwards.

    The levels are a threshold apart, and the first value is a level. A crossing counts when the
    next level is reached, so noise at a level makes no spikes (hysteresis). If several levels are
    crossed in one step, the output is the number of spikes, as in the frames of an event camera.

    Args:
        x: Values, [B, T, F, ...].
        threshold: Distance of two levels [unit of the values].
        lengths: Steps of each recording, int64 [B]; there are no spikes in padding.

    Returns:
        Numbers of spikes, [B, T, 2 F, ...]: for each feature ON, then OFF. The first step has none.

    References:
        Miskowicz 2006, "Send-on-delta concept: an event-based data reporting strategy",
        doi:10.3390/s6010049.

    Example:
        >>> encode_delta(torch.tensor([[[0.0], [0.3], [0.1], [-0.4]]]), 0.125)
        tensor([[[0., 0.],
                 [2., 0.],
                 [0., 1.],
                 [0., 4.]]])
    """
    return _encode("encode_delta", _delta_levels, x, threshold, lengths)


def encode_step_forward(x: Tensor, threshold: float, lengths: Tensor | None = None) -> Tensor:
    """At most one spike per step and feature: the level follows the values by one threshold.

    Args:
        x: Values, [B, T, F, ...].
        threshold: Size of a step of the level [unit of the values].
        lengths: Steps of each recording, int64 [B]; there are no spikes in padding.

    Returns:
        Spikes, [B, T, 2 F, ...]: for each feature ON, then OFF. The first step has none.

    References:
        Petro, Kasabov and Kiss 2020, "Selection and optimization of temporal spike encoding methods
        for spiking neural networks", doi:10.1109/TNNLS.2019.2906158.

    Example:
        >>> encode_step_forward(torch.tensor([[[0.0], [0.25], [0.25], [0.25]]]), 0.1)
        tensor([[[0., 0.],
                 [1., 0.],
                 [1., 0.],
                 [0., 0.]]])
    """
    return _encode("encode_step_forward", _step_forward_levels, x, threshold, lengths)


def decode_delta(spikes: Tensor, threshold: float, initial: Tensor | float = 0.0) -> Tensor:
    """The values of delta-coded spikes: the levels after each step.

        value[t] = initial + threshold · Σ over k ≤ t of (ON[k] − OFF[k])

    The error is below one threshold in every step, up to rounding.

    Args:
        spikes: [B, T, 2 F, ...].
        threshold: The threshold of the encoder [unit of the values].
        initial: The first value, `x[:, 0]`, [B, F, ...] or one number.

    Returns:
        Values, [B, T, F, ...], in at least 32 bits.

    Raises:
        ValueError: If `spikes` is not a sequence of ON and OFF, `threshold` is not above 0, or
            `initial` does not suit the shape.

    Example:
        >>> x = torch.tensor([[[0.0], [0.3], [0.1], [-0.4]]])
        >>> decode_delta(encode_delta(x, 0.125), 0.125).flatten()
        tensor([ 0.0000,  0.2500,  0.1250, -0.3750])
    """
    return _decode("decode_delta", spikes, threshold, initial)


def decode_step_forward(spikes: Tensor, threshold: float, initial: Tensor | float = 0.0) -> Tensor:
    """The values of step-forward-coded spikes, by the formula of `decode_delta`.

    The error is at most one threshold, up to rounding, as long as values change by at most one
    threshold per step. After a larger jump, it shrinks by one threshold per step.

    Args:
        spikes: [B, T, 2 F, ...].
        threshold: The threshold of the encoder [unit of the values].
        initial: The first value, `x[:, 0]`, [B, F, ...] or one number.

    Returns:
        Values, [B, T, F, ...], in at least 32 bits.

    Example:
        >>> spikes = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> decode_step_forward(spikes, 0.5).flatten()
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _decode("decode_step_forward", spikes, threshold, initial)


def _delta_levels(y: Tensor, before: Tensor) -> Tensor:
    """The level after each step: a step clamps it to [floor(y), ceil(y)]."""
    return _clamp_in_order(y.floor(), y.ceil(), before)


def _clamp_in_order(low: Tensor, high: Tensor, before: Tensor) -> Tensor:
    """The level after each of T clamps, all with torch's operations on whole tensors.

    A clamp after a clamp is a clamp. So the clamps of steps 0 and 1, 2 and 3, ... are joined. The
    levels after these pairs are the solution of the same problem with half the length. The levels
    after steps 0, 2, ... need one clamp more.

    Args:
        low: Lower bounds, [B, T, *features].
        high: Upper bounds, in the same shape.
        before: The level before the first step, [B, *features].
    """
    T = low.shape[1]
    if T == 1:
        return before[:, None].clamp(low, high)

    # Clamps of steps 0, 2, ... and then 1, 3, ...; an odd last step has no pair.
    paired = T // 2 * 2
    second_low, second_high = low[:, 1::2], high[:, 1::2]
    pair_low = low[:, 0:paired:2].clamp(second_low, second_high)
    pair_high = high[:, 0:paired:2].clamp(second_low, second_high)
    after_pairs = _clamp_in_order(pair_low, pair_high, before)

    # The levels before steps 0, 2, 4, ...
    previous = torch.cat([before[:, None], after_pairs], 1)[:, : (T + 1) // 2]
    levels = torch.empty_like(low)
    levels[:, 1::2] = after_pairs
    levels[:, 0::2] = previous.clamp(low[:, 0::2], high[:, 0::2])
    return levels


def _step_forward(x, level):  # type: ignore[no-untyped-def]  # pages need no types
    """A level that follows x by up to 1 per step."""
    up = torch.where(x - level > 1.0, 1.0, 0.0)
    down = torch.where(level - x > 1.0, 1.0, 0.0)
    return level + up - down


# As the page of a read-out, the recurrence runs on the solvers, which have loops for each device.
_SPEC = Spec(neuron=read_page(_step_forward).neuron, surrogate=atan())
_SPEC_NAME = spec_name(_SPEC)


def _step_forward_levels(y: Tensor, before: Tensor) -> Tensor:
    """The level after each step."""
    problem = Problem(_SPEC, y.flatten(2).contiguous(), (before.flatten(1).contiguous(),), ())
    solver = "serial" if has_serial_kernel(problem.x, recurrent=False) else "reference"
    return solve(problem, solver, needs_saved=False, name=_SPEC_NAME).spikes.reshape(y.shape)


def _encode(
    owner: str, levels_of: Levels, x: Tensor, threshold: float, lengths: Tensor | None
) -> Tensor:
    """The spikes of a sequence from its first value on."""
    values = require_sequence(owner, x)
    threshold = positive_number(owner, "threshold", threshold)
    lengths = check_optional_lengths(owner, lengths, values)
    values = fill_padding(values, lengths)
    if not values.shape[1]:
        return x.repeat_interleave(2, dim=2)

    first = values[:, 0].detach()
    levels = _follow(levels_of, values, threshold, first, torch.zeros_like(first))
    return fill_padding(_as_spikes(levels).to(x.dtype), lengths)


@torch.no_grad()
def _follow(
    levels_of: Levels, x: Tensor, threshold: float, first: Tensor, before: Tensor
) -> Tensor:
    """The levels before the first step and after each step, [B, 1 + T, *features]."""
    levels = levels_of((x.detach() - first[:, None]) / threshold, before)
    return torch.cat([before[:, None], levels], 1)


def _as_spikes(levels: Tensor) -> Tensor:
    """ON and OFF spikes [B, T, 2 F, ...] of the levels [B, 1 + T, F, ...]."""
    rise = levels.diff(dim=1)
    return torch.stack([rise.clamp(min=0), rise.clamp(max=0).abs()], 3).flatten(2, 3)


def _decode(owner: str, spikes: Tensor, threshold: float, initial: Tensor | float) -> Tensor:
    """The values of spikes [B, T, 2 F, ...]: the first value plus all changes so far."""
    spikes = require_sequence(owner, spikes)
    threshold = positive_number(owner, "threshold", threshold)
    if spikes.shape[2] % 2:
        raise ValueError(
            f"{owner}: spikes have the shape {list(spikes.shape)}, expected [B, T, 2 F, ...], with "
            "ON and OFF of each feature."
        )
    on, off = spikes[:, :, 0::2], spikes[:, :, 1::2]
    levels = (on - off).cumsum(dim=1)

    if not isinstance(initial, Tensor):
        initial = torch.tensor(finite_number(owner, "initial", initial))
    require_tensor(f"{owner}: initial", initial)
    start = initial.to(spikes)
    step_shape = levels.shape[:1] + levels.shape[2:]
    if start.ndim and start.shape != step_shape:
        raise ValueError(
            f"{owner}: initial has the shape {list(start.shape)}, expected {list(step_shape)}, as "
            "x[:, 0] has, or one number."
        )

    values: Tensor = (start[:, None] if start.ndim else start) + threshold * levels
    return values


class _Follower(StatefulEncoder):
    """Base of the modules: the state is the first value and the level."""

    _state_attributes = ("_first", "_level")
    _levels_of: ClassVar[Any]  # `Levels`, as a static method

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = positive_number(type(self).__name__, "threshold", threshold)
        # Each [B, *features].
        self._first: Tensor | None = None
        self._level: Tensor | None = None

    @property
    def initial(self) -> Tensor | None:
        """The first value, which `decode` adds, [B, F, ...]; None before the first call."""
        return self._first

    def decode(self, spikes: Tensor, initial: Tensor | float | None = None) -> Tensor:
        """The values of the spikes since `prepare_net`; see `decode_delta`.

        Args:
            spikes: [B, T, 2 F, ...].
            initial: The first value. If None, uses the first value of the last encoded sequence.
        """
        if initial is None:
            initial = 0.0 if self._first is None else self._first
        return _decode(f"{type(self).__name__}.decode", spikes, self.threshold, initial)

    def _encode(self, x: Tensor) -> Tensor:
        """The spikes of x [B, T, *features], which continues the sequence of the state."""
        if not x.shape[1]:
            return x.repeat_interleave(2, dim=2)

        values = require_sequence(type(self).__name__, x)
        first, level = self._first, self._level
        if first is None or level is None:
            first = values[:, 0].detach().clone()
            level = torch.zeros_like(first)
        if first.shape != values[:, 0].shape:
            raise RuntimeError(
                f"{type(self).__name__} has state for steps of shape {list(first.shape)}, got "
                f"{list(values[:, 0].shape)}: call prepare_net(model) before a new batch."
            )

        first, level = first.to(values), level.to(values)
        levels = _follow(self._levels_of, values, self.threshold, first, level)
        self._first = first
        self._level = levels[:, -1].clone()
        return _as_spikes(levels).to(x.dtype)


class DeltaEncoder(_Follower):
    """`encode_delta` as a module that streams: a sequence in parts gives the same spikes.

    See `Encoder` for shapes; there are two neurons per value, ON and OFF.

    Args:
        threshold: Distance of two levels [unit of the values].

    Example:
        >>> from nwavesdk.layers import prepare_net
        >>> encoder = DeltaEncoder(0.1)
        >>> prepare_net(encoder)
        >>> x = torch.rand(2, 50, 3)
        >>> spikes = encoder(x)
        >>> bool((encoder.decode(spikes) - x).abs().max() < 0.1001)
        True
    """

    _levels_of = staticmethod(_delta_levels)


class StepForwardEncoder(_Follower):
    """`encode_step_forward` as a module that streams: a sequence in parts gives the same spikes.

    See `Encoder` for shapes; there are two neurons per value, ON and OFF.

    Args:
        threshold: Size of a step of the level [unit of the values].

    Example:
        >>> x = torch.tensor([[[0.0], [0.6], [1.2], [0.4]]])
        >>> StepForwardEncoder(threshold=0.5)(x)[0].T  # ON and OFF
        tensor([[0., 1., 1., 0.],
                [0., 0., 0., 1.]])
    """

    _levels_of = staticmethod(_step_forward_levels)
