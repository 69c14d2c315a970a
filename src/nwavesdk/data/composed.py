"""Frames of streams with a class per step, and the chunks of streams that a net is trained on.

Design requirement: a chunk is a function of the seed, the epoch and its index alone, and of the
hard places that training sets between epochs. So a resumed run sees the same chunks, and every
process that makes batches can make each of them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.data.augment import Varied
from nwavesdk.data.batches import PADDING_LABEL, Series
from nwavesdk.data.features import Featured
from nwavesdk.data.recordings import Array, Frames, Indices
from nwavesdk.data.source import Samples
from nwavesdk.data.streams import (
    MIN_LEVEL,
    Insert,
    Sounds,
    Stream,
    active_level,
    at_speed,
    factor_of,
    shifted,
)
from nwavesdk.metrics.detection import Event

__all__ = [
    "LABELS",
    "MAX_HARD_PLACES",
    "ComposedSeries",
    "Framing",
    "labeled_frames",
    "step_labels",
]

# Steps from the first of these times before the loud end of an event to the second after it have
# its class. Earlier steps of the event, and steps for the third time afterwards, have none [s].
LABELS = (0.0, 0.3, 0.3)

# Length of a training chunk [s].
CHUNK_SECONDS = 3.0
# Longest sound before a chunk, from which a running mean gets its state [s].
WARM_UP_SECONDS = 2.0
# Probability of 0, 1 and 2 events in a chunk; of a chunk at a hard place if there are some; and,
# with a table of times, of a chunk around an event.
COUNT_SHARES = (0.1, 0.6, 0.3)
HARD_SHARE = 0.3
EVENT_SHARE = 0.5
# Range of the ratio of the active levels of an event and its background, and of the gain [dB].
SNR_RANGE = (-5.0, 30.0)
GAIN_RANGE = (-15.0, 5.0)
# Ranges of the speed of an event and of background. Few people say a word, and no background is as
# long as the background of a detector in use.
SPEED_RANGE = (0.8, 1.25)
BACKGROUND_SPEEDS = (0.85, 1.15)
# Probability that more background is added to background, and the range of its level below it [dB].
MIX_SHARE = 0.5
MIX_RANGE = (0.0, 20.0)
# Number of hard places.
MAX_HARD_PLACES = 4096


@dataclass(frozen=True)
class Framing:
    """How the samples of a stream become frames.

    Args:
        open_stream: Returns an object with a function `push(samples) -> frames`.
        first_end: When the first frame has all of its samples [s].
        hop: Distance between frames [s].
    """

    open_stream: Callable[[], Any]
    first_end: float
    hop: float

    def frames(self, samples: Samples) -> Frames:
        """The frames of a sound from its beginning, `[L, F]`."""
        return np.asarray(self.open_stream().push(samples), np.float32)

    def ends(self, count: int, first: int = 0) -> Array:
        """When each of `count` frames has all of its samples, from frame `first` on [s]."""
        return self.first_end + self.hop * np.arange(first, first + count)


def step_labels(events: Sequence[Event], ends: Array, classes: Sequence[str]) -> Indices:
    """The class of each frame of a stream; `PADDING_LABEL` for frames without a class.

    Args:
        events: The events of the stream, until the end of their loud part.
        ends: When each frame has all of its samples [s], `[L]`.
        classes: The classes; the first is the background.
    """
    before, after, ignored = LABELS
    labels = np.zeros(len(ends), np.int64)

    def frames_between(start: float, end: float) -> slice:
        return slice(*np.searchsorted(ends, [start, end]))

    # The class of an event wins over the ignored frames of its neighbors.
    for event in events:
        labels[frames_between(event.start, event.end + after + ignored)] = PADDING_LABEL
    for event in events:
        labels[frames_between(event.end - before, event.end + after)] = classes.index(event.name)
    return labels


def labeled_frames(
    stream: Stream, framing: Framing, classes: Sequence[str], seconds: float
) -> Iterator[Featured]:
    """The frames of a stream and their classes, in parts of at most some seconds.

    Args:
        stream: The stream.
        framing: How its samples become frames.
        classes: See `step_labels`.
        seconds: The length of a part [s].
    """
    front_end, count = framing.open_stream(), 0
    block = max(1, round(seconds * stream.sample_rate))
    for start in range(0, len(stream), block):
        frames = np.asarray(front_end.push(stream.read(start, start + block)), np.float32)
        if len(frames):
            ends = framing.ends(len(frames), count)
            yield Featured(frames, step_labels(stream.loud_events, ends, classes))
            count += len(frames)


@dataclass(frozen=True, eq=False)
class ComposedSeries(Series):
    """The training set of a detector: chunks of streams, which are new in every epoch.

    A chunk is at a random place of the training background, or at a hard place. Events are added to
    it at random places, levels and signal-to-noise ratios. With a table of times, a chunk is a
    piece of a recording, around an event or anywhere.

    `recordings` has the frames of some chunks, from which the scale of the features is measured.

    Args:
        sounds: The sounds of the training set.
        framing: How samples become frames.
        hard: Samples of `sounds.line` near which some chunks are, or -1; see `set_hard_places`.
    """

    _: KW_ONLY
    sounds: Sounds
    framing: Framing
    # In shared memory, so that processes that make batches see the places of a later epoch.
    hard: Tensor = field(
        default_factory=lambda: torch.full((MAX_HARD_PLACES,), -1).share_memory_()  # type: ignore[no-untyped-call]  # of torch
    )

    def __len__(self) -> int:
        return max(1, round(self.sounds.line.seconds / CHUNK_SECONDS), self.sounds.n_events)

    @property
    def is_augmented(self) -> bool:
        """Whether chunks change from epoch to epoch."""
        return True

    @cached_property
    def lengths(self) -> Indices:
        """Time steps of each chunk, `[B]`."""
        n_frames = int(self.recordings.lengths[0]) - self.warm_up_frames
        return np.full(len(self), self.input.n_steps(n_frames))

    @property
    def warm_up_frames(self) -> int:
        """The most frames before a chunk, from which its input gets its state."""
        return round(WARM_UP_SECONDS / self.framing.hop)

    def set_hard_places(self, places: Indices) -> None:
        """Choose the places of the background near which some chunks are.

        Args:
            places: Samples of `sounds.line`, at most `MAX_HARD_PLACES`.
        """
        padded = np.pad(places, (0, MAX_HARD_PLACES - len(places)), constant_values=-1)
        self.hard.copy_(torch.from_numpy(padded))

    def chunk(self, index: int) -> tuple[Samples, list[Event]]:
        """The samples of a chunk and of the time before it, and the events in them.

        Args:
            index: See `batch`; the epoch is in it.
        """
        epoch, number = divmod(index, len(self))
        generator = np.random.default_rng([self.seed, epoch, number])
        line = self.sounds.line
        seconds = WARM_UP_SECONDS + CHUNK_SECONDS
        n_samples = round(seconds * line.sample_rate)

        begin, is_hard = self._draw_place(generator, n_samples)
        sound = self._draw_background(generator, begin, n_samples)

        first = begin / line.sample_rate
        events = [
            shifted(event, -first)
            for event in line.events
            if event.end > first and event.start < first + seconds
        ]
        if self.sounds.clips and not is_hard:
            inserts = self._draw_inserts(generator, sound)
            events = [insert.event(line.sample_rate, is_loud=True) for insert in inserts]
            for insert in inserts:
                insert.add_to(sound, 0)
        if sound.ndim == 1:
            sound *= np.float32(factor_of(generator.uniform(*GAIN_RANGE)))
        return sound, events

    def _draw_place(self, generator: np.random.Generator, n_samples: int) -> tuple[int, bool]:
        """The sample of the line at which a chunk begins, and whether it is at a hard place."""
        line = self.sounds.line
        n_before = round(WARM_UP_SECONDS * line.sample_rate)
        places = self.hard[self.hard >= 0].numpy()
        is_hard = len(places) > 0 and generator.random() < HARD_SHARE

        last = max(0, len(line) - n_samples)
        begin = float(generator.integers(last + 1))
        if is_hard:
            begin = float(generator.choice(places) - generator.integers(n_before, n_samples))
        elif line.events and generator.random() < EVENT_SHARE:
            event = line.events[generator.integers(len(line.events))]
            begin = event.end * line.sample_rate - generator.integers(n_before, n_samples)
        return int(min(max(0.0, begin), last)), is_hard

    def _draw_background(
        self, generator: np.random.Generator, begin: int, n_samples: int
    ) -> Samples:
        """The line from a sample on; background without events is varied."""
        sound = self._read(begin, n_samples)
        if sound.ndim > 1 or self.sounds.line.events:
            return sound

        speed = generator.uniform(*BACKGROUND_SPEEDS)
        sound = at_speed(self._read(begin, math.ceil(n_samples * speed)), speed)[:n_samples]
        if generator.random() < MIX_SHARE:
            first = int(generator.integers(max(1, len(self.sounds.line) - n_samples)))
            other = self._read(first, n_samples)
            rate = self.sounds.line.sample_rate
            level, other_level = (max(MIN_LEVEL, active_level(x, rate)) for x in (sound, other))
            gain = factor_of(-generator.uniform(*MIX_RANGE)) * level / other_level
            sound += np.float32(gain) * other
        return sound

    def _read(self, begin: int, n_samples: int) -> Samples:
        """The line from a sample on; it is repeated if it is shorter."""
        sound = self.sounds.line.read(begin, begin + n_samples)
        return np.resize(sound, (n_samples, *sound.shape[1:]))

    def _draw_inserts(self, generator: np.random.Generator, sound: Samples) -> list[Insert]:
        """Events at random places of a chunk, which do not overlap."""
        rate = self.sounds.line.sample_rate
        level = max(MIN_LEVEL, active_level(sound, rate))
        clips = self.sounds.clips
        classes = sorted({clip.name for clip in clips})

        # From the end of the chunk to its beginning; the end of an event has steps with its class.
        first = round(WARM_UP_SECONDS * rate)
        last = len(sound) - round(sum(LABELS[:2]) * rate)
        inserts: list[Insert] = []
        for _ in range(generator.choice(len(COUNT_SHARES), p=COUNT_SHARES)):
            name = classes[generator.integers(len(classes))]
            members = [clip for clip in clips if clip.name == name]
            clip = members[generator.integers(len(members))]
            clip = clip.at_speed(generator.uniform(*SPEED_RANGE))
            gain = factor_of(generator.uniform(*SNR_RANGE)) * level / clip.level
            span = len(clip.samples)
            if last < first + span and inserts:
                break
            begin = int(generator.integers(min(first + span, last), last + 1)) - span
            inserts.append(Insert(clip, begin, gain))
            last = begin - round(LABELS[1] * rate)
        return inserts

    def featured(self, index: int, first: int = 0) -> Featured:
        """The frames of a chunk and of the time before it, and their classes.

        Args:
            index: See `batch`.
            first: The first frame that is computed.
        """
        sound, events = self.chunk(index)
        rate = self.sounds.line.sample_rate
        begin = round(first * self.framing.hop * rate)
        frames = self.framing.frames(sound[begin:])
        ends = begin / rate + self.framing.ends(len(frames))
        return Featured(frames, step_labels(events, ends, self.recordings.classes))

    def _varied(self, index: int) -> Varied:
        # Some sounds begin near the chunk, so the net also learns how a stream begins.
        generator = np.random.default_rng([self.seed, index])
        frames, labels = self.featured(index, int(generator.integers(self.warm_up_frames)))

        varied = Varied(frames, len(frames), labels, frames.shape[1:])
        if self.augmentation is not None:
            varied = self.augmentation.change(varied, generator)
        steps = int(self.recordings.lengths[0]) - self.warm_up_frames
        return varied._replace(steps=steps, target=np.asarray(varied.target)[-steps:])

    def _scaled(self, index: int, varied: Varied) -> Frames:  # noqa: ARG002  # chunks have no names
        return self.input.scaled(varied.values, "")[-varied.steps :]
