"""Detections in streams: the matching against a second way of counting, and printed intervals."""

import math
import random

import pytest

from nwavesdk.metrics import Detection, DetectionScore, Event
from nwavesdk.metrics.detection import TOLERANCE

NAMES = ("yes", "no")


def count_second_by_second(
    events: list[Event], detections: list[Detection]
) -> tuple[list[Event], list[Detection], list[float]]:
    """Missed events, false alarms and latencies, by a walk over all seconds of a stream."""
    missed: list[Event] = []
    false_alarms: list[Detection] = []
    latencies: list[float] = []
    waiting: list[Event] = []
    for second in range(200):
        waiting += sorted(event for event in events if event.start == second)
        waiting.sort(key=lambda event: (event.start, event.end))
        for detection in (each for each in detections if each.time == second):
            names = [event.name for event in waiting]
            if detection.name in names:
                event = waiting.pop(names.index(detection.name))
                latencies.append(second - event.end)
            else:
                false_alarms.append(detection)
        missed += [event for event in waiting if event.end + TOLERANCE == second]
        waiting = [event for event in waiting if event.end + TOLERANCE > second]
    return missed, false_alarms, latencies


def random_track(seed: int) -> tuple[list[Event], list[Detection]]:
    """Events and detections at whole seconds, sparse or crowded, also at the same second."""
    draw = random.Random(seed)
    span = draw.choice((10, 40, 150))
    starts = [draw.randrange(span) for _ in range(draw.randrange(12))]
    events = [Event(draw.choice(NAMES), start, start + draw.randrange(5)) for start in starts]
    times = [draw.randrange(span + 10) for _ in range(draw.randrange(20))]
    return events, [Detection(draw.choice(NAMES), time) for time in times]


def test_ten_thousand_random_tracks_are_counted_as_second_by_second() -> None:
    n_matches = 0
    for seed in range(10_000):
        events, detections = random_track(seed)
        score = DetectionScore.of(events, detections, seconds=200)
        missed, false_alarms, latencies = count_second_by_second(events, detections)
        assert sorted(score.missed) == sorted(missed), seed
        assert sorted(score.false_alarms) == sorted(false_alarms), seed
        assert sorted(score.latencies) == sorted(latencies), seed
        n_matches += len(latencies)
    assert n_matches > 10_000


@pytest.mark.parametrize(
    ("times", "n_missed", "n_false_alarms"),
    [
        ([], 1, 0),
        ([4.999], 1, 1),  # before its start
        ([5.0], 0, 0),
        ([5.0 + 0.5 + TOLERANCE], 0, 0),
        ([5.0 + 0.5 + TOLERANCE + 1e-6], 1, 1),  # too late
        ([5.2, 5.9], 0, 1),  # a second time
    ],
)
def test_an_event_takes_one_detection_until_a_second_after_its_end(
    times: list[float], n_missed: int, n_false_alarms: int
) -> None:
    detections = [Detection("yes", time) for time in times]
    score = DetectionScore.of([Event("yes", 5.0, 5.5)], detections, seconds=60)
    assert (len(score.missed), len(score.false_alarms)) == (n_missed, n_false_alarms)


def test_a_wrong_word_is_a_miss_and_a_false_alarm() -> None:
    score = DetectionScore.of([Event("yes", 5, 6)], [Detection("no", 6)], seconds=1800)
    assert (score.misses, score.false_alarms_per_hour) == (1.0, 2.0)
    assert math.isnan(score.latency(50))


def test_scores_of_streams_add_up() -> None:
    first = DetectionScore.of([Event("yes", 5, 6)], [Detection("yes", 5.5)], seconds=1000)
    second = DetectionScore.of(
        [Event("yes", 5, 6), Event("no", 8, 9)],
        [Detection("yes", 6.5), Detection("yes", 50)],
        seconds=2600,
    )
    both = first + second
    assert both.misses == 1 / 3
    assert both.false_alarms_per_hour == 1.0
    assert (both.latency(0), both.latency(50), both.latency(100)) == (-0.5, 0.0, 0.5)


def test_intervals_are_those_of_clopper_and_pearson_and_of_garwood() -> None:
    pytest.importorskip("scipy")
    events = [Event("yes", 10.0 * n, 10.0 * n + 1) for n in range(20)]
    detections = [Detection("yes", event.end) for event in events[2:]]
    alarms = [Detection("no", 500.0 + n) for n in range(3)]
    score = DetectionScore.of(events, [*detections, *alarms], seconds=2 * 3600)
    # binom.test(2, 20) and poisson.test(3, 2) of R
    assert score.misses_interval == pytest.approx((0.01234853, 0.31698271), rel=1e-6)
    assert score.false_alarms_interval == pytest.approx((0.3093361, 4.3836365), rel=1e-6)


def test_intervals_without_events_and_without_errors() -> None:
    pytest.importorskip("scipy")
    silent = DetectionScore.of([], [], seconds=3600)
    assert math.isnan(silent.misses)
    assert silent.misses_interval == (0, 1)
    # The rule of three, exactly: −ln(0.025)
    assert silent.false_alarms_interval == pytest.approx((0, 3.6888794), rel=1e-6)
    perfect = DetectionScore.of([Event("yes", 0, 1)] * 1, [Detection("yes", 1)], seconds=9)
    assert perfect.misses_interval == pytest.approx((0, 0.975))


@pytest.mark.parametrize(
    ("events", "seconds", "text"),
    [
        ([Event("yes", 2.0, 1.0)], 60, "an event has to end after its start, got Event"),
        ([], 0, "seconds"),
    ],
)
def test_impossible_streams_are_errors(events: list[Event], seconds: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DetectionScore.of(events, [], seconds=seconds)
