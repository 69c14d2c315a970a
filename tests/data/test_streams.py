"""Streams: the places of events, their levels, and pieces that are equal to the whole."""

from dataclasses import replace

import numpy as np
import pytest

from nwavesdk.data import Recordings
from nwavesdk.data.streams import FREE_SECONDS, MIN_GAP, Sounds, Stream, active_level, active_part
from nwavesdk.metrics import Event

RATE = 1000
DRAW = np.random.default_rng(0)


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    return (level * DRAW.standard_normal(round(seconds * RATE))).astype(np.float32)


def word(seconds: float) -> np.ndarray:
    """A tone between two pauses."""
    tone = np.sin(2 * np.pi * 100 * np.arange(round(seconds * RATE)) / RATE)
    return np.concatenate([np.zeros(200), 0.5 * tone, np.zeros(300)]).astype(np.float32)


def sounds_of(background: list[np.ndarray], words: list[np.ndarray]) -> Sounds:
    """Sounds of a set with words of two classes by turns."""
    values = [*background, *words]
    labels = [0] * len(background) + [1 + index % 2 for index in range(len(words))]
    recordings = Recordings(
        tuple(samples[:, None] for samples in values),
        np.array(labels),
        ("background", "no", "yes"),
        tuple(f"{index}.wav" for index in range(len(values))),
        fingerprint="",
        task="detect",
        sample_rate=RATE,
    )
    return Sounds.of(recordings, RATE)


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return sounds_of([noise(20), noise(31, level=0.02), noise(17)], [word(0.5) for _ in range(8)])


def test_the_active_part_is_near_the_loudest_frame() -> None:
    quiet, loud = np.full(100, 0.05), np.ones(100)
    near, far = np.concatenate([quiet, loud, quiet]), np.concatenate([quiet / 2, loud, quiet / 2])
    padded = np.pad(near, 50)
    assert active_part(padded, RATE) == (50, 350)
    assert active_part(np.pad(far, 50), RATE) == (150, 250)
    assert active_part(np.zeros(90), RATE) == (0, 90)


def test_a_stream_has_all_background_once_and_each_event_once(sounds: Sounds) -> None:
    (stream,) = sounds.compose(10.0)
    assert stream.seconds == 20 + 31 + 17
    assert sorted(map(len, stream.pieces)) == [17_000, 20_000, 31_000]
    assert sorted(event.name for event in stream.events) == ["no"] * 4 + ["yes"] * 4
    starts, ends = ([event[index] for event in stream.events] for index in (1, 2))
    assert starts[0] >= FREE_SECONDS
    assert ends[-1] <= stream.seconds - FREE_SECONDS
    assert min(np.subtract(starts[1:], ends[:-1])) >= MIN_GAP - 1e-9
    assert np.allclose(np.subtract(ends, starts), 0.5)


def test_streams_are_the_same_every_time(sounds: Sounds) -> None:
    first, second = (sounds.compose(0.0)[0] for _ in range(2))
    assert first.events == second.events
    assert (first.read(0, len(first)) == second.read(0, len(second))).all()


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_an_event_has_its_level_over_the_background(sounds: Sounds, snr: float) -> None:
    (stream,) = sounds.compose(snr)
    added = stream.read(0, len(stream)) - sounds.line.read(0, len(stream))
    for event in stream.events:
        first, last = round(event.start * RATE), round(event.end * RATE)
        file, _ = stream.source_at(event.start)
        if stream.source_at(event.end)[0] != file:
            continue
        background = active_level(sounds.line.pieces[stream.files.index(file)], RATE)
        ratio = 20 * np.log10(active_level(added[first:last], RATE) / background)
        assert ratio == pytest.approx(snr, abs=0.5)


def test_the_background_is_silent_under_a_clean_event(sounds: Sounds) -> None:
    (stream,) = sounds.compose(None)
    event = stream.events[0]
    first, last = round(event.start * RATE), round(event.end * RATE)
    clip = next(clip for clip in sounds.clips if clip.name == event.name)
    samples = stream.read(first, last)
    np.testing.assert_allclose(samples, clip.samples * stream.inserts[0].gain, atol=1e-6)
    level = sounds.line.level_around(first, last)
    assert 20 * np.log10(active_level(samples, RATE) / level) == pytest.approx(20, abs=0.5)
    far = stream.read(first - 500, first - 200)
    assert (far == sounds.line.read(first - 500, first - 200)).all()


def test_pieces_of_a_stream_equal_the_whole(sounds: Sounds) -> None:
    (stream,) = sounds.compose(5.0)
    whole = stream.read(0, len(stream))
    for _ in range(200):
        start, stop = sorted(DRAW.integers(0, len(stream) + 1, 2))
        if start < stop:
            assert (stream.read(start, stop) == whole[start:stop]).all()


def test_events_that_do_not_fit_are_left_out() -> None:
    sounds = sounds_of([noise(8.1)], [word(0.5) for _ in range(8)])
    (stream,) = sounds.compose(10.0)
    # 8.1 s just have 2 s at both ends, two events of 0.5 s and a gap of 3.1 s.
    np.testing.assert_allclose([event[1:] for event in stream.events], [(2, 2.5), (5.6, 6.1)])
    assert sounds.n_events == 8
    (silent,) = sounds_of([noise(3)], [word(0.5)]).compose(10.0)
    assert (silent.events, silent.seconds) == ((), 3.0)


def test_a_time_of_a_stream_has_its_file() -> None:
    stream = Stream(pieces=(noise(1), noise(2)), files=("a.wav", "b.wav"), sample_rate=RATE)
    times = (0.0, 0.999, 1.0, 2.5)
    places = [stream.source_at(seconds) for seconds in times]
    assert [file for file, _ in places] == ["a.wav", "a.wav", "b.wav", "b.wav"]
    assert [seconds for _, seconds in places] == pytest.approx([0, 0.999, 0, 1.5])


@pytest.mark.parametrize(
    ("background", "words", "missing"), [(0, 2, "background"), (2, 0, "events")]
)
def test_a_set_needs_background_and_events(background: int, words: int, missing: str) -> None:
    with pytest.raises(ValueError, match=f"The train set has no {missing}, expected both"):
        sounds_of([noise(5)] * background, [word(0.5)] * words)


def test_recordings_with_times_are_streams_as_they_are() -> None:
    events = ((Event("yes", 1.0, 1.5), Event("no", 3.0, 3.2)), (), (Event("no", 0.5, 1.0),))
    recordings = Recordings(
        tuple(noise(4)[:, None] for _ in events),
        np.array([2, 0, 1]),
        ("background", "no", "yes"),
        ("a.wav", "b.wav", "c.wav"),
        fingerprint="",
        task="detect",
        sample_rate=RATE,
        events=events,
    )
    streams = Sounds.of(recordings, RATE).compose(10.0)
    found = {stream.files[0]: stream.events for stream in streams}
    assert [len(stream) for stream in streams] == [4000] * 3
    for key, expected in zip(recordings.keys, events, strict=True):
        assert [event.name for event in found[key]] == [event.name for event in expected]
        times = [event[1:] for event in found[key]]
        np.testing.assert_allclose(times, [event[1:] for event in expected])

    late = (events[0], (Event("no", 4.0, 4.5),), events[2])
    with pytest.raises(ValueError, match=r"task.times: b.wav lasts 4 s, .* ends at 4.5 s: correct"):
        Sounds.of(replace(recordings, events=late), RATE)
