"""Diagnosis of the memory of a net: time constants next to steps, recordings and inputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nwavesdk.analysis.health import Finding
from nwavesdk.layers import NeuronLayer, Record, Recording
from nwavesdk.layers.lengths import complete_lengths, valid_steps

__all__ = ["LayerMemory", "MemoryLimits", "examine_memory", "time_text"]

REMEDIES = {
    "short tau": "raise the time constants of the layer, or lower dt",
    "long tau": "lower the time constants of the layer to the length of a recording",
    "leaks away": "raise the time constants of the layer to the time between two of its inputs",
}


@dataclass(frozen=True)
class MemoryLimits:
    """The limits of time constants that fit. Numbers beyond a limit are reported as findings.

    Attributes:
        few: Share of a layer's neurons that may have a time constant that does not fit.
        recordings: A time constant is too long if it exceeds the recordings by this factor.
        taus: Time between two inputs, in time constants of the membrane, that is still short
            enough.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.net import record
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=2e-3, dt=1e-3))
        >>> x = torch.zeros(1, 100, 5)
        >>> x[:, ::20] = 1.0
        >>> recording = record(net, x, charges=True)
        >>> for taus in (2.0, 20.0):
        ...     print(len(examine_memory(net, recording, MemoryLimits(taus=taus))[1]))
        1
        0
    """

    few: float = 0.05
    recordings: float = 5.0
    taus: float = 2.0


@dataclass(frozen=True, kw_only=True)
class LayerMemory:
    """The time constants of one layer, and the times of its input.

    Attributes:
        layer: Name of the layer in the net.
        dt: Length of a step [s].
        recording: Mean length of a recording [s].
        shortest: Shortest of all time constants of the layer [s].
        longest: Longest of all time constants of the layer [s].
        median: Median time constant of the membrane [s]; NaN if the membrane has none.
        short: Share of neurons with a time constant below a step.
        long: Share of neurons with a time constant that outlasts the recordings by far.
        leaks: Share of neurons whose membrane leaks away before the next input.
        interval: Mean time between two inputs of a neuron [s]; NaN if no neuron has any.
        correlation: Correlation time of the input charge [s]; infinite if the charge never changes.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.net import record
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=2e-3, dt=1e-3))
        >>> x = torch.zeros(1, 100, 5)
        >>> x[:, ::20] = 1.0
        >>> recording = record(net, x, charges=True)
        >>> (memory,), _ = examine_memory(net, recording)
        >>> round(memory.median, 4), round(memory.interval, 3), memory.leaks
        (0.002, 0.02, 1.0)
    """

    layer: str
    dt: float
    recording: float
    shortest: float
    longest: float
    median: float
    short: float
    long: float
    leaks: float
    interval: float
    correlation: float


@torch.no_grad()
def examine_memory(
    net: nn.Module, recording: Recording, limits: MemoryLimits | None = None
) -> tuple[tuple[LayerMemory, ...], tuple[Finding, ...]]:
    """Compare the time constants of a net with its steps, its recordings and its inputs.

    Args:
        net: The net.
        recording: Recording of sequences by this net or a copy, with the charges of its layers.
        limits: Limits of time constants that fit. [`MemoryLimits()`]

    Returns:
        The numbers of each spiking layer that has time constants, and the findings.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.net import record
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=2e-3, dt=1e-3))
        >>> x = torch.zeros(1, 100, 5)
        >>> x[:, ::20] = 1.0
        >>> recording = record(net, x, charges=True)
        >>> _, findings = examine_memory(net, recording)
        >>> [(finding.kind, finding.layer, round(finding.value)) for finding in findings]
        [('leaks away', '1', 10)]
    """
    limits = limits or MemoryLimits()
    layers = {name: net.get_submodule(name) for name in recording.spiking}
    memories = [
        _layer_memory(name, layer, recording.spiking[name], limits)
        for name, layer in layers.items()
        if isinstance(layer, NeuronLayer) and _time_constants(layer)
    ]

    findings = [
        Finding(
            kind=kind,
            layer=memory.layer,
            value=value,
            text=f"layer {memory.layer}: {text}",
            remedy=REMEDIES[kind],
        )
        for memory in memories
        for kind, value, text in _find_problems(memory, limits)
    ]
    return tuple(memories), tuple(findings)


def _time_constants(layer: NeuronLayer) -> dict[str, Tensor]:
    """The time constants of a layer by name, each float64 [N]."""
    names = [constant.name for constant in layer.stored_constants if constant.kind.is_time]
    return {name: layer.constant(name).double().expand(layer.features).flatten() for name in names}


def _layer_memory(
    name: str, layer: NeuronLayer, record: Record, limits: MemoryLimits
) -> LayerMemory:
    """Measure the time constants of a layer and the times of its input charge."""
    taus = _time_constants(layer)
    values = torch.stack([*taus.values()])
    # The pages of neurons call the time constant of the membrane `tau`.
    membrane = taus.get("tau", torch.full_like(values[0], torch.nan))

    assert record.cur is not None, "the pass was recorded without charges"
    cur = record.cur.detach().double().flatten(2)
    lengths = complete_lengths(cur, record.lengths)
    is_valid = valid_steps(lengths, cur.shape[1])[..., None]
    duration = float(lengths.double().mean()) * layer.dt

    n_inputs = ((cur != 0) & is_valid).sum((0, 1))
    intervals = layer.dt * lengths.sum() / n_inputs  # infinite without an input
    has_inputs = n_inputs > 0
    # Time constants below a step are reported as "short tau" instead.
    leaks_away = (intervals > limits.taus * membrane) & (membrane >= layer.dt)
    is_short = (values < layer.dt * (1 - 1e-5)).any(0)
    is_long = (values > limits.recordings * duration).any(0)

    return LayerMemory(
        layer=name,
        dt=layer.dt,
        recording=duration,
        shortest=float(values.min()),
        longest=float(values.max()),
        median=float(membrane.median()),
        short=float(is_short.double().mean()),
        long=float(is_long.double().mean()),
        leaks=float((has_inputs & leaks_away).double().mean()),
        interval=float(intervals[has_inputs].mean()),
        correlation=_correlation_time(cur, is_valid, layer.dt),
    )


def _correlation_time(cur: Tensor, is_valid: Tensor, dt: float) -> float:
    """-dt / ln(r), where r is the correlation of successive steps over all recordings and neurons.

    Args:
        cur: Charges [B, T, N].
        is_valid: Whether a step is within its recording, [B, T, 1].
        dt: Length of a step [s].
    """
    n_steps = is_valid.sum(1, keepdim=True)
    mean = cur.where(is_valid, 0).sum(1, keepdim=True) / n_steps
    deviation = (cur - mean).where(is_valid, 0)

    # Covariance and variance over all pairs of successive steps within a recording.
    is_pair = is_valid[:, 1:]
    covariance = (deviation[:, :-1] * deviation[:, 1:]).where(is_pair, 0).sum()
    variance = (
        ((deviation[:, :-1].square() + deviation[:, 1:].square()) / 2).where(is_pair, 0).sum()
    )

    # A charge that never changes has no variance. It is correlated completely.
    r = (covariance / variance).nan_to_num(nan=1.0).clamp(0.0, 1.0)
    return float((dt / r.log()).abs())


def _find_problems(memory: LayerMemory, limits: MemoryLimits) -> Iterator[tuple[str, float, str]]:
    """Kind, value and description of each time constant that does not fit.

    The value is the factor by which time constants must change to fit.
    """
    if memory.short > limits.few:
        text = (
            f"{memory.short:.0%} of its neurons forget within a step: time constants from "
            f"{time_text(memory.shortest)}, steps of {time_text(memory.dt)}"
        )
        yield "short tau", 2 * memory.dt / memory.shortest, text

    if memory.long > limits.few:
        text = (
            f"{memory.long:.0%} of its neurons never forget: time constants up to "
            f"{time_text(memory.longest)}, recordings of {time_text(memory.recording)}"
        )
        yield "long tau", memory.recording / memory.longest, text

    if memory.leaks > limits.few:
        text = (
            f"{memory.leaks:.0%} of its membranes leak away before the next input: median time "
            f"constant {time_text(memory.median)}, an input every {time_text(memory.interval)}"
        )
        yield "leaks away", max(memory.interval / memory.median, limits.taus), text


def time_text(seconds: float) -> str:
    """A time in the unit that suits it.

    Example:
        >>> time_text(0.0125), time_text(2.5)
        ('12.5 ms', '2.5 s')
    """
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
