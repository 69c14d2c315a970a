"""Loaders: the order in which recordings are learned from, and processes that make batches."""

from typing import Any

import numpy as np
import pytest
import torch

from data.test_batches import event_recordings, recordings, series, varied
from nwavesdk.data import Augmentation, NetInput, Series, Standard
from nwavesdk.train.fit.loaders import BatchOrder, batches_of


def order_of(one: Series, epoch: int = 0, seed: int = 0, size: int = 4, **of: Any) -> list[int]:
    order = BatchOrder(one, size, seed, **of)
    order.set_epoch(epoch)
    return list(order)


def test_the_order_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    lengths = tuple(np.random.default_rng(1).integers(1, 50, 103).tolist())
    one = series(recordings(lengths))
    first = order_of(one)
    assert sorted(first) == list(range(103))
    assert first == order_of(one)
    assert first not in (order_of(one, epoch=1), order_of(one, seed=1))


def test_batches_have_similar_lengths_and_only_the_last_one_is_not_full() -> None:
    lengths = tuple(np.random.default_rng(1).integers(1, 50, 645).tolist())
    order = order_of(series(recordings(lengths)), size=16)
    batches = np.array(lengths)[order][:640].reshape(-1, 16)
    assert batches.sum() / (16 * batches.max(1).sum()) > 0.9
    shuffled = np.random.default_rng(2).permutation(lengths)[:640].reshape(-1, 16)
    assert shuffled.sum() / (16 * shuffled.max(1).sum()) < 0.6


def test_recordings_of_one_length_and_for_batch_norm_are_shuffled_like_in_torch() -> None:
    sampler = torch.utils.data.DistributedSampler(range(20), 1, 0, seed=5)  # type: ignore[arg-type]
    sampler.set_epoch(2)
    assert order_of(series(recordings((3,) * 20)), epoch=2, seed=5) == list(sampler)
    one = series(recordings(tuple(range(1, 21))))
    assert order_of(one, epoch=2, seed=5, has_batch_norm=True) == list(sampler)
    assert order_of(one, epoch=2, seed=5) != list(sampler)


@pytest.mark.parametrize(
    ("n_recordings", "size", "replicas", "expected"),
    [
        (9, 4, 1, [4, 4, 2]),
        (1, 4, 1, [2]),
        (3, 1, 1, [1, 1, 1]),
        (17, 4, 2, [4, 4, 2]),
    ],
)
def test_a_net_with_batch_norm_gets_no_batch_of_one_that_is_left_over(
    n_recordings: int, size: int, replicas: int, expected: list[int]
) -> None:
    one = series(recordings((3,) * n_recordings))
    indices = set()
    for rank in range(replicas):
        order = BatchOrder(one, size, 0, replicas=replicas, rank=rank, has_batch_norm=True)
        assert [len(batch.x) for batch in batches_of(one, size, order)] == expected
        indices |= set(order)
    assert indices == set(range(n_recordings))
    # Without batch norm, each recording comes once.
    assert sorted(order_of(one, size=size)) == list(range(n_recordings))


@pytest.mark.parametrize("n_recordings", [40, 36, 13])
def test_batches_of_two_processes_are_those_of_one(n_recordings: int) -> None:
    lengths = tuple(np.random.default_rng(1).integers(1, 50, n_recordings).tolist())
    one = series(recordings(lengths))
    whole = order_of(one, epoch=2, size=8)
    parts = [order_of(one, epoch=2, replicas=2, rank=rank) for rank in range(2)]
    assert [len(part) for part in parts] == [-(-n_recordings // 2)] * 2
    if n_recordings % 2:  # one comes twice
        assert {*parts[0], *parts[1]} == set(range(n_recordings))
    else:
        together = np.concatenate([np.array(part[:12]).reshape(3, 4) for part in parts], axis=1)
        np.testing.assert_array_equal(np.sort(together), np.sort(np.reshape(whole[:24], (3, 8))))


def test_only_indices_of_an_epoch_give_changed_recordings() -> None:
    part = recordings()
    plain, one = series(part), varied(part)
    assert all(map(torch.equal, one.whole(), plain.whole()))
    assert order_of(plain, epoch=3) == [index % 4 for index in order_of(one, epoch=3)]
    assert min(order_of(one)) >= 4
    assert [plain.variation_index(index, 2) for index in range(4)] == list(range(4))
    off = series(part, augmentation=Augmentation("series"))
    assert order_of(off) == order_of(plain)


def test_workers_make_the_same_lists_of_events() -> None:
    scale = Standard(np.zeros(3, np.float32), np.full(3, 2, np.float32))
    dense, lists = (
        Series(event_recordings(), NetInput(standard=scale, as_lists=as_lists))
        for as_lists in (False, True)
    )
    for here, there in zip(batches_of(dense, 2), batches_of(lists, 2, workers=1), strict=True):
        assert there.x.is_coalesced()
        assert torch.equal(there.x.to_dense(), here.x)


def test_changed_recordings_are_the_same_in_worker_processes_and_after_a_resume() -> None:
    one = varied(recordings((4, 3, 2, 5, 1, 3)), seed=1)

    def batches(epoch: int, workers: int = 0) -> list[Any]:
        order = BatchOrder(one, 4, 0)
        order.set_epoch(epoch)
        return list(batches_of(one, 4, order, workers))

    second = batches(1)
    for here, there in zip(second, batches(1, workers=2), strict=True):
        assert all(map(torch.equal, here, there))
    assert [batch.x.sum() for batch in batches(0)] != [batch.x.sum() for batch in second]
