"""Pictures of a detector: its errors over all thresholds, and a part of a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nwavesdk.metrics import Detection, DetectionScore, Event
from nwavesdk.plot.theme import Theme, label_text
from nwavesdk.train.report.pictures import Array, draw_input

__all__ = ["StreamPart", "detection_curves", "stream_part"]

# Lowest number of false alarms per hour of the axis: none are drawn there.
MIN_ALARMS = 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamPart:
    """A part of a stream, with times from its beginning.

    Args:
        x: Input of the net, `[T, F]`.
        spikes: Spikes of the last hidden layer, `[T, N]`.
        scores: The smoothed score of each event, `[T, E]`.
        names: The name of each event class.
        threshold: The threshold of the scores.
        events: The events in the part.
        detections: The detections in the part.
        step: Time step [s].
    """

    x: Array
    spikes: Array
    scores: npt.NDArray[np.float64]
    names: Sequence[str]
    threshold: float
    events: Sequence[Event]
    detections: Sequence[Detection]
    step: float


def detection_curves(
    curves: Mapping[str, Sequence[DetectionScore]],
    chosen: Mapping[str, DetectionScore],
    budget: float,
    theme: Theme,
) -> Figure:
    """Draw misses over false alarms per hour.

    Args:
        curves: The scores at falling thresholds, by name of the streams.
        chosen: The score at the threshold of the detector, by name of the streams.
        budget: The false alarms per hour for which the threshold was chosen.
        theme: Colors.
    """
    figure = Figure(figsize=(8, 4.4))
    axes = figure.subplots()
    styles = product(("-", "--"), theme.hues)
    for (style, hue), (name, scores) in zip(styles, curves.items(), strict=False):
        alarms = [max(score.false_alarms_per_hour, MIN_ALARMS) for score in scores]
        axes.step(
            alarms,
            [100 * score.misses for score in scores],
            where="post",
            color=hue,
            linestyle=style,
            label=name,
            linewidth=1.6,
        )
        at = chosen[name]
        axes.plot(max(at.false_alarms_per_hour, MIN_ALARMS), 100 * at.misses, marker="o", color=hue)

    axes.axvline(budget, color=theme.ink, linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        xlabel=f"false alarms per hour ({MIN_ALARMS:g} is {MIN_ALARMS:g} or fewer)",
        ylabel="misses [%]",
        title="dots: the threshold of the detector; dotted: the budget",
    )
    axes.set_ylim(0, None)
    axes.grid()
    axes.legend(title="signal to noise", loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def stream_part(part: StreamPart, theme: Theme) -> Figure:
    """Draw a part of a stream: input, spikes of a layer, and scores with events and detections.

    Args:
        part: The part.
        theme: Colors.
    """
    figure = Figure(figsize=(10, 6.6))
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(1.2, 1.2, 1.4))
    duration = len(part.x) * part.step
    draw_input(top, part.x, duration, theme)

    steps, neurons = np.nonzero(part.spikes)
    middle.scatter(
        steps * part.step, neurons, s=1.5, color=theme.ink, linewidths=0, rasterized=True
    )
    middle.set(ylabel="neuron", title="spikes of the last hidden layer")

    time = np.arange(1, len(part.scores) + 1) * part.step
    colors = dict(zip(part.names, cycle(theme.hues), strict=False))
    for name, scores in zip(part.names, part.scores.T, strict=True):
        bottom.plot(time, scores, color=colors[name], label=label_text(name), linewidth=1.2)
    bottom.axhline(part.threshold, color=theme.ink, linewidth=0.8, linestyle="--")
    for event in part.events:
        bottom.axvspan(event.start, event.end, color=colors[event.name], alpha=0.18, linewidth=0)
    for name, when, *_ in part.detections:
        bottom.plot(when, part.threshold, marker="v", markersize=9, color=colors[name])
    bottom.set(
        xlabel="time [s]",
        ylabel="log-odds",
        xlim=(0, duration),
        title="smoothed scores; bands: events; triangles: detections; dashed: threshold",
    )
    bottom.legend(loc="upper right", ncols=4)
    return figure
