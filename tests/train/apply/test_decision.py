"""The decision: against a plain loop over steps, in pieces, and fitted to false alarms per hour."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nwavesdk.metrics import Detection, DetectionScore, Event
from nwavesdk.train.apply.decision import (
    Decision,
    DecisionStream,
    ScoredStream,
    detection_curve,
    event_scores,
    fit_decision,
)
from train.runs import load_detector

pytest.importorskip("lightning")
soundfile = pytest.importorskip("soundfile")

STEP = 0.01
NAMES = ("no", "yes")


def decision_of(**fields: object) -> Decision:
    default = {"smoothing": 0, "threshold": 1, "release": 0, "dead_time": 1}
    return Decision.of({"events": NAMES, "step_seconds": 1.0, **default, **fields})


def decide_step_by_step(
    decision: Decision, scores: np.ndarray, times: np.ndarray
) -> list[Detection]:
    """The detections by a loop over the steps of a stream."""
    past = [scores[0]] * max(1, round(decision.smoothing / decision.step_seconds))
    was_low = [False] * len(decision.events)
    detections: list[Detection] = []
    for step, time in zip(scores, times, strict=True):
        past = [*past[1:], step]
        rises = []
        for event, score in enumerate(sum(past) / len(past)):
            if score < decision.release:
                was_low[event] = True
            elif score >= decision.threshold and was_low[event]:
                was_low[event] = False
                rises.append((score, decision.events[event]))
        is_free = not detections or time >= detections[-1].time + decision.dead_time
        if rises and is_free:
            score, name = max(rises)
            detections.append(Detection(name, time, score))
    return detections


@pytest.mark.parametrize("smoothing", [0, 2, 5])
def test_detections_are_those_of_a_loop_over_steps_in_any_pieces(smoothing: float) -> None:
    n_detections = 0
    for seed in range(30):
        draw = np.random.default_rng(seed)
        decision = decision_of(
            smoothing=smoothing,
            threshold=draw.uniform(0, 1),
            release=draw.uniform(-1, 0),
            dead_time=draw.integers(1, 6),
        )
        scores = draw.normal(size=(200, 2))
        times = np.arange(200) // 3 * 3 + 2.0  # blocks of three steps
        detections = decision.detections(scores, times)
        expected = decide_step_by_step(decision, scores, times)
        assert [event[:2] for event in detections] == [event[:2] for event in expected], seed
        assert [event.score for event in detections] == pytest.approx(
            [event.score for event in expected]
        )
        stream = DecisionStream(decision)
        borders = [0, 0, *np.sort(draw.integers(0, 200, 30)).tolist(), 200]
        pieces = [stream.push(scores[a:b], times[a:b]) for a, b in pairwise(borders)]
        assert [detection for piece in pieces for detection in piece] == detections
        n_detections += len(detections)
    assert n_detections > 100


def test_scores_are_log_odds_also_far_from_even_and_in_any_pieces() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (300, 4)).astype(np.float32)
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    scores = event_scores(logits)
    np.testing.assert_allclose(scores, np.log(p / (1 - p))[:, 1:], rtol=1e-9)
    pieces = [event_scores(piece) for piece in np.split(logits, [1, 2, 50, 51])]
    assert np.array_equal(np.concatenate(pieces), scores)
    assert event_scores(np.array([[1000.0, -1000.0]])).tolist() == [[-2000.0]]
    assert event_scores(np.zeros((0, 4))).shape == (0, 3)


def stream_of(seed: int, hours: float = 0.2, n_events: int = 40) -> ScoredStream:
    """A stream with bumps of the score in events, and lower ones in the background."""
    draw = np.random.default_rng(seed)
    scores = draw.normal(-8, 1, (round(hours * 3600 / STEP), 2))
    events = []
    for index, start in enumerate(np.arange(n_events) * hours * 3600 / n_events + 5):
        events.append(Event(NAMES[index % 2], start, start + 0.5))
        first = round((start + 0.4) / STEP)
        scores[first : first + 30, index % 2] += draw.normal(14, 3)
    for first in draw.integers(0, len(scores), round(500 * hours)):
        scores[first : first + 30, draw.integers(2)] += draw.exponential(4)
    # Single steps with high scores, which smoothing removes.
    scores[draw.integers(0, len(scores), round(1500 * hours)), 0] += 20
    times = (np.arange(len(scores)) // 10 + 1) * 0.1
    return ScoredStream(scores, times, tuple(events), hours * 3600)


def fit(streams: list[ScoredStream], false_alarms: float) -> tuple[Decision, list[str]]:
    return fit_decision(streams, events=NAMES, step_seconds=STEP, false_alarms=false_alarms)


def test_the_threshold_with_the_fewest_misses_within_the_budget_is_chosen() -> None:
    streams = [stream_of(0), stream_of(1)]
    decision, notes = fit(streams, 15.0)
    assert notes == []
    assert decision.smoothing > 0
    assert decision.threshold - decision.release == pytest.approx(2)
    score = decision.score(streams)
    assert score.hours == pytest.approx(0.4)
    assert score.n_events == 80
    assert 4 <= len(score.false_alarms) <= 6
    assert 0 < score.misses < 0.3
    lower = decision.model_copy(update={"threshold": decision.threshold - 0.7})
    assert len(lower.score(streams).false_alarms) > 6
    # A larger budget never has more misses.
    assert fit(streams, 75.0)[0].score(streams).misses <= score.misses


def test_a_higher_threshold_is_chosen_if_a_low_one_detects_the_wrong_event() -> None:
    scores = np.random.default_rng(0).normal(-8, 1, (12_000, 2))
    events = []
    for index, start in enumerate(range(10, 110, 5)):
        events.append(Event(NAMES[index % 2], start, start + 0.6))
        first = round(start / STEP)
        scores[first : first + 30, 1 - index % 2] = 2  # the wrong event
        scores[first + 30 : first + 60, index % 2] = 8
    stream = ScoredStream(scores, np.arange(len(scores)) * STEP, tuple(events), 120.0)
    # All 20 wrong events are within the budget.
    decision, _ = fit([stream], 600.0)
    assert decision.score([stream]).misses == 0
    assert decision.score([stream]).false_alarms == ()
    assert 2 < decision.threshold <= 8


def test_a_budget_of_less_than_one_alarm_follows_the_tail_of_the_background() -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(-50, 1, (360_000, 1))
    peaks = np.arange(100, 359_000, 360)  # about 1,000 an hour, exponential, with scale 2
    scores[peaks] = draw.exponential(2, (len(peaks), 1))
    events = tuple(Event("yes", peak * STEP + 1.5, peak * STEP + 1.8) for peak in peaks[::50])
    for event in events:
        first = round(event.end / STEP)
        scores[first : first + 20] = 100
    stream = ScoredStream(scores, np.arange(len(scores)) * STEP, events, 3600)
    decision, notes = fit_decision([stream], events=["yes"], step_seconds=STEP, false_alarms=0.1)
    assert decision.score([stream]).misses == 0
    assert decision.score([stream]).false_alarms == ()
    # exp(-threshold / 2) of the peaks pass the threshold, if nothing is smoothed.
    assert decision.smoothing == 0
    assert decision.threshold == pytest.approx(2 * math.log(len(peaks) / 0.1), rel=0.25)
    assert len(notes) == 1
    assert "0.1 false alarms per hour are less than one in the 1 h" in notes[0]
    assert "reaches to 3.69 per hour" in notes[0]
    # A larger rate has a lower threshold, but not below a false alarm that was seen.
    lower, _ = fit_decision([stream], events=["yes"], step_seconds=STEP, false_alarms=0.99)
    assert lower.threshold < decision.threshold
    assert lower.score([stream]).false_alarms == ()


def test_a_stream_without_background_scores_has_a_decision() -> None:
    stream = ScoredStream(np.zeros((100, 2)), np.arange(100) * STEP, (), 1.0)
    decision, _ = fit([stream], 1.0)
    assert decision.detections(stream.scores, stream.times) == []


def test_the_curve_has_the_score_of_each_threshold() -> None:
    streams = [stream_of(2)]
    decision, _ = fit(streams, 40.0)
    curve = detection_curve(decision, streams)
    thresholds = [threshold for threshold, _ in curve]
    assert thresholds == sorted(thresholds, reverse=True)
    assert dict(curve)[decision.threshold] == decision.score(streams)
    rates = [score.false_alarms_per_hour for _, score in curve]
    assert rates[0] == 0
    assert rates[-1] > 60
    for threshold, score in curve[::7]:
        release = threshold - decision.threshold + decision.release
        moved = decision.model_copy(update={"threshold": threshold, "release": release})
        assert isinstance(score, DetectionScore)
        assert moved.score(streams) == score


def test_a_damaged_decision_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^threshold: [^\n]*$"):
        decision_of(threshold=math.nan)


def test_a_run_detects_the_same_events_in_files_samples_and_pieces(
    live_run: Path, tones: Path, tmp_path: Path
) -> None:
    run = load_detector(live_run)
    files = [tones / name / f"{n}.wav" for n in range(6) for name in ("low", "high", "middle")]
    sound = np.concatenate([soundfile.read(file, dtype="float32")[0] for file in files])
    soundfile.write(tmp_path / "a.wav", sound, 8000, "FLOAT")
    detections = run.detect(sound)
    assert len(detections) > 4
    assert {detection.name for detection in detections} == {"low", "middle"}
    assert run.detect(tmp_path / "a.wav") == detections
    detector = run.detector()
    borders = np.sort(np.random.default_rng(0).integers(0, len(sound), 60))
    pieces = [detector.push(piece) for piece in np.split(sound, borders)]
    assert [
        detection for piece in [*pieces, detector.finish()] for detection in piece
    ] == detections
    # The scores are from the net, and the times from its blocks.
    stream = run.stream()
    values, times = map(np.concatenate, zip(stream.push(sound), stream.finish(), strict=True))
    assert run.decision.detections(event_scores(values), times) == detections


def test_a_run_of_another_task_has_no_detector(live_run: Path) -> None:
    from nwavesdk.train import load

    with pytest.raises(ValueError, match=r"task classification, expected .* train with `nwave tr"):
        load(live_run).detector()
