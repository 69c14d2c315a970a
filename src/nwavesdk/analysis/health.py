"""Diagnosis of a net: dead, saturated or starved neurons, vanishing or exploding gradients."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.analysis.health_remedies import remedy_of
from nwavesdk.analysis.slopes.recorded_pass import LossFunction, RecordedPass
from nwavesdk.layers import Record, Recording
from nwavesdk.layers.lengths import valid_steps

__all__ = [
    "Finding",
    "Health",
    "LayerHealth",
    "Limits",
    "examine",
    "examine_recording",
]


@dataclass(frozen=True)
class Limits:
    """Limits from which on something is reported.

    Attributes:
        few: Share of a layer's neurons that may be dead, saturated or starved.
        saturated: Spikes per step from which on a neuron is saturated.
        starved: A neuron is starved if it receives less than this share of the average over neurons
            of the last layer.
        depth: Factor by which the gradient of a layer may be smaller or larger than that of the
            last layer.
        time: Factor by which it may be smaller or larger in the first quarter of each recording
            than in the third quarter. The last quarter is left out, because what happens there has
            little time to have an effect.
        loop: Factor by which a gradient may grow through a recurrent layer over a whole recording.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> silence = torch.zeros(4, 50, 5)
        >>> for few in (0.05, 1.0):
        ...     health = examine(net, silence, lambda spk, mem: spk.mean(), limits=Limits(few=few))
        ...     print([finding.kind for finding in health.findings])
        ['dead']
        []
    """

    few: float = 0.05
    saturated: float = 0.9
    starved: float = 1e-3
    depth: float = 100.0
    time: float = 1000.0
    loop: float = 100.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in one layer.

    Attributes:
        kind: A key of `nwavesdk.analysis.health_remedies.REMEDIES`.
        layer: Name of the layer in the net.
        value: Share of neurons, or the factor between two norms.
        text: Description of what is wrong.
        remedy: What helps. Findings of one kind have the same one.
        surrogate: The surrogate that the remedy names, as text; None if it names none.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> health = examine(net, torch.zeros(4, 50, 5), lambda spk, mem: spk.mean())
        >>> finding = health.findings[0]
        >>> finding.kind, finding.layer, finding.value
        ('dead', '1', 1.0)
    """

    kind: str
    layer: str
    value: float
    text: str
    remedy: str
    surrogate: str | None = None

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}."


@dataclass(frozen=True)
class LayerHealth:
    """The numbers of one layer.

    Attributes:
        layer: Name of the layer in the net.
        rate: Firing rate [spikes per step and neuron].
        dead: Share of neurons without a spike in the whole batch, or in all recordings of `rates`.
        saturated: Share of neurons that fire nearly always.
        starved: Share of neurons that receive nearly no gradient.
        norm: Euclidean norm of the gradient of the layer's input charge.
        depth: The norm as a multiple of that of the last layer; NaN if both are 0.
        time: Norm in the first quarter of the steps as a multiple of that in the third quarter; NaN
            if both are 0.
        steps: Mean number of valid steps of a recording.
        loop_gain: The gain of the recurrent loop, see `Record.loop_gain`; None where it has none.
        growth: Factor per step by which a gradient of the last membranes grows, back in time; None
            without recurrence.
        channels: Number of channels, the first axis of a layer with several; otherwise None.
        dead_channels: How many of them are dead as a whole; otherwise None.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> health = examine(net, torch.zeros(4, 50, 5), lambda spk, mem: spk.mean())
        >>> health.layers[0].dead, health.layers[0].saturated, health.layers[0].steps
        (1.0, 0.0, 50.0)
    """

    layer: str
    rate: float
    dead: float
    saturated: float
    starved: float
    norm: float
    depth: float
    time: float
    steps: float
    loop_gain: float | None = None
    growth: float | None = None
    channels: int | None = None
    dead_channels: int | None = None


@dataclass(frozen=True)
class Health:
    """The numbers of all layers, and what is wrong.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> health = examine(net, torch.zeros(4, 50, 5), lambda spk, mem: spk.mean())
        >>> [layer.rate for layer in health.layers], [finding.text for finding in health.findings]
        ([0.0], ['layer 1: 100% of its neurons never fire'])
    """

    layers: tuple[LayerHealth, ...]
    findings: tuple[Finding, ...]


def examine(
    net: nn.Module,
    x: Tensor,
    loss_fn: LossFunction,
    *,
    seed: int | None = None,
    lengths: Tensor | None = None,
    limits: Limits | None = None,
    rates: Mapping[str, Tensor] | None = None,
) -> Health:
    """Diagnose a net on one batch; padding does not count, and the net does not change.

    The net runs in its present mode: call `net.eval()` for a pass without dropout. Neurons that
    fire for few classes are silent in a small batch: pass `rates` to count spikes over more.

    Args:
        net: A net with at least one layer of spiking neurons. Read-outs are passed over.
        x: Input as the net takes it: [B, T, *features], or [T, B, *features] with `time_first`.
        loss_fn: `loss_fn(spk, mem)`, from what the net returns to a scalar.
        seed: Seed of the mismatch; see `prepare_net`.
        lengths: Number of steps of each recording, int64 [B]; None for all steps. The loss must not
            depend on padding.
        limits: Limits from which on something is reported.
        rates: See `examine_recording`.

    Raises:
        TypeError: If the net is not a module.
        ValueError: If it has no neuron layer, if a layer runs step by step, if `x` is not a
            sequence, or if the loss depends on no layer.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> silence = torch.zeros(4, 50, 5)
        >>> health = examine(net, silence, lambda spk, mem: spk.mean())
        >>> health.findings[0].text
        'layer 1: 100% of its neurons never fire'
    """
    recorded = RecordedPass(net, x, loss_fn, seed, lengths=lengths)
    return examine_recording(recorded.recording, recorded.charge_gradients(), limits, rates)


@torch.no_grad()
def examine_recording(
    recording: Recording,
    gradients: Mapping[str, Tensor],
    limits: Limits | None = None,
    rates: Mapping[str, Tensor] | None = None,
) -> Health:
    """Diagnose a net from a recorded pass and its gradients, which `examine` makes.

    Args:
        recording: Recording of sequences by a net with at least one layer of spiking neurons.
            Read-outs are passed over.
        gradients: ∂L/∂(input charge) of each layer, [B, T, *features], by the layer's name, such as
            `RecordedPass.charge_gradients` returns.
        limits: Limits from which on something is reported.
        rates: Spikes per step of each neuron, [N], by the layer's name, over more recordings than
            the pass has: a neuron that never fires in one batch may fire in others. Layers that
            it lacks have the rates of the pass.

    Raises:
        ValueError: If the gradient of a layer is missing.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> recording = net.record(torch.zeros(4, 50, 5))
        >>> gradients = {"1": torch.ones(4, 50, 20)}
        >>> examine_recording(recording, gradients).findings[0].kind
        'dead'
    """
    records = recording.spiking
    missing = [name for name in records if name not in gradients]
    if missing:
        raise ValueError(
            "examine_recording needs the gradient of every neuron layer, got none for "
            f"{', '.join(missing)}."
        )
    limits = limits or Limits()
    grads = {name: _valid_gradient(gradients[name], record) for name, record in records.items()}
    last = [*grads.values()][-1]
    neuron_rates = {name: record.neuron_rates() for name, record in records.items()}
    neuron_rates |= rates or {}
    layers = [
        _layer_health(name, records[name], neuron_rates[name], grad, last, limits)
        for name, grad in grads.items()
    ]
    problems = defaultdict(list)
    for layer in layers:
        for kind, value, text in _findings(layer, limits):
            problems[kind].append((layer.layer, value, text))
    findings = [
        finding
        for kind, entries in problems.items()
        for finding in _findings_of(kind, entries, records)
    ]
    return Health(tuple(layers), tuple(findings))


def _findings_of(
    kind: str, entries: list[tuple[str, float, str]], records: dict[str, Record]
) -> Iterator[Finding]:
    """The findings of one kind, with the remedy for the first of these layers."""
    names = [*records]
    first, value, _ = entries[0]
    # The gradient of the last layer comes from the loss, whatever its surrogate.
    before_last = names[names.index(first) : -1] or names[-1:]
    remedy, surrogate = remedy_of(kind, value, [records[name] for name in before_last])
    for layer, number, text in entries:
        yield Finding(kind, layer, number, f"layer {layer}: {text}", remedy, surrogate)


def _lengths_of(record: Record) -> Tensor:
    """The number of valid steps of each recording, [B]."""
    B, T = record.mem.shape[:2]
    full = torch.full((B,), T, device=record.mem.device)
    return full if record.lengths is None else record.lengths


def _valid_gradient(gradient: Tensor, record: Record) -> Tensor:
    """The gradient as float64 [B, T, N], and 0 in padding."""
    is_valid = valid_steps(_lengths_of(record), gradient.shape[1])
    return gradient.double().flatten(2).where(is_valid[..., None], 0)


def _layer_health(
    name: str, record: Record, rates: Tensor, grad: Tensor, last: Tensor, limits: Limits
) -> LayerHealth:
    """The numbers of a layer; `grad` and `last` are the gradients of it and of the last layer."""
    received = grad.abs().sum((0, 1))
    is_starved = (received < limits.starved * last.abs().sum((0, 1)).mean()) | (received == 0)
    lengths = _lengths_of(record)
    channels = record.spk.shape[2] if record.spk.ndim > 3 else None
    return LayerHealth(
        layer=name,
        rate=float(rates.mean()),
        dead=_share(rates == 0),
        saturated=_share(rates >= limits.saturated),
        starved=_share(is_starved),
        norm=float(grad.norm()),
        depth=_norm_ratio(grad, last),
        time=_norm_ratio(*_quarters(lengths, grad)),
        steps=float(lengths.double().mean()),
        loop_gain=record.loop_gain(),
        growth=_growth(record, lengths) if record.is_recurrent else None,
        channels=channels,
        dead_channels=channels and int((rates.view(channels, -1) == 0).all(1).sum()),
    )


def _growth(record: Record, lengths: Tensor) -> float:
    """Factor per step by which a random gradient of the last membranes grows, back in time."""
    generator = torch.Generator().manual_seed(0)
    B = record.mem.shape[0]
    last = (lengths - 1).clamp(min=0)
    grad_mem = torch.zeros_like(record.mem)
    direction = torch.randn(B, *record.mem.shape[2:], generator=generator)
    grad_mem[torch.arange(B), last] = direction.to(grad_mem)
    charge = _valid_gradient(record.charge_gradient(None, grad_mem)[0], record)
    if not bool(charge.isfinite().all()):
        return math.inf
    steps_between = 2 * float((lengths // 4).double().mean())
    ratio = _norm_ratio(*_quarters(lengths, charge))
    return ratio ** (1 / steps_between) if steps_between else math.nan


def _quarters(lengths: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient in the first and in the third quarter of each recording, 0 elsewhere."""
    steps = torch.arange(grad.shape[1], device=grad.device)[:, None]
    quarter = (lengths // 4)[:, None, None]
    is_late = (steps >= 2 * quarter) & (steps < 3 * quarter)
    return grad.where(steps < quarter, 0), grad.where(is_late, 0)


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _norm_ratio(grad: Tensor, reference: Tensor) -> float:
    """The norm as a multiple of another one; infinite or NaN if the other one is 0."""
    return float(grad.norm() / reference.norm())


def _findings(layer: LayerHealth, limits: Limits) -> Iterator[tuple[str, float, str]]:
    """Kind, value and description of everything that is wrong in a layer."""
    if not math.isfinite(layer.norm):
        yield "not finite", layer.norm, "has a gradient that is not finite"
    of_neurons = {
        "dead": "of its neurons never fire",
        "saturated": f"of its neurons fire in at least {limits.saturated:.0%} of the steps",
        "starved": (
            f"of its neurons receive less than {limits.starved:g} of the average in the last layer"
        ),
    }
    for kind, text in of_neurons.items():
        share: float = getattr(layer, kind)
        if share > limits.few:
            pixels = ""
            if kind == "dead" and layer.channels is not None:
                # The neurons are pixels of channels.
                dead = f"{layer.dead_channels} of which never fire"
                pixels = f" (pixels of {layer.channels} channels, {dead})"
            yield kind, share, f"{share:.0%} {text}{pixels}"
    factors = (
        ("", layer.depth, limits.depth, "its gradient is {:.1e} times that of the last layer"),
        (
            " over time",
            layer.time,
            limits.time,
            "its gradient in the first quarter of the steps is {:.1e} times that in the third",
        ),
    )
    growth = layer.growth
    if growth is not None and growth**layer.steps > limits.loop:
        gain = "" if layer.loop_gain is None else f" gain {layer.loop_gain:.2g}"
        yield (
            "recurrent gain",
            growth,
            f"recurrent loop{gain}: gradients grow by {growth:.3g} per step, "
            f"{growth**layer.steps:.1e} times in {layer.steps:.0f} steps",
        )
    for suffix, factor, limit, text in factors:
        if factor < 1 / limit:
            yield f"vanishing{suffix}", factor, text.format(factor)
        if factor > limit and math.isfinite(layer.norm):
            yield f"exploding{suffix}", factor, text.format(factor)
