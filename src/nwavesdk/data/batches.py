"""Recordings as the input of a net, and batches of it: padded to the longest recording.

`NetInput` has the rules by which frames become the input, in training and in use. A batch is made
when it is needed, from frames that may be in a file. So neither padding nor held frames take memory
for the whole data set.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nwavesdk.data.augment import Augmentation, Varied
from nwavesdk.data.binning import sort_pairs
from nwavesdk.data.recordings import (
    Array,
    Frames,
    Indices,
    Pairs,
    Recordings,
    Standard,
    generator_of,
)
from nwavesdk.encoding import encode_latency
from nwavesdk.internal.checks import require_memory

__all__ = [
    "PADDING_LABEL",
    "Batch",
    "NetInput",
    "Series",
    "collate_events",
]

# Values of inputs from which the steps of rounded inputs and weights are chosen.
MAX_EXAMPLE_VALUES = 2**18

# The class of steps without a class, such as the padding after the end of a recording.
PADDING_LABEL = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class NetInput:
    """From the frames of a recording to the input of a net.

    Args:
        standard: The scale of the features, measured on the training set.
        hold: Time steps for which a frame is held.
        length: Frames after which a recording is cut; if None, recordings are not cut.
        pads_to_length: Whether a shorter recording continues with zeros, the mean frame, to
            `length` frames.
        encoder: How the values of an image become its input: `"current"` holds them, `"rate"` and
            `"latency"` make spikes, see `nwavesdk.encoding`.
        seed: Seed of random spikes, which are the same in every epoch and on every machine.
        as_lists: Whether a batch of events is a sparse tensor, the list of its events.
        center: Whether to subtract the mean of each feature over the recording.
        standardize: Whether to divide a recording by its deviation over all steps and features.
        look_ahead: Number of zero steps that follow a recording: the net learns the class of a step
            this number of steps later.

    Example:
        >>> standard = Standard(np.ones(2, np.float32), np.full(2, 2, np.float32))
        >>> net_input = NetInput(standard=standard, hold=3, length=10, look_ahead=1)
        >>> net_input.n_steps(np.array([7, 12]))
        array([22, 31])
        >>> net_input.scaled(np.array([[1, 3], [5, 1]], np.float32), "a.wav").tolist()
        [[0.0, 1.0], [2.0, 0.0]]
    """

    standard: Standard
    hold: int = 1
    length: int | None = None
    pads_to_length: bool = False
    encoder: Literal["current", "rate", "latency"] = "current"
    seed: int = 0
    as_lists: bool = False
    center: bool = False
    standardize: bool = False
    look_ahead: int = 0

    @property
    def is_causal(self) -> bool:
        """Whether the input of a step depends only on frames up to this step."""
        return not (self.center or self.standardize)

    @property
    def frame_steps(self) -> int:
        """Steps for which a scaled frame is held; 1 for an encoder, which has a frame per step."""
        return self.hold if self.encoder == "current" else 1

    def n_steps(self, n_frames: Any) -> Any:
        """Time steps of a recording with a number of frames, with the steps of `look_ahead`.

        Args:
            n_frames: A number, or an array of numbers.
        """
        shortest = self.length if self.length and self.pads_to_length else 0
        return np.clip(n_frames, shortest, self.length) * self.hold + self.look_ahead

    def scaled(self, frames: Frames, key: str) -> Frames:
        """The frames of a recording on the scale of the net, or the spikes of an encoder.

        Frames are `[L, F]`, not held yet; spikes of an encoder are `[T, F]`.

        Args:
            frames: The whole recording, cut, `[L, F]`.
            key: Its name, which decides random spikes.
        """
        standard = self.standard
        if not self.is_causal:
            standard = standard.of_recording(
                frames, center=self.center, standardize=self.standardize
            )

        frames = standard.apply(frames)
        if self.encoder == "current":
            return frames
        if self.encoder == "latency":
            values = torch.from_numpy(frames).clamp(0, 1)
            return encode_latency(values, self.hold).flatten(0, 1).numpy()

        # Rate coding: independent spikes with the values as their probabilities.
        probabilities = np.repeat(frames, self.hold, axis=0)
        drawn = generator_of(self.seed, key).random(probabilities.shape)
        return (drawn < probabilities).astype(np.float32)


class Batch(NamedTuple):
    """Recordings of a batch.

    Attributes:
        x: Input, float32 `[B, T, F]`; 0 after the end of a recording. Steps of held images share
            memory.
        y: The class of each recording, int64 `[B]`; or of each step, int64 `[B, T]`, with
            `PADDING_LABEL` for none; or values, float32 `[B, T, D]`.
        lengths: Number of steps of each recording, int64 `[B]`.

    Example:
        >>> from nwavesdk.data import load_digits
        >>> digits = load_digits().limit(30)
        >>> digit_input = NetInput(standard=Standard.fit(digits))
        >>> x, y, lengths = Series(digits, digit_input).batch([0, 3])
        >>> x.shape, y, lengths
        (torch.Size([2, 19, 13]), tensor([1, 2]), tensor([19, 14]))
    """

    x: Tensor
    y: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class Series:
    """Recordings as the input of a net: scaled, cut, and with each frame held for several steps.

    An index names a recording and a variation: of B recordings, i + k · B is recording i in its
    variation k. Variation 0 is the unchanged recording.

    Args:
        recordings: A training, validation or test set.
        input: How their frames become the input of the net.
        augmentation: How recordings change in training; None for other sets.
        seed: Seed of the changes.

    Example:
        >>> from nwavesdk.data import load_digits
        >>> digits = load_digits().limit(30)
        >>> series = Series(digits, NetInput(standard=Standard.fit(digits), hold=4))
        >>> digits.lengths[:3], series.lengths[:3], series.input_of(0).shape
        (array([19, 18, 23]), array([76, 72, 92]), (76, 13))
    """

    recordings: Recordings
    input: NetInput
    augmentation: Augmentation | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def is_augmented(self) -> bool:
        """Whether recordings change from epoch to epoch."""
        return bool(self.augmentation and self.augmentation.strengths)

    @cached_property
    def lengths(self) -> Indices:
        """Time steps of each unchanged recording, `[B]`, with the steps of `look_ahead`."""
        return np.asarray(self.input.n_steps(self.recordings.lengths))

    def input_of(self, index: int) -> Frames:
        """The input of one recording, `[T, F]`, without padding and the steps of `look_ahead`.

        Args:
            index: The index of a recording, or of a variation of it.
        """
        frames = self._scaled(index % len(self), self._varied(index))
        return np.repeat(frames, self.input.frame_steps, axis=0)

    def batch(self, indices: Sequence[int] | Indices) -> Batch:
        """The recordings at some indices, in that order.

        Args:
            indices: Indices of recordings, or of variations of them.
        """
        varied = [self._varied(int(index)) for index in indices]

        lengths = self.input.n_steps(np.array([recording.steps for recording in varied], np.int64))
        steps = int(lengths.max())
        originals = np.asarray(indices, np.int64) % len(self)
        x = (
            self._lists(varied, steps)
            if self.input.as_lists
            else self._dense(originals, varied, steps)
        )
        return Batch(x, self._targets(originals, varied, steps), torch.from_numpy(lengths))

    def variation_index(self, index: int, epoch: int) -> int:
        """The index with which `batch` returns a recording as it is in an epoch of the training.

        Args:
            index: The index of the recording, with which `batch` returns it unchanged.
            epoch: The epoch, from 0.
        """
        return index + (epoch + 1) * len(self) if self.is_augmented else index

    def _varied(self, index: int) -> Varied:
        """A recording, cut, in the variation of the index, before it is scaled and held."""
        variation, original = divmod(index, len(self))
        recordings = self.recordings
        values = recordings.stored[original]
        target = recordings.targets[original] if len(recordings.targets) else None
        varied = Varied(
            values.pairs if recordings.are_events else values,
            int(recordings.lengths[original]),
            target,
            recordings.feature_shape or (recordings.n_features,),
            are_events=recordings.are_events,
        ).cut(self.input.length)

        if variation and self.augmentation is not None:
            generator = np.random.default_rng([self.seed, variation, original])
            varied = self.augmentation.change(varied, generator).cut(self.input.length)
        return varied

    def _scaled(self, index: int, varied: Varied) -> Frames:
        return self.input.scaled(varied.frames, self.recordings.keys[index])

    def _dense(self, originals: Indices, varied: Sequence[Varied], steps: int) -> Tensor:
        """The input of a batch, `[B, T, F]`."""
        # With `look_ahead`, the last frame is zero and may be held for fewer steps.
        hold = self.input.frame_steps
        shape = (len(varied), math.ceil(steps / hold), self.recordings.n_features)
        frames = _padded(map(self._scaled, originals, varied), np.zeros(shape, np.float32))

        # One frame of an image is in memory for all its steps: `SpikingSequential` multiplies it
        # once. Several frames are copied.
        x = frames[:, :, None].expand(-1, -1, hold, -1).flatten(1, 2)
        return x if x.shape[1] == steps else x[:, :steps].contiguous()

    def _lists(self, varied: Sequence[Varied], steps: int) -> Tensor:
        """The events of a batch, sparse `[B, T, F]`."""
        n_places = self.recordings.n_features
        hold = self.input.hold
        pairs = [recording.values for recording in varied]
        if hold > 1:
            pairs = [
                sort_pairs(events[:, :1] * hold + np.arange(hold), events[:, 1:], n_places)
                for events in pairs
            ]
        # Events have one scale, and 0 stays 0.
        return collate_events(pairs, steps, n_places) / float(self.input.standard.deviation[0])

    def _targets(self, originals: Indices, varied: Sequence[Varied], steps: int) -> Tensor:
        """The target of a batch; see `Batch`."""
        recordings = self.recordings
        if recordings.task == "classification":
            return torch.from_numpy(recordings.labels[originals])

        y: Array = (
            np.full((len(varied), steps), PADDING_LABEL, np.int64)
            if recordings.task in ("labels", "detect")
            else np.zeros((len(varied), steps, recordings.n_targets), np.float32)
        )
        targets = (
            np.repeat(np.asarray(changed.target), self.input.hold, axis=0) for changed in varied
        )
        return _padded(targets, y, self.input.look_ahead)

    def whole(self) -> Batch:
        """All recordings as one batch.

        Raises:
            ValueError: If they do not fit the memory.
        """
        require_memory(
            "data",
            f"{len(self):,} recordings as one batch",
            4.0 * len(self) * self.lengths.max() * self.recordings.n_features,
            "use fewer or shorter recordings",
        )
        return self.batch(np.arange(len(self)))

    def example_inputs(self) -> Tensor:
        """Inputs of recordings that are spread over the set, `[B, T, F]`."""
        values = int(self.lengths.max()) * len(self.input.standard.mean)
        count = min(len(self), max(1, MAX_EXAMPLE_VALUES // values))
        return self.batch(np.linspace(0, len(self) - 1, count).astype(np.int64)).x

    def take(self, indices: Indices) -> "Series":
        """The recordings at some indices, with the same input."""
        return replace(self, recordings=self.recordings.take(indices))


def _padded(recordings: Iterable[Array], batch: Array, first: int = 0) -> Tensor:
    """A batch `[B, T, ...]` with the values of each recording, from step `first` on."""
    for padded, values in zip(batch, recordings, strict=True):
        padded[first : first + len(values)] = values
    return torch.from_numpy(batch)


def collate_events(recordings: Sequence[Pairs], steps: int, n_places: int) -> Tensor:
    """A batch of recordings as the lists of their events, which `LIFSynapse` takes.

    Args:
        recordings: The pairs of each recording, in order; see `bin_events`.
        steps: Number of steps of the batch, T.
        n_places: Number of places, F.

    Returns:
        Sparse COO tensor `[B, T, F]`, float32, coalesced: the number of events at each place where
        there are some. `to_dense()` equals the frames of all recordings.

    Raises:
        RuntimeError: If an event is outside of these steps and places.

    Example:
        >>> batch = collate_events([np.array([[0, 1], [0, 1]], np.int32)], 2, 3)
        >>> batch.to_dense().tolist()
        [[[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    pairs = np.concatenate([np.zeros((0, 2), np.int32), *recordings])

    # One number for recording, step and place. The numbers rise, and events at one place have the
    # same number: a place begins where the number changes.
    row = np.repeat(np.arange(len(recordings)), [len(pairs) for pairs in recordings])
    cell = (row * steps + pairs[:, 0]) * n_places + pairs[:, 1]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    counts = np.diff(first, append=len(cell)).astype(np.float32)

    indices = np.stack([row[first], *pairs[first].T])
    return torch.sparse_coo_tensor(
        torch.from_numpy(indices),
        torch.from_numpy(counts),
        (len(recordings), steps, n_places),
        is_coalesced=True,
        check_invariants=True,
    )
