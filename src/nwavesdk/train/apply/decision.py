"""From the scores of a stream to detections: smoothing, threshold, hysteresis and dead time.

A net has a score for each event in each step. The scores are smoothed. A detection is a rise of a
smoothed score from below the release level to the threshold or above, unless a detection of any
event precedes it by less than the dead time. All of this depends on the past only, and is the same
to the bit in whichever pieces the scores arrive.

`fit_decision` chooses the numbers on streams of the validation set, for a number of false alarms
per hour.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import reduce
from itertools import product
from operator import add
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nwavesdk.internal.imports import require
from nwavesdk.internal.model import FrozenModel
from nwavesdk.metrics.detection import TOLERANCE, Detection, DetectionScore, Event

__all__ = [
    "Decision",
    "DecisionStream",
    "ScoredStream",
    "detection_curve",
    "event_scores",
    "fit_decision",
]

# The values that `fit_decision` tries [s]. The events of test streams are farther apart than the
# longest dead time.
SMOOTHINGS = (0.0, 0.1, 0.2, 0.3, 0.4)
DEAD_TIMES = (1.0, 2.0)

# The release level is so far below the threshold [log-odds].
HYSTERESIS = 2.0

# Number of the highest peaks of the background whose tail is fitted.
TAIL_PEAKS = 30

# Number of thresholds above the lowest one that `fit_decision` tries for each of these values.
TRIED_THRESHOLDS = 4

# Number of thresholds of a curve, and the false alarms per hour at the lowest of them.
CURVE_POINTS = 40
MAX_ALARMS_PER_HOUR = 100.0

StepScores = npt.NDArray[np.float64]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Level = Annotated[float, Field(allow_inf_nan=False)]


class ScoredStream(NamedTuple):
    """A stream with known events, and the scores of a net for it.

    Attributes:
        scores: The score of each event in each step, `[T, E]`; see `event_scores`.
        times: When the last sample that a step needs has arrived [s], `[T]`; it never falls.
        events: The events of the stream.
        seconds: Its length [s].
    """

    scores: npt.NDArray[Any]
    times: npt.NDArray[Any]
    events: tuple[Event, ...]
    seconds: float


class Decision(FrozenModel):
    """When a stream of scores is a detection.

        y[t] = mean(score[t-n+1], …, score[t]),  n = max(1, round(smoothing / step_seconds))

    Before the first step, scores equal `score[0]`.

    A detection of an event is the first step with `y ≥ threshold` after a step with `y < release`,
    unless the last detection of any event was less than `dead_time` before.

    Attributes:
        events: The name of each column of the scores.
        step_seconds: Time between two steps [s].
        smoothing: Time over which scores are averaged [s]; 0 for none.
        threshold: Score from which an event is detected.
        release: Score below which the event has to fall before it can be detected again.
        dead_time: Time after a detection in which there is no other [s].

    Example:
        >>> decision = Decision(
        ...     events=("yes",), step_seconds=0.1, smoothing=0, threshold=2, release=0, dead_time=1
        ... )
        >>> scores = np.array([-3.0, 2.5, 4.0, 1.0, 3.0, -3.0, 3.0, -1.0, -1.0, -1.0, -1.0, 5.0])
        >>> for detection in decision.detections(scores[:, None], np.arange(12) / 10):
        ...     print(detection)
        Detection(name='yes', time=0.1, score=2.5)
        Detection(name='yes', time=1.1, score=5.0)
    """

    events: tuple[str, ...]
    step_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    smoothing: Seconds
    threshold: Level
    release: Level
    dead_time: Seconds

    @property
    def smoothed_steps(self) -> int:
        """Number of steps over which scores are averaged."""
        return max(1, round(self.smoothing / self.step_seconds))

    def at(self, threshold: float) -> "Decision":
        """The decision with another threshold, and the release level as far below it as before."""
        release = threshold - (self.threshold - self.release)
        return self.model_copy(update={"threshold": threshold, "release": release})

    def detections(self, scores: npt.NDArray[Any], times: npt.NDArray[Any]) -> list[Detection]:
        """The detections in a whole stream; see `DecisionStream.push`."""
        return DecisionStream(self).push(scores, times)

    def score(self, streams: Sequence[ScoredStream]) -> DetectionScore:
        """How well it detects the events of streams, all together; at least one stream."""
        return _counted(self, _smoothed(self, streams))


class DecisionStream:
    """The detections of one stream, piece by piece.

    Args:
        decision: The decision.
    """

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._past: StepScores | None = None
        # 1 after a score that reached the threshold, -1 after one below the release level. A score
        # that is high from the start is not a rise.
        self._levels = np.zeros(len(decision.events), np.int8)
        self._free_from = -math.inf

    def push(self, scores: npt.NDArray[Any], times: npt.NDArray[Any]) -> list[Detection]:
        """The detections in the next steps.

        Args:
            scores: The score of each event, `[T, E]`.
            times: When the last sample that a step needs has arrived [s], `[T]`.
        """
        return self.decide(self.smooth(scores), times)

    def smooth(self, scores: npt.NDArray[Any]) -> StepScores:
        """The smoothed scores of the next steps, `[T, E]`."""
        scores = np.asarray(scores, np.float64)
        if not len(scores):
            return scores

        n_steps = self._decision.smoothed_steps
        if self._past is None:
            self._past = np.repeat(scores[:1], n_steps - 1, axis=0)
        joined = np.concatenate([self._past, scores])
        self._past = joined[len(scores) :].copy()

        # In this order, a sum does not depend on the pieces in which scores arrive.
        total = np.zeros_like(scores)
        for first in range(n_steps):
            total += joined[first : first + len(scores)]
        return total / n_steps

    def decide(self, smoothed: StepScores, times: npt.NDArray[Any]) -> list[Detection]:
        """The detections in the next steps, from their smoothed scores."""
        decision = self._decision
        if not (smoothed >= decision.threshold).any():  # most blocks of a stream
            self._levels[(smoothed < decision.release).any(axis=0)] = -1
            return []

        rises: list[tuple[int, float, int]] = []
        for event, column in enumerate(smoothed.T):
            steps = np.flatnonzero((column >= decision.threshold) | (column < decision.release))
            levels = np.where(column[steps] >= decision.threshold, 1, -1).astype(np.int8)
            before = np.concatenate([self._levels[event : event + 1], levels])
            self._levels[event] = before[-1]
            rises += [(step, -column[step], event) for step in steps[np.diff(before) == 2]]

        # Of several events in a step, the one with the highest score is detected.
        detections = []
        for step, _, event in sorted(rises):
            time = float(times[step])
            if time >= self._free_from:
                self._free_from = time + decision.dead_time
                score = float(smoothed[step, event])
                detections.append(Detection(decision.events[event], time, score))
        return detections


def event_scores(outputs: npt.NDArray[Any]) -> StepScores:
    """The score of each event in each step: `log p(event) - log p(not this event)`.

    Args:
        outputs: The logits of the classes, `[T, C]`; class 0 is the background.

    Returns:
        `[T, C - 1]`.

    Example:
        >>> event_scores(np.log([[0.5, 0.25, 0.25]])).round(4).tolist()
        [[-1.0986, -1.0986]]
    """
    logits = np.asarray(outputs, np.float64)
    classes = range(logits.shape[1])
    others = [[other for other in classes if other != event] for event in classes[1:]]
    rest = [np.logaddexp.reduce(logits[:, columns], axis=1) for columns in others]
    return np.asarray(logits[:, 1:] - np.stack(rest, axis=1))


def fit_decision(
    streams: Sequence[ScoredStream],
    *,
    events: Sequence[str],
    step_seconds: float,
    false_alarms: float,
) -> tuple[Decision, list[str]]:
    """The decision with the fewest misses within a budget of false alarms.

    For each smoothing and dead time, some thresholds are tried, from the lowest one within the
    budget. If the budget is less than one false alarm in the streams, that is at least the
    threshold at which an exponential tail, fitted to the highest peaks of the background, has the
    rate of the budget. A higher one may miss less, because at a low one, the wrong event is often
    detected first. Equal numbers of misses are decided by the false alarms, then by the median
    latency.

    Args:
        streams: Streams of the validation set; at least one.
        events: The name of each column of the scores.
        step_seconds: Time between two steps [s].
        false_alarms: The budget, of all events together [1/h].

    Returns:
        The decision, and notes for the user.
    """
    hours = sum(stream.seconds for stream in streams) / 3600
    fits = []
    for smoothing, dead_time in product(SMOOTHINGS, DEAD_TIMES):
        decision = Decision(
            events=tuple(events),
            step_seconds=step_seconds,
            smoothing=smoothing,
            threshold=0,
            release=-HYSTERESIS,
            dead_time=dead_time,
        )
        smoothed = _smoothed(decision, streams)
        lowest = _lowest_threshold(decision, smoothed, false_alarms * hours)
        if false_alarms * hours < 1:
            tail = _tail_threshold(_peaks(decision, smoothed), hours, false_alarms)
            lowest = max(lowest, tail)
        for threshold in _thresholds_from(lowest, decision, smoothed):
            candidate = decision.at(threshold)
            score = _counted(candidate, smoothed)
            if len(score.false_alarms) <= false_alarms * hours or threshold == lowest:
                fits.append((candidate, score))

    best, score = min(
        fits, key=lambda fit: (fit[1].misses, len(fit[1].false_alarms), fit[1].latency(50))
    )
    notes = []
    if false_alarms * hours < 1:
        notes.append(
            f"{false_alarms:g} false alarms per hour are less than one in the {hours:.2g} h of the "
            f"validation streams: the threshold follows from the {TAIL_PEAKS} highest scores of "
            "the background, and the 95 % interval of the false alarms on these streams reaches "
            f"to {score.false_alarms_interval[1]:.2f} per hour. Add background to narrow it."
        )
    return best, notes


def detection_curve(
    decision: Decision, streams: Sequence[ScoredStream]
) -> list[tuple[float, DetectionScore]]:
    """How well the events of streams are detected at other thresholds.

    The release level moves with the threshold.

    Args:
        decision: The decision, whose smoothing and dead time do not change.
        streams: The streams; at least one.

    Returns:
        Threshold and score, in the order of falling thresholds, from the lowest threshold without a
        false alarm of the background to about 100 false alarms per hour.
    """
    smoothed = _smoothed(decision, streams)
    peaks = _peaks(decision, smoothed)
    hours = sum(stream.seconds for stream in streams) / 3600
    n_peaks = min(len(peaks), math.ceil(hours * MAX_ALARMS_PER_HOUR))
    ranks = np.unique(np.geomspace(1, max(n_peaks, 1), CURVE_POINTS).astype(int)) - 1

    thresholds = {decision.threshold, *np.nextafter(peaks, math.inf)[ranks[:n_peaks]].tolist()}
    falling = sorted(thresholds, reverse=True)
    return [(threshold, _counted(decision.at(threshold), smoothed)) for threshold in falling]


def _smoothed(decision: Decision, streams: Sequence[ScoredStream]) -> list[ScoredStream]:
    """Streams with smoothed scores, each event's contiguous in memory, which `decide` reads."""
    return [
        stream._replace(scores=np.asfortranarray(DecisionStream(decision).smooth(stream.scores)))
        for stream in streams
    ]


def _counted(decision: Decision, smoothed: Sequence[ScoredStream]) -> DetectionScore:
    """The score of a decision on streams with smoothed scores."""
    scores = []
    for stream in smoothed:
        detections = DecisionStream(decision).decide(stream.scores, stream.times)
        scores.append(DetectionScore.of(stream.events, detections, seconds=stream.seconds))
    return reduce(add, scores)


def _lowest_threshold(
    decision: Decision, smoothed: Sequence[ScoredStream], n_allowed: float
) -> float:
    """The lowest threshold with at most a number of false alarms.

    False alarms change at the peaks of the scores, so only thresholds just above them are tried,
    and a higher threshold is taken to have at most as many.
    """
    highest = max(float(stream.scores.max()) for stream in smoothed)
    peaks = [highest, *_peaks(decision, smoothed, with_events=True)]
    thresholds = np.nextafter(peaks, math.inf)

    def count_false_alarms(threshold: float) -> int:
        return len(_counted(decision.at(float(threshold)), smoothed).false_alarms)

    # From the highest threshold down, so the count only rises. If no threshold is within the
    # number, the highest is taken.
    n_within = bisect_right(thresholds, n_allowed, key=count_false_alarms)
    return float(thresholds[max(n_within - 1, 0)])


def _thresholds_from(
    lowest: float, decision: Decision, smoothed: Sequence[ScoredStream]
) -> list[float]:
    """A threshold and some above it, among which the same number of peaks lies."""
    peaks = _peaks(decision, smoothed, with_events=True)
    above = peaks[peaks > lowest]
    chosen = np.linspace(0, len(above) - 1, min(TRIED_THRESHOLDS, len(above)))
    return [lowest, *above[chosen.astype(int)].tolist()]


def _peaks(
    decision: Decision, smoothed: Sequence[ScoredStream], *, with_events: bool = False
) -> StepScores:
    """The peaks of the scores of all streams, the highest first; at most one per dead time.

    Peaks up to the median of the scores do not count: with thresholds that low, a score would never
    fall below the release level.

    Args:
        decision: The decision.
        smoothed: Streams with smoothed scores.
        with_events: Whether peaks in events and shortly after them count.
    """
    width = 2 * round(decision.dead_time / decision.step_seconds) + 1
    maximum_filter = require("scipy.ndimage", "train").maximum_filter1d
    peaks = []
    for stream in smoothed:
        highest = stream.scores.max(axis=1)
        for _, start, end in () if with_events else stream.events:
            after = end + TOLERANCE + decision.dead_time
            first, last = np.searchsorted(stream.times, [start, after])
            highest[first:last] = -math.inf
        is_peak = highest == maximum_filter(highest, width)
        is_peak &= highest > np.median(stream.scores.max(axis=1))
        peaks.append(highest[is_peak])
    return np.sort(np.concatenate(peaks))[::-1]


def _tail_threshold(peaks: StepScores, hours: float, rate: float) -> float:
    """The threshold that the peaks of the background pass at a rate, by an exponential tail.

    The excess of the highest peaks over the next lower one has an exponential distribution, whose
    scale is its mean.

    Args:
        peaks: The peaks, the highest first.
        hours: The length of the streams [h].
        rate: The rate [1/h].

    References:
        Coles 2001, "An introduction to statistical modeling of extreme values", chapter 4, for a
        shape of 0, doi:10.1007/978-1-4471-3675-0.
    """
    n_tail = min(TAIL_PEAKS, len(peaks) - 1)
    if n_tail < 1:
        return -math.inf
    scale = np.mean(peaks[:n_tail]) - peaks[n_tail]
    return float(peaks[n_tail] + scale * math.log(n_tail / (hours * rate)))
