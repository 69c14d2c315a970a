"""Training chunks: the classes of their steps, and what decides them."""

import numpy as np
import pytest
import torch

from nwavesdk.data import LogMel, NetInput, Recordings, Standard
from nwavesdk.data.composed import (
    CHUNK_SECONDS,
    LABELS,
    WARM_UP_SECONDS,
    ComposedSeries,
    Framing,
    step_labels,
)
from nwavesdk.data.streams import Sounds
from nwavesdk.metrics import Event

RATE = 1000
LABEL_BEFORE, LABEL_AFTER, IGNORED_AFTER = LABELS
CLASSES = ("background", "no", "yes")
LOG_MEL = LogMel(RATE, bands=4)
FRAMING = Framing(LOG_MEL.stream, LOG_MEL.width / RATE, LOG_MEL.step / RATE)


def series_of(background: np.ndarray, events: tuple[tuple[Event, ...], ...] = ()) -> ComposedSeries:
    """Chunks of a background, in two classes of tones or with events inside."""
    times = np.arange(400) / RATE
    values = [background]
    if not events:
        values += [np.sin(2 * np.pi * pitch * times) for pitch in (50, 200)]
    recordings = Recordings(
        tuple(samples[:, None].astype(np.float32) for samples in values),
        np.arange(len(values)),
        CLASSES,
        tuple(f"{index}.wav" for index in range(len(values))),
        fingerprint="",
        task="detect",
        sample_rate=RATE,
        events=events,
    )
    zeros = np.zeros(4, np.float32)
    series = ComposedSeries(
        recordings,
        NetInput(standard=Standard(zeros, zeros + 1)),
        seed=3,
        sounds=Sounds.of(recordings, RATE),
        framing=FRAMING,
    )
    frames = tuple(series.featured(index).frames for index in range(2))
    sample = Recordings(
        frames, np.zeros(2, np.int64), CLASSES, ("a", "b"), fingerprint="", task="detect"
    )
    return ComposedSeries(sample, series.input, seed=3, sounds=series.sounds, framing=FRAMING)


@pytest.fixture
def series() -> ComposedSeries:
    draw = np.random.default_rng(0)
    # The first half of the background is loud, so that a chunk shows where it is.
    return series_of(np.repeat([1.0, 0.1], 30_000) * draw.standard_normal(60_000))


def test_the_end_of_an_event_has_its_class_and_its_beginning_none() -> None:
    ends = np.arange(400) / 100
    labels = step_labels([Event("yes", 0.995, 1.595)], ends, CLASSES)
    runs = {int(label): ends[labels == label][[0, -1]] for label in (-1, 2)}
    np.testing.assert_allclose(runs[2], [1.6 - LABEL_BEFORE, 1.59 + LABEL_AFTER])
    np.testing.assert_allclose(runs[-1], [1.0, 1.59 + LABEL_AFTER + IGNORED_AFTER])
    assert (labels[ends < 1.0] == 0).all()
    assert (labels[ends > 1.61 + LABEL_AFTER + IGNORED_AFTER] == 0).all()


def test_the_class_of_an_event_wins_over_the_steps_that_another_ignores() -> None:
    ends = np.arange(400) / 100
    events = [Event("yes", 1.0, 1.6), Event("no", 1.7, 2.0)]
    labels = step_labels(events, ends, CLASSES)
    assert set(labels[(ends > 1.61) & (ends < 1.89)]) == {2}
    assert set(labels[(ends > 2.01) & (ends < 2.29)]) == {1}


def test_a_chunk_is_a_function_of_seed_epoch_and_index(series: ComposedSeries) -> None:
    indices = [series.variation_index(index, epoch) for epoch in (0, 1) for index in (0, 5)]
    batch = series.batch(indices)
    again = [series.batch([index]).x[0] for index in reversed(indices)]
    assert torch.equal(batch.x, torch.stack(again[::-1]))
    assert len({tuple(x.flatten().tolist()) for x in batch.x}) == 4


def test_chunks_have_classes_for_their_steps(series: ComposedSeries) -> None:
    assert len(series) == 60 / CHUNK_SECONDS
    x, y, lengths = series.batch(np.arange(len(series)))
    assert x.shape[:2] == y.shape
    assert set(lengths.tolist()) == set(series.lengths.tolist()) == {x.shape[1]}
    assert set(y.unique().tolist()) == {-1, 0, 1, 2}
    # Some chunks have no event, and some have two.
    counts = [len(series.chunk(index)[1]) for index in range(200)]
    assert set(counts) == {0, 1, 2}


def test_hard_places_are_in_chunks_without_events(series: ComposedSeries) -> None:
    before = series.batch([7, 8]).x
    place = 45_000
    series.set_hard_places(np.array([place]))
    hard = [
        index
        for index in range(300)
        if series._draw_place(np.random.default_rng([3, *divmod(index, len(series))]), 3000)[1]
    ]
    assert 50 < len(hard) < 130
    for index in hard:
        sound, events = series.chunk(index)
        assert events == []
        assert sound.std() < 0.5  # of the quiet half
    series.set_hard_places(np.zeros(0, np.int64))
    assert torch.equal(series.batch([7, 8]).x, before)


def test_a_short_background_is_repeated() -> None:
    series = series_of(np.random.default_rng(0).standard_normal(1200))
    assert series.batch([0, 1]).x.shape[1] == series.lengths[0]
    assert len(series) == 2  # one chunk for each event


def test_chunks_of_recordings_with_times_have_their_events() -> None:
    background = np.random.default_rng(0).standard_normal(60_000)
    series = series_of(background, ((Event("yes", 30.0, 30.5),),))
    chunks = [series.chunk(index)[1] for index in range(200)]
    near = [events[0] for events in chunks if events]
    assert 80 < len(near) < 160
    assert {event.name for event in near} == {"yes"}
    assert all(event.end > 0 and event.start < WARM_UP_SECONDS + CHUNK_SECONDS for event in near)
