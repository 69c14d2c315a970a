"""Panels that show the filter bank of a chip: its response, and the channels of a recording."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from nwavesdk.chip import FilterBank
from nwavesdk.plot.theme import Theme

__all__ = ["draw_channels", "draw_response"]

Color = tuple[float, float, float, float]

LOWEST_GAIN = -40  # dB
FREQUENCY_TICKS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)  # Hz


def _band_colors(bank: FilterBank, theme: Theme) -> list[Color]:
    """One color per band, from low to high."""
    rainbow = LinearSegmentedColormap.from_list(
        "bands", [theme.hues[0], theme.hues[3], theme.hues[1]]
    )
    return [rainbow(float(place)) for place in np.linspace(0, 1, bank.count)]


def draw_response(axes: Axes, bank: FilterBank, theme: Theme) -> None:
    """Draw the gain of each filter against frequency."""
    highest = bank.sample_rate / 2
    frequencies = np.geomspace(bank.edges[0, 0] / 3, 0.9999 * highest, 1500)
    gains = 20 * np.log10(np.maximum(bank.response(frequencies), 1e-6))
    for gain, color in zip(gains, _band_colors(bank, theme), strict=True):
        axes.plot(frequencies, gain, color=color, linewidth=1.4)
        axes.fill_between(frequencies, gain, LOWEST_GAIN, color=color, alpha=0.06, linewidth=0)
    axes.axhline(-3, color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.text(frequencies[0] * 1.04, -3, "−3 dB: bands touch", va="top", fontsize=7.5)
    axes.set_title(
        f"{bank.count} band-pass filters, Butterworth of order {bank.order}, "
        f"sound at {bank.sample_rate:,.0f} Hz"
    )
    axes.set(xlabel="frequency [Hz]", xscale="log", xlim=(frequencies[0], highest))
    axes.set(ylabel="gain [dB]", ylim=(LOWEST_GAIN, 2))
    ticks = [tick for tick in FREQUENCY_TICKS if frequencies[0] <= tick < highest]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.grid()


def draw_channels(
    axes: Axes, channels: npt.NDArray[np.float32], duration: float, bank: FilterBank, theme: Theme
) -> None:
    """Draw one line per channel, all on one scale, with the lowest band at the bottom.

    Args:
        axes: The panel.
        channels: Rectified channels, `[T, channels]`.
        duration: Length of all steps, in the unit of the axis.
        bank: The filters of the channels.
        theme: Colors.
    """
    colors = _band_colors(bank, theme)
    time = (np.arange(len(channels)) + 0.5) * duration / len(channels)
    scale = 2.6 / (float(channels.max()) or 1.0)
    for row, color in reversed(list(enumerate(colors))):
        height = row + scale * channels[:, row]
        # Lower bands are in front of higher ones, each on a strip that covers those behind it.
        depth = 3 * (bank.count - row)
        for face, alpha, zorder in ((theme.paper, 0.75, depth), (color, 0.3, depth + 1)):
            axes.fill_between(
                time, row, height, color=face, alpha=alpha, linewidth=0, zorder=zorder
            )
        axes.plot(time, height, color=color, linewidth=0.9, zorder=depth + 2)
    axes.set_yticks(np.arange(bank.count), [f"{center:,.0f}" for center in bank.centers])
    for label, color in zip(axes.get_yticklabels(), colors, strict=True):
        label.set_color(color)
    axes.set(ylabel="center of the band [Hz]", ylim=(-0.4, None))
    axes.grid(axis="x")
