"""Binning of events against whole-number arithmetic and plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data.batches import collate_events
from nwavesdk.data.binning import bin_events, count_steps, to_frames
from nwavesdk.data.source import Events


def events_at(microseconds: list[int]) -> Events:
    times = np.sort(np.array(microseconds, np.int64)) / 1e6
    places = np.zeros(len(times), np.int64)
    return Events(times, places, (1,), float(times.max(initial=0)))


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 50_000),
    st.lists(st.integers(0, 10_000), min_size=1, max_size=20),
    st.lists(st.integers(0, 600_000_000), max_size=20),
)
def test_step_is_the_quotient_of_whole_microseconds(width, edges, others):
    ticks = [min(edge * width, 600_000_000) for edge in edges] + others
    events = events_at(ticks)
    expected = np.sort(ticks) // width
    pairs = bin_events(events, width / 1e6, 600_000_001)
    assert pairs[:, 0].tolist() == expected.tolist()
    assert count_steps(events, width / 1e6) == expected[-1] + 1


@pytest.mark.parametrize("bin_seconds", [1e-3, 0.1, 1 / 3, 14e-3 / 3])
def test_event_at_an_edge_belongs_to_the_bin_that_begins_there(bin_seconds):
    edges = np.arange(1000)
    times = edges * bin_seconds
    events = Events(times, np.zeros(1000, np.int64), (1,), float(times[-1]))
    assert bin_events(events, bin_seconds, 1000)[:, 0].tolist() == edges.tolist()


def test_pairs_are_in_the_order_of_steps_and_places_and_events_after_the_end_are_left_out():
    draw = np.random.default_rng(0)
    ticks = np.sort(draw.integers(0, 20_000, 500))
    events = Events(ticks / 1e6, draw.integers(0, 7, 500), (7,), 0.02)
    order = zip((ticks // 1000).tolist(), events.places.tolist(), strict=True)
    expected = sorted(pair for pair in order if pair[0] < 12)
    pairs = bin_events(events, 1e-3, 12)
    assert pairs.dtype == np.int32
    assert list(map(tuple, pairs.tolist())) == expected


def test_no_events_are_no_pairs_and_zeros():
    pairs = bin_events(events_at([]), 1e-3, 5)
    assert pairs.shape == (0, 2)
    assert not to_frames(pairs, 5, 1).any()
    assert collate_events([pairs, pairs], 5, 1).to_dense().tolist() == [[[0.0]] * 5] * 2


def test_a_batch_of_lists_equals_the_frames():
    draw = np.random.default_rng(1)
    recordings = [
        np.unique(draw.integers(0, 6, (n, 2)), axis=0).repeat(2, axis=0).astype(np.int32)
        for n in (9, 0, 30)
    ]
    # The next recording begins where this one ends.
    recordings += [np.array([[2, 3]], np.int32)] * 2
    batch = collate_events(recordings, 6, 6)
    frames = np.stack([to_frames(pairs, 6, 6) for pairs in recordings])
    assert torch.equal(batch.to_dense(), torch.from_numpy(frames))
    # The claim of being coalesced: places rise, and none is there twice.
    indices = batch.indices().numpy()
    assert (np.diff(np.ravel_multi_index(tuple(indices), (5, 6, 6))) > 0).all()


OUTSIDE = np.array([[0, 0], [5, 0]], np.int32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: collate_events([OUTSIDE], 5, 1), "size is inconsistent with indices"),
        (lambda: collate_events([-OUTSIDE], 6, 1), "found negative index -5"),
        (lambda: to_frames(OUTSIDE, 5, 1), "index 5 is out of bounds"),
    ],
)
def test_events_outside_of_a_batch_are_an_error(call, words):
    with pytest.raises((RuntimeError, IndexError), match=words):
        call()
