"""Whether events of a stream were detected: misses, false alarms per hour, and latency.

The time of a detection is when its last needed sample has arrived. Detections are matched in the
order of time, one to one: each gets the first event of its name that waits for a detection. An
event waits from its start until `TOLERANCE` seconds after its end. Then:

- an event without a detection is a miss;
- a detection without an event is a false alarm: in the background, of another name, too late, or
  the second one of an event;
- the latency of a detection counts from the end of its event, so it may be negative.

A detection of the wrong word is therefore a miss and a false alarm.

Other counters differ. The streaming wake word of MLPerf Tiny (`get_true_and_false_detections`)
counts a word once, however often it is detected, forgives all detections in the second after it,
and reports counts without hours. microWakeWord counts false accepts per hour in recordings without
words, and misses in recordings of one word, wherever in them the score is highest: neither a late
nor a second detection is an error there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from nwavesdk.internal.checks import positive_number
from nwavesdk.internal.imports import require

__all__ = ["TOLERANCE", "Detection", "DetectionScore", "Event"]

# An event waits so long after its end for a detection [s].
TOLERANCE = 1.0

# The share of samples whose interval does not contain the true value.
ALPHA = 0.05


class Event(NamedTuple):
    """An event of a stream.

    Attributes:
        name: Its class, such as a word.
        start: When it begins [s from the start of the stream].
        end: When it ends [s].

    Example:
        >>> Event("yes", 2.0, 2.5)
        Event(name='yes', start=2.0, end=2.5)
    """

    name: str
    start: float
    end: float


class Detection(NamedTuple):
    """A detection in a stream.

    Attributes:
        name: The class of the event.
        time: When the last sample that it needs has arrived [s from the start of the stream].
        score: How likely it is, which the scorer does not use; None if unknown.

    Example:
        >>> Detection("yes", time=2.6)
        Detection(name='yes', time=2.6, score=None)
    """

    name: str
    time: float
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class DetectionScore:
    """How well the events of streams were detected. Scores of several streams add up: `a + b`.

    Attributes:
        seconds: The length of the streams [s].
        latencies: From the end of each detected event to its detection [s], in the order of
            detections.
        missed: Events without a detection.
        false_alarms: Detections without an event.

    Example:
        >>> events = [Event("yes", 2.0, 2.5), Event("no", 10.0, 10.4)]
        >>> detections = [Detection("yes", 2.6), Detection("yes", 10.5)]
        >>> score = DetectionScore.of(events, detections, seconds=1800)
        >>> score.misses, score.false_alarms_per_hour, round(score.latency(50), 3)
        (0.5, 2.0, 0.1)
        >>> score.missed
        (Event(name='no', start=10.0, end=10.4),)
    """

    seconds: float
    latencies: tuple[float, ...] = ()
    missed: tuple[Event, ...] = ()
    false_alarms: tuple[Detection, ...] = ()

    @classmethod
    def of(
        cls, events: Iterable[Event], detections: Iterable[Detection], *, seconds: float
    ) -> Self:
        """Match the detections of a stream with its events.

        Args:
            events: The events, in any order.
            detections: The detections, in any order.
            seconds: The length of the stream [s].

        Raises:
            ValueError: If the stream has no length, or an event ends before it starts.
        """
        seconds = positive_number("DetectionScore", "seconds", seconds, "s")
        waiting = sorted(events, key=lambda event: (event.start, event.end))
        for event in waiting:
            if not event.start <= event.end:
                raise ValueError(
                    f"DetectionScore: an event has to end after its start, got {event}."
                )

        latencies: list[float] = []
        false_alarms: list[Detection] = []
        for detection in sorted(detections, key=lambda detection: detection.time):
            of_class = (event for event in waiting if event.name == detection.name)
            in_time = (e for e in of_class if e.start <= detection.time <= e.end + TOLERANCE)
            match = next(in_time, None)
            if match is None:
                false_alarms.append(detection)
            else:
                waiting.remove(match)
                latencies.append(detection.time - match.end)
        return cls(
            seconds=seconds,
            latencies=tuple(latencies),
            missed=tuple(waiting),
            false_alarms=tuple(false_alarms),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(
            seconds=self.seconds + other.seconds,
            latencies=self.latencies + other.latencies,
            missed=self.missed + other.missed,
            false_alarms=self.false_alarms + other.false_alarms,
        )

    @property
    def n_events(self) -> int:
        """The number of events."""
        return len(self.latencies) + len(self.missed)

    @property
    def misses(self) -> float:
        """The share of events without a detection; NaN without an event."""
        return len(self.missed) / self.n_events if self.n_events else float("nan")

    @property
    def misses_interval(self) -> tuple[float, float]:
        """The 95 % interval of `misses`, for events that are independent; 0 and 1 without an event.

        References:
            Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the
            case of the binomial", Biometrika 26, doi:10.1093/biomet/26.4.404.
        """
        beta = require("scipy.stats", "train").beta
        k, n = len(self.missed), self.n_events
        low = beta.ppf(ALPHA / 2, k, n - k + 1) if k else 0.0
        high = beta.ppf(1 - ALPHA / 2, k + 1, n - k) if k < n else 1.0
        return float(low), float(high)

    @property
    def false_alarms_per_hour(self) -> float:
        """Detections without an event, per hour of all streams."""
        return len(self.false_alarms) / self.hours

    @property
    def false_alarms_interval(self) -> tuple[float, float]:
        """The 95 % interval of `false_alarms_per_hour`, for false alarms that are independent.

        References:
            Garwood 1936, "Fiducial limits for the Poisson distribution", Biometrika 28,
            doi:10.1093/biomet/28.3-4.437.
        """
        chi2 = require("scipy.stats", "train").chi2
        k = len(self.false_alarms)
        low = chi2.ppf(ALPHA / 2, 2 * k) / 2 if k else 0.0
        high = chi2.ppf(1 - ALPHA / 2, 2 * (k + 1)) / 2
        return float(low) / self.hours, float(high) / self.hours

    @property
    def hours(self) -> float:
        """The length of all streams [h]."""
        return self.seconds / 3600

    def latency(self, percent: float) -> float:
        """A percentile of the latencies [s]; NaN without a detected event.

        Args:
            percent: From 0 to 100; 50 is the median.
        """
        return float(np.percentile(self.latencies, percent)) if self.latencies else float("nan")
