"""The batches of a set: in their order, in worker processes, and as a data module of Lightning."""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from nwavesdk.data import Batch, Indices, Series, Split
from nwavesdk.internal.processes import die_with_the_parent
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.net_file import load_module
from nwavesdk.train.fit.seeds import stream_seed

__all__ = ["BatchOrder", "Loaders", "batches_of", "loaders_of_run"]

# Recordings per validation batch if training draws chips: small, so that validation uses several
# chips.
VAL_BATCH = 16

# Recordings are sorted by length within a window of this many batches.
BATCHES_SORTED = 16


class Loaders(LightningDataModule):
    """The training and the validation set in batches.

    Args:
        data: The data.
        batch_size: Recordings per batch of a process.
        seed: Seed of the orders of the training set.
        has_batch_norm: Whether the net may have batch norms; see `BatchOrder`.
        val_batch_size: Recordings per batch of the validation set; None for `batch_size`.
        workers: Processes that prepare batches.
        on_start: Called in each of these processes when it begins.
    """

    def __init__(
        self,
        data: Split[Series],
        *,
        batch_size: int,
        seed: int,
        has_batch_norm: bool = True,
        val_batch_size: int | None = None,
        workers: int = 0,
        on_start: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.seed = seed
        self.has_batch_norm = has_batch_norm
        self.first_epoch = 0
        self._batches_of = partial(batches_of, workers=workers, on_start=on_start)

    def state_dict(self) -> dict[str, Any]:
        """The epoch with which a resumed run begins."""
        assert self.trainer is not None
        return {"first_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first_epoch = state_dict["first_epoch"]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Every recording, in an order that is a function of the seed and the epoch."""
        assert self.trainer is not None
        order = BatchOrder(
            self.data.train,
            self.batch_size,
            self.seed,
            replicas=self.trainer.world_size,
            rank=self.trainer.global_rank,
            has_batch_norm=self.has_batch_norm,
        )

        # Workers read their first batches before Lightning sets the epoch of a resumed run.
        order.set_epoch(self.first_epoch)
        return self._batches_of(self.data.train, self.batch_size, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation set in its order, or the share of this process in it.

        Raises:
            ValueError: If there are more processes than recordings.
        """
        assert self.trainer is not None
        n, world = len(self.data.val), self.trainer.world_size
        if n < world:
            raise ValueError(
                f"machine.devices: got {world} processes for {n} recordings of the validation set, "
                "expected at least one each: use fewer --devices or --nodes."
            )

        # Each recording once: `DistributedSampler` would pass some to two processes.
        share = range(self.trainer.global_rank, n, world)
        return self._batches_of(self.data.val, self.val_batch_size, share)


def loaders_of_run(data: Split[Series], config: CompletedConfig) -> Loaders:
    """The batches of a run."""
    return Loaders(
        data,
        batch_size=config.learning.batch_size,
        seed=stream_seed(config.seed, "order"),
        has_batch_norm=not config.is_layered,  # a page may have batch norms
        val_batch_size=VAL_BATCH if config.draws_chips else None,
        workers=config.machine.workers,
        on_start=None if config.is_layered else partial(load_module, config.page),
    )


def batches_of(
    series: Series,
    batch_size: int,
    sampler: Iterable[int] | None = None,
    workers: int = 0,
    on_start: Callable[[], object] | None = None,
) -> DataLoader[Batch]:
    """The batches of a set.

    Args:
        series: The set.
        batch_size: Recordings per batch; the last batch may have fewer.
        sampler: Indices of the recordings of this process, in order; None for all of the set.
        workers: Processes that make batches.
        on_start: Called in each of these processes when it begins; a function that can be pickled.
    """
    checks: Any = torch.sparse.check_sparse_tensor_invariants
    if workers and series.input.as_lists and not checks.is_enabled():
        # torch warns when it receives a sparse tensor from a worker, unless this is explicit.
        checks.disable()

    # The data set of the loader returns each index unchanged, and `Series.batch` makes a batch of
    # the collected indices. It has no end, because the indices of `BatchOrder` contain the epoch.
    indices: Any = range(sys.maxsize)
    return DataLoader(
        indices,
        batch_size,
        sampler=range(len(series)) if sampler is None else sampler,
        collate_fn=series.batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=partial(_begin_worker, on_start),
    )


def _begin_worker(on_start: Callable[[], object] | None, _: int) -> None:
    die_with_the_parent()
    if on_start is not None:
        on_start()


class BatchOrder(DistributedSampler[int]):
    """An order for each epoch, a function of seed and epoch: shuffled, or by similar lengths.

    For similar lengths, the shuffled recordings of 16 batches at a time are sorted by length and
    cut into batches, and the batches are shuffled. So little of a batch is padding, and a batch
    still has other recordings in each epoch.

    A net with batch norm must not have such batches. Where a class has short recordings, its
    batches are mostly of this class, and so are their statistics. On 270 series of nine speakers, a
    net learned to rely on this: it recognized 84 instead of 96 % of unseen series. Such a net must
    not have a batch of one recording either, which has no deviation from its mean: if one would be
    left over, the first recording of the epoch is repeated.

    Several processes share one order: a batch of R processes with B recordings each has the
    recordings of a batch of one process with R · B recordings.

    The indices come from `Series.variation_index`. So an index also contains the epoch, and every
    process that makes batches can make the changed recording.

    Args:
        series: The set.
        batch_size: Recordings per batch of this process.
        seed: Seed of the orders.
        replicas: Number of processes that share the set.
        rank: Number of this process.
        has_batch_norm: Whether the net may have batch norm. Then recordings are not sorted by
            length, and no batch has a single recording.
    """

    def __init__(
        self,
        series: Series,
        batch_size: int,
        seed: int,
        *,
        replicas: int = 1,
        rank: int = 0,
        has_batch_norm: bool = False,
    ) -> None:
        indices: Any = range(len(series))  # its length is enough
        super().__init__(indices, num_replicas=replicas, rank=rank, seed=seed)
        self._series = series
        self._batch_size = batch_size
        self._is_sorted = not has_batch_norm and np.ptp(series.lengths) > 0
        if has_batch_norm and self.num_samples % batch_size == 1:
            self.num_samples += 1
            self.total_size += replicas

    def __iter__(self) -> Iterator[int]:
        # Each process gets the same number of recordings: if the total is not divisible, some are
        # repeated.
        order = np.resize(self._shuffled(len(self._series)), self.total_size)
        if self._is_sorted:
            order = self._sorted_in_windows(order)

        # Each process takes its share of each batch.
        order = order[self.rank :: self.num_replicas]

        # The epoch adds the same number to all indices.
        return iter((order + self._series.variation_index(0, self.epoch)).tolist())

    def _sorted_in_windows(self, order: Indices) -> Indices:
        size = self._batch_size * self.num_replicas
        window = np.arange(len(order)) // (BATCHES_SORTED * size)
        order = order[np.lexsort((self._series.lengths[order], window))]

        # A batch that is not full stays at the end, because the loader cuts at whole batches.
        n_batches = len(order) // size
        batches = order[: n_batches * size].reshape(n_batches, size)
        return np.concatenate([batches[self._shuffled(n_batches)].ravel(), order[batches.size :]])

    def _shuffled(self, count: int) -> Indices:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return torch.randperm(count, generator=generator).numpy()
