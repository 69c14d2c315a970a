"""The page of a detector: misses, false alarms and latency, their curves, and its worst errors."""

from functools import partial

import numpy as np
import torch

from nwavesdk.data.composed import ComposedSeries, Framing
from nwavesdk.data.streams import Stream
from nwavesdk.metrics import DetectionScore
from nwavesdk.net.preparation import prepared
from nwavesdk.net.recording import record_spikes
from nwavesdk.train.apply.decision import Decision, DecisionStream, detection_curve
from nwavesdk.train.apply.detections import DetectorTest, snr_name
from nwavesdk.train.data.detection import SNR
from nwavesdk.train.report.finished import FinishedRun
from nwavesdk.train.report.page import Card, Picture, ReportPage, Table
from nwavesdk.train.report.pictures import Array
from nwavesdk.train.report.task_pictures import detection_curves, stream_part

__all__ = ["page_of_detector"]

# Rows of the tables of false alarms and of thresholds.
MAX_ALARMS = 20
MAX_THRESHOLDS = 8

# The drawn part of a stream: before and after the end of an event [s]. The net runs longer before.
BEFORE, AFTER, WARM_UP = 6.0, 6.0, 4.0


def page_of_detector(run: FinishedRun) -> ReportPage:
    """The page of a run that detects events."""
    detector = run.detector
    assert detector is not None
    part, score = run.part, detector.evaluated.scores[SNR]
    names = run.facts.classes[1:]

    summary = (
        f"Detects {', '.join(names)} in streams, from {run.source}. "
        f"{score.n_events:,} event{'s' * (score.n_events != 1)} in {score.hours:.2f} h of the "
        f"{part} stream, "
        f"{_mixture(run, SNR)}."
    )
    return ReportPage(
        title=f"Run {run.folder.path.name}",
        summary=summary,
        headline=(
            f"misses {100 * score.misses:.1f} %",
            f"{_misses_interval(score)} at {score.false_alarms_per_hour:.2f} false alarms per hour "
            f"{_alarms_interval(score)}, "
            + (f"median latency {_latency(score, 50)}" if score.latencies else "no event detected")
            + run.split_caveat,
        ),
        cards=_cards(run, detector.decision, score),
        sections=[
            _curves(run, detector),
            *_score_tables(run, detector),
            _threshold_table(detector),
            _alarm_table(run, detector),
            _part(run, detector),
        ],
    )


def _mixture(run: FinishedRun, snr: float | None) -> str:
    """How events are mixed with background, in words."""
    return "as recorded" if getattr(run.config.task, "times", None) else snr_name(snr)


def _misses_interval(score: DetectionScore) -> str:
    low, high = (100 * share for share in score.misses_interval)
    return f"[{low:.1f} to {high:.1f}]"


def _alarms_interval(score: DetectionScore) -> str:
    low, high = score.false_alarms_interval
    return f"[{low:.2f} to {high:.2f}]"


def _latency(score: DetectionScore, percent: float) -> str:
    return f"{1e3 * score.latency(percent):.0f} ms" if score.latencies else "none"


def _cards(run: FinishedRun, decision: Decision, score: DetectionScore) -> list[Card]:
    """The decision, and the time until an event is detected."""
    budget = run.config.task.false_alarms  # type: ignore[union-attr]  # of a detector
    text = (
        f"Log-odds from which an event is detected, chosen on the validation stream for {budget:g} "
        f"false alarms per hour; smoothed over {decision.smoothing:g} s, released below "
        f"{decision.release:.2f}, dead time {decision.dead_time:g} s."
    )
    latency = "From the end of an event to the arrival of the last sample that its detection needs."
    return [
        Card("Threshold", f"{decision.threshold:.2f}", text),
        Card("90 % latency", _latency(score, 90), latency),
    ]


def _curves(run: FinishedRun, detector: DetectorTest) -> Picture:
    """Misses over false alarms per hour."""
    evaluated = detector.evaluated
    curves = {
        _mixture(run, snr): [score for _, score in detection_curve(detector.decision, streams)]
        for snr, streams in evaluated.scored.items()
    }
    chosen = {_mixture(run, snr): score for snr, score in evaluated.scores.items()}
    budget = run.config.task.false_alarms  # type: ignore[union-attr]  # of a detector
    return Picture(
        "detection_curves",
        f"Misses against false alarms per hour on the {run.part} stream, over all thresholds.",
        partial(detection_curves, curves, chosen, budget),
    )


def _score_tables(run: FinishedRun, detector: DetectorTest) -> list[Table]:
    """The numbers of all streams, and misses by event."""
    rows = [
        (f"{run.part}, {_mixture(run, snr)}", score)
        for snr, score in detector.evaluated.scores.items()
    ]
    if detector.test is not None:
        rows.append((f"validation, {_mixture(run, SNR)}", detector.val.scores[SNR]))
    columns = ("stream", "misses", "false alarms per hour", "median latency", "90 % latency")
    by_stream = Table(
        "By signal-to-noise ratio",
        "At the threshold of the detector. In brackets: 95 % intervals.",
        columns,
        [
            (
                name,
                f"{100 * score.misses:.1f} % {_misses_interval(score)}",
                f"{score.false_alarms_per_hour:.2f} {_alarms_interval(score)}",
                _latency(score, 50),
                _latency(score, 90),
            )
            for name, score in rows
        ],
    )

    evaluated = detector.evaluated
    missed = [event.name for event in evaluated.scores[SNR].missed]
    events = [event.name for stream in evaluated.streams for event in stream.events]
    by_event = Table(
        "By event",
        f"Classes with misses on the {run.part} stream, {_mixture(run, SNR)}.",
        ("event", "events", "missed"),
        [
            (name, events.count(name), missed.count(name))
            for name in detector.decision.events
            if name in missed
        ],
    )
    return [by_stream, by_event]


def _threshold_table(detector: DetectorTest) -> Table:
    """What other thresholds do on the validation stream."""
    curve = detection_curve(detector.decision, detector.val.scored[SNR])
    chosen = np.unique(np.linspace(0, len(curve) - 1, MAX_THRESHOLDS).astype(int))
    return Table(
        "Other thresholds",
        "On the validation stream. `nwave detect --threshold` takes one of them.",
        ("threshold", "misses", "false alarms per hour"),
        [
            (f"{level:.2f}", f"{100 * score.misses:.1f} %", f"{score.false_alarms_per_hour:.2f}")
            for level, score in (curve[index] for index in chosen)
        ],
    )


def _alarm_table(run: FinishedRun, detector: DetectorTest) -> Table:
    """The loudest false alarms, also those below the threshold, with file and time."""
    decision, evaluated = detector.decision, detector.evaluated
    scored = evaluated.scored[SNR]
    curve = detection_curve(decision, scored)
    enough = (k for k, (_, score) in enumerate(curve) if len(score.false_alarms) >= MAX_ALARMS)
    lower = decision.at(curve[next(enough, len(curve) - 1)][0])

    rows = []
    for stream, scores in zip(evaluated.streams, scored, strict=True):
        smoothed = DecisionStream(decision).smooth(scores.scores)
        for alarm in lower.score([scores]).false_alarms:
            # A detection has the score of its first step; its highest score comes later.
            ends = (alarm.time, alarm.time + decision.dead_time)
            after = slice(*np.searchsorted(scores.times, ends))
            peak = smoothed[after, decision.events.index(alarm.name)].max().item()
            file, seconds = stream.source_at(alarm.time)
            near = (e.name for e in stream.events if e.start <= alarm.time <= e.end + 1)
            rows.append((peak, alarm.name, file, seconds, alarm.time, next(near, "")))
    rows.sort(key=lambda row: -row[0])
    return Table(
        "Loudest false alarms",
        f"On the {run.part} stream, {_mixture(run, SNR)}. Only scores of at least "
        f"{decision.threshold:.2f} are detections; the others show what comes next.",
        (
            "highest score",
            "taken for",
            "file",
            "time in the file [s]",
            "time in the stream [s]",
            "event then",
        ),
        rows[:MAX_ALARMS],
    )


def _part(run: FinishedRun, detector: DetectorTest) -> Picture:
    """A part of the first stream around its first event."""
    train, decision, evaluated = run.data.train, detector.decision, detector.evaluated
    assert isinstance(train, ComposedSeries)
    stream, scored, hop = evaluated.streams[0], evaluated.scored[SNR][0], train.framing.hop

    center = stream.events[0].end if stream.events else 0.0
    first = max(0, round((center - BEFORE) / hop))
    last = min(len(scored.scores), first + round((BEFORE + AFTER) / hop))
    x, spikes = _record(run, stream, train.framing, (first, last))
    smoothed = DecisionStream(decision).smooth(scored.scores)[first:last]
    times = hop * np.arange(first, last + 1)
    events = [event for event in stream.events if times[0] <= event.start <= times[-1]]
    detections = decision.detections(scored.scores, scored.times)
    inside = [detection for detection in detections if times[0] <= detection.time <= times[-1]]
    return Picture(
        "stream",
        f"A part of the {run.part} stream, {_mixture(run, SNR)}.",
        partial(stream_part, x, spikes, smoothed, decision, events, inside, times),
    )


@torch.no_grad()
def _record(
    run: FinishedRun, stream: Stream, framing: Framing, steps: tuple[int, int]
) -> tuple[Array, Array]:
    """The input and the spikes of the last hidden layer in a range of steps, `[T, F]`, `[T, N]`."""
    # The net and its input have states, so they run from some seconds before.
    first, last = steps
    n_before = min(first, round(WARM_UP / framing.hop))
    rate = stream.sample_rate
    start = round((first - n_before) * framing.hop * rate)
    stop = round(((last - 1) * framing.hop + framing.first_end) * rate)

    x = run.data.val.input.scaled(framing.frames(stream.read(start, stop)), "")
    with prepared(run.net):
        device = next(run.net.parameters()).device
        recording = record_spikes(run.net, torch.from_numpy(x)[None].to(device))
    last_hidden = recording.spiking[list(recording.hidden)[-1]]
    spikes = last_hidden[0, n_before:].flatten(1).float().cpu().numpy()
    return x[n_before:], spikes
