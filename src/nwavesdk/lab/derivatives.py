"""Picture: the derivatives of the catalogue, and how far their tails reach."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from nwavesdk.surrogate import available
from nwavesdk.train.pictures import LIGHT, Theme, render

__all__ = ["plot_derivatives"]


def plot_derivatives(path: Path) -> None:
    """Write a PNG of all surrogates with their default parameters.

    Args:
        path: The file; its folder is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(_draw, LIGHT))


def _draw(theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 3.6))
    near, far = figure.subplots(1, 2)
    z = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    tail = torch.logspace(-3, 1.5, 400, dtype=torch.float64)
    for index, (name, kind) in enumerate(available().items()):
        surrogate, hue = kind(), theme.hues[index % len(theme.hues)]
        height = surrogate.derivative(z)
        near.plot(z, height / height.max(), color=hue, label=f"{name}, peak {height.max():.3g}")
        far.plot(tail, np.maximum(surrogate.derivative(tail).numpy(), 1e-12), color=hue, label=repr(surrogate))
    near.set(title="Derivative, divided by its peak", xlabel="membrane − threshold")
    far.set(title="Right half, as it is", xlabel="membrane − threshold", xscale="log", yscale="log", ylim=(1e-6, None))
    for axes in (near, far):
        axes.grid()
        axes.legend()
    return figure
