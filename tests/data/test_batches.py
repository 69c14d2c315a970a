"""Batches: padding, lengths, targets, and the order in which recordings are learned from."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nwavesdk.data import Recordings, Series, Standard
from nwavesdk.data.batches import PADDING_LABEL, LengthOrder, batches_of
from nwavesdk.data.encoders import Latency
from nwavesdk.data.features import EventBins
from nwavesdk.data.store import StoreWriter

LENGTHS = (3, 5, 2, 4)


def recordings(lengths: tuple[int, ...] = LENGTHS, **fields: Any) -> Recordings:
    draw = np.random.default_rng(0)
    count = len(lengths)
    return Recordings(
        tuple(draw.standard_normal((n, 3)).astype(np.float32) + 2 for n in lengths),
        np.arange(count) % 2,
        ("a", "b"),
        tuple(f"{index}" for index in range(count)),
        "",
        **fields,
    )


def series(part: Recordings, **choices: Any) -> Series:
    return Series(part, Standard.fit(part), **choices)


def test_recordings_are_padded_to_the_longest_of_the_batch() -> None:
    part = recordings()
    one = series(part, hold=2)
    assert one.lengths.tolist() == [6, 10, 4, 8]
    x, y, lengths = one.batch([2, 0])
    assert x.shape == (2, 6, 3)
    assert lengths.tolist() == [4, 6]
    assert y.tolist() == [0, 0]
    scaled = one.standard.apply(part.frames[2])
    np.testing.assert_array_equal(x[0, :4], np.repeat(scaled, 2, axis=0))
    assert not x[0, 4:].any()


def test_a_recording_is_cut_after_length_and_may_be_padded_to_it() -> None:
    part = recordings()
    assert series(part, length=3).lengths.tolist() == [3, 3, 2, 3]
    padded = series(part, length=4, pads_to_length=True)
    assert padded.lengths.tolist() == [4, 4, 4, 4]
    x = padded.whole().x
    assert x.shape == (4, 4, 3)
    assert not x[2, 2:].any()


def test_labels_of_steps_are_held_cut_and_padded() -> None:
    targets = tuple(np.arange(n) for n in LENGTHS)
    part = recordings(task="labels", targets=targets)
    _, y, lengths = series(part, hold=2, length=4).batch([1, 2])
    assert y.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, *[PADDING_LABEL] * 4]]
    assert lengths.tolist() == [8, 4]


def test_values_of_steps_are_held_and_padded_with_0() -> None:
    targets = tuple(np.ones((n, 2), np.float32) for n in LENGTHS)
    part = recordings(task="regression", targets=targets)
    assert part.n_targets == 2
    _, y, _ = series(part).batch([0, 1])
    assert y.shape == (2, 5, 2)
    assert y.dtype == torch.float32
    assert y[0].sum() == 6
    assert not y[0, 3:].any()


def test_an_encoder_replaces_the_current() -> None:
    part = replace(recordings(), frames=tuple(np.full((1, 3), 0.5, np.float32) for _ in LENGTHS))
    own = Standard(np.zeros(3, np.float32), np.ones(3, np.float32))
    x, _, lengths = Series(part, own, hold=5, encoder=Latency()).whole()
    assert lengths.tolist() == [5] * 4
    assert x.sum(1).tolist() == [[1.0] * 3] * 4


def test_a_set_is_the_same_in_worker_processes() -> None:
    one = series(recordings((4, 3, 2, 5, 1, 3)), hold=2)
    alone = list(batches_of(one, 4))
    shared = list(batches_of(one, 4, workers=2))
    assert [len(batch.x) for batch in alone] == [4, 2]
    for first, second in zip(alone, shared, strict=True):
        assert all(map(torch.equal, first, second))


def order_of(one: Series, epoch: int = 0, seed: int = 0, size: int = 4) -> list[int]:
    order = LengthOrder(one, size, seed)
    order.set_epoch(epoch)
    return list(order)


def test_the_order_is_a_permutation_that_changes_with_seed_and_epoch() -> None:
    lengths = tuple(np.random.default_rng(1).integers(1, 50, 103).tolist())
    one = series(recordings(lengths))
    first = order_of(one)
    assert sorted(first) == list(range(103))
    assert first == order_of(one)
    assert first != order_of(one, epoch=1)
    assert first != order_of(one, seed=1)


def test_batches_have_similar_lengths_and_little_padding() -> None:
    lengths = tuple(np.random.default_rng(1).integers(1, 50, 640).tolist())
    one = series(recordings(lengths))
    batches = np.array(lengths)[order_of(one, size=16)].reshape(-1, 16)
    steps = 16 * batches.max(1).sum()
    assert sum(lengths) / steps > 0.9
    shuffled = np.random.default_rng(2).permutation(lengths).reshape(-1, 16)
    assert sum(lengths) / (16 * shuffled.max(1).sum()) < 0.6


def test_recordings_of_one_length_are_shuffled_like_in_torch() -> None:
    one = series(recordings((3,) * 20))
    sampler = torch.utils.data.DistributedSampler(range(20), 1, 0, seed=5)  # type: ignore[arg-type]
    sampler.set_epoch(2)
    assert order_of(one, epoch=2, seed=5) == list(sampler)


def test_a_batch_that_is_not_full_is_the_last_one() -> None:
    one = series(recordings(tuple(range(1, 11))))
    sizes = [len(batch.x) for batch in batches_of(one, 4, LengthOrder(one, 4, 0))]
    assert sizes == [4, 4, 2]


def test_two_processes_share_the_set() -> None:
    one = series(recordings(tuple(range(1, 13))))
    halves = [list(LengthOrder(one, 3, 0, 2, rank)) for rank in range(2)]
    assert sorted(halves[0] + halves[1]) == list(range(12))


def test_what_memory_cannot_hold_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 100)
    with pytest.raises(ValueError, match="4 recordings as one batch need"):
        series(recordings()).whole()


def event_recordings() -> Recordings:
    """Three recordings of 4, 2 and 6 steps, with 8 events each at 3 places."""
    writer = StoreWriter(None, "data")
    draw = np.random.default_rng(0)
    for steps in (4, 2, 6):
        pairs = draw.integers(0, (steps, 3), (8, 2)).astype(np.int32)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        writer.append(EventBins(pairs, steps, 3), None)
    frames = writer.finish(3, {}).frames
    return replace(recordings((1, 1, 1)), frames=frames)


def test_lists_of_events_are_the_frames() -> None:
    part = event_recordings().take(np.array([2, 0, 1]))
    own = Standard(np.zeros(3, np.float32), np.ones(3, np.float32))
    for choices in ({}, {"hold": 3}, {"length": 3}):
        dense = Series(part, own, **choices).batch([1, 0])
        lists = Series(part, own, **choices, as_lists=True).batch([1, 0])
        assert lists.x.layout == torch.sparse_coo
        assert torch.equal(lists.x.to_dense(), dense.x)
        assert torch.equal(lists.lengths, dense.lengths)


def test_lists_come_from_workers_without_a_warning() -> None:
    own = Standard(np.zeros(3, np.float32), np.ones(3, np.float32))
    made = Series(event_recordings(), own, as_lists=True)
    for here, there in zip(batches_of(made, 2), batches_of(made, 2, workers=1), strict=True):
        assert there.x.is_coalesced()
        assert torch.equal(there.x.to_dense(), here.x.to_dense())
