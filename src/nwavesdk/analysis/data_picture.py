"""The picture of `nwave data`: some recordings, the input of a net from them, lengths and sets."""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from nwavesdk import plot
from nwavesdk.analysis.data_report import describe_lengths, lengths_by_set
from nwavesdk.data import Indices, Series
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.source import Events, Sample
from nwavesdk.plot.theme import Theme, label_text, label_time, time_unit
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.data import FileData
from nwavesdk.train.config.fields import MAX_SECONDS, is_table
from nwavesdk.train.data.inputs import series_options
from nwavesdk.train.data.load import RunData

__all__ = ["choose_examples", "draw_data", "draw_recording", "draw_time_series"]

Array = npt.NDArray[Any]

# Maximal number of rows; heights of a row and of the panels below all rows [inches].
MAX_EXAMPLES = 6
ROW_HEIGHT = 1.5
SUMMARY_HEIGHT = 3.1

# A series with more columns than `MAX_LINES` is drawn as an image instead of lines, a line with
# more points than `MAX_POINTS` as ranges, and a series of mostly zeros and ones as spikes.
MAX_LINES = 8
MAX_POINTS = 3000
SHARE_OF_SPIKES = 0.9

# A recording of events is divided into this many pictures if the sensor has pixels, otherwise into
# this many steps.
EVENT_PICTURES = 6
EVENT_STEPS = 200

# Maximal number of bars of the histogram, and of classes whose names are on an axis.
MAX_BINS = 30
MAX_NAMES = 40


def draw_data(
    config: CompletedConfig, data: RunData, report: dict[str, Any], theme: Theme
) -> Figure:
    """Draw some recordings, all lengths, and the sizes of the sets.

    Args:
        config: The config of a run.
        data: The training, validation and test set.
        report: The report of the sets; see `data_report`.
        theme: Colors.

    Raises:
        RecordingError: If a recording can no longer be read.
    """
    # All examples are from the training set, because the recordings of the test set must not be
    # seen: the picture shows only their number and lengths.
    train = Series(data.train.recordings, data.train.input)
    indices = choose_examples(train, has_classes=config.task.name == "classification")
    heights = [0.5 + ROW_HEIGHT * len(indices), SUMMARY_HEIGHT]
    figure = Figure(figsize=(12, sum(heights)))
    examples, summary = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    examples.suptitle(fill(f"Input of the net: {report['feature_text']}", 120), fontsize=10)
    _draw_examples(examples, config, train, indices, theme)

    panels = summary.subplots(1, 2)
    _draw_lengths(panels[0], lengths_by_set(data), report, theme)
    _draw_counts(panels[1], report, theme)
    summary.legend(loc="outside lower center", ncols=3)
    return figure


def choose_examples(train: Series, has_classes: bool) -> list[int]:
    """Indices of the recordings that a picture shows.

    With classes, these are the recordings of median length of some classes, evenly spread over all
    classes. Without classes, the recordings are evenly spread from the shortest to the longest.
    """
    order = np.argsort(train.lengths, kind="stable")
    labels = train.recordings.labels[order]
    groups = [order[labels == label] for label in np.unique(labels)]
    if not has_classes:
        groups = [order[[rank]] for rank in range(len(order))]

    chosen = np.linspace(0, len(groups) - 1, min(MAX_EXAMPLES, len(groups))).round().astype(int)
    return [int(groups[index][len(groups[index]) // 2]) for index in chosen]


def _read_again(config: CompletedConfig, keys: Sequence[str]) -> list[Sample | None]:
    """The content of the files of recordings; None for parts of streams, and without files."""
    data = config.data
    if not isinstance(data, FileData) or config.task.name == "detect":
        return [None] * len(keys)

    path = Path(data.source)
    source = open_source(
        path,
        Faults(path, "skip"),  # files that cannot be used are known already
        task=config.task.name,
        max_seconds=getattr(config.data, "max_seconds", MAX_SECONDS),
        has_table=is_table(data.split),
        series=series_options(config),
    )

    items = {item.key: item for item in source.items}
    return [source.read(items[key]) for key in keys]


def _draw_examples(
    figure: FigureBase,
    config: CompletedConfig,
    train: Series,
    indices: Sequence[int],
    theme: Theme,
) -> None:
    """Draw a row for each recording: its content, the input of the net, and the target."""
    recordings = train.recordings
    step = config.step_seconds
    has_targets = config.task.name != "classification"
    samples = _read_again(config, [recordings.keys[index] for index in indices])
    n_columns = 1 + (samples[0] is not None) + has_targets
    grid = figure.subplots(len(indices), n_columns, squeeze=False)

    for row, index, sample in zip(grid, indices, samples, strict=True):
        # The end of the path, because paths in one folder begin alike.
        name = recordings.keys[index][-40:]
        if has_targets:
            _draw_target(row[-1], config, train, index, theme)
        else:
            name = config.facts.classes[recordings.labels[index]]
        title = label_text(name, 40)
        if sample is not None:
            title += f": {draw_recording(row[0], sample, config.data.source_kind, theme)}"
        row[0].set_title(title)

        # The input of the net is in the last panel, or in the panel before the target.
        axes = row[-1 - has_targets]
        draw_time_series(axes, train.input_of(index), step, theme, "input of the net")

    # All panels of a column have the same range of time, and the lowest has the labels.
    for column in grid.T:
        panels = [axes for axes in column if axes.get_xlabel()]  # with an axis of time
        end = max((axes.get_xlim()[1] for axes in panels), default=0)
        for axes in panels:
            axes.set_xlim(0, end)
        for axes in panels[:-1]:
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)


def draw_recording(axes: Axes, sample: Sample, kind: str, theme: Theme) -> str:
    """Draw the content of a recording; return its description, as in `"sound, 0.98 s"`."""
    values = sample.values
    if isinstance(values, Events):
        _draw_events(axes, values, theme)
        return f"{len(values):,} events in {values.duration:.3g} s"

    if isinstance(values, tuple):
        samples, rate = values
        draw_time_series(axes, samples[:, None], 1 / rate, theme, "full scale 1")
        return f"sound, {len(samples) / rate:.3g} s"

    if kind == "image":
        # Two colors cannot be shown as a picture, so the first one is drawn in gray.
        n_colors = values[0, 0].size
        pixels = values[..., :3] if n_colors > 2 else values.reshape(*values.shape[:2], -1)[..., 0]
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        return f"image, {' × '.join(map(str, values.shape))}"

    draw_time_series(axes, values.reshape(len(values), -1), None, theme, "recorded")
    width = values[0].size
    return f"{len(values):,} steps of {width:,} value{'s' if width > 1 else ''}"


def _draw_events(axes: Axes, events: Events, theme: Theme) -> None:
    """Draw events as pictures if the sensor has pixels, otherwise as marks over time."""
    duration = events.duration or 1.0

    # The places of a sensor are [polarity, height, width], or fewer of these axes.
    n_axes = len(events.shape)
    has_polarities = n_axes > 1 and events.shape[0] <= 2
    has_pixels = n_axes - has_polarities == 2

    # Count the events of each frame and place, with one flat index for both.
    n_frames = EVENT_PICTURES if has_pixels else EVENT_STEPS
    frame = np.clip(events.times * n_frames / duration, 0, n_frames - 1).astype(np.int64)
    size = math.prod(events.shape)
    counts = np.bincount(frame * size + events.places, minlength=n_frames * size)

    if has_pixels:
        frames = counts.reshape(n_frames, *events.shape)
        plot.event_frames(frames, axes, dt=duration / n_frames, theme=theme)
    else:
        draw_time_series(axes, counts.reshape(n_frames, -1), duration / n_frames, theme, "channel")


def draw_time_series(axes: Axes, values: Array, dt: float | None, theme: Theme, name: str) -> None:
    """Draw a series `[T, C]`: few columns as lines, spikes as marks, others as an image.

    Args:
        axes: The panel.
        values: The series.
        dt: Time step [s]; None for a time axis in steps.
        theme: Colors.
        name: Label of the values.
    """
    n_steps, n_columns = values.shape
    unit = time_unit(name, dt)
    lowest, highest = values.min(), values.max()

    if n_columns > 1 and np.isin(values, (0, 1)).mean() > SHARE_OF_SPIKES:
        plot.raster(values, axes, dt=dt, theme=theme)
    elif n_columns > MAX_LINES:
        reach = max(-lowest, highest) or 1.0
        # Colors are symmetric around 0 if there are negative values.
        axes.imshow(
            values.T,
            aspect="auto",
            origin="lower",
            extent=(0, n_steps * unit, -0.5, n_columns - 0.5),
            cmap=theme.diverging if lowest < 0 else theme.ramp,
            vmin=-reach if lowest < 0 else 0,
            vmax=reach,
        )
    else:
        axes.set_prop_cycle(color=theme.hues)
        points = _thinned(values)
        time = (np.arange(len(points)) + 0.5) * n_steps * unit / len(points)
        axes.plot(time, points, linewidth=1.0, drawstyle="steps-mid", marker="o" * (n_steps == 1))

    axes.set_ylabel(name)
    axes.locator_params("y", nbins=4)
    axes.locator_params("x", integer=dt is None)
    label_time(axes, n_steps, unit, dt)


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


def _draw_target(
    axes: Axes, config: CompletedConfig, train: Series, index: int, theme: Theme
) -> None:
    """Draw the target of each step: values, or the number of a class with its name on the axis."""
    target = train.recordings.targets[index][: train.input.length]
    target = target.reshape(len(target), -1).repeat(train.input.hold, axis=0)
    draw_time_series(axes, target, config.step_seconds, theme, "target")
    names = ["none", *(label_text(name, 12) for name in config.facts.classes)]
    if 1 < len(names) <= MAX_NAMES // 4:
        axes.set_yticks(range(-1, len(names) - 1), names)


def _draw_lengths(
    axes: Axes, lengths: dict[str, Indices], report: dict[str, Any], theme: Theme
) -> None:
    """Draw a histogram of the lengths of the recordings, stacked by set."""
    steps = np.concatenate([*lengths.values()])
    low, high = steps.min(), steps.max()
    # Lengths are whole numbers, so all bins must span the same number of them to be comparable.
    width = max(1, -(-(high - low + 1) // MAX_BINS))
    edges = [edge - 0.5 for edge in range(low, high + width + 1, width)]
    axes.hist([*lengths.values()], edges, stacked=True, color=theme.hues[:3])
    axes.set_title(fill(f"Lengths: {describe_lengths(report['lengths'])}", 65))
    axes.set(xlabel="length [steps of the net]", ylabel="recordings", xlim=(low - 3, high + 3))
    axes.locator_params(integer=True)


def _draw_counts(axes: Axes, report: dict[str, Any], theme: Theme) -> None:
    """Draw the size of each set: a bar for each class, or one bar if there are no classes."""
    names = [label_text(name, 16) for name in report["classes"]] or ["all"]
    below = np.zeros(len(names))
    for (part, size), hue in zip(report["recordings"].items(), theme.hues, strict=False):
        counts = np.array([*report["per_class"].get(part, {"all": size}).values()])
        n_groups = report["groups"].get(part)
        groups = "" if n_groups is None else f" of {n_groups:,} {report['group_name']}"
        label = f"{part}: {counts.sum():,}{groups}"
        axes.bar(range(len(names)), counts, bottom=below, color=hue, label=label)
        below += counts

    axes.set(title=f"{report['counted'].capitalize()} in each set", xlabel="class")
    axes.locator_params(integer=True)
    # Many classes have numbers in place of names. Names that do not fit next to each other are
    # turned.
    if len(names) <= MAX_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90 * (sum(map(len, names)) > 60))
