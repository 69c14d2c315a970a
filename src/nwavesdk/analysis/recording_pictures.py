"""Panels that show one recording: what was recorded, what the net gets, and its target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nwavesdk.data import Indices
from nwavesdk.data.decoding import Sound
from nwavesdk.data.source import Events, Kind, StepTarget
from nwavesdk.plot.recordings import event_frames
from nwavesdk.plot.theme import Theme

__all__ = [
    "Example",
    "class_colors",
    "draw_event_frames",
    "draw_label_bands",
    "draw_recording",
    "draw_series",
    "has_pixels",
    "label_legend",
    "shrink",
]

Array = npt.NDArray[np.float32]
Color = tuple[float, float, float]

# A series of more columns is drawn as an image instead of lines.
MOST_LINES = 8

# Columns of at most this many different values are spikes rather than curves.
MOST_LEVELS = 3

# Lines of more values are drawn as the range of each of this many pieces.
MOST_PIECES = 1500

# Images are pooled to at most this many rows and columns, about the dots of a panel.
MOST_ROWS = 256
MOST_COLUMNS = 1024

# More events are drawn as a part of them, evenly taken.
MOST_EVENTS = 20_000

# Pictures of accumulated events for each recording.
EVENT_FRAMES = 6

# Names of classes that a legend has room for.
MOST_NAMES = 12


@dataclass(frozen=True, eq=False)
class Example:
    """A recording to draw.

    Args:
        name: Its class, or its key if there are no classes.
        kind: What it is.
        values: A sound; a series `[T, *features]`; an image from 0 to 1, `[H, W]` or
            `[H, W, colors]`; events; or None for a pattern without an input.
        frames: What the net gets, `[L, F]`, or None.
        target: Class `[L]` or values `[L, D]` of each step, or None.
        step: Length of a frame and of a step of the target [s], or None if it is not known.
    """

    name: str
    kind: Kind
    values: Sound | Array | Events | None
    frames: Array | None = None
    target: StepTarget | None = None
    step: float | None = None

    @property
    def duration(self) -> float | None:
        """Length of the recording [s], if it is known."""
        if isinstance(self.values, Events):
            return self.values.duration
        if isinstance(self.values, tuple):
            samples, rate = self.values
            return len(samples) / rate
        return None

    @property
    def span(self) -> float:
        """Length of the recording on the axis of its panel: seconds if known, or else steps."""
        if self.duration is not None:
            return self.duration
        return float(len(self.values)) if isinstance(self.values, np.ndarray) else 0.0


def class_colors(count: int, theme: Theme) -> list[Color]:
    """One color per class; neighbors differ as much as `count` allows."""
    if count <= len(theme.hues):
        return [to_rgb(hue) for hue in theme.hues[:count]]
    ramp = LinearSegmentedColormap.from_list("classes", list(theme.hues))
    return [ramp(float(place))[:3] for place in np.linspace(0, 1, count)]


def has_pixels(values: object) -> bool:
    """Whether events come from a sensor with rows and columns of pixels."""
    return isinstance(values, Events) and len(_split_polarity(values.shape)[1]) == 2


def _split_polarity(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Number of polarities, and the shape of the sensor without them.

    Example:
        >>> _split_polarity((2, 34, 34)), _split_polarity((700,)), _split_polarity((34, 34))
        ((2, (34, 34)), (1, (700,)), (1, (34, 34)))
    """
    has_polarity = len(shape) > 1 and shape[0] <= 2
    return (shape[0], shape[1:]) if has_polarity else (1, shape)


def draw_recording(axes: Axes, example: Example, theme: Theme) -> None:
    """Draw what was recorded: a waveform, a series, an image or events over time."""
    values = example.values
    if isinstance(values, Events):
        _draw_events(axes, values, theme)
    elif isinstance(values, tuple):
        samples, rate = values
        reach = 1.1 * (float(np.abs(samples).max(initial=0)) or 1.0)
        _draw_line(axes, samples, len(samples) / rate, theme.ink, width=0.6)
        axes.set(ylim=(-reach, reach), ylabel="full scale 1")
    elif values is not None and example.kind == "image":
        _draw_image(axes, values, theme)
    elif values is not None:
        draw_series(axes, values.reshape(len(values), -1), float(len(values)), theme)


def _draw_image(axes: Axes, values: Array, theme: Theme) -> None:
    gray = LinearSegmentedColormap.from_list("gray", ["#000000", "#ffffff"])
    is_color = values.ndim == 3 and values.shape[2] >= 3
    picture = values[..., :3] if is_color else values.reshape(*values.shape[:2], -1)[..., 0]
    axes.imshow(np.clip(picture, 0, 1), cmap=gray, vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(theme.faint)


def _draw_events(axes: Axes, events: Events, theme: Theme) -> None:
    """Draw time against address, colored by polarity."""
    polarities, sensor = _split_polarity(events.shape)
    size = int(np.prod(sensor))
    taken = np.arange(len(events))[:: max(1, -(-len(events) // MOST_EVENTS))]
    # An index into (polarity, *sensor) is polarity * size + address.
    polarity, address = np.divmod(events.places[taken], size)
    times = events.times[taken]
    side = float(np.clip(9000 / max(1, len(taken)), 0.15, 6))
    for which in range(polarities):
        chosen = polarity == which
        hue = theme.hues[which if polarities == 2 else 0]
        dots = axes.scatter(times[chosen], address[chosen], s=side, color=hue, linewidths=0)
        # Whole dots of the screen would make sizes jump.
        dots.set_snap(False)
    axes.set(ylim=(-0.5, size - 0.5), ylabel="pixel" if len(sensor) == 2 else "channel")


def draw_event_frames(axes: Axes, events: Events, theme: Theme) -> None:
    """Draw the events of equal parts of the recording, each as a picture, from left to right.

    The color of a pixel grows with the square root of its number of events.
    """
    event_frames(
        _event_frames(events),
        axes,
        n_pictures=EVENT_FRAMES,
        dt=(events.duration or 1.0) / EVENT_FRAMES,
        theme=theme,
    )


def _event_frames(events: Events) -> Indices:
    """Events of each of `EVENT_FRAMES` equal parts, `[frames, polarities, height, width]`."""
    polarities, (height, width) = _split_polarity(events.shape)
    size = polarities * height * width
    frame = (events.times / (events.duration or 1.0) * EVENT_FRAMES).astype(np.int64)
    frame = np.clip(frame, 0, EVENT_FRAMES - 1)
    counts = np.bincount(frame * size + events.places, minlength=EVENT_FRAMES * size)
    return counts.reshape(EVENT_FRAMES, polarities, height, width)


def _draw_columns(axes: Axes, values: Array, duration: float, theme: Theme) -> None:
    """Draw a series `[T, C]` as an image; its first column is at the bottom."""
    low = float(values.min(initial=0))
    reach = max(float(values.max(initial=0)), -low) or 1.0
    axes.imshow(
        shrink(values.T, MOST_ROWS, MOST_COLUMNS),
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, duration, -0.5, values.shape[1] - 0.5),
        cmap=theme.diverging if low < 0 else theme.ramp,
        vmin=-reach if low < 0 else 0,
        vmax=reach,
    )


def shrink(image: Array, most_rows: int, most_columns: int) -> Array:
    """The image with neighbors joined, each pixel the one of largest size among those it replaces.

    A nearest pixel would lose most spikes of a large raster.

    Example:
        >>> shrink(np.array([[0, 1, 0, 0], [0, 0, -2, 0]], np.float32), 1, 2)
        array([[ 1., -2.]], dtype=float32)
    """
    for axis, most in ((0, most_rows), (1, most_columns)):
        size = image.shape[axis]
        if size > most:
            starts = np.arange(most) * size // most
            high = np.maximum.reduceat(image, starts, axis=axis)
            low = np.minimum.reduceat(image, starts, axis=axis)
            image = np.where(high >= -low, high, low)
    return image


def draw_series(
    axes: Axes, values: Array, duration: float, theme: Theme, name: str = "channel"
) -> None:
    """Draw a series `[T, C]`: a line per column, or an image of many columns or of spikes.

    Args:
        axes: The panel.
        values: The series.
        duration: Length of the series, in the unit of the axis.
        theme: Colors.
        name: What a column is.
    """
    if values.shape[1] > MOST_LINES or _is_raster(values):
        _draw_columns(axes, values, duration, theme)
        axes.set_ylabel(name)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        return
    colors = class_colors(values.shape[1], theme)
    for column, color in zip(values.T, colors, strict=True):
        _draw_line(axes, column, duration, color)


def _is_raster(values: Array) -> bool:
    """Whether several columns hold few different values, such as spikes: lines would cross."""
    levels = max(len(np.unique(column)) for column in values[:10_000].T)
    return values.shape[1] > 1 and levels <= MOST_LEVELS


def _draw_line(
    axes: Axes, values: Array, duration: float, color: str | Color, width: float = 1.0
) -> None:
    count = len(values)
    if count <= 2 * MOST_PIECES:
        time = (np.arange(count) + 0.5) * duration / max(1, count)
        marker = "o" if count == 1 else ""
        axes.plot(time, values, color=color, linewidth=width, marker=marker)
        return
    starts = np.arange(MOST_PIECES) * count // MOST_PIECES
    low = np.minimum.reduceat(values, starts)
    high = np.maximum.reduceat(values, starts)
    time = (starts + 0.5) * duration / count
    axes.fill_between(time, low, high, color=color, linewidth=width / 2)


def draw_label_bands(axes: Axes, labels: Indices, duration: float, colors: Sequence[Color]) -> None:
    """Color a strip below a recording by the class of each step; steps of class -1 have none."""
    low, high = axes.get_ylim()
    top = low - 0.03 * (high - low)
    bottom = low - 0.18 * (high - low)
    # More steps than dots of the panel are sampled.
    shown = labels[:: max(1, len(labels) // (4 * MOST_COLUMNS))]
    # The last color belongs to class -1: nothing.
    palette = np.array([(*color, 1.0) for color in colors] + [(0.0, 0.0, 0.0, 0.0)])
    axes.imshow(
        palette[shown][None],
        aspect="auto",
        interpolation="nearest",
        extent=(0, duration, bottom, top),
    )
    axes.set_ylim(bottom, high)


def label_legend(classes: Sequence[str], colors: Sequence[Color]) -> list[Patch]:
    """The colors of the first classes, for a legend."""
    pairs = list(zip(classes, colors, strict=True))[:MOST_NAMES]
    patches = [Patch(color=color, label=name) for name, color in pairs]
    missing = len(classes) - len(patches)
    if missing:
        patches.append(Patch(alpha=0, label=f"and {missing} more"))
    return patches
