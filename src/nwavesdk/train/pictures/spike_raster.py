"""Picture: one recording on its way through the net, input on top and every layer's spikes below."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nwavesdk.train.pictures.theme import Theme

__all__ = ["spike_raster"]

Array = npt.NDArray[np.float32]


def spike_raster(
    x: Array, spikes: Sequence[Array], dt: float, classes: Sequence[str], label: int, theme: Theme
) -> Figure:
    """Draw the spikes of one recording.

    Args:
        x: Input, `[T, F]`.
        spikes: Spikes of each neuron layer in order of depth, `[T, N]`; those of the last lie in one group a class.
        dt: Time step [s].
        classes: Name of each class.
        label: The true class.
        theme: Colours.
    """
    figure = Figure(figsize=(9, 2.2 + 2.1 * len(spikes)))
    axes = figure.subplots(1 + len(spikes), 2, sharex="col", width_ratios=(12, 1.6), squeeze=False)
    end = len(x) * dt * 1e3
    reach = float(np.abs(x).max()) or 1.0
    axes[0, 0].imshow(
        x.T, aspect="auto", origin="lower", interpolation="nearest", extent=(0, end, -0.5, x.shape[1] - 0.5),
        cmap=theme.diverging, vmin=-reach, vmax=reach,
    )  # fmt: skip
    axes[0, 0].set(title=f"A recording of {classes[label]!r}: input features, scaled", ylabel="feature")
    axes[0, 1].axis("off")
    for depth, (layer, (raster, rates)) in enumerate(zip(spikes, axes[1:], strict=True), 1):
        last = depth == len(spikes)
        hue = theme.hues[(depth - 1) % len(theme.hues)]
        _raster(raster, layer, dt, hue)
        name = "output" if last else f"hidden {depth}"
        title = f"{name}: {layer.shape[1]} neurons, {layer.mean():.3f} spikes a step and neuron"
        raster.set_ylabel("neuron")
        rates.barh(np.arange(layer.shape[1]), layer.mean(0), height=1.0, color=hue, linewidth=0)
        rates.set(ylim=raster.get_ylim(), yticks=[])
        if last:
            predicted = _classes(raster, rates, layer, classes, label, theme)
            verdict = "right" if predicted == label else "wrong"
            title += f"; the net says {classes[predicted]!r} ({verdict}), band: the truth"
        raster.set_title(title)
    axes[-1, 0].set(xlabel="time [ms]", xlim=(0, end))
    axes[-1, 1].set(xlabel="spikes a step", xlim=(0, None))
    return figure


def _raster(axes: Axes, layer: Array, dt: float, hue: str) -> None:
    step, neuron = np.nonzero(layer)
    size = float(np.clip(600 / layer.shape[1], 1.5, 12))
    axes.scatter((step + 0.5) * dt * 1e3, neuron, s=size, marker="|", color=hue, linewidths=0.9)
    axes.set_ylim(-0.5, layer.shape[1] - 0.5)


def _classes(raster: Axes, rates: Axes, layer: Array, classes: Sequence[str], label: int, theme: Theme) -> int:
    """Mark each class's neurons; the class with the most spikes."""
    size = layer.shape[1] // len(classes)
    predicted = int(layer.sum(0).reshape(len(classes), size).sum(1).argmax())
    for axes in (raster, rates):
        for edge in range(size, layer.shape[1], size):
            axes.axhline(edge - 0.5, color=theme.faint, linewidth=0.6)
        axes.axhspan(label * size - 0.5, (label + 1) * size - 0.5, color=theme.hues[0], alpha=0.15, linewidth=0)
    raster.set_yticks(np.arange(len(classes)) * size + (size - 1) / 2, classes)
    raster.set_ylabel("class")
    return predicted
