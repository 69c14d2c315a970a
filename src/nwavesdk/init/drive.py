"""The drive of neurons: the scale of their charges, and front ends by firing rate."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.init.driven import DrivenLayer, driver_inputs, find_driven_layers, first_batches
from nwavesdk.init.weights import charge_limit, reject_parametrized, set_charges
from nwavesdk.internal.checks import finite_number
from nwavesdk.layers import (
    ChipInstance,
    H1v1Frontend,
    H1v2Frontend,
    LIFLayer,
    NeuronLayer,
    SpikingSequential,
    find_edges,
    prepare_net,
)
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.layers.masks import copy_module

__all__ = ["FrontendReport", "charge_gain", "frontend_firing_init", "smallest_scale"]


# The scales of a search, from charges of a neuron without leak to currents in pA. The second of two
# rounds refines an interval of the first, so the result is within 3 % of the smallest scale.
LOWEST = 1e-4
HIGHEST = 1e6
TRIES = 41

# The noise of `charge_gain`: steps, neurons for each scale, and the standard deviation, which
# charges of synapses with initial weights have at an input rate of 5 %.
STEPS = 300
NEURONS = 32
DEVIATION = 0.45
LIF_TAU = 10e-3


def smallest_scale(is_enough: Callable[[Tensor], Tensor]) -> float | None:
    """The smallest scale that is enough, among geometrically spaced scales; None if none is enough.

    Args:
        is_enough: A function from scales [K] to booleans [K].

    Example:
        >>> 2.0 < smallest_scale(lambda scales: scales > 2.0) < 2.1
        True
    """
    low, high = LOWEST, HIGHEST
    for _ in range(2):
        scales = _geometric(low, high)
        enough = is_enough(scales).nonzero()
        if not len(enough):
            return None

        first = int(enough[0])
        low, high = scales[max(first - 1, 0)].item(), scales[first].item()
    return high


@without_step_warnings()
def charge_gain(build: Callable[[int], NeuronLayer]) -> float:
    """The factor of charges with which a neuron fires as often as a LIF neuron without it.

    Multiply initial weights for LIF neurons by this factor: other neurons take charges in other
    units. It is measured with noise, against a LIF neuron with a time constant of 10 ms. If the
    neuron cannot fire as often, half of its highest rate is the target.

    Args:
        build: Builds a layer of n neurons that spike: `build(n)`, such as the class of the layer.

    Returns:
        The factor, with three digits; 1 if no noise makes the neuron fire.

    Raises:
        TypeError: If `build` does not build such a layer.

    Example:
        >>> from nwavesdk.layers import AdLIFLayer, LIFSynapse
        >>> synapse = LIFSynapse(4, 20)
        >>> gain = charge_gain(lambda n: AdLIFLayer(n, tau=50e-3, tau_w=0.2))
        >>> synapse.weight.data *= gain
        >>> round(gain)
        50
    """
    lif = LIFLayer(NEURONS, LIF_TAU, dt=_built(build).dt)
    highest = _rates(build, _geometric(LOWEST, HIGHEST)).max().item()
    wanted = min(_rates(lambda _: lif, torch.ones(1)).item(), highest / 2)
    scale = smallest_scale(lambda scales: _rates(build, scales) >= wanted) if wanted else None
    return 1.0 if scale is None else float(f"{scale:.3g}")


def _built(build: Callable[[int], NeuronLayer]) -> NeuronLayer:
    """A layer of one neuron."""
    try:
        layer = build(1)
        got = type(layer).__name__
    except TypeError as error:
        layer, got = None, str(error)

    if not isinstance(layer, NeuronLayer) or layer.neuron.is_readout:
        raise TypeError(
            f"charge_gain: build(n) must build a layer of n neurons that spike, got {got}: "
            "pass a function, as in lambda n: LIFLayer(n, taus=20e-3)."
        )
    return layer


def _geometric(low: float, high: float) -> Tensor:
    return torch.logspace(math.log10(low), math.log10(high), TRIES)


@torch.no_grad()
def _rates(build: Callable[[int], NeuronLayer], scales: Tensor) -> Tensor:
    """Spikes per step under noise of each scale, [K]."""
    # All scales run in one layer: [steps, K, neurons], with the same noise for each scale.
    noise = torch.randn(STEPS, NEURONS, generator=torch.Generator().manual_seed(0))
    x = DEVIATION * noise[:, None, :] * scales[:, None]
    layer = build(x[0].numel())

    layer.solver = "reference"  # it needs no compiler
    prepare_net(layer)
    spikes = layer.spikes(x.reshape(1, STEPS, -1))
    return spikes.reshape(x.shape).mean((0, 2))


_OWNER = "frontend_firing_init"
_HALVINGS = 16


@dataclass(frozen=True, kw_only=True)
class FrontendReport:
    """The result of `frontend_firing_init` for one front end; `print` shows a table.

    Attributes:
        frontend: Its name in the model.
        wanted: Wanted rate of each channel [spikes per step].
        rates: Rate of each channel [spikes per step].
        weights: Weight of each channel.
        unreachable: Channels that stay below their rate at the chip's limit.
    """

    frontend: str
    wanted: tuple[float, ...]
    rates: tuple[float, ...]
    weights: tuple[float, ...]
    unreachable: tuple[int, ...]

    def __str__(self) -> str:
        lines = ["channel  weight  rate    wanted"]
        channels = zip(self.weights, self.rates, self.wanted, strict=True)
        for k, (weight, rate, wanted) in enumerate(channels):
            note = "  at the limit" if k in self.unreachable else ""
            lines.append(f"{k:7}  {weight:6.3f}  {rate:.4f}  {wanted:.4f}{note}")
        return "\n".join(lines)


@torch.no_grad()
def frontend_firing_init(
    model: nn.Module | tuple[nn.Module, NeuronLayer],
    inputs: Tensor | tuple[Any, ...] | Iterable[Any],
    rate: float | Sequence[float] | Tensor = 0.05,
    *,
    max_batches: int = 4,
) -> FrontendReport:
    """Set each channel's weight so that its neuron fires at the wanted rate on `inputs`.

    Bisection finds the charges, between 0 and the chip's limit, on the ideal chip, without mismatch
    but with quantization. The model changes only in its weights; call `prepare_net` before the next
    batch. NWAVE documents only the name of the function.

    Args:
        model: A net with one front end, or a tuple (front end, layer).
        inputs: A batch [B, T, channels], or batches, as for `fluct_init`.
        rate: Spikes per step, between 0 and 1, a number or one per channel.
        max_batches: Largest number of batches of `inputs`.

    Returns:
        Rates and weights by channel.

    Raises:
        TypeError: If `inputs` contain something else.
        ValueError: If `rate` is out of its range, or has another length.
        RuntimeError: If the net does not have one front end with a neuron layer, or weights are
            parametrized.

    Warns:
        RuntimeWarning: If channels stay below their rate. Their weights are at the limit.

    Example:
        >>> from nwavesdk.layers import H1v2Frontend, H1v2Layer
        >>> net = SpikingSequential(H1v2Frontend(16), H1v2Layer(16, taus=10e-3))
        >>> x = torch.rand(4, 500, 16, generator=torch.Generator().manual_seed(0))
        >>> report = frontend_firing_init(net, x, rate=0.1)
        >>> max(abs(rate - 0.1) for rate in report.rates) < 0.005
        True
    """
    if isinstance(model, tuple):
        model = SpikingSequential(*model)
    batches = first_batches(_OWNER, model, inputs, max_batches)
    reject_parametrized(_OWNER, model, find_edges(model))

    # The search runs on a copy, as on an ideal chip.
    work = copy_module(model).eval()
    ChipInstance(None).hold(work)
    driven = _find_frontend(work, batches[0][:1])
    wanted = _rate_per_channel(rate, driven.driver.nb_inputs)
    received = driver_inputs(work, driven.driver, batches)

    def rates_for(charges: Tensor) -> Tensor:
        set_charges(driven.driver, charges)
        return driven.rates(received).cpu()

    nearest, highest = _bisect_charges(rates_for, wanted, charge_limit(driven.driver))
    reached = rates_for(nearest)

    module: Any = model.get_submodule(driven.driver_name)
    module.weight.copy_(driven.driver.weight)
    report = FrontendReport(
        frontend=driven.driver_name,
        wanted=tuple(wanted.tolist()),
        rates=tuple(reached.tolist()),
        weights=tuple(module.weight.tolist()),
        unreachable=tuple((highest < wanted).nonzero().flatten().tolist()),
    )

    if report.unreachable:
        channels = list(report.unreachable)
        warnings.warn(
            f"frontend_firing_init: channels {', '.join(map(str, channels))} of front end "
            f"{report.frontend!r} do not reach their rate at the chip's limit, the nearest has "
            f"{float(highest[channels].max()):.3g}, expected {float(wanted[channels].min()):.3g} "
            "spikes per step or more: scale the inputs up, or ask for a lower rate.",
            RuntimeWarning,
            stacklevel=3,
        )
    return report


def _find_frontend(work: nn.Module, x: Tensor) -> DrivenLayer:
    frontends = [
        driven
        for driven in find_driven_layers(work, x)
        if isinstance(driven.driver, H1v1Frontend | H1v2Frontend)
    ]
    if len(frontends) != 1:
        raise RuntimeError(
            f"frontend_firing_init found {len(frontends)} front ends with a neuron layer, expected "
            "one: the layer must take the front end's output unchanged; pass (frontend, layer) to "
            "choose a front end."
        )
    return frontends[0]


def _rate_per_channel(rate: float | Sequence[float] | Tensor, channels: int) -> Tensor:
    wanted = torch.as_tensor(rate, dtype=torch.float64).detach().cpu()
    if wanted.ndim > 1 or (wanted.ndim and len(wanted) != channels):
        raise ValueError(
            f"frontend_firing_init: rate must be one number or one per channel ({channels}), got "
            f"the shape {list(wanted.shape)}."
        )
    for value in wanted.flatten().tolist():
        finite_number(_OWNER, "rate", value, above=0, below=1, unit="spikes per step")
    return wanted.expand(channels).clone()


def _bisect_charges(
    rates_for: Callable[[Tensor], Tensor], wanted: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    """The charge of each channel with the nearest rate, and the rates at the limit."""
    low = torch.zeros_like(wanted)
    high = torch.full_like(wanted, limit)
    highest = rates_for(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_reached = rates_for(middle) >= wanted
        high = torch.where(is_reached, middle, high)
        low = torch.where(is_reached, low, middle)

    rates_low, rates_high = rates_for(low), rates_for(high)
    low_is_nearer = (wanted - rates_low).abs() < (rates_high - wanted).abs()
    return torch.where(low_is_nearer, low, high), highest
