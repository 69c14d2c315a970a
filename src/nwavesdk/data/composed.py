"""Frames of streams with a class per step, and the chunks of streams that a net is trained on.

Design requirement: a chunk is a function of the seed, the epoch and its index alone, and of the
hard places that training sets between epochs. So a resumed run sees the same chunks, and every
process that makes batches can make each of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.data.augment import Varied
from nwavesdk.data.batches import PADDING_LABEL, Series
from nwavesdk.data.decoding import Samples
from nwavesdk.data.features import Featured
from nwavesdk.data.recordings import Array, Frames, Indices
from nwavesdk.data.streams import (
    MIN_LEVEL,
    Insert,
    Sounds,
    Stream,
    active_level,
    shifted,
)
from nwavesdk.metrics.detection import Event

__all__ = ["LABELS", "ComposedSeries", "Framing", "labeled_frames", "step_labels"]

# Steps from the first of these times before the end of an event to the second after it have its
# class. Earlier steps of the event, and steps for the third time afterwards, have none [s].
LABELS = (0.1, 0.2, 0.3)

# Length of a training chunk [s].
CHUNK_SECONDS = 3.0
# Probability of 0, 1 and 2 events in a chunk; of a chunk at a hard place if there are some; and,
# with a table of times, of a chunk around an event.
COUNT_SHARES = (0.4, 0.4, 0.2)
HARD_SHARE = 0.3
EVENT_SHARE = 0.5
# Range of the ratio of the active levels of an event and its background, and of the gain [dB].
SNR_RANGE = (-5.0, 30.0)
GAIN_RANGE = (-15.0, 5.0)
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
        events: The events of the stream.
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
            yield Featured(frames, step_labels(stream.events, ends, classes))
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
        line = self.sounds.line
        return max(1, round(line.seconds / CHUNK_SECONDS), self.sounds.n_events)

    @property
    def is_augmented(self) -> bool:
        """Whether chunks change from epoch to epoch."""
        return True

    @cached_property
    def lengths(self) -> Indices:
        """Time steps of each chunk, `[B]`."""
        n_frames = int(self.recordings.lengths[0])
        return np.full(len(self), self.input.n_steps(n_frames))

    def set_hard_places(self, places: Indices) -> None:
        """Choose the places of the background near which some chunks are.

        Args:
            places: Samples of `sounds.line`, at most `MAX_HARD_PLACES`; the first ones are used.
        """
        chosen = torch.from_numpy(np.asarray(places, np.int64))[:MAX_HARD_PLACES]
        self.hard.fill_(-1)
        self.hard[: len(chosen)] = chosen

    def chunk(self, index: int) -> tuple[Samples, list[Event]]:
        """The samples of a chunk, and the events in it.

        Args:
            index: See `batch`; the epoch is in it.
        """
        epoch, number = divmod(index, len(self))
        generator = np.random.default_rng([self.seed, epoch, number])
        line = self.sounds.line
        n_samples = round(CHUNK_SECONDS * line.sample_rate)

        begin, is_hard = self._draw_place(generator, n_samples)
        sound = line.read(begin, begin + n_samples)
        sound = np.resize(sound, (n_samples, *sound.shape[1:]))  # repeated if the line is shorter

        first = begin / line.sample_rate
        events = [
            shifted(event, -first)
            for event in line.events
            if event.end > first and event.start < first + CHUNK_SECONDS
        ]
        if self.sounds.clips and not is_hard:
            inserts = self._draw_inserts(generator, sound)
            events = [insert.event(line.sample_rate) for insert in inserts]
            for insert in inserts:
                insert.add_to(sound, 0)
        if sound.ndim == 1:
            sound *= np.float32(10 ** (generator.uniform(*GAIN_RANGE) / 20))
        return sound, events

    def _draw_place(self, generator: np.random.Generator, n_samples: int) -> tuple[int, bool]:
        """The sample of the line at which a chunk begins, and whether it is at a hard place."""
        line = self.sounds.line
        places = self.hard[self.hard >= 0].numpy()
        is_hard = len(places) > 0 and generator.random() < HARD_SHARE

        last = max(0, len(line) - n_samples)
        begin = float(generator.integers(last + 1))
        if is_hard:
            begin = float(generator.choice(places) - generator.integers(n_samples))
        elif line.events and generator.random() < EVENT_SHARE:
            event = line.events[generator.integers(len(line.events))]
            begin = event.end * line.sample_rate - generator.integers(n_samples)
        return int(min(max(0.0, begin), last)), is_hard

    def _draw_inserts(self, generator: np.random.Generator, sound: Samples) -> list[Insert]:
        """Events at random places of a chunk, which do not overlap."""
        rate = self.sounds.line.sample_rate
        level = max(MIN_LEVEL, active_level(sound, rate))
        clips = self.sounds.clips
        classes = sorted({clip.name for clip in clips})

        # From the end of the chunk to its beginning; the end of an event has steps with its class.
        last = len(sound) - round(sum(LABELS[:2]) * rate)
        inserts: list[Insert] = []
        for _ in range(generator.choice(len(COUNT_SHARES), p=COUNT_SHARES)):
            name = classes[generator.integers(len(classes))]
            members = [clip for clip in clips if clip.name == name]
            clip = members[generator.integers(len(members))]
            gain = 10 ** (generator.uniform(*SNR_RANGE) / 20) * level / clip.level
            span = len(clip.samples)
            if last < span and inserts:
                break
            begin = int(generator.integers(min(span, last), last + 1)) - span
            inserts.append(Insert(clip, begin, gain))
            last = begin - round(LABELS[1] * rate)
        return inserts

    def featured(self, index: int) -> Featured:
        """The frames of a chunk and their classes.

        Args:
            index: See `batch`.
        """
        sound, events = self.chunk(index)
        frames = self.framing.frames(sound)
        ends = self.framing.ends(len(frames))
        return Featured(frames, step_labels(events, ends, self.recordings.classes))

    def _varied(self, index: int) -> Varied:
        frames, labels = self.featured(index)
        varied = Varied(frames, len(frames), labels, frames.shape[1:])
        if self.augmentation is None:
            return varied
        return self.augmentation.change(varied, np.random.default_rng([self.seed, index]))

    def _scaled(self, index: int, varied: Varied) -> Frames:  # noqa: ARG002
        return self.input.scaled(varied.frames, "")
