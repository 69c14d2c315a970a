"""The moving picture of the first page: a membrane, its spikes, and the surrogate along it.

python -m docs.pictures.moving, in the folder of the repository
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.surrogate import fast_sigmoid

FILE = Path(__file__).with_name("moving.gif")
INK, BLUE, ORANGE, PALE = "#30343b", "#2b6cb0", "#d9662b", "#c9ced6"
FONT = 12
T = 120  # steps of 1 ms
FRAMES = 60
MILLISECONDS = 70  # of a frame
SURROGATE = fast_sigmoid(slope=5.0)


def membrane() -> tuple[Tensor, Tensor]:
    """Membrane before its reset, and spikes, of a neuron under a drive that comes and goes."""
    time = torch.arange(T)
    drive = 0.058 + 0.03 * torch.sin(2 * torch.pi * time / 60)
    layer = LIFLayer(1, taus=20e-3, dt=1e-3)
    prepare_net(layer)
    spikes, mem = layer(drive.view(1, T, 1))
    before_reset = mem + spikes  # the threshold of 1 was subtracted
    return before_reset.flatten().detach(), spikes.flatten()


def draw_frame(t: int, u: Tensor, spikes: Tensor) -> Figure:
    """The picture at step t: membrane and gradient over time, and the surrogate's curve."""
    figure = Figure(figsize=(7.6, 4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(2.2, 1))
    z = u - 1
    gradient = SURROGATE.derivative(z)
    over_time = np.arange(T)
    top, bottom, curve = (
        figure.add_subplot(grid[cell]) for cell in (np.s_[0, 0], np.s_[1, 0], np.s_[:, 1])
    )
    top.axhline(1, color=PALE, linewidth=1)
    top.plot(over_time, u, color=PALE)
    top.plot(over_time[: t + 1], u[: t + 1], color=INK)
    fired = np.flatnonzero(spikes[: t + 1])
    top.vlines(fired, 1.25, 1.5, color=ORANGE, linewidth=2)
    top.plot(t, u[t], "o", color=INK)
    top.set_title("forward: a spike above the threshold", fontsize=FONT, loc="left")
    bottom.plot(over_time, gradient, color=PALE)
    bottom.plot(over_time[: t + 1], gradient[: t + 1], color=BLUE)
    bottom.plot(t, gradient[t], "o", color=BLUE)
    bottom.set_title("backward: the surrogate lets gradients pass", fontsize=FONT, loc="left")
    bottom.set_xlabel("time [ms]", fontsize=FONT)
    around = torch.linspace(-1.1, 0.5, 400)
    curve.plot(around, SURROGATE.derivative(around), color=PALE)
    curve.axvline(0, color=PALE, linewidth=1)
    curve.plot(z[t], gradient[t], "o", color=BLUE, markersize=8)
    curve.set_xlabel("membrane − threshold", fontsize=FONT)
    curve.set_title("the surrogate", fontsize=FONT, loc="left")
    top.set_ylim(-0.1, 1.6)
    bottom.set_ylim(-0.05, 1.1)
    for axes in (top, bottom, curve):
        axes.tick_params(labelsize=FONT)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Write the animation."""
    u, spikes = membrane()
    frames = []
    for t in np.linspace(0, T - 1, FRAMES).astype(int):
        file = BytesIO()
        draw_frame(t, u, spikes).savefig(file, dpi=132)
        frames.append(Image.open(file).convert("RGB"))
    # One palette for all frames, of the last, which has every color.
    palette = frames[-1].quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    still = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    still[0].save(FILE, save_all=True, append_images=still[1:], duration=MILLISECONDS, loop=0)


if __name__ == "__main__":
    main()
