"""Streams: long sounds with events at known times, composed of recordings and read in pieces.

A stream stores references to recordings, which may be in a file, and the places of events in it.
Samples are added up when a piece is read, so a stream may be longer than memory.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, Recordings, hash_order
from nwavesdk.data.source import BACKGROUND
from nwavesdk.metrics.detection import TOLERANCE, Event

__all__ = [
    "MIN_LEVEL",
    "Clip",
    "Insert",
    "Samples",
    "Sounds",
    "Stream",
    "active_level",
    "active_part",
    "event_of",
]

# The active part of a sound: frames of this length [s] within this range of the loudest [dB].
FRAME_SECONDS = 25e-3
ACTIVE_RANGE = 30.0

# Sound before and after the active part that is added with an event, in which it fades [s].
MARGIN = 0.1

# Level below which background counts as this loud, so that events in silence can be heard; full
# scale is 1 (-60 dB).
MIN_LEVEL = 1e-3

# The level of the background of an event is measured up to this time before and after it [s].
LEVEL_SECONDS = 5.0

# The longest dead time of a detector, the smallest gap between two events, and the time without
# events at both ends of a stream [s].
MAX_DEAD_TIME = 2.0
MIN_GAP = TOLERANCE + MAX_DEAD_TIME + 0.1
FREE_SECONDS = 2.0

Samples = npt.NDArray[np.float32]


def _frame_powers(samples: Samples, rate: float) -> tuple[int, npt.NDArray[np.float32]]:
    """The samples of a frame, and the power of each frame."""
    width = max(1, round(FRAME_SECONDS * rate))
    padded = np.pad(samples, (0, -len(samples) % width))
    return width, np.square(padded.reshape(-1, width)).mean(axis=1)


def active_part(samples: Samples, rate: float) -> tuple[int, int]:
    """The part of a sound from the first to the last 25 ms frame within 30 dB of the loudest.

    Args:
        samples: `[samples]`.
        rate: Their rate [Hz].

    Returns:
        The first sample, and the sample after the last.

    Example:
        >>> word = np.concatenate([np.zeros(8000), np.ones(4000), np.zeros(4000)])
        >>> active_part(word, 16_000)
        (8000, 12000)
    """
    width, powers = _frame_powers(samples, rate)
    active = np.flatnonzero(powers >= powers.max() * 10 ** (-ACTIVE_RANGE / 10))
    return int(active[0]) * width, min(int(active[-1] + 1) * width, len(samples))


def active_level(samples: Samples, rate: float) -> float:
    """The root mean square of the 25 ms frames of a sound within 30 dB of the loudest.

    Args:
        samples: `[samples]`.
        rate: Their rate [Hz].
    """
    _, powers = _frame_powers(samples, rate)
    return float(np.sqrt(powers[powers >= powers.max() * 10 ** (-ACTIVE_RANGE / 10)].mean()))


class Clip(NamedTuple):
    """A recording of an event.

    Attributes:
        name: The class of the event.
        samples: Its active part with a margin before and after it.
        start: First sample of the active part.
        stop: The sample after its last.
        level: The level of the active part.
    """

    name: str
    samples: Samples
    start: int
    stop: int
    level: float

    @classmethod
    def of(cls, name: str, samples: Samples, rate: float) -> "Clip":
        """The clip of a recording that is not silent."""
        start, stop = active_part(samples, rate)
        level = active_level(samples, rate)
        first = max(0, start - round(MARGIN * rate))
        return cls(
            name, samples[first : stop + round(MARGIN * rate)], start - first, stop - first, level
        )

    def taper(self) -> Samples:
        """Weights of the samples: 1 in the active part, and from 0 to 1 before and after it."""
        places = [0, self.start, self.stop, len(self.samples)]
        return np.interp(np.arange(len(self.samples)), places, [0, 1, 1, 0]).astype(np.float32)


class Insert(NamedTuple):
    """An event that is added to a sound.

    Attributes:
        clip: Its recording.
        begin: The sample at which its active part begins.
        gain: Factor of its samples.
        is_clean: Whether the background is silent under it.
    """

    clip: Clip
    begin: int
    gain: float
    is_clean: bool = False

    def add_to(self, sound: Samples, offset: int) -> None:
        """Add it to a piece of a sound, in place.

        Args:
            sound: The piece.
            offset: The sample of the whole sound with which the piece begins.
        """
        first = self.begin - self.clip.start - offset
        low, high = max(0, first), min(len(sound), first + len(self.clip.samples))
        if low >= high:
            return

        taper = self.clip.taper()[low - first : high - first]
        if self.is_clean:
            sound[low:high] *= 1 - taper
        sound[low:high] += self.gain * taper * self.clip.samples[low - first : high - first]


@dataclass(frozen=True, eq=False)
class Stream:
    """Recordings one after the other, with events in them or added to them.

    Args:
        pieces: The recordings, `[samples]` each, or frames `[L, F]` of series.
        files: The name of each recording.
        sample_rate: Samples, or frames, per second.
        events: The events, in the order of their starts.
        inserts: The events that are added to the recordings.

    Example:
        >>> stream = Stream((np.zeros(4), np.ones(6)), ("a.wav", "b.wav"), 2.0)
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
    def samples(self) -> Samples:
        """All samples, `[samples]`; long streams are better read in pieces."""
        return self.read(0, len(self))

    def read(self, start: int, stop: int) -> Samples:
        """The samples from `start` to `stop`, or to the end, in new memory."""
        index = self._index_at(start)
        parts = []
        while index < len(self.pieces) and self.starts[index] < stop:
            offset = int(self.starts[index])
            parts.append(self.pieces[index][max(0, start - offset) : stop - offset])
            index += 1

        sound = np.concatenate(parts)
        for insert in self.inserts:
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

    def level_at(self, start: int, stop: int) -> float:
        """The active level of the recordings under an event, up to 5 s before and after it.

        Args:
            start: First sample of the event.
            stop: The sample after its last.
        """
        margin = round(LEVEL_SECONDS * self.sample_rate)
        first = max(int(self.starts[self._index_at(start)]), start - margin)
        last = min(int(self.starts[self._index_at(stop - 1) + 1]), stop + margin)
        return max(MIN_LEVEL, active_level(self.read(first, last), self.sample_rate))


@dataclass(frozen=True, eq=False)
class Sounds:
    """The recordings of a set, of which streams are composed.

    Args:
        line: All background, one recording after the other in the order of the hashes of their
            names; or, with a table of times, all recordings with their events.
        clips: The recordings of events, in the order of hashes; none with a table of times.
        has_times: Whether a table has the times of events.
    """

    line: Stream
    clips: tuple[Clip, ...]
    has_times: bool

    @classmethod
    def of(cls, recordings: Recordings, rate: float, has_times: bool) -> "Sounds":
        """The sounds of a set.

        Args:
            recordings: Samples `[n, 1]` of sounds, or frames of series.
            rate: Samples, or frames, per second.
            has_times: Whether a table has the times of events.

        Raises:
            ValueError: If there is no background or no event, or an event is outside of its
                recording.
        """
        order = hash_order(recordings.keys, np.arange(len(recordings)))
        names = [recordings.classes[label] for label in recordings.labels]
        is_sound = recordings.sample_rate is not None
        values: list[Any] = [frames[:, 0] if is_sound else frames for frames in recordings.frames]

        placed = order if has_times else [i for i in order if names[i] == BACKGROUND]
        pieces, files = [values[i] for i in placed], [recordings.keys[i] for i in placed]
        line = Stream(pieces, files, rate)
        if has_times:
            line = replace(line, events=_events_of(line, [recordings.events[i] for i in placed]))
        clips = [
            Clip.of(names[i], values[i], rate)
            for i in order
            if not has_times and names[i] != BACKGROUND
        ]
        if not pieces or not (clips or line.events):
            missing = "events" if pieces else "background"
            raise ValueError(
                f"A set has no {missing}, expected background and events in the training, "
                "validation and test set: add recordings, or choose another split."
            )
        return cls(line, tuple(clips), has_times)

    def counts(self, classes: Sequence[str]) -> dict[str, int]:
        """The number of recordings without events, and of events of each class."""
        counts = Counter([event.name for event in self.line.events or self.clips])
        with_events = {self.line.source_at(event.start)[0] for event in self.line.events}
        counts[BACKGROUND] = len(self.line.pieces) - len(with_events)
        return {name: counts[name] for name in classes}

    @property
    def n_events(self) -> int:
        """The number of events of the set."""
        return len(self.line.events) or len(self.clips)

    def compose(self, snr: float | None) -> tuple[Stream, ...]:
        """The streams of a validation or test set, the same on every machine.

        All background is one stream, and each event is added to it once, at a random place. Events
        are at least `MIN_GAP` apart. If the background is too short, the first events in the order
        of hashes are used. With a table of times, each recording is a stream, as it is.

        Args:
            snr: The active level of an event above the active level of the background under it
                [dB]; None: the background fades out under an event. It has no effect with a table
                of times.
        """
        if self.has_times:
            return self._recorded()

        rate, length = self.line.sample_rate, len(self.line)
        gap = round(MIN_GAP * rate)
        edge = round(FREE_SECONDS * rate)
        spans = np.array([clip.stop - clip.start for clip in self.clips], np.int64)
        free = length - 2 * edge + gap - np.cumsum(spans + gap)
        count = int((free >= 0).sum())
        if not count:
            return (self.line,)

        # Uniform places in the free time, in order; the events before a place shift it.
        generator = np.random.default_rng(0)
        order = generator.permutation(count)
        places = np.sort(generator.integers(0, free[count - 1] + 1, count))
        shifts = np.cumsum([0, *(spans[order] + gap)])[:-1]
        inserts = [
            self._insert(self.clips[index], int(begin), snr)
            for index, begin in zip(order, edge + places + shifts, strict=True)
        ]
        events = tuple(event_of(insert, rate) for insert in inserts)
        return (replace(self.line, events=events, inserts=tuple(inserts)),)

    def _insert(self, clip: Clip, begin: int, snr: float | None) -> Insert:
        """An event at a place of the background, with a signal-to-noise ratio."""
        if snr is None:
            return Insert(clip, begin, 1.0, is_clean=True)
        level = self.line.level_at(begin, begin + clip.stop - clip.start)
        return Insert(clip, begin, 10 ** (snr / 20) * level / clip.level)

    def _recorded(self) -> tuple[Stream, ...]:
        """Each recording with its events."""
        line, streams = self.line, []
        for piece, file, first in zip(line.pieces, line.files, line.starts, strict=False):
            begin = float(first) / line.sample_rate
            end = begin + len(piece) / line.sample_rate
            events = tuple(
                Event(event.name, event.start - begin, event.end - begin)
                for event in line.events
                if begin <= event.start < end
            )
            streams.append(Stream((piece,), (file,), line.sample_rate, events))
        return tuple(streams)


def event_of(insert: Insert, rate: float) -> Event:
    """The event that an insert adds."""
    clip = insert.clip
    end = insert.begin + clip.stop - clip.start
    return Event(clip.name, insert.begin / rate, end / rate)


def _events_of(line: Stream, events: Sequence[tuple[Event, ...]]) -> tuple[Event, ...]:
    """The events of recordings at their times in a line.

    Raises:
        ValueError: If an event ends after its recording.
    """
    placed = []
    for piece, file, first, inside in zip(
        line.pieces, line.files, line.starts, events, strict=False
    ):
        begin = float(first) / line.sample_rate
        seconds = len(piece) / line.sample_rate
        for event in inside:
            if event.end > seconds + FRAME_SECONDS:
                raise ValueError(
                    f"task.times: {file} lasts {seconds:.6g} s, and an event in it ends at "
                    f"{event.end:g} s: correct the table."
                )
            placed.append(Event(event.name, begin + event.start, begin + event.end))
    return tuple(sorted(placed, key=lambda event: event.start))
