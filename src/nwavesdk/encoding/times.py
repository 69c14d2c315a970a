"""Values as times of spikes: `latency` (one spike per window) and `phase` (bits with weights)."""

import torch
from torch import Tensor

from nwavesdk.encoding.encoder import StatefulEncoder, check_bounds, require_steps
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_floating, widen

__all__ = [
    "LatencyEncoder",
    "PhaseEncoder",
    "decode_latency",
    "decode_phase",
    "encode_latency",
    "encode_phase",
]

# Bits of a number in float32.
_MAX_PHASES = 24
_REMEDY = "scale them, as in x / x.max()"


def encode_latency(values: Tensor, n_steps: int) -> Tensor:
    """One spike for each value above 0: the larger the value, the earlier.

        step = round((1 − value) · (T − 1))

    A value of 1 spikes in the first step, a value of 0 not at all.

    Args:
        values: From 0 to 1, [B, *features].
        n_steps: Number of steps T.

    Returns:
        Spikes, [B, T, *features], in the dtype of the values.

    References:
        Thorpe, Delorme and Van Rullen 2001, "Spike-based strategies for rapid processing",
        doi:10.1016/S0893-6080(01)00083-1, for the order of first spikes.

    Example:
        >>> encode_latency(torch.tensor([[1.0, 0.5, 0.0]]), 3)
        tensor([[[1., 0., 0.],
                 [0., 1., 0.],
                 [0., 0., 0.]]])
    """
    x, steps = _repeated("encode_latency", values, n_steps)
    return _latency_spikes(x, steps, len(steps))


def decode_latency(spikes: Tensor) -> Tensor:
    """The values of first spikes: 1 − step / (T − 1), and 0 without a spike.

    The error is at most 1 / (2 (T − 1)), half a step, for values that spike.

    Args:
        spikes: [B, T, *features], of one window of T steps, at least two.

    Returns:
        Values, [B, *features].

    Example:
        >>> decode_latency(encode_latency(torch.tensor([[1.0, 0.6, 0.0]]), 11))
        tensor([[1.0000, 0.6000, 0.0000]])
    """
    spikes = require_steps("decode_latency", spikes, least=2)
    has_spike, step = (spikes > 0).max(dim=1)
    return torch.where(has_spike, 1 - step.to(spikes.dtype) / (spikes.shape[1] - 1), 0)


def encode_phase(values: Tensor, n_steps: int, n_phases: int = 8) -> Tensor:
    """The bits of the values, the most significant first, again and again.

        s[t] = bit p of round(value · 2^K),  weight 2^(−1 − p),  p = t mod K

    Values above 1 − 2^−K, the largest number of K bits, are rounded down to it.

    Args:
        values: From 0 to 1, [B, *features].
        n_steps: Number of steps T, which repeat the values.
        n_phases: Number of phases K of a period, up to 24.

    Returns:
        Spikes, [B, T, *features], in the dtype of the values.

    References:
        Kim, Kim, Huh, Lee and Choi 2018, "Deep neural networks with weighted spikes",
        doi:10.1016/j.neucom.2018.05.087.

    Example:
        >>> encode_phase(torch.tensor([[0.75]]), 6, n_phases=3).flatten()
        tensor([1., 1., 0., 1., 1., 0.])
    """
    owner = "encode_phase"
    x, steps = _repeated(owner, values, n_steps)
    return _phase_spikes(x, steps, whole_number(owner, "n_phases", n_phases, most=_MAX_PHASES))


def decode_phase(spikes: Tensor, n_phases: int = 8) -> Tensor:
    """The values of phase-coded spikes: the sum of their weights, the mean over whole periods.

    The error is at most 2^−K for K phases; half of it for values up to 1 − 2^−K.

    Args:
        spikes: [B, T, *features], with T a multiple of `n_phases`.
        n_phases: Number of phases K of a period.

    Returns:
        Values, [B, *features], in at least 32 bits.

    Example:
        >>> decode_phase(encode_phase(torch.tensor([[0.75]]), 6, n_phases=3), n_phases=3)
        tensor([[0.7500]])
    """
    owner = "decode_phase"
    n_phases = whole_number(owner, "n_phases", n_phases, most=_MAX_PHASES)
    spikes = require_steps(owner, spikes, multiple=n_phases)
    spikes = widen(spikes)
    periods = spikes.shape[1] // n_phases
    weights = 2.0 ** -(1 + _steps(spikes, spikes.shape[1]) % n_phases) / periods
    values: Tensor = torch.tensordot(weights.to(spikes), spikes, dims=([0], [1]))
    return values


def _repeated(owner: str, values: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Values [B, *features] with an axis of time, [B, 1, *features], and their steps [T]."""
    require_floating(owner, values)
    check_bounds(owner, values, 0, 1, _REMEDY)
    steps = _steps(values, whole_number(owner, "n_steps", n_steps))
    if not values.ndim:
        raise ValueError(f"{owner} takes values [B, *features], got one number: add an axis.")
    return values[:, None], steps


def _steps(like: Tensor, n_steps: int) -> Tensor:
    return torch.arange(n_steps, device=like.device)


def _along_time(steps: Tensor, x: Tensor) -> Tensor:
    """Steps [T] in a shape that broadcasts with x [B, T, *features]."""
    return steps.reshape(-1, *[1] * (x.ndim - 2))


def _latency_spikes(x: Tensor, steps: Tensor, n_steps: int) -> Tensor:
    """Spikes of values [B, T or 1, *features] at the steps [T] of their window."""
    spike_step = torch.round((1 - x) * (n_steps - 1))
    return ((spike_step == _along_time(steps, x)) & (x > 0)).to(x.dtype)


def _phase_spikes(x: Tensor, phases: Tensor, n_phases: int) -> Tensor:
    """Bits of values [B, T or 1, *features] at the steps `phases` [T] of their period."""
    n_levels = 2**n_phases
    levels = torch.round(widen(x) * n_levels)
    levels = levels.clamp(max=n_levels - 1).to(torch.int64)

    # The most significant bit is in the first phase.
    bits = n_phases - 1 - _along_time(phases, x) % n_phases
    return ((levels >> bits) & 1).to(x.dtype)


class _Periodic(StatefulEncoder):
    """Base of encoders with a repeated window; the state is the number of steps so far."""

    _state_attributes = ("_steps_so_far",)

    def __init__(self) -> None:
        super().__init__()
        self._steps_so_far: Tensor | None = None

    def _next_steps(self, x: Tensor) -> Tensor:
        """The numbers of the steps of x [B, T, *features], int64 [T]; counts them."""
        before = x.new_zeros((), dtype=torch.int64)
        if self._steps_so_far is not None:
            before = self._steps_so_far.to(x.device)
        self._steps_so_far = before + x.shape[1]
        return before + _steps(x, x.shape[1])


class LatencyEncoder(_Periodic):
    """`encode_latency` in windows of `n_steps` steps, as a module; see `Encoder` for shapes.

    Values should be constant within a window, as after `x.repeat_interleave(n_steps, 1)`. A
    sequence in parts gives the same spikes.

    Args:
        n_steps: Steps of a window.

    Example:
        >>> from nwavesdk.layers import prepare_net
        >>> encoder = LatencyEncoder(3)
        >>> prepare_net(encoder)
        >>> encoder(torch.tensor([[[1.0], [1.0], [1.0], [0.5], [0.5], [0.5]]])).flatten()
        tensor([1., 0., 0., 0., 1., 0.])
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = whole_number("LatencyEncoder", "n_steps", n_steps)

    def _encode(self, x: Tensor) -> Tensor:
        check_bounds("LatencyEncoder", x, 0, 1, _REMEDY)
        return _latency_spikes(x, self._next_steps(x) % self.n_steps, self.n_steps)

    def decode(self, spikes: Tensor) -> Tensor:
        """The value of each window, [B, T / n_steps, *features]; see `decode_latency`."""
        spikes = require_steps("LatencyEncoder.decode", spikes, multiple=self.n_steps)
        B, T, *features = spikes.shape
        values = decode_latency(spikes.reshape(-1, self.n_steps, *features))
        return values.reshape(B, T // self.n_steps, *features)


class PhaseEncoder(_Periodic):
    """`encode_phase` of the values of each step, as a module; see `Encoder` for shapes.

    Step t has bit t mod K of its value. A sequence in parts gives the same spikes.

    Args:
        n_phases: Number of phases K of a period, up to 24.

    Example:
        >>> x = torch.full((1, 4, 1), 0.75)
        >>> PhaseEncoder(n_phases=4)(x).flatten()
        tensor([1., 1., 0., 0.])
    """

    def __init__(self, n_phases: int = 8) -> None:
        super().__init__()
        self.n_phases = whole_number("PhaseEncoder", "n_phases", n_phases, most=_MAX_PHASES)

    def _encode(self, x: Tensor) -> Tensor:
        check_bounds("PhaseEncoder", x, 0, 1, _REMEDY)
        return _phase_spikes(x, self._next_steps(x), self.n_phases)

    def decode(self, spikes: Tensor) -> Tensor:
        """See `decode_phase`."""
        return decode_phase(spikes, self.n_phases)
