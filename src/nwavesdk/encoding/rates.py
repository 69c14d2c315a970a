"""Values as the rates of random spikes, and values from the rates of populations.

`rate` takes probabilities, `poisson` rates in Hz.
"""

import math

import torch
from torch import Generator, Tensor, nn

from nwavesdk.encoding.encoder import Encoder, check_bounds, require_steps
from nwavesdk.internal.checks import finite_number, positive_number, shown, switch, whole_number
from nwavesdk.internal.tensors import require_floating, widen
from nwavesdk.layers.lengths import check_optional_lengths, mean_of_recordings
from nwavesdk.layers.zoo import LILayer

__all__ = [
    "PoissonEncoder",
    "RateDecoder",
    "RateEncoder",
    "decode_poisson",
    "decode_rate",
    "encode_poisson",
    "encode_rate",
]


# The largest rate [Hz], which float32 holds.
_LARGEST = 3.4e38


def encode_rate(
    values: Tensor, n_steps: int | None = None, generator: Generator | None = None
) -> Tensor:
    """Spikes with the values as their probabilities, independent in every step (Bernoulli).

        P(s[t] = 1) = value

    Args:
        values: Probabilities from 0 to 1: [B, *features], or, without `n_steps`, one per step,
            [B, T, *features].
        n_steps: Number of steps T, which repeat the values; None if the values have steps.
        generator: Source of the draws, on the device of the values; None is torch's global one.

    Returns:
        Spikes, [B, T, *features], in the dtype of the values.

    Example:
        >>> encode_rate(torch.tensor([[0.0, 1.0]]), 3)
        tensor([[[0., 1.],
                 [0., 1.],
                 [0., 1.]]])
    """
    owner = "encode_rate"
    require_floating(owner, values)
    check_bounds(owner, values, 0, 1, "scale them, as in x / x.max()")
    return _draw(owner, values, n_steps, generator)


def decode_rate(spikes: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The values of rate-coded spikes: their mean over time.

    The estimate has no bias, and the standard deviation √(p (1 − p) / T) for a value p.

    Args:
        spikes: [B, T, *features].
        lengths: Steps of each recording, int64 [B]; None for all.

    Returns:
        Values, [B, *features].

    Example:
        >>> decode_rate(torch.tensor([[[0.0], [1.0], [1.0], [0.0]]]))
        tensor([[0.5000]])
    """
    return _mean_over_time("decode_rate", spikes, lengths)


def encode_poisson(
    rates: Tensor,
    n_steps: int | None = None,
    dt: float = 1e-3,
    generator: Generator | None = None,
) -> Tensor:
    """Spikes of Poisson processes: 1 in a step with at least one event.

        P(s[t] = 1) = 1 − exp(−rate · dt)

    Args:
        rates: Rates of at least 0 [Hz]: [B, *features], or, without `n_steps`, one per step,
            [B, T, *features].
        n_steps: Number of steps T, which repeat the rates; None if the rates have steps.
        dt: Time step [s].
        generator: Source of the draws, on the device of the rates; None is torch's global one.

    Returns:
        Spikes, [B, T, *features], in the dtype of the rates.

    References:
        Dayan and Abbott 2001, Theoretical Neuroscience, section 1.4.

    Example:
        >>> spikes = encode_poisson(torch.full((1, 1000), 50.0), 1000)
        >>> 0.048 < spikes.mean().item() < 0.0496  # 1 - exp(-0.05) = 0.0488
        True
    """
    owner = "encode_poisson"
    require_floating(owner, rates)
    dt = positive_number(owner, "dt", dt, "s")
    check_bounds(owner, rates, 0, _LARGEST, "rates are in Hz, at least 0 and finite")
    return _draw(owner, -torch.expm1(-dt * rates), n_steps, generator)


def decode_poisson(spikes: Tensor, dt: float = 1e-3, lengths: Tensor | None = None) -> Tensor:
    """The most likely rates of Poisson-coded spikes: −log(1 − mean over time) / dt.

    For T steps and q = 1 − exp(−rate · dt), the deviation is about √(q / (T (1 − q))) / dt.

    Args:
        spikes: [B, T, *features].
        dt: Time step [s].
        lengths: Steps of each recording, int64 [B]; None for all.

    Returns:
        Rates, [B, *features] [Hz]; infinite if there is a spike in every step.

    Example:
        >>> decode_poisson(torch.tensor([[[0.0], [1.0]]]), dt=1.0)
        tensor([[0.6931]])
    """
    dt = positive_number("decode_poisson", "dt", dt, "s")
    return -torch.log1p(-_mean_over_time("decode_poisson", spikes, lengths)) / dt


def _draw(
    owner: str, probabilities: Tensor, n_steps: int | None, generator: Generator | None
) -> Tensor:
    """Spikes with given probabilities, [B, T, *features]."""
    if n_steps is not None:
        n_steps = whole_number(owner, "n_steps", n_steps)
        if not probabilities.ndim:
            raise ValueError(f"{owner} takes values [B, *features], got one number: add an axis.")
        B, *features = probabilities.shape
        probabilities = probabilities[:, None].expand(B, n_steps, *features)
    elif probabilities.ndim < 2:
        raise ValueError(
            f"{owner}: values without n_steps are [B, T, *features], got the shape "
            f"{list(probabilities.shape)}: pass n_steps."
        )

    device = probabilities.device
    if not isinstance(generator, Generator | None):
        raise TypeError(
            f"{owner}: generator must be a torch.Generator, got {shown(generator)}: make it, as in "
            "torch.Generator().manual_seed(0)."
        )
    if generator is not None and generator.device.type != device.type:
        raise RuntimeError(
            f"{owner}: the generator is on {generator.device} and the values are on {device}: "
            f"make it there, as in torch.Generator({device.type!r})."
        )

    # Draws in half precision would be too coarse: one in 256 draws of bfloat16 is 0.
    dtype = torch.promote_types(probabilities.dtype, torch.float32)
    uniform = torch.rand(probabilities.shape, dtype=dtype, device=device, generator=generator)
    return (uniform < probabilities).to(probabilities.dtype)


def _mean_over_time(owner: str, spikes: Tensor, lengths: Tensor | None) -> Tensor:
    spikes = require_steps(owner, spikes)
    return mean_of_recordings(spikes, check_optional_lengths(owner, lengths, spikes))


class RateEncoder(Encoder):
    """`encode_rate` of the values of each step, as a module; see `Encoder` for shapes.

    It draws from torch's global generator, as `Dropout` does.

    Example:
        >>> RateEncoder()(torch.ones(2, 5, 3)).mean()
        tensor(1.)
    """

    def __init__(self) -> None:
        super().__init__()

    def _encode(self, x: Tensor) -> Tensor:
        return encode_rate(x)

    def decode(self, spikes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `decode_rate`."""
        return decode_rate(spikes, lengths)


class PoissonEncoder(Encoder):
    """`encode_poisson` of the rates of each step [Hz], as a module; see `Encoder` for shapes.

    It draws from torch's global generator, as `Dropout` does.

    Args:
        dt: Time step [s].

    Example:
        >>> rates = torch.zeros(1, 3, 1)  # [B, T, features] in Hz
        >>> PoissonEncoder(dt=1e-3)(rates).flatten()
        tensor([0., 0., 0.])
    """

    def __init__(self, dt: float = 1e-3) -> None:
        super().__init__()
        self.dt = positive_number("PoissonEncoder", "dt", dt, "s")

    def _encode(self, x: Tensor) -> Tensor:
        return encode_poisson(x, dt=self.dt)

    def decode(self, spikes: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `decode_poisson`."""
        return decode_poisson(spikes, self.dt, lengths)


class RateDecoder(nn.Module):
    """The firing rates of populations as outputs of each step, for neurons that must spike.

        r[t] = β · r[t-1] + (1 - β) · (mean spikes of the population in step t),  β = exp(-dt/tau)
        output[t] = scale · r[t]

    With `is_signed`, the first half of a population adds and the second half subtracts, each with
    the mean of its half. It continues from call to call until `prepare_net(decoder)`, as layers do.
    On a chip, a computer next to it runs the filter.

    Args:
        n_outputs: Number of populations, which are equal parts of the neurons.
        tau: Time constant of the filter [s].
        dt: Length of a step [s].
        scale: Output per spike and step.
        is_signed: Whether outputs can be negative.

    Shape:
        `spk` [B, T, N] -> [B, T, n_outputs]. `mem` and `lengths` are not used: all decoders of a
        net are called as `decoder(spk, mem, lengths)`.

    Raises:
        TypeError: If spikes are not floating.
        ValueError: If N is not a multiple of `n_outputs`, with `is_signed` of `2 · n_outputs`.

    Example:
        >>> decoder = RateDecoder(1, tau=20e-3, is_signed=True)
        >>> spk = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 100, 4)  # the half that adds
        >>> round(decoder(spk)[0, -1, 0].item(), 2)
        0.99
    """

    def __init__(
        self,
        n_outputs: int,
        tau: float,
        dt: float = 1e-3,
        *,
        scale: float = 1.0,
        is_signed: bool = False,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.n_outputs = whole_number(owner, "n_outputs", n_outputs)
        self.is_signed = switch(owner, "is_signed", is_signed)
        self.filter = LILayer(self.n_outputs, tau=tau, dt=dt)
        self.scale = -math.expm1(-dt / tau) * finite_number(owner, "scale", scale)

    def forward(
        self,
        spk: Tensor,
        mem: Tensor | None = None,  # noqa: ARG002  # all decoders take it
        lengths: Tensor | None = None,  # noqa: ARG002  # all decoders take it
    ) -> Tensor:
        """Outputs [B, T, n_outputs]."""
        owner = type(self).__name__
        require_floating(owner, spk)
        parts = self.n_outputs * (2 if self.is_signed else 1)
        if spk.ndim != 3 or not spk.shape[2] or spk.shape[2] % parts:
            raise ValueError(
                f"{owner} takes spikes [B, T, N] with N a multiple of {parts}, got the shape "
                f"{list(spk.shape)}: use as many neurons for each of the {self.n_outputs} outputs."
            )

        # Half precision cannot hold the filter's slow decay.
        spikes = widen(spk)
        populations = spikes.reshape(*spikes.shape[:2], self.n_outputs, -1)
        if self.is_signed:
            positive, negative = populations.chunk(2, dim=3)
            rates = positive.mean(dim=3) - negative.mean(dim=3)
        else:
            rates = populations.mean(dim=3)
        filtered: Tensor = self.filter(rates)[1]
        return self.scale * filtered
