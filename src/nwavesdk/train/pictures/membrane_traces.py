"""Picture: the membranes of a few neurons with their threshold and their spikes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.train.pictures.theme import Theme

__all__ = ["Trace", "membrane_traces"]

Array = npt.NDArray[np.float32]
Trace = tuple[Array, Array, Array]
"""Spikes s, membrane before reset u and after reset v of a layer, each `[T, N]`."""


def membrane_traces(layers: Sequence[Trace], dt: float, threshold: float, theme: Theme) -> Figure:
    """Draw a busy and an ordinary neuron of each layer, chosen among those that spike.

    Args:
        layers: The neuron layers in order of depth.
        dt: Time step [s].
        threshold: Membrane above which a neuron spikes.
        theme: Colours.
    """
    figure = Figure(figsize=(10, 0.8 + 2.0 * len(layers)))
    axes = figure.subplots(len(layers), 2, sharex=True, squeeze=False)
    for depth, ((s, u, v), row) in enumerate(zip(layers, axes, strict=True), 1):
        name = "output" if depth == len(layers) else f"hidden {depth}"
        for panel, neuron in zip(row, _chosen(s), strict=True):
            _panel(panel, s[:, neuron], u[:, neuron], v[:, neuron], dt, threshold, theme)
            panel.set_title(f"{name}, neuron {neuron}: {int(s[:, neuron].sum())} spikes")
        row[0].set_ylabel("membrane")
    for panel in axes[-1]:
        panel.set(xlabel="time [ms]", xlim=(0, len(layers[0][0]) * dt * 1e3))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4)
    return figure


def _chosen(s: Array) -> tuple[int, int]:
    """Of the neurons that spike, one that is busier than three quarters, and the one in the middle."""
    counts = s.sum(0)
    order = np.argsort(-counts, kind="stable")
    active = max(int((counts > 0).sum()), 1)
    return int(order[active // 4]), int(order[active // 2])


def _panel(axes: Axes, s: Array, u: Array, v: Array, dt: float, threshold: float, theme: Theme) -> None:
    time = (np.arange(len(s)) + 0.5) * dt * 1e3
    axes.axhline(threshold, color=theme.ink, linewidth=0.8, linestyle="--", label="threshold")
    axes.plot(time, u, color=theme.hues[1], linewidth=0.9, label="u, before reset")
    axes.plot(time, v, color=theme.hues[0], linewidth=1.5, label="v, after reset")
    high = max(float(u.max()), threshold)
    low = min(float(v.min()), 0.0)
    top = high + 0.12 * (high - low)
    axes.scatter(time[s > 0], np.full(int((s > 0).sum()), top), marker="|", s=40, color=theme.ink, label="spike")
    axes.grid(axis="y")
