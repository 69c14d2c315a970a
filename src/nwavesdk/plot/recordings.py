"""Plots of a recording: spikes, series, membranes, rates, and frames of events."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from nwavesdk.internal.checks import whole_number
from nwavesdk.plot.theme import LIGHT, Array, Theme, as_array, label_time, time_unit, wanted_axes

__all__ = ["event_frames", "membranes", "raster", "rates", "series"]

Picture = npt.NDArray[np.float64]

_ONE_RECORDING = "pass one recording of a batch, as in spk[0]"

# A series with more columns than `MAX_LINES` is drawn as an image instead of lines, and a line with
# more points than `MAX_POINTS` as ranges.
MAX_LINES = 8
MAX_POINTS = 3000


def raster(
    spikes: Any,
    ax: Axes | None = None,
    *,
    dt: float | None = None,
    color: str | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the spikes of a recording: a mark for each, time from left to right.

    Args:
        spikes: [T, N], or [T, *features], whose features are numbered in their order.
        ax: Where to draw; None makes a figure.
        dt: Time step [s], for an axis in ms; None is an axis in steps.
        color: Color of the marks; None takes it from the theme.
        theme: Colors.

    Example:
        >>> import torch
        >>> ax = raster(torch.eye(3), dt=1e-3)
        >>> ax.get_xlabel()
        'time [ms]'
    """
    # By the number of dimensions; `features` are one to four of them.
    shapes = {n: "spikes [T, *features]" if n == 2 else "more features" for n in range(2, 6)}
    layer = as_array("raster", spikes, shapes, _ONE_RECORDING)
    unit = time_unit("raster", dt)
    ax = wanted_axes("raster", ax, theme)

    # Marks get smaller with the number of neurons.
    layer = layer.reshape(len(layer), -1)
    step, neuron = np.nonzero(layer)
    size = float(np.clip(600 / layer.shape[1], 4, 12))
    hue = color or theme.hues[0]
    ax.scatter((step + 0.5) * unit, neuron, s=size, marker="|", color=hue, linewidths=0.9)

    ax.set(ylabel="neuron", ylim=(-0.5, layer.shape[1] - 0.5))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    label_time(ax, len(layer), unit, dt)
    return ax


def series(
    values: Any,
    ax: Axes | None = None,
    *,
    dt: float | None = None,
    name: str = "value",
    theme: Theme = LIGHT,
) -> Axes:
    """Draw a series over time: up to eight columns as lines, more as an image, spikes as marks.

    Args:
        values: [T] or [T, *features], such as features of sound or values of a sensor.
        ax: Where to draw; None makes a figure.
        dt: Time step [s], for an axis in ms; None is an axis in steps.
        name: Label of the values.
        theme: Colors.

    Example:
        >>> import torch
        >>> ax = series(torch.randn(100, 3), name="acceleration")
        >>> len(ax.lines)
        3
    """
    shapes = dict.fromkeys(range(1, 6), "a series [T, *features]")
    array = as_array("series", values, shapes, "pass one recording of a batch, as in x[0]")
    array = array.reshape(len(array), -1)
    unit = time_unit("series", dt)
    ax = wanted_axes("series", ax, theme)
    n_steps, n_columns = array.shape

    if n_columns > 1 and np.isin(array, (0, 1)).all():
        raster(array, ax, dt=dt, theme=theme)
    elif n_columns > MAX_LINES:
        lowest, highest = array.min(), array.max()
        reach = max(-lowest, highest) or 1.0
        # Colors are symmetric around 0 if there are negative values.
        ax.imshow(
            array.T,
            aspect="auto",
            origin="lower",
            extent=(0, n_steps * unit, -0.5, n_columns - 0.5),
            cmap=theme.diverging if lowest < 0 else theme.ramp,
            vmin=-reach if lowest < 0 else 0,
            vmax=reach,
        )
    else:
        ax.set_prop_cycle(color=theme.hues)
        points = _thinned(array)
        time = (np.arange(len(points)) + 0.5) * n_steps * unit / len(points)
        ax.plot(time, points, linewidth=1.0, drawstyle="steps-mid", marker="o" * (n_steps == 1))

    ax.set_ylabel(name)
    ax.locator_params("y", nbins=4)
    ax.locator_params("x", integer=dt is None)
    label_time(ax, n_steps, unit, dt)
    return ax


def _thinned(values: Array) -> Array:
    """The series if it has up to `MAX_POINTS` steps, otherwise the ranges of its pieces.

    The range of a piece is two points, its minimum and its maximum.
    """
    if len(values) <= MAX_POINTS:
        return values

    n_pieces = MAX_POINTS // 2
    starts = np.arange(n_pieces) * len(values) // n_pieces
    ranges = [np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)]
    return np.stack(ranges, axis=1).reshape(MAX_POINTS, -1)


def membranes(
    mem: Any,
    ax: Axes | None = None,
    *,
    spikes: Any = None,
    before: Any = None,
    threshold: Any = None,
    dt: float | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw membranes over time, with spikes as marks above them.

    Args:
        mem: Membranes after reset: [T] of one neuron, or [T, N] of several, each in its own color.
        ax: Where to draw; None makes a figure.
        spikes: Spikes, in the shape of `mem`; None draws none.
        before: Membranes before reset, in the shape of `mem`; None draws none.
        threshold: Firing threshold, drawn as a line: a number, or [T] if it changes, such as
            u - z of a neuron that adapts; None draws none.
        dt: Time step [s], for an axis in ms; None is an axis in steps.
        theme: Colors.

    Returns:
        The axes; lines and marks of one neuron have labels for `ax.legend()`.

    Example:
        >>> import torch
        >>> ax = membranes(torch.linspace(0.0, 0.9, 10), threshold=1.0)
        >>> len(ax.lines)
        2
    """
    shapes = {1: "membranes [T]", 2: "[T, N]"}
    after = as_array("membranes", mem, shapes, "pass one recording of a batch, as in mem[0]")
    shape = after.shape
    after = after.reshape(len(after), -1)
    u, s = (_like(name, x, shape) for name, x in (("before", before), ("spikes", spikes)))
    if isinstance(threshold, int | float):
        threshold = np.full(shape[:1], threshold)
    levels = _like("threshold", threshold, shape[:1])
    unit = time_unit("membranes", dt)
    ax = wanted_axes("membranes", ax, theme)

    # Times are the middles of steps.
    is_single = after.shape[1] == 1
    time = (np.arange(len(after)) + 0.5) * unit
    if levels is not None:
        ax.plot(time, levels, color=theme.ink, linewidth=0.8, linestyle="--", label="threshold")
    for n, v in enumerate(after.T):
        hue = theme.hues[n % len(theme.hues)]
        if u is not None:
            other = theme.hues[1] if is_single else hue
            label = "before reset" if is_single else None
            ax.plot(time, u[:, n], color=other, linewidth=0.9, alpha=0.8, label=label)
        label = "after reset" if is_single else f"neuron {n}"
        ax.plot(time, v, color=hue, linewidth=1.5, label=label)

    if s is not None:
        curves = [after] if u is None else [after, u]
        _draw_marks(ax, time, s, curves, levels, theme)

    ax.set_ylabel("membrane")
    ax.grid(axis="y")
    label_time(ax, len(after), unit, dt)
    return ax


def _like(name: str, values: Any, shape: tuple[int, ...]) -> Array | None:
    """Values in the shape of the membranes, as [T, N]."""
    if values is None:
        return None
    array = as_array(f"membranes: {name}", values, {1: "[T]", 2: "[T, N]"}, "pass the shape of mem")
    if array.shape != shape:
        raise ValueError(
            f"membranes: {name} has the shape {list(array.shape)}, expected {list(shape)}, the "
            "shape of mem."
        )
    return array.reshape(len(array), -1)


def _draw_marks(
    ax: Axes,
    time: Any,
    s: Array,
    curves: Sequence[Array],
    levels: Array | None,
    theme: Theme,
) -> None:
    """Draw the spikes above the curves, a row for each neuron."""
    level = 0.0 if levels is None else float(levels.max())
    high = max(level, *(float(curve.max()) for curve in curves))
    low = min(0.0, float(curves[0].min()))
    row = 0.12 * (high - low)

    for n, spike_train in enumerate(s.T):
        times = time[spike_train > 0]
        heights = np.full(len(times), high + row * (n + 1))
        is_single = s.shape[1] == 1
        hue = theme.ink if is_single else theme.hues[n % len(theme.hues)]
        label = "spike" if is_single else None
        ax.scatter(times, heights, marker="|", s=40, color=hue, label=label)


def rates(
    spikes: Any,
    ax: Axes | None = None,
    *,
    dt: float | None = None,
    color: str | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the mean rate of each neuron as a bar, from the bottom to the top as in `raster`.

    Args:
        spikes: [T, N] of a recording, or [B, T, N] of a batch without padding.
        ax: Where to draw; None makes a figure.
        dt: Time step [s], for rates in Hz; None is spikes per step.
        color: Color of the bars; None takes it from the theme.
        theme: Colors.

    Example:
        >>> import torch
        >>> ax = rates(torch.eye(3), dt=1e-3)
        >>> ax.get_ylabel()
        'neuron'
    """
    shapes = {2: "spikes [T, N]", 3: "[B, T, N]"}
    array = as_array("rates", spikes, shapes, "join the features of a step, as in spk.flatten(2)")
    unit = time_unit("rates", dt)
    ax = wanted_axes("rates", ax, theme)

    # Per step, or in Hz: `unit` is in ms.
    mean = array.reshape(-1, array.shape[-1]).mean(0)
    values = mean if dt is None else mean / unit * 1e3
    hue = color or theme.hues[0]
    ax.barh(np.arange(len(values)), values, height=1.0, color=hue, linewidth=0)

    name = "spikes per step" if dt is None else "rate [Hz]"
    ax.set(xlabel=name, xlim=(0, None), ylabel="neuron", ylim=(-0.5, len(values) - 0.5))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def event_frames(
    frames: Any,
    ax: Axes | None = None,
    *,
    n_pictures: int = 6,
    dt: float | None = None,
    theme: Theme = LIGHT,
) -> Axes:
    """Draw the events of equal parts of a recording, each as a picture, from left to right.

    The color of a pixel grows with the square root of its number of events; two polarities have two
    colors, which mix.

    Args:
        frames: Numbers of events, [T, H, W] or [T, polarities, H, W] with up to two polarities.
        ax: Where to draw; None makes a figure.
        n_pictures: Number of parts, at most T.
        dt: Length of a frame [s], for times in s; None is times in frames.
        theme: Colors.

    Example:
        >>> import torch
        >>> ax = event_frames(torch.ones(4, 8, 8), n_pictures=2)
        >>> len(ax.images)
        1
    """
    owner = "event_frames"
    shapes = {3: "frames [T, H, W]", 4: "[T, polarities, H, W]"}
    counts = as_array(owner, frames, shapes, "pass one recording of a batch, as in x[0]")
    n_steps, *_, height, width = counts.shape
    counts = counts.reshape(n_steps, -1, height, width)
    if counts.shape[1] > 2:
        raise ValueError(
            f"{owner} draws up to two polarities, got {counts.shape[1]}: choose two of them, as in "
            "x[:, :2]."
        )

    n_pictures = min(whole_number(owner, "n_pictures", n_pictures), n_steps)
    unit = time_unit(owner, dt) * (1.0 if dt is None else 1e-3)
    ax = wanted_axes(owner, ax, theme)

    # The first frame of each picture; pictures add up their frames.
    first = np.arange(n_pictures) * n_steps // n_pictures
    joined = np.add.reduceat(counts, first, axis=0)
    gap = max(1, width // 12)
    ax.imshow(_strip(joined, gap, theme), interpolation="nearest")
    for index in range(n_pictures):
        corner = (index * (width + gap) - 0.5, -0.5)
        frame = Rectangle(corner, width, height, fill=False, ec=theme.faint, lw=0.6)
        frame.set_clip_on(False)  # half of a line at the edge is outside of the axes
        ax.add_patch(frame)

    ax.set_anchor("N")
    centers = np.arange(n_pictures) * (width + gap) + (width - 1) / 2
    ax.set_xticks(centers, [f"{edge:.2g}–" for edge in first * unit], fontsize=7)
    ax.set(yticks=[])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def _strip(counts: Array, gap: int, theme: Theme) -> Picture:
    """Counts [pictures, polarities, H, W] as one picture [H, width, 3] with gaps between them."""
    n_pictures, _, height, width = counts.shape
    shades = np.sqrt(counts / max(1.0, float(counts.max())))
    paper = np.array(to_rgb(theme.paper))
    strip = np.tile(paper, (height, n_pictures * (width + gap) - gap, 1))

    for index, polarities in enumerate(shades):
        left = index * (width + gap)
        for hue, shade in zip(theme.hues, polarities, strict=False):
            # From paper, where nothing happened, to the hue; both polarities mix.
            step = shade[..., None] * (np.array(to_rgb(hue)) - paper)
            strip[:, left : left + width] += step

    picture: Picture = np.clip(strip, 0, 1)
    return picture
