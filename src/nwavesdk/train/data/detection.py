"""The data of a detector: the recordings of a run as streams, and as chunks for training.

The training set has chunks, which are composed when a batch needs them. The validation and the test
set have the frames of their streams at one signal-to-noise ratio, for the loss; the streams
themselves are composed again where a detector listens to them.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice, pairwise
from typing import Any

import numpy as np

from nwavesdk.chip import Profile
from nwavesdk.data import Frames, FrontEnd, LogMel, NetInput, Recordings, Split, Standard
from nwavesdk.data.composed import ComposedSeries, Framing, step_labels, stream_frames
from nwavesdk.data.features import ChipFeatures, Featured
from nwavesdk.data.loading import compute_store, open_store
from nwavesdk.data.nwave_data import default_cache_folder
from nwavesdk.data.streams import Sounds, Stream
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.recipes import fill
from nwavesdk.train.data.inputs import features_of
from nwavesdk.train.data.split import SplitRecordings
from nwavesdk.train.fit.seeds import stream_seed

__all__ = ["Composed", "compose"]

# The signal-to-noise ratio of the streams of the validation and the test set [dB].
SNR = 10.0

# The longest part of a stream that is one recording of these sets [s].
PART_SECONDS = 30.0

# Number of chunks from which the scale of the features is measured.
SAMPLE_CHUNKS = 128

# Part of the names of cached frames: raise it when the same recordings make other streams.
STREAMS_VERSION = 1


@dataclass(frozen=True, eq=False)
class Composed:
    """The streams of a run.

    Args:
        split: The recordings of the sets: some training chunks, and the streams in parts.
        sounds: What the streams of each set are composed of; None for a test set that is not read.
        train: The training set, before its input is known.
    """

    split: SplitRecordings
    sounds: Split[Sounds | None]
    train: ComposedSeries


def compose(split: SplitRecordings, profile: Profile | None) -> Composed:
    """The streams of a run, from its recordings.

    Args:
        split: The recordings as samples, or as frames of series, in three sets.
        profile: The chip of the run, if it has one.

    Raises:
        ValueError: If a set has no background or no events, or an event is outside of its
            recording.
    """
    recordings = split.recordings
    config = _with_rate(split.config, recordings)
    features = features_of(config, profile)
    framing, rate = _framing_of(config, features)
    has_times = config.option("task.times") is not None
    sounds: Split[Sounds | None] = split.chosen.indices.map(
        lambda part: Sounds.of(recordings.take(part), rate, has_times) if len(part) else None
    )
    assert sounds.train is not None

    zeros = np.zeros(1, np.float32)
    train = ComposedSeries(
        recordings,
        NetInput(standard=Standard(zeros, zeros + 1)),
        seed=stream_seed(config.seed, "augment"),
        sounds=sounds.train,
        framing=framing,
    )
    parts = {"train": [train.featured(index) for index in range(SAMPLE_CHUNKS)]}
    notes = []
    for name in ("val", "test"):
        members = sounds.as_dict()[name]
        streams = members.compose(SNR) if members else ()
        # Without a test, the fingerprint does not cover the recordings of the test set.
        key = f"{recordings.fingerprint} {features} {name}"
        key = key if name == "val" or config.data.test else ""
        parts[name] = _parts_of(streams, framing, recordings.classes, key)

        n_events = members.n_events if members else 0
        n_left_out = n_events - sum(len(stream.events) for stream in streams)
        if n_left_out:
            notes.append(
                f"the background of the {name} set is too short for its {n_events:,} events: "
                f"{n_left_out:,} are left out. Add background."
            )
    for note in notes:
        warnings.warn(note, stacklevel=3)

    listed: list[Any] = [featured for members in parts.values() for featured in members]
    ends = np.cumsum([0, *map(len, parts.values())])
    indices = Split(*(np.arange(*pair) for pair in pairwise(ends)))
    keys = [f"{name}/{number}" for name, members in parts.items() for number in range(len(members))]
    whole = replace(
        recordings,
        frames=tuple(featured.frames for featured in listed),
        targets=tuple(featured.target for featured in listed),
        labels=np.zeros(len(listed), np.int64),
        keys=tuple(keys),
        parts=(),
        groups=(),
        events=(),
    )
    composed = replace(
        split,
        config=config,
        recordings=whole,
        chosen=replace(split.chosen, indices=indices),
        loaded=replace(split.loaded, notes=(*split.loaded.notes, *notes)),
    )
    return Composed(composed, sounds, train)


def _with_rate(config: RunConfig, recordings: Recordings) -> RunConfig:
    """The choices with the rate of the sound."""
    if config.option("data.sample_rate", 0) is not None:
        return config
    return fill(config, {"data": {"sample_rate": recordings.sample_rate}})


def _framing_of(config: RunConfig, features: Any) -> tuple[Framing, float]:
    """How the samples of a run become frames, and the samples per second."""
    if isinstance(features, ChipFeatures):
        dt, rate = config.net.dt, features.config.sample_rate
        return Framing(FrontEnd(features.config).stream, dt, dt), rate

    if config.data.kind == "series":
        step = config.net.dt * config.option("data.hold")
        return Framing(_Rows, step, step), 1 / step

    log_mel = LogMel(features.sample_rate, features.bands, features.window, features.hop)
    rate = log_mel.sample_rate
    return Framing(log_mel.stream, log_mel.width / rate, log_mel.step / rate), rate


class _Rows:
    """The front end of series: their rows are frames."""

    def push(self, rows: Frames) -> Frames:
        return rows


def _parts_of(
    streams: Sequence[Stream], framing: Framing, classes: Sequence[str], key: str
) -> list[Featured]:
    """Streams as frames with a class each, in parts; their frames are stored.

    Args:
        streams: The streams of a set.
        framing: How their samples become frames.
        classes: The classes; the first is the background.
        key: What decides the frames, if they may be in the cache; or empty.
    """
    if not streams:
        return []

    def compute() -> tuple[Iterator[Featured], dict[str, Any]]:
        # The number of parts of each stream, which is complete after all frames.
        counts = [0] * len(streams)
        parts = (
            (number, frames)
            for number, stream in enumerate(streams)
            for frames in stream_frames(stream, framing, PART_SECONDS)
        )

        def count(number: int, frames: Frames) -> Featured:
            counts[number] += 1
            return Featured(frames, None)

        return (count(*part) for part in parts), {"counts": counts}

    settings = f"{key} {SNR} {PART_SECONDS} {STREAMS_VERSION}"
    path = default_cache_folder() / sha256(settings.encode()).hexdigest() if key else None
    store = (open_store(path) if path else None) or compute_store(path, compute)

    featured: list[Featured] = []
    frames = iter(store["frames"])
    for stream, n_parts in zip(streams, store["counts"], strict=True):
        members = list(islice(frames, n_parts))
        ends = np.cumsum([len(part) for part in members])
        labels = step_labels(stream.events, framing.ends(ends[-1]), classes)
        featured += map(Featured, members, np.split(labels, ends[:-1]))
    return featured
