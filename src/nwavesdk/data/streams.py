"""Streams: long sounds with events at known times, composed of recordings and read in pieces.

A stream stores references to recordings, which may be in a file, and the places of events in it.
Samples are added up when a piece is read, so a stream may be longer than memory.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nwavesdk.data.recordings import Indices, Recordings, hash_order
from nwavesdk.data.source import BACKGROUND, Samples
from nwavesdk.metrics.detection import TOLERANCE, Event

__all__ = [
    "MIN_LEVEL",
    "Clip",
    "Insert",
    "Sounds",
    "Stream",
    "active_level",
    "active_part",
    "at_speed",
    "factor_of",
    "shifted",
]

# The active part of a sound: frames of this length [s] with at least this share of the power of the
# loudest frame (30 dB below it).
FRAME_SECONDS = 25e-3
ACTIVE_SHARE = 1e-3

# An event is heard after its last frame with at least this share of the power of the loudest frame
# (15 dB below it). Its active part may continue with noise or breath.
LOUD_SHARE = 10**-1.5

# Level below which background counts as this loud, so that events in silence can be heard; full
# scale is 1 (-60 dB). It is measured up to this time before and after an event [s].
MIN_LEVEL = 1e-3
LEVEL_SECONDS = 5.0

# The smallest gap between two events, with the longest dead time of a detector; the time without
# events at both ends of a stream; and the time in which background fades before a clean event [s].
MAX_DEAD_TIME = 2.0
MIN_GAP = TOLERANCE + MAX_DEAD_TIME + 0.1
FREE_SECONDS = 2.0
FADE_SECONDS = 0.1

# Level of a clean event above the background around it [dB]: a running level makes it as loud as an
# event in noise. At the level of its recording, it could be far too quiet for the place.
CLEAN_LEVEL = 20.0


def _active_frames(
    samples: Samples, rate: float, share: float = ACTIVE_SHARE
) -> tuple[int, Indices, Samples]:
    """The samples of a frame, the active frames, and the power of these."""
    width = max(1, round(FRAME_SECONDS * rate))
    padded = np.pad(samples, (0, -len(samples) % width))
    powers = np.square(padded.reshape(-1, width)).mean(axis=1)
    active = np.flatnonzero(powers >= share * powers.max())
    return width, active, powers[active]


def active_part(samples: Samples, rate: float, share: float = ACTIVE_SHARE) -> tuple[int, int]:
    """The part of a sound from the first to the last 25 ms frame within 30 dB of the loudest.

    Args:
        samples: `[samples]`.
        rate: Their rate [Hz].
        share: Another share of the power of the loudest frame.

    Returns:
        The first sample, and the sample after the last.

    Example:
        >>> word = np.concatenate([np.zeros(8000), np.ones(4000), np.zeros(4000)])
        >>> active_part(word, 16_000)
        (8000, 12000)
    """
    width, active, _ = _active_frames(samples, rate, share)
    stop = (int(active[-1]) + 1) * width
    return int(active[0]) * width, min(stop, len(samples))


def active_level(samples: Samples, rate: float) -> float:
    """The root mean square of the 25 ms frames of a sound within 30 dB of the loudest.

    Args:
        samples: `[samples]`.
        rate: Their rate [Hz].
    """
    _, _, powers = _active_frames(samples, rate)
    return math.sqrt(powers.mean())


def at_speed(samples: Samples, speed: float) -> Samples:
    """A sound faster or slower by a factor, which also changes its pitch."""
    places = np.arange(0, len(samples), speed)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), np.float32)


def factor_of(decibels: float) -> float:
    """The factor of samples that changes their level by some decibels."""
    return float(10 ** (decibels / 20))


def shifted(event: Event, seconds: float) -> Event:
    """An event at a later time."""
    return Event(event.name, event.start + seconds, event.end + seconds)


class Clip(NamedTuple):
    """An event, cut out of its recording.

    Attributes:
        name: The class of the event.
        samples: The active part of its recording.
        level: The active level.
        n_loud: Samples until the end of its last frame within 15 dB of the loudest.
    """

    name: str
    samples: Samples
    level: float
    n_loud: int

    @classmethod
    def of(cls, name: str, samples: Samples, rate: float) -> "Clip":
        """The event in a recording that is not silent."""
        active = samples[slice(*active_part(samples, rate))]
        _, n_loud = active_part(active, rate, LOUD_SHARE)
        return cls(name, active, active_level(samples, rate), n_loud)

    def at_speed(self, speed: float) -> "Clip":
        """The event faster or slower by a factor, which also changes its pitch."""
        samples = at_speed(self.samples, speed)
        n_loud = min(len(samples), round(self.n_loud / speed))
        return self._replace(samples=samples, n_loud=n_loud)


class Insert(NamedTuple):
    """An event that is added to a sound.

    Attributes:
        clip: The event.
        begin: The sample of the sound at which it begins.
        gain: Factor of its samples.
        fade: Samples in which the background fades out before it, and in after it; 0: the
            background continues.
    """

    clip: Clip
    begin: int
    gain: float
    fade: int = 0

    @property
    def end(self) -> int:
        """The sample after it."""
        return self.begin + len(self.clip.samples)

    def event(self, rate: float, *, is_loud: bool = False) -> Event:
        """Its times in a sound with this rate [Hz], until its end or the end of its loud part."""
        end = self.begin + self.clip.n_loud if is_loud else self.end
        return Event(self.clip.name, self.begin / rate, end / rate)

    def add_to(self, sound: Samples, offset: int) -> None:
        """Add it to a piece of a sound, in place.

        Args:
            sound: The piece.
            offset: The sample of the whole sound with which the piece begins.
        """
        # The places of the event in the piece; it may begin before the piece.
        begin, end = self.begin - offset, self.end - offset
        if self.fade:
            first, last = max(0, begin - self.fade), min(len(sound), end + self.fade)
            places = np.arange(first, last)
            distance = np.maximum(begin - places, places - end + 1)
            sound[first:last] *= np.clip(distance / self.fade, 0, 1).astype(np.float32)

        part = sound[max(0, begin) : max(0, end)]
        skipped = max(0, -begin)
        part += np.float32(self.gain) * self.clip.samples[skipped : skipped + len(part)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stream:
    """Recordings one after the other, with events in them or added to them.

    Args:
        pieces: The recordings, `[samples]` each, or frames `[L, F]` of series.
        files: The name of each recording.
        sample_rate: Samples, or frames, per second.
        events: The events, in the order of their starts.
        inserts: The events that are added to the recordings.

    Example:
        >>> pieces = (np.zeros(4), np.ones(6))
        >>> stream = Stream(pieces=pieces, files=("a.wav", "b.wav"), sample_rate=2.0)
        >>> len(stream), stream.seconds, stream.read(3, 6), stream.source_at(2.5)
        (10, 5.0, array([0., 1., 1.]), ('b.wav', 0.5))
    """

    pieces: Sequence[Samples]
    files: Sequence[str]
    sample_rate: float
    events: tuple[Event, ...] = ()
    inserts: tuple[Insert, ...] = ()

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> Indices:
        """The first sample of each recording, and the number of all samples."""
        return np.cumsum([0, *map(len, self.pieces)])

    @property
    def seconds(self) -> float:
        """The length of the stream [s]."""
        return len(self) / self.sample_rate

    @property
    def loud_events(self) -> tuple[Event, ...]:
        """The events; added events end with their loud part."""
        rate = self.sample_rate
        return tuple(insert.event(rate, is_loud=True) for insert in self.inserts) or self.events

    def read(self, start: int, stop: int) -> Samples:
        """The samples from `start` to `stop`, or to the end, in new memory."""
        parts = []
        for index in range(self._index_at(start), self._index_at(stop - 1) + 1):
            offset = int(self.starts[index])
            parts.append(self.pieces[index][max(0, start - offset) : stop - offset])

        sound = np.concatenate(parts)

        for insert in self.inserts:
            if insert.begin - insert.fade < stop and insert.end + insert.fade > start:
                insert.add_to(sound, start)
        return sound

    def source_at(self, seconds: float) -> tuple[str, float]:
        """The file that plays at a time [s], and the time in the file [s]."""
        index = self._index_at(int(seconds * self.sample_rate))
        return self.files[index], float(seconds - self.starts[index] / self.sample_rate)

    def _index_at(self, sample: int) -> int:
        """The recording that has a sample."""
        index = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return min(index, len(self.pieces) - 1)

    def level_around(self, start: int, stop: int) -> float:
        """The active level of the recordings under an event, up to 5 s before and after it.

        Args:
            start: First sample of the event.
            stop: The sample after its last.
        """
        margin = round(LEVEL_SECONDS * self.sample_rate)
        first = int(self.starts[self._index_at(start)])
        last = int(self.starts[self._index_at(stop - 1) + 1])
        sound = self.read(max(first, start - margin), min(last, stop + margin))
        return max(MIN_LEVEL, active_level(sound, self.sample_rate))


def _recorded(key: str, samples: Samples, rate: float, events: Sequence[Event]) -> Stream:
    """A single recording with its events as a stream."""
    stream = Stream(
        pieces=[samples],
        files=[key],
        sample_rate=rate,
        events=tuple(sorted(events, key=lambda event: event.start)),
    )
    for event in events:
        if event.end > stream.seconds + FRAME_SECONDS:
            raise ValueError(
                f"task.times: {key} lasts {stream.seconds:.6g} s, and an event in it ends at "
                f"{event.end:g} s: correct the table."
            )
    return stream


@dataclass(frozen=True, eq=False)
class Sounds:
    """The recordings of a set, of which streams are composed.

    Args:
        recorded: Each recording of background, in the order of the hashes of their names; or, with
            a table of times, each recording with its events.
        clips: The recordings of events, in the order of hashes; none with a table of times.
    """

    recorded: tuple[Stream, ...]
    clips: tuple[Clip, ...]

    @classmethod
    def of(cls, recordings: Recordings, rate: float, part: str = "train") -> "Sounds":
        """The sounds of a set.

        Args:
            recordings: Samples `[n, 1]` of sounds, or frames of series.
            rate: Samples, or frames, per second.
            part: The name of the set, for errors.

        Raises:
            ValueError: If there is no background or no event, or an event is outside of its
                recording.
        """
        recorded: list[Stream] = []
        clips: list[Clip] = []
        for index in hash_order(recordings.keys, np.arange(len(recordings))):
            key, name = recordings.keys[index], recordings.classes[recordings.labels[index]]
            samples = recordings.frames[index]
            if recordings.sample_rate is not None:
                samples = samples[:, 0]

            if recordings.events or name == BACKGROUND:
                events = recordings.events[index] if recordings.events else ()
                recorded.append(_recorded(key, samples, rate, events))
            else:
                clips.append(Clip.of(name, samples, rate))

        has_events = clips or any(stream.events for stream in recorded)
        if not recorded or not has_events:
            raise ValueError(
                f"The {part} set has no {'events' if recorded else 'background'}, expected both "
                "in the train, val and test set: add recordings of events and, in a folder "
                f"spelled {BACKGROUND}, without events, or choose another split."
            )
        return cls(tuple(recorded), tuple(clips))

    @cached_property
    def line(self) -> Stream:
        """All of `recorded`, one after the other."""
        line = Stream(
            pieces=[stream.pieces[0] for stream in self.recorded],
            files=[stream.files[0] for stream in self.recorded],
            sample_rate=self.recorded[0].sample_rate,
        )
        starts = zip(self.recorded, (line.starts / line.sample_rate).tolist(), strict=False)
        events = [shifted(event, start) for stream, start in starts for event in stream.events]
        return replace(line, events=tuple(events))

    @property
    def n_events(self) -> int:
        """The number of events of the set."""
        return len(self.line.events) + len(self.clips)

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """The number of recordings without events, and of events of each class."""
        events: Any = (*self.line.events, *self.clips)
        counts = Counter(event.name for event in events)
        counts[BACKGROUND] = sum(not stream.events for stream in self.recorded)
        return {name: counts[name] for name in classes}

    def compose(self, snr: float | None) -> tuple[Stream, ...]:
        """The streams of a validation or test set, the same on every machine.

        All background is one stream, and each event is added to it once, at a random place. Events
        are at least `MIN_GAP` apart. If the background is too short, the first events in the order
        of hashes are used. With a table of times, each recording is a stream, unchanged.

        Args:
            snr: The active level of an event above the active level of the background under it
                [dB]; None: the background fades out under an event, whose level is `CLEAN_LEVEL`
                above it. It has no effect with a table of times.
        """
        if self.line.events:
            return self.recorded

        rate = self.line.sample_rate
        gap, edge = round(MIN_GAP * rate), round(FREE_SECONDS * rate)
        spans = np.array([len(clip.samples) + gap for clip in self.clips])
        free = len(self.line) - 2 * edge + gap - np.cumsum(spans)
        count = int((free >= 0).sum())

        # Uniform places in the free time, in order; the events before a place shift it.
        generator = np.random.default_rng(0)
        order = generator.permutation(count)
        places = np.sort(generator.integers(0, max(1, free[count - 1] + 1), count))
        begins = edge + places + np.cumsum(spans[order]) - spans[order]

        inserts = []
        for index, begin in zip(order, begins.tolist(), strict=True):
            fade = round(FADE_SECONDS * rate) if snr is None else 0
            insert = Insert(self.clips[index], begin, 1.0, fade)
            level = self.line.level_around(begin, insert.end)
            ratio = CLEAN_LEVEL if snr is None else snr
            inserts.append(insert._replace(gain=factor_of(ratio) * level / insert.clip.level))
        events = tuple(insert.event(rate) for insert in inserts)
        return (replace(self.line, events=events, inserts=tuple(inserts)),)
