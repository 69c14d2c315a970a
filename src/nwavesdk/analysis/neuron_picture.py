"""The picture of a neuron: step, burst, firing rates, and the derivatives along the burst."""

from collections.abc import Sequence
from itertools import cycle

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from nwavesdk import plot
from nwavesdk.analysis.neurons import REGULAR_SPIKES, STEP, STEP_FACTOR, NeuronResponses
from nwavesdk.layers import Record
from nwavesdk.layers.catalogue import CataloguedNeuron
from nwavesdk.plot.theme import Theme
from nwavesdk.surrogate import text

__all__ = ["draw_neuron", "threshold_of"]

# Name, description and values [T] of a curve.
Curve = tuple[str, str, Tensor]

# Height of a row [inches], and height of the membrane's row in such rows. Two rows below the states
# show the rates on the left, and two derivatives on the right.
ROW_HEIGHT = 1.35
MEMBRANE_ROW = 1.8
ROWS_BELOW = 2

# The peaks of the membrane before a reset are cut. Above the range of membrane and threshold, this
# share of the range stays visible.
PEAK = 0.5


def draw_neuron(neuron: CataloguedNeuron, responses: NeuronResponses, theme: Theme) -> Figure:
    """Draw the step with the rates below it, and the burst with the derivatives below it."""
    n_rows = MEMBRANE_ROW + len(neuron.states) - 1
    n_below = ROWS_BELOW * (len(responses.rates) > 0)
    figure = Figure(figsize=(9, 1.3 + ROW_HEIGHT * (n_rows + n_below)))
    values = ", ".join(f"{name}={value:.4g}" for name, value in responses.constants.items())
    figure.suptitle(f"{neuron.name}: {neuron.summary}\n{values}", fontsize=9)

    left, right = figure.subfigures(1, 2, squeeze=False)[0]
    if n_below:
        heights = (n_rows, n_below)
        left, below = left.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
        _draw_rates(below.subplots(), neuron, responses, theme)

    # A read-out, which has no rates, has no spikes to differentiate either.
    _draw_record(left, "Constant drive", neuron, responses.step, [], theme)
    curves = _derivatives(responses.burst) if n_below else []
    _draw_record(right, "Burst", neuron, responses.burst, curves, theme)
    return figure


def _derivatives(burst: Record) -> list[Curve]:
    """The surrogate's derivative along the burst, and the gradient of the spikes that follows."""
    slope = burst.surrogate.derivative(burst.z[0, :, 0])
    gradient, _ = burst.charge_gradient(torch.ones_like(burst.spk))
    return [
        ("σ'(z)", f"Derivative of the spike, {text(burst.surrogate)}", slope),
        ("∂spikes/∂x", "Derivative of the number of spikes by each charge", gradient[0, :, 0]),
    ]


def _draw_record(
    figure: FigureBase,
    title: str,
    neuron: CataloguedNeuron,
    record: Record,
    derivatives: Sequence[Curve],
    theme: Theme,
) -> None:
    """Draw the membrane, and one row for each other state and each derivative."""
    curves = [
        (
            _with_unit(state.name, state.unit),
            f"{state.name}: {state.text}",
            record.states[state.name][0, :, 0],
        )
        for state in neuron.states[1:]
    ]
    curves += derivatives

    heights = [MEMBRANE_ROW, *[1.0] * len(curves)]
    grid = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)
    membrane, *others = grid[:, 0]
    _draw_membrane(membrane, title, neuron, record, theme)

    time = 1e3 * STEP * (torch.arange(record.spk.shape[1]) + 0.5)
    for axes, curve, hue in zip(others, curves, cycle(theme.hues[1:]), strict=False):
        name, description, values = curve
        axes.plot(time, values, color=hue, linewidth=1.3)
        axes.set_title(description.rstrip("."), fontsize=8)
        axes.set_ylabel(name)
        axes.grid(axis="y")

    grid[-1, 0].set_xlabel("time [ms]")
    figure.align_ylabels()


def _draw_membrane(
    axes: Axes, title: str, neuron: CataloguedNeuron, record: Record, theme: Theme
) -> None:
    """Draw the first state with its threshold, with spikes at the top and inputs at the bottom."""
    state = neuron.states[0]
    v = record.states[state.name][0, :, 0]
    u, threshold = threshold_of(neuron, record)
    if u is not None and threshold is not None:
        low, high = torch.cat([v, threshold]).aminmax()
        u = u.clamp(max=float(high + PEAK * (high - low)))
    spikes = None if record.is_readout else record.spk[0, :, 0]
    plot.membranes(v, axes, spikes=spikes, before=u, threshold=threshold, dt=STEP, theme=theme)

    assert record.cur is not None
    x = record.cur[0, :, 0]
    times = 1e3 * STEP * (x.nonzero() + 0.5)
    below = axes.get_xaxis_transform()
    heights = torch.full_like(times, 0.02)
    axes.plot(times, heights, "|", color=theme.hues[2], transform=below, label="input")

    axes.legend(loc="upper right", fontsize=7)
    count = "" if spikes is None else f", {spikes.sum():.0f} spikes"
    axes.set_title(f"{title}: {len(times)} inputs of {x.max():.3g}{count}")
    axes.set(xlabel="", ylabel=_with_unit(state.name, state.unit))


def threshold_of(
    neuron: CataloguedNeuron, record: Record
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """The membrane before the reset and the threshold of each step [T], if they are known.

    They are known if the argument z of the spike is `u - ...`, or any value minus `threshold`.
    """
    step = neuron.page.neuron.step
    nodes = step.graph.nodes

    # The first operand of the differences in z, such as u in (u - a) - b.
    membrane = step.z
    while membrane is not None and nodes[membrane].op == "-":
        membrane = nodes[membrane].inputs[0]
    if step.z is None or membrane is None or membrane == step.z:
        return None, None

    # The page names the membrane: the record has its values.
    z = record.z[0, :, 0]
    if step.names.get(membrane) == "u":
        u = record.u[0, :, 0]
        return u, u - z

    # Otherwise z + threshold gives the membrane, if z is a difference with the constant.
    constant = neuron.constants.get("threshold")
    level = None if constant is None else constant.default
    if level is None or nodes[step.z].inputs != (membrane, step.input("threshold")):
        return None, None
    return z + level, torch.full_like(z, level)


def _draw_rates(
    axes: Axes, neuron: CataloguedNeuron, responses: NeuronResponses, theme: Theme
) -> None:
    """Draw firing rates over constant drives, with the two drives that matter as vertical lines."""
    axes.plot(responses.drives, responses.rates, color=theme.hues[0], linewidth=1.5)
    factors = {f"least for {REGULAR_SPIKES} spikes": 1.0, "drawn above": STEP_FACTOR}
    for (name, factor), style in zip(factors.items(), (":", "--"), strict=True):
        axes.axvline(factor * responses.drive, color=theme.ink, linestyle=style, label=name)

    axes.set(title="Firing rate", ylabel="spikes per second", ylim=(0, None))
    axes.set(
        xlabel=_with_unit("constant drive", neuron.input.unit),
        xlim=(0, float(responses.drives[-1])),
    )
    axes.legend(fontsize=7)
    axes.grid(axis="y")


def _with_unit(name: str, unit: str) -> str:
    return f"{name} [{unit}]" if unit else f"{name} (no unit)"
