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
from nwavesdk.plot.theme import Theme, label_text
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.data import FileData
from nwavesdk.train.config.fields import MAX_SECONDS, is_table
from nwavesdk.train.data.inputs import series_options
from nwavesdk.train.data.load import RunData

__all__ = ["choose_examples", "draw_data", "draw_recording"]

Array = npt.NDArray[Any]

# Maximal number of rows; heights of a row and of the panels below all rows [inches].
MAX_EXAMPLES = 6
ROW_HEIGHT = 1.5
SUMMARY_HEIGHT = 3.1

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
        # The end of the path, because paths in one folder have the same beginning.
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
        plot.series(train.input_of(index), axes, dt=step, name="input of the net", theme=theme)

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
        plot.series(samples, axes, dt=1 / rate, name="full scale 1", theme=theme)
        return f"sound, {len(samples) / rate:.3g} s"

    if kind == "image":
        # Two colors cannot be shown as a picture, so the first one is drawn in gray.
        n_colors = values[0, 0].size
        pixels = values[..., :3] if n_colors > 2 else values.reshape(*values.shape[:2], -1)[..., 0]
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        return f"image, {' × '.join(map(str, values.shape))}"

    plot.series(values.reshape(len(values), -1), axes, name="recorded", theme=theme)
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
        series = counts.reshape(n_frames, -1)
        plot.series(series, axes, dt=duration / n_frames, name="channel", theme=theme)


def _draw_target(
    axes: Axes, config: CompletedConfig, train: Series, index: int, theme: Theme
) -> None:
    """Draw the target of each step: values, or the number of a class with its name on the axis."""
    target = train.recordings.targets[index][: train.input.length]
    target = target.reshape(len(target), -1).repeat(train.input.hold, axis=0)
    plot.series(target, axes, dt=config.step_seconds, name="target", theme=theme)
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
