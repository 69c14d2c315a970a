"""Diagnosis of a net: dead, saturated or starved neurons, vanishing or exploding gradients.

`examine` records one pass of the net; `examine_recording` then works in three steps:

1. `_layer_health` measures each layer: the firing rates of its neurons, the norm of its gradient.
2. `_find_problems` compares the numbers of a layer with the `Limits`, and describes each problem.
3. `_findings_of` adds the remedy, which `nwavesdk.analysis.health_remedies` chooses.

To add a kind of finding:

- Add its number to `LayerHealth`, compute it in `_layer_health`, and add its limit, if it has one,
  to `Limits`.
- Describe the problem in `_find_problems`, and the number in `Finding.value`.
- Add its remedy to `REMEDIES` of `health_remedies`. A remedy that names a surrogate suggests a
  wider one, unless `_CHANGES` there has another change.
- For `nwave diagnose`, add a remedy in `nwavesdk.analysis.remedies`, a column in
  `nwavesdk.cli.inspect` and a row in `docs/command-line.md`.

A finding that needs the net, not only a recorded pass, has its own module, such as `memory`.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.analysis.health_remedies import remedy_of
from nwavesdk.analysis.slopes.recorded_pass import LossFunction, RecordedPass
from nwavesdk.layers import Record, Recording
from nwavesdk.layers.lengths import complete_lengths, valid_steps

__all__ = [
    "Finding",
    "Health",
    "LayerHealth",
    "Limits",
    "examine",
    "examine_recording",
]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a healthy net. Numbers beyond a limit are reported as findings.

    Attributes:
        few: Share of a layer's neurons that may be dead, saturated or starved.
        saturated: A neuron is saturated if it fires in at least this share of the steps.
        starved: A neuron is starved if its gradient is smaller than this share of the average
            gradient of a neuron in the last layer.
        depth: Factor by which the gradient of a layer may differ from the gradient of the last
            layer, in both directions.
        time: Factor by which the gradient in the first quarter of each recording may differ from
            the gradient in the third quarter, in both directions.
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


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem of one layer, with its remedy.

    Attributes:
        kind: The kind of the problem.
        layer: Name of the layer in the net.
        value: The number beyond its limit.
        text: Description of the problem.
        remedy: Advice that solves the problem.
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


@dataclass(frozen=True, kw_only=True)
class LayerHealth:
    """The numbers of one layer.

    Attributes:
        layer: Name of the layer in the net.
        rate: Firing rate [spikes per step and neuron].
        dead: Share of neurons without a spike in the whole batch, or in all recordings of `rates`.
        saturated: Share of neurons that fire nearly always.
        starved: Share of neurons that receive nearly no gradient.
        norm: Euclidean norm of the gradient of the layer's input charge.
        depth: `norm` divided by the norm of the last layer; NaN if both norms are 0.
        time: Norm of the gradient in the first quarter of the steps, divided by its norm in the
            third quarter; NaN if both norms are 0.
        steps: Mean number of valid steps of a recording.
        loop_gain: The gain of the recurrent loop, see `Record.loop_gain`; None where it has none.
        growth: Factor per step by which a gradient of the last membranes grows, back in time; None
            without recurrence.
        channels: Number of channels, for a layer whose first axis is channels; otherwise None.
        dead_channels: Number of channels in which all neurons are dead; None without channels.

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
    """The numbers of all layers, and the findings.

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

    The net runs in its present mode: call `net.eval()` for a pass without dropout.

    Args:
        net: A net with at least one layer of spiking neurons. Read-outs are not examined.
        x: Input of the net: [B, T, *features], or [T, B, *features] with `time_first`.
        loss_fn: `loss_fn(spk, mem)`, a scalar from the spikes and membranes that the net returns.
        seed: Seed of the mismatch; see `prepare_net`.
        lengths: Steps of each recording, int64 [B]; None for all. The loss must not depend on
            padding.
        limits: Limits of a healthy net. [`Limits()`]
        rates: See `examine_recording`.

    Raises:
        TypeError: If the net is not a module.
        ValueError: If the net has no neuron layer, a layer runs step by step, or the loss depends
            on no layer.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> silence = torch.zeros(4, 50, 5)
        >>> health = examine(net, silence, lambda spk, mem: spk.mean())
        >>> health.findings[0].text
        'layer 1: 100% of its neurons never fire'
    """
    recorded = RecordedPass(net, x, loss_fn, seed=seed, lengths=lengths)
    return examine_recording(recorded.recording, dict(recorded.gradients()), limits, rates)


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
            Read-outs are not examined.
        gradients: ∂L/∂(input charge) of each layer, [B, T, *features], by the layer's name, as
            `RecordedPass.gradients` yields them.
        limits: Limits of a healthy net. [`Limits()`]
        rates: Spikes per step of each neuron, [N], by the layer's name, counted over more
            recordings: a neuron that is silent in one batch may fire in others.

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

    # 1. Measure each layer.
    limits = limits or Limits()
    grads = {name: _valid_gradient(gradients[name], record) for name, record in records.items()}
    last = [*grads.values()][-1]
    neuron_rates = {name: record.neuron_rates() for name, record in records.items()}
    neuron_rates |= rates or {}
    layers = [
        _layer_health(name, records[name], neuron_rates[name], grad, last, limits)
        for name, grad in grads.items()
    ]

    # 2. Find the problems, grouped by kind because a kind has one remedy.
    problems = defaultdict(list)
    for layer in layers:
        for kind, value, text in _find_problems(layer, limits):
            problems[kind].append((layer.layer, value, text))

    # 3. Add the remedies.
    findings = [
        finding
        for kind, layer_problems in problems.items()
        for finding in _findings_of(kind, layer_problems, records)
    ]
    return Health(tuple(layers), tuple(findings))


def _valid_gradient(gradient: Tensor, record: Record) -> Tensor:
    """The gradient as float64 [B, T, N], and 0 in padding."""
    is_valid = valid_steps(complete_lengths(record.mem, record.lengths), gradient.shape[1])
    return gradient.double().flatten(2).where(is_valid[..., None], 0)


def _layer_health(
    name: str, record: Record, rates: Tensor, grad: Tensor, last: Tensor, limits: Limits
) -> LayerHealth:
    """Measure a layer.

    Args:
        name: Name of the layer in the net.
        record: Record of the layer.
        rates: Spikes per step of each neuron, [N] or [*features].
        grad: Gradient of the layer's input charge, [B, T, N].
        last: Gradient of the last layer's input charge, [B, T, N of the last layer].
        limits: Limits of a healthy net.
    """
    received = grad.abs().sum((0, 1))
    average = last.abs().sum((0, 1)).mean()
    is_starved = (received < limits.starved * average) | (received == 0)

    lengths = complete_lengths(record.mem, record.lengths)
    channels = dead_channels = None
    if record.spk.ndim > 3:
        channels = record.spk.shape[2]  # of [B, T, C, H, W]
        dead_channels = int((rates.view(channels, -1) == 0).all(1).sum())

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
        dead_channels=dead_channels,
    )


def _growth(record: Record, lengths: Tensor) -> float:
    """Factor per step by which a random gradient of the last membranes grows, back in time."""
    # A gradient that is random at the last valid step of each recording, and 0 at all others.
    generator = torch.Generator().manual_seed(0)
    B = len(lengths)
    last = (lengths - 1).clamp(min=0)
    grad_mem = torch.zeros_like(record.mem)
    direction = torch.randn(B, *record.mem.shape[2:], generator=generator)
    grad_mem[torch.arange(B), last] = direction.to(grad_mem)

    charge = _valid_gradient(record.charge_gradient(None, grad_mem)[0], record)
    if not bool(charge.isfinite().all()):
        return math.inf

    # The third quarter begins two quarters after the first.
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
    """The quotient of the norms of two gradients; infinite or NaN if the reference is 0."""
    return float(grad.norm() / reference.norm())


def _find_problems(layer: LayerHealth, limits: Limits) -> Iterator[tuple[str, float, str]]:
    """Kind, value and description of each problem of a layer: each number beyond its limit."""
    if not math.isfinite(layer.norm):
        yield "not finite", layer.norm, "has a gradient that is not finite"

    # Shares of neurons, from the fields of `LayerHealth` with these names.
    shares = {
        "dead": "of its neurons never fire",
        "saturated": f"of its neurons fire in at least {limits.saturated:.0%} of the steps",
        "starved": (
            f"of its neurons receive less than {limits.starved:g} of the average in the last layer"
        ),
    }
    for kind, text in shares.items():
        share: float = getattr(layer, kind)
        if share > limits.few:
            pixels = ""
            if kind == "dead" and layer.channels is not None:
                # The neurons are pixels of channels.
                pixels = (
                    f" (pixels of {layer.channels} channels, {layer.dead_channels} of which never "
                    "fire)"
                )
            yield kind, share, f"{share:.0%} {text}{pixels}"

    growth = layer.growth
    if growth is not None and growth**layer.steps > limits.loop:
        gain = "" if layer.loop_gain is None else f" gain {layer.loop_gain:.2g}"
        yield (
            "recurrent gain",
            growth,
            f"recurrent loop{gain}: gradients grow by {growth:.3g} per step, "
            f"{growth**layer.steps:.1e} times in {layer.steps:.0f} steps",
        )

    # Factors between two norms: suffix of the kind, factor, limit and description. A factor of NaN
    # is not reported: both norms are 0, or not finite.
    factors = (
        (
            "",
            layer.depth,
            limits.depth,
            "its gradient is {:.1e} times the gradient of the last layer",
        ),
        (
            " over time",
            layer.time,
            limits.time,
            "its gradient in the first quarter of the steps is {:.1e} times its gradient in the "
            "third quarter",
        ),
    )
    for suffix, factor, limit, text in factors:
        if factor < 1 / limit:
            yield f"vanishing{suffix}", factor, text.format(factor)
        if factor > limit and math.isfinite(layer.norm):
            yield f"exploding{suffix}", factor, text.format(factor)


def _findings_of(
    kind: str, layer_problems: list[tuple[str, float, str]], records: dict[str, Record]
) -> Iterator[Finding]:
    """The findings of one kind. All have the remedy of the first layer with this problem.

    Args:
        kind: The kind of the problems.
        layer_problems: Layer, value and description of each problem, from the first layer on.
        records: The records of all layers.
    """
    names = [*records]
    first, value, _ = layer_problems[0]

    # A remedy changes the surrogates of the first layer with this problem and of the layers behind
    # it. It leaves out the last layer, whose surrogate scales all gradients by the same factor,
    # unless only the last layer has the problem.
    changed = names[names.index(first) : -1] or names[-1:]
    remedy, surrogate = remedy_of(kind, value, [records[name] for name in changed])

    for layer, number, text in layer_problems:
        yield Finding(
            kind=kind,
            layer=layer,
            value=number,
            text=f"layer {layer}: {text}",
            remedy=remedy,
            surrogate=surrogate,
        )
