"""The picture of a data set: some of its recordings, their lengths, and what is in each set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from nwavesdk.analysis.filter_pictures import draw_channels, draw_response
from nwavesdk.analysis.recording_pictures import (
    Example,
    class_colors,
    draw_event_frames,
    draw_label_bands,
    draw_recording,
    draw_series,
    has_pixels,
    label_legend,
)
from nwavesdk.chip import FilterBank
from nwavesdk.data.recordings import Indices
from nwavesdk.data.source import Events, Task
from nwavesdk.plot.theme import Theme, label_text

__all__ = ["DataPicture", "choose_examples", "draw_data"]

# Rows of the picture.
MOST_EXAMPLES = 6

# Width of the picture [inches], and letters of a title that an inch has space for.
WIDTH = 12.0
LETTERS_PER_INCH = 11

# Heights of panels [inches]: a row, a row with channels of a chip, the response of their filters,
# and the panels below all rows.
ROW_HEIGHT = 1.45
CHANNELS_HEIGHT = 2.6
RESPONSE_HEIGHT = 2.8
SUMMARY_HEIGHT = 3.1

# Bars of more classes have no names.
MOST_NAMED_BARS = 40

# The names of the sets, in the order of the colors.
PART_NAMES = {"train": "training", "val": "validation", "test": "test"}

# Bars of the histogram of lengths.
MOST_BINS = 30

# Width of each column of panels, relative to the others.
WIDTHS = {"recording": 4.0, "frames": 4.8, "features": 4.0, "target": 4.0, "image": 1.3}


@dataclass(frozen=True, eq=False)
class DataPicture:
    """What the picture of a data set shows.

    Args:
        task: What a net learns.
        classes: Names of the classes of recordings, or of steps for the task `labels`.
        examples: Some recordings.
        feature_text: What the features are, as in `"32 log-mel bands"`.
        lengths: Length of each recording of a set, by the name of the set [steps of the net].
        step: Length of a step [s], or None if it is not known.
        counts: Recordings of each class and set; steps for the task `labels`; without classes, one
            number: the recordings.
        groups: Speakers or other groups of each set; empty if the split is not by group.
        group_name: What a group is, in the plural.
        bank: The filters of a chip, if the features are its channels.
    """

    task: Task
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    feature_text: str
    lengths: Mapping[str, Indices]
    step: float | None
    counts: Mapping[str, Indices]
    groups: Mapping[str, int]
    group_name: str = "speakers"
    bank: FilterBank | None = None


def choose_examples(
    labels: Indices, lengths: Indices, n_classes: int, most: int = MOST_EXAMPLES
) -> list[int]:
    """The recordings that a picture shows, of classes that are evenly spread.

    Of a class, it is the recording of median length. Without classes (`n_classes` of 0), they are
    evenly spread from the shortest to the longest.

    Args:
        labels: Class index of each recording, `[B]`.
        lengths: Length of each recording, `[B]`.
        n_classes: Number of classes.
        most: Recordings to choose.

    Example:
        >>> choose_examples(np.array([0, 0, 0, 1]), np.array([5, 9, 7, 1]), 2)
        [2, 3]
    """
    order = np.argsort(lengths, kind="stable")
    if n_classes == 0:
        return [int(index) for index in _spread(order, most)]
    members = [order[labels[order] == label] for label in _spread(np.unique(labels), most)]
    return [int(of_class[len(of_class) // 2]) for of_class in members]


def _spread(values: Indices, most: int) -> Indices:
    """Up to `most` of the values, evenly spread, with the first and the last one."""
    count = min(most, len(values))
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]


def draw_data(picture: DataPicture, theme: Theme) -> Figure:
    """Draw a data set.

    Args:
        picture: The content.
        theme: Colors.
    """
    row_height = ROW_HEIGHT if picture.bank is None else CHANNELS_HEIGHT
    heights = [0.5 + row_height * len(picture.examples), SUMMARY_HEIGHT]
    if picture.bank is not None:
        heights.insert(0, RESPONSE_HEIGHT)
    figure = Figure(figsize=(WIDTH, sum(heights)))
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    *above, overview, summary = parts
    if picture.bank is not None:
        draw_response(above[0].subplots(), picture.bank, theme)
    _draw_examples(overview, picture, theme)
    lengths, counts = summary.subplots(1, 2, width_ratios=(1, 1.6))
    _draw_lengths(lengths, picture, theme)
    _draw_counts(counts, picture, theme)
    handles, labels = counts.get_legend_handles_labels()
    summary.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    return figure


def _columns(picture: DataPicture) -> list[str]:
    """The columns of panels that the examples need."""
    examples = picture.examples
    shown = {
        "image": any(example.kind == "image" for example in examples),
        "recording": any(e.kind != "image" and e.values is not None for e in examples),
        "frames": any(has_pixels(example.values) for example in examples),
        "features": any(example.frames is not None for example in examples),
        "target": picture.task in ("regression", "pattern"),
    }
    return [name for name, is_shown in shown.items() if is_shown]


def _draw_examples(overview: SubFigure, picture: DataPicture, theme: Theme) -> None:
    columns = _columns(picture)
    grid = overview.subplots(
        len(picture.examples),
        len(columns),
        squeeze=False,
        width_ratios=[WIDTHS[name] for name in columns],
    )
    widths = [WIDTH * WIDTHS[name] / sum(WIDTHS[name] for name in columns) for name in columns]
    for place, column in enumerate(columns):
        _draw_column(list(grid[:, place]), column, picture, theme)
        if place:
            text = _sentence(_column_text(column, picture))
            grid[0, place].set_title(_wrapped(text, widths[place]))
    for axes, example in zip(grid[:, 0], picture.examples, strict=True):
        text = _example_text(example) or _column_text(columns[0], picture)
        name = label_text(example.name, most=40)
        axes.set_title(_wrapped(f"{name}: {text}", widths[0]))
    if picture.task == "labels":
        names = [label_text(name) for name in picture.classes]
        handles = label_legend(names, class_colors(len(names), theme))
        overview.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _draw_column(
    column_axes: Sequence[Axes], column: str, picture: DataPicture, theme: Theme
) -> None:
    """Draw one column of panels, with the time axis of the longest recording."""
    spans = []
    for axes, example in zip(column_axes, picture.examples, strict=True):
        if column == "frames":
            if isinstance(example.values, Events):
                draw_event_frames(axes, example.values, theme)
        elif column == "image":
            draw_recording(axes, example, theme)
        else:
            spans.append(_draw_in_time(axes, column, example, picture, theme))
    for axes in column_axes:
        if spans:
            axes.set_xlim(0, max(spans) or 1.0)
    for axes in column_axes[:-1]:
        axes.set_xlabel("")
        if spans:
            axes.tick_params(labelbottom=False)


def _draw_in_time(
    axes: Axes, column: str, example: Example, picture: DataPicture, theme: Theme
) -> float:
    """Draw a panel whose horizontal axis is time; return its length in the unit of the axis."""
    step = example.step or 1.0
    is_in_seconds = example.step is not None
    span = 0.0
    if column == "recording":
        draw_recording(axes, example, theme)
        span = example.span
        if picture.task == "labels" and example.target is not None:
            colors = class_colors(len(picture.classes), theme)
            draw_label_bands(axes, example.target.astype(np.int64), span, colors)
        is_in_seconds = example.duration is not None
    elif column == "features" and example.frames is not None:
        span = len(example.frames) * step
        if picture.bank is None:
            draw_series(axes, example.frames, span, theme, name="feature")
        else:
            draw_channels(axes, example.frames, span, picture.bank, theme)
    elif column == "target" and example.target is not None:
        span = len(example.target) * step
        draw_series(axes, example.target.astype(np.float32), span, theme, name="target")
    steps = "step" if column == "recording" else "step of the net"
    axes.set_xlabel("time [s]" if is_in_seconds else steps)
    if not is_in_seconds:
        _count_on(axes.xaxis)
    return span


def _column_text(column: str, picture: DataPicture) -> str:
    if column == "frames":
        return "events, accumulated"
    if column == "target":
        return "target"
    return f"input of the net: {picture.feature_text}"


def _wrapped(text: str, width: float) -> str:
    """A title in lines that fit a panel and the space next to it [inches]."""
    return "\n".join(wrap(text, max(12, int(width * LETTERS_PER_INCH))))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _example_text(example: Example) -> str:
    """What was recorded, as in `"sound, 0.98 s"`; empty if it is not known."""
    values = example.values
    if isinstance(values, Events):
        return f"{len(values):,} events in {values.duration:.3g} s"
    if isinstance(values, tuple):
        return f"sound, {example.duration:.3g} s"
    if values is None:
        return ""
    if example.kind == "image":
        return f"image, {' × '.join(map(str, values.shape))}"
    width = values[0].size
    return f"{len(values):,} steps of {width:,} value{'s' if width > 1 else ''}"


def _draw_lengths(axes: Axes, picture: DataPicture, theme: Theme) -> None:
    """Draw how long the recordings of each set are."""
    parts = {part: lengths for part, lengths in picture.lengths.items() if len(lengths)}
    every = np.concatenate(list(parts.values()))
    low, high = int(every.min()), int(every.max())
    # Lengths are whole numbers: a bin holds equally many of them.
    width = max(1, -(-(high - low + 1) // MOST_BINS))
    edges = [edge - 0.5 for edge in range(low, high + width + 1, width)]
    labels = [PART_NAMES[part] for part in parts]
    hues = [theme.hues[list(PART_NAMES).index(part)] for part in parts]
    axes.hist(list(parts.values()), edges, stacked=True, color=hues, label=labels)
    axes.set(xlabel="length [steps of the net]", ylabel="recordings")
    median = float(np.median(every))
    seconds = "" if picture.step is None else f" ({median * picture.step:.3g} s)"
    if low == high:
        axes.set_title(f"Lengths: all have {low:,} steps{seconds}")
        axes.set_xlim(low - 3, low + 3)
    else:
        axes.set_title(f"Lengths: {low:,} to {high:,}, median {median:,.0f} steps{seconds}")
    _count_on(axes.xaxis)
    _count_on(axes.yaxis)


def _count_on(axis: Axis) -> None:
    """Mark whole numbers only, with commas."""
    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _draw_counts(axes: Axes, picture: DataPicture, theme: Theme) -> None:
    """Draw what is in each set: one bar per class, or one per set if there are no classes."""
    count = len(picture.classes)
    below = np.zeros(max(1, count), np.int64)
    for place, part in enumerate(PART_NAMES):
        counts = picture.counts[part]
        label = f"{PART_NAMES[part]}: {counts.sum():,}"
        if part in picture.groups:
            label += f" of {picture.groups[part]:,} {picture.group_name}"
        places = np.arange(count) if count else [place]
        axes.bar(places, counts, bottom=below, color=theme.hues[place], label=label, width=0.8)
        if count:
            below += counts
    unit = "steps" if picture.task == "labels" else "recordings"
    axes.set(title=f"{unit.capitalize()} in each set", ylabel=unit)
    names = picture.classes or tuple(PART_NAMES.values())
    axes.set_xlim(-0.7, len(names) - 0.3)
    _name_bars(axes, names)
    _count_on(axes.yaxis)


def _name_bars(axes: Axes, names: Sequence[str]) -> None:
    count = len(names)
    if count > MOST_NAMED_BARS:
        axes.set_xlabel(f"class, 0 to {count - 1}")
        return
    texts = [label_text(name, most=24 if count <= 12 else 16) for name in names]
    if sum(map(len, texts)) <= 60:
        axes.set_xticks(range(count), texts)
    else:
        axes.set_xticks(range(count), texts, rotation=50, ha="right", rotation_mode="anchor")
