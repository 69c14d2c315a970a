"""The data of a detector: the recordings of a run as streams, and as chunks for training.

The training set has chunks, which are composed when a batch needs them. The validation and the test
set have the frames of their streams at one signal-to-noise ratio, for the loss; the streams
themselves are composed again where a detector is applied to them.
"""

import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from nwavesdk.chip import Profile
from nwavesdk.data import FrontEnd, NetInput, Split, Standard
from nwavesdk.data.composed import ComposedSeries, Framing, labeled_frames
from nwavesdk.data.features import ChipFeatures, FeatureOptions, Features, LogMelFeatures
from nwavesdk.data.streams import Sounds
from nwavesdk.train.config import RunConfig
from nwavesdk.train.data.inputs import features_of
from nwavesdk.train.data.split import SplitRecordings
from nwavesdk.train.fit.seeds import stream_seed

__all__ = ["compose"]

# The signal-to-noise ratio of the streams of the validation and the test set [dB].
SNR = 10.0

# The longest part of a stream that is one recording of these sets [s].
PART_SECONDS = 30.0

# Number of chunks from which the scale of the features is measured.
SAMPLE_CHUNKS = 128


def compose(split: SplitRecordings, profile: Profile | None) -> SplitRecordings:
    """The recordings of a detector: some training chunks, and the streams of other sets in parts.

    Args:
        split: The recordings as samples, or as frames of series, in three sets.
        profile: The chip of the run, if it has one.

    Raises:
        ValueError: If a set has no background or no events, its background is too short for a
            single event, or an event is outside of its recording.
    """
    config, recordings = split.config, split.recordings
    features: Any = features_of(config, profile)
    if isinstance(features, FeatureOptions):
        kind = config.data.source_kind
        features = replace(features, sample_rate=recordings.sample_rate).features(kind)
    framing = _framing_of(config, features)
    rate = recordings.sample_rate or 1 / framing.hop
    sounds: Split[Sounds | None] = Split(
        *(
            Sounds.of(recordings.take(part), rate, name) if len(part) else None
            for name, part in split.chosen.indices.as_dict().items()
        )
    )
    assert sounds.train is not None

    zeros = np.zeros(1, np.float32)
    chunks = ComposedSeries(
        recordings,
        NetInput(standard=Standard(zeros, zeros + 1)),
        seed=stream_seed(config.seed, "augment"),
        sounds=sounds.train,
        framing=framing,
    )
    featured: list[Any] = [chunks.featured(index) for index in range(SAMPLE_CHUNKS)]

    ends = [0, len(featured)]
    notes = []
    for name, part in (("val", sounds.val), ("test", sounds.test)):
        if part is not None:
            parts, note = _stream_in_parts(part, framing, recordings.classes, name)
            featured += parts
            if note is not None:
                notes.append(note)
                warnings.warn(note, stacklevel=3)
        ends.append(len(featured))

    indices = Split(*(np.arange(*pair) for pair in pairwise(ends)))
    members = indices.as_dict().items()
    composed = replace(
        recordings,
        frames=tuple(part.frames for part in featured),
        targets=tuple(part.target for part in featured),
        labels=np.zeros(len(featured), np.int64),
        keys=tuple(f"{name}/{index}" for name, part in members for index in range(len(part))),
        parts=(),
        groups=(),
        events=(),
    )
    return replace(
        split,
        recordings=composed,
        chosen=replace(split.chosen, indices=indices),
        loaded=replace(split.loaded, notes=(*split.loaded.notes, *notes)),
        sounds=sounds,
        chunks=chunks,
    )


def _stream_in_parts(
    sounds: Sounds, framing: Framing, classes: tuple[str, ...], name: str
) -> tuple[list[Any], str | None]:
    """The stream of a set in labeled parts, and a note on the events that do not fit into it."""
    streams = sounds.compose(SNR)
    n_events = sounds.n_events
    n_left_out = n_events - sum(len(stream.events) for stream in streams)
    if n_left_out == n_events:
        raise ValueError(
            f"The background of the {name} set lasts {sounds.line.seconds:.4g} s, too short for "
            "one of its events with the time around it: add background."
        )

    parts = [
        part
        for stream in streams
        for part in labeled_frames(stream, framing, classes, PART_SECONDS)
    ]
    if not n_left_out:
        return parts, None
    return parts, (
        f"the background of the {name} set is too short for its {n_events:,} events "
        f"and leaves out {n_left_out:,}. Add background."
    )


def _framing_of(config: RunConfig, features: Features) -> Framing:
    """How the samples of a run become frames."""
    if isinstance(features, LogMelFeatures):
        log_mel = features.log_mel
        rate = log_mel.sample_rate
        return Framing(log_mel.stream, log_mel.width / rate, log_mel.step / rate)
    if isinstance(features, ChipFeatures):
        return Framing(FrontEnd(features.config).stream, config.net.dt, config.net.dt)

    # The rows of a series are frames.
    step = config.net.dt * getattr(config.data, "hold", 1)
    return Framing(partial(SimpleNamespace, push=np.asarray), step, step)
