"""Front ends by firing rate: each channel's weight such that its neuron fires as often as wanted."""

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.init.pairs import Pair, find_pairs, first_batches, inputs_of
from nwavesdk.init.weights import charge_limit, refuse_parametrized, set_charges
from nwavesdk.layers import ChipInstance, H1v1Frontend, H1v2Frontend, NeuronLayer, SpikingSequential

__all__ = ["FrontendReport", "frontend_firing_init"]

_HALVINGS = 16


@dataclass(frozen=True)
class FrontendReport:
    """What `frontend_firing_init` did to one front end; `print` shows a table.

    Attributes:
        frontend: its name in the model.
        wanted: rate asked for, by channel [spikes per step].
        rates: rate reached, by channel [spikes per step].
        weights: by channel.
        unreachable: channels that stay below their rate at the chip's limit.
    """

    frontend: str
    wanted: tuple[float, ...]
    rates: tuple[float, ...]
    weights: tuple[float, ...]
    unreachable: tuple[int, ...]

    def __str__(self) -> str:
        lines = ["channel  weight  rate    wanted"]
        for k, (weight, rate, wanted) in enumerate(
            zip(self.weights, self.rates, self.wanted, strict=True)
        ):
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
    """Set each channel's weight so that the neuron behind it fires at the wanted rate on `inputs`.

    The charge of each channel is bisected between 0 and the chip's limit, all channels at once; of the two ends that
    remain the one with the nearer rate is taken. For inputs that are not negative the rate rises with the weight; for
    others a weight is found too, and the report says what rate it has. Rates are those of the ideal chip, without
    mismatch but with quantization. Except for the weights the model is as if it had not been run: call `prepare_net`
    before the next batch. The documentation of NWAVE names the function only; what it does here is our choice.

    Args:
        model: a net with one front end, or a tuple (front end, layer).
        inputs: one batch [B, T, channels] as the model takes it, or (inputs, targets), or an iterable of these such as
            a DataLoader, of which the first `max_batches` are taken.
        rate: spikes per step, between 0 and 1, a number or one per channel.
        max_batches: the most batches of `inputs`.

    Returns:
        Rates and weights by channel.

    Raises:
        TypeError: `inputs` hold something else.
        ValueError: `rate` is out of its range, or has another number of channels.
        RuntimeError: the net has no front end with a neuron layer, or several, or weights are parametrized.

    Warns:
        RuntimeWarning: channels stay below their rate; their weights are at the limit.

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
    batches = first_batches("frontend_firing_init", model, inputs, max_batches)
    refuse_parametrized("frontend_firing_init", model)
    work = copy.deepcopy(model).eval()
    ChipInstance(None).hold(work)
    pair = _frontend_of(work, batches[0][:1])
    wanted = _wanted(rate, pair.driver.nb_inputs)
    received = inputs_of(work, pair.driver, batches)

    def rates(charges: Tensor) -> Tensor:
        set_charges(pair.driver, charges)
        spikes = [pair.spikes(x)[1].double().flatten(2).flatten(0, 1) for x in received]
        return torch.cat(spikes).mean(0).cpu()

    nearest, highest = _bisected(rates, wanted, charge_limit(pair.driver))
    reached, unreachable = rates(nearest), highest < wanted
    module = model.get_submodule(pair.name)
    assert isinstance(module, H1v1Frontend | H1v2Frontend)
    module.weight.copy_(pair.driver.weight)
    report = FrontendReport(
        pair.name, tuple(wanted.tolist()), tuple(reached.tolist()), tuple(module.weight.tolist()),
        tuple(unreachable.nonzero().flatten().tolist()),
    )  # fmt: skip
    if report.unreachable:
        warnings.warn(
            f"frontend_firing_init: channels {', '.join(map(str, report.unreachable))} of front end {pair.name!r} do "
            f"not reach their rate at the chip's limit, the nearest has {float(highest[unreachable].max()):.3g}, "
            f"expected {float(wanted[unreachable].min()):.3g} spikes per step or more: scale the inputs up, or ask for "
            "a lower rate.",
            RuntimeWarning,
            stacklevel=3,
        )
    return report


def _bisected(
    rates: Callable[[Tensor], Tensor], wanted: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    """The charge of each channel with the rate nearest to the wanted one, and the rates at the limit."""
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, limit)
    below, above = torch.zeros_like(wanted), rates(high)
    highest = above
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = rates(middle)
        reached = found >= wanted
        high, above = torch.where(reached, middle, high), torch.where(reached, found, above)
        low, below = torch.where(reached, low, middle), torch.where(reached, below, found)
    return torch.where((wanted - below).abs() < (above - wanted).abs(), low, high), highest


def _frontend_of(work: nn.Module, x: Tensor) -> Pair:
    pairs = [
        pair for pair in find_pairs(work, x) if isinstance(pair.driver, H1v1Frontend | H1v2Frontend)
    ]
    if len(pairs) != 1:
        raise RuntimeError(
            f"frontend_firing_init found {len(pairs)} front ends with a neuron layer, expected one: the layer must "
            "take the front end's output as it is; give (frontend, layer) to choose."
        )
    return pairs[0]


def _wanted(rate: float | Sequence[float] | Tensor, channels: int) -> Tensor:
    wanted = torch.as_tensor(rate, dtype=torch.float64).detach().cpu()
    if wanted.ndim > 1 or (wanted.ndim and len(wanted) != channels):
        raise ValueError(
            f"frontend_firing_init: rate must be one number or one per channel ({channels}), got the shape "
            f"{list(wanted.shape)}."
        )
    for value in wanted.flatten().tolist():
        if not 0 < value < 1 or math.isnan(value):
            raise ValueError(
                f"frontend_firing_init: rate must lie between 0 and 1 [spikes per step], got {value}."
            )
    return wanted.expand(channels).clone()
