"""Batches of recordings: padded to the longest one, with the number of steps of each.

A batch is made when it is needed, from frames that may lie in a file. So neither the padding nor
the time steps for which a frame is held take memory for the whole data set.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from nwavesdk.data.binning import collate_events
from nwavesdk.data.encoders import Encoder, hold_values
from nwavesdk.data.recordings import Frames, Indices, Pairs, Recordings, Standard
from nwavesdk.data.source import StepTarget
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.processes import die_with_the_parent

__all__ = ["PADDING_LABEL", "Batch", "LengthOrder", "Series", "batches_of"]

# The class of steps after the end of a recording.
PADDING_LABEL = -1

# Batches whose recordings are sorted by length before they are batched.
BATCHES_SORTED = 16


class Batch(NamedTuple):
    """Recordings of a batch.

    Attributes:
        x: Input, float32 `[B, T, F]`; 0 after the end of a recording.
        y: The class of each recording, int64 `[B]`; or of each step, int64 `[B, T]`, with
            `PADDING_LABEL` after the end; or the values of each step, float32 `[B, T, D]`, with 0
            after the end.
        lengths: Number of steps of each recording, int64 `[B]`.
    """

    x: Tensor
    y: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class Series:
    """Recordings as the input of a net: scaled, cut, and with each frame held for several steps.

    Args:
        recordings: A training, validation or test set.
        standard: The scale, measured on the training set.
        hold: Time steps for which a frame is held.
        length: Frames after which a recording is cut; None keeps all.
        pads_to_length: Whether a shorter recording continues with zeros, the mean frame of the
            training set, to `length` frames, and these count as steps of the recording.
        encoder: How an image becomes an input; None for other recordings.
        as_lists: Whether the input of events is a sparse tensor: the list of those that there are.
    """

    recordings: Recordings
    standard: Standard
    hold: int = 1
    length: int | None = None
    pads_to_length: bool = False
    encoder: Encoder | None = None
    as_lists: bool = False

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def labels(self) -> Indices:
        """Class index of each recording, `[B]`."""
        return self.recordings.labels

    @cached_property
    def lengths(self) -> Indices:
        """Time steps of each recording, `[B]`."""
        lengths = self.recordings.lengths
        if self.length is not None:
            lengths = np.minimum(lengths, self.length)
        if self.pads_to_length and self.length is not None:
            lengths = np.full_like(lengths, self.length)
        return lengths * self.hold

    def input_of(self, index: int) -> Frames:
        """The input of one recording, `[T, F]`, without padding to other recordings."""
        frames = self.standard.apply(self.recordings.frames[index][: self.length])
        if self.encoder is not None:
            return self.encoder(frames, self.recordings.keys[index], self.hold)
        return hold_values(frames, self.hold)

    def batch(self, indices: Sequence[int] | Indices) -> Batch:
        """The recordings at some indices, in that order."""
        lengths = self.lengths[indices]
        shape = (len(lengths), int(lengths.max()))
        x = self._event_lists(indices, shape[1]) if self.as_lists else self._frames(indices, shape)
        y = torch.from_numpy(self._targets(indices, shape))
        return Batch(x, y, torch.from_numpy(lengths))

    def _frames(self, indices: Sequence[int] | Indices, shape: tuple[int, int]) -> Tensor:
        x = np.zeros((*shape, self.recordings.n_features), np.float32)
        for padded, index in zip(x, indices, strict=True):
            values = self.input_of(int(index))
            padded[: len(values)] = values
        return torch.from_numpy(x)

    def _event_lists(self, indices: Sequence[int] | Indices, steps: int) -> Tensor:
        pairs = [self._pairs_of(int(index)) for index in indices]
        counts = collate_events(pairs, steps, self.recordings.n_features)
        # Events have one scale, and 0 stays 0.
        return counts / float(self.standard.deviation[0])

    def _pairs_of(self, index: int) -> Pairs:
        """Step and place of the events of a recording, cut, and held for several steps."""
        frames: Any = self.recordings.frames
        pairs: Pairs = frames.pairs(index)
        if self.length is not None:
            pairs = pairs[pairs[:, 0] < self.length]
        if self.hold == 1:
            return pairs
        held = np.repeat(pairs, self.hold, axis=0)
        held[:, 0] *= self.hold
        held[:, 0] += np.tile(np.arange(self.hold, dtype=np.int32), len(pairs))
        return held[np.lexsort((held[:, 1], held[:, 0]))]

    def _targets(
        self, indices: Sequence[int] | Indices, shape: tuple[int, int]
    ) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        recordings = self.recordings
        if recordings.task == "classification":
            return recordings.labels[indices]
        y: StepTarget = (
            np.full(shape, PADDING_LABEL, np.int64)
            if recordings.task == "labels"
            else np.zeros((*shape, recordings.n_targets), np.float32)
        )
        for padded, index in zip(y, indices, strict=True):
            target = np.repeat(recordings.targets[int(index)][: self.length], self.hold, axis=0)
            padded[: len(target)] = target
        return y

    def whole(self) -> Batch:
        """All recordings as one batch.

        Raises:
            ValueError: If they do not fit the memory.
        """
        n_values = len(self) * int(self.lengths.max()) * self.recordings.n_features
        what = f"{len(self):,} recordings as one batch"
        require_memory("data", what, 4.0 * n_values, "use fewer or shorter recordings")
        return self.batch(np.arange(len(self)))

    def take(self, indices: Indices) -> "Series":
        """The recordings at some indices, on the same scale."""
        return replace(self, recordings=self.recordings.take(indices))


def batches_of(
    series: Series,
    batch_size: int,
    sampler: "LengthOrder | None" = None,
    workers: int = 0,
    on_start: Callable[[], object] | None = None,
) -> DataLoader[Batch]:
    """The batches of a set.

    Args:
        series: The set.
        batch_size: Recordings per batch; the last one may have fewer.
        sampler: The order of the recordings; None for that of the set.
        workers: Processes that make batches.
        on_start: Called in each of these processes when it begins; a function that can be pickled.
    """
    if workers and series.as_lists:
        _quiet_torch_about_lists()
    # An element of this data set is an index: a batch is made in one go, by `Series.batch`.
    indices: Any = range(len(series))
    return DataLoader(
        indices,
        batch_size,
        sampler=sampler,
        collate_fn=series.batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=partial(_begin_worker, on_start),
    )


def _quiet_torch_about_lists() -> None:
    """Let torch's warning that it does not check sparse tensors pass unseen.

    It comes once in a process, when it first receives one from a worker. Ours need no check.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_coo_tensor(torch.zeros(1, 0, dtype=torch.int64), torch.zeros(0), (1,))


def _begin_worker(on_start: Callable[[], object] | None, _: int) -> None:
    die_with_the_parent()
    if on_start is not None:
        on_start()


class LengthOrder(DistributedSampler[int]):
    """An order for each epoch, a function of seed and epoch, in which a batch has similar lengths.

    The recordings are shuffled. Those of 16 batches at a time are sorted by length and cut into
    batches, and the batches are shuffled. So little of a batch is padding, and recordings still
    meet different ones in each epoch. If all have one length, the order is plain shuffling.

    Args:
        series: The set.
        batch_size: Recordings per batch.
        seed: Seed of the orders.
        replicas: Number of processes that share the set.
        rank: Number of this process.
    """

    def __init__(
        self, series: Series, batch_size: int, seed: int, replicas: int = 1, rank: int = 0
    ) -> None:
        indices: Any = range(len(series))  # its length is enough
        super().__init__(indices, num_replicas=replicas, rank=rank, seed=seed)
        self._lengths = series.lengths
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[int]:
        order = np.fromiter(super().__iter__(), np.int64)
        if (self._lengths == self._lengths[:1]).all():
            return iter(order.tolist())
        batches: list[Indices] = []
        window = BATCHES_SORTED * self._batch_size
        for first in range(0, len(order), window):
            part = order[first : first + window]
            part = part[np.argsort(self._lengths[part], kind="stable")]
            batches += [
                part[start : start + self._batch_size]
                for start in range(0, len(part), self._batch_size)
            ]
        # A batch that is not full stays the last one, because the loader cuts at whole batches.
        last = [batches.pop()] if len(batches[-1]) < self._batch_size else []
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        places = torch.randperm(len(batches), generator=generator).tolist()
        shuffled = [batches[place] for place in places] + last
        return iter(np.concatenate(shuffled).tolist())
