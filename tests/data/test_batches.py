"""Batches: padding, lengths, targets and changes of recordings."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from nwavesdk.data import Augmentation, LogMel, NetInput, Recordings, Series, Standard
from nwavesdk.data.augment import AUGMENTATIONS, AugmentedKind
from nwavesdk.data.batches import PADDING_LABEL
from nwavesdk.data.binning import sort_pairs
from nwavesdk.data.features import EventBins
from nwavesdk.data.front_end import MIN_CHANGE
from nwavesdk.data.loading import EventFrames

LENGTHS = (3, 5, 2, 4)


def recordings(lengths: tuple[int, ...] = LENGTHS, **fields: Any) -> Recordings:
    draw = np.random.default_rng(0)
    count = len(lengths)
    return Recordings(
        tuple(draw.standard_normal((n, 3)).astype(np.float32) + 2 for n in lengths),
        np.arange(count) % 2,
        ("a", "b"),
        tuple(f"{index}" for index in range(count)),
        fingerprint="",
        **fields,
    )


def series(
    part: Recordings, augmentation: Augmentation | None = None, seed: int = 0, **choices: Any
) -> Series:
    return Series(part, NetInput(standard=Standard.fit(part), **choices), augmentation, seed)


def test_recordings_are_held_and_padded_to_the_longest_of_the_batch() -> None:
    part = recordings()
    one = series(part, hold=2)
    assert one.lengths.tolist() == [6, 10, 4, 8]
    x, y, lengths = one.batch([2, 0])
    assert (x.shape, y.tolist(), lengths.tolist()) == ((2, 6, 3), [0, 0], [4, 6])
    scaled = one.input.standard.apply(part.frames[2])
    np.testing.assert_array_equal(x[0], np.pad(np.repeat(scaled, 2, axis=0), ((0, 2), (0, 0))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_held_image_is_once_in_memory(dtype: Any) -> None:
    images = recordings((1, 1, 1, 1))
    images = replace(images, frames=tuple(frame.astype(dtype) for frame in images.frames))
    one = series(images, hold=5)
    x = one.batch([2, 0]).x
    assert (x.shape, x.dtype, x.stride(1)) == ((2, 5, 3), torch.float32, 0)
    scaled = [one.input.standard.apply(images.frames[index]) for index in (2, 0)]
    np.testing.assert_array_equal(x, np.repeat(scaled, 5, axis=1).astype(np.float32))
    assert one.input_of(2).shape == (5, 3)


@pytest.mark.parametrize(
    ("lengths", "choices"),
    [
        ((1, 2), {"hold": 5}),
        ((1, 1), {"hold": 1}),
        ((1, 1), {"hold": 5, "look_ahead": 2}),
        ((1, 1), {"hold": 5, "length": 2, "pads_to_length": True}),
        ((1, 1), {"hold": 5, "encoder": "latency"}),
    ],
)
def test_other_steps_are_apart_in_memory(lengths: tuple[int, ...], choices: dict[str, Any]) -> None:
    assert series(recordings(lengths), **choices).batch([0, 1]).x.is_contiguous()


def test_a_recording_is_cut_after_length_and_may_be_padded_to_it() -> None:
    part = recordings()
    assert series(part, length=3).lengths.tolist() == [3, 3, 2, 3]
    x, _, lengths = series(part, length=4, pads_to_length=True).whole()
    assert lengths.tolist() == [4, 4, 4, 4]
    assert x.any(dim=2).sum(dim=1).tolist() == [3, 4, 2, 4]


def test_labels_of_steps_are_held_cut_padded_and_later_by_the_look_ahead() -> None:
    part = recordings(task="labels", targets=tuple(np.arange(n) for n in LENGTHS))
    _, y, lengths = series(part, hold=2, length=4).batch([1, 2])
    assert y.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, *[PADDING_LABEL] * 4]]
    assert lengths.tolist() == [8, 4]
    one = series(part, hold=2, look_ahead=3)
    x, y, lengths = one.batch([2, 0])
    none = [PADDING_LABEL] * 3
    assert y.tolist() == [[*none, 0, 0, 1, 1, -1, -1], [*none, 0, 0, 1, 1, 2, 2]]
    assert lengths.tolist() == one.lengths[[2, 0]].tolist() == [7, 9]
    assert x.any(dim=2).sum(dim=1).tolist() == [4, 6]


VALUES = np.random.default_rng(0).random((2, 50)).astype(np.float32)


UNCHANGED = Standard(np.zeros(50, np.float32), np.ones(50, np.float32))


def spikes_of(
    values: np.ndarray, encoder: Any = "rate", hold: int = 4000, key: str = "image", seed: int = 0
) -> np.ndarray:
    net_input = NetInput(standard=UNCHANGED, encoder=encoder, hold=hold, seed=seed)
    return net_input.scaled(values, key)


def test_random_spikes_have_the_rate_of_their_value_and_depend_on_seed_and_key() -> None:
    spikes = spikes_of(VALUES[:1])
    assert {*spikes.ravel().tolist()} == {0.0, 1.0}
    # Five standard deviations of a mean of 4,000 draws.
    np.testing.assert_allclose(spikes.mean(0), VALUES[0], atol=5 * 0.5 / np.sqrt(4000))
    np.testing.assert_array_equal(spikes, spikes_of(VALUES[:1]))
    for key, seed in (("image", 1), ("other", 0)):
        assert (spikes != spikes_of(VALUES[:1], key=key, seed=seed)).any()


@pytest.mark.parametrize("name", ["rate", "latency"])
def test_an_encoder_makes_the_steps_of_each_frame_and_0_never_spikes(name: Any) -> None:
    assert spikes_of(VALUES, name, 5).shape == (10, 50)
    assert not spikes_of(np.zeros((1, 50), np.float32), name, 10).any()
    part = replace(recordings(), frames=(VALUES[:1],) * 4)
    net_input = NetInput(standard=UNCHANGED, hold=5, encoder=name, seed=3)
    x, _, lengths = Series(part, net_input).whole()
    assert lengths.tolist() == [5] * 4
    np.testing.assert_array_equal(x[1], spikes_of(VALUES[:1], name, 5, "1", seed=3))


def test_what_memory_cannot_hold_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 100)
    with pytest.raises(ValueError, match="4 recordings as one batch need"):
        series(recordings()).whole()


def event_recordings() -> Recordings:
    """Three recordings of 4, 2 and 6 steps, with 8 events each at 3 places."""
    draw = np.random.default_rng(0)
    shapes = [(4, 3), (2, 3), (6, 3)]
    pairs = [sort_pairs(*draw.integers(0, shape, (8, 2)).T, 3) for shape in shapes]
    frames = EventFrames(tuple(map(EventBins, pairs, shapes)))
    return replace(recordings((1, 1, 1)), frames=frames)


MOVES = Augmentation("events", shift=0.5, speed=0.4, spread=1, drop=0.3, move=1, flip=0.5)


@pytest.mark.parametrize("choices", [{}, {"hold": 3}, {"length": 3}])
def test_lists_of_events_are_the_frames(choices: dict[str, Any]) -> None:
    part = event_recordings().take(np.array([2, 0, 1]))
    own = Standard(np.zeros(3, np.float32), np.full(3, 2, np.float32))
    dense, lists = (
        Series(part, NetInput(standard=own, as_lists=as_lists, **choices), MOVES)
        for as_lists in (False, True)
    )
    for indices in ([1, 0], range(3, 12)):  # of recordings, and of changed ones
        expected, batch = dense.batch(indices), lists.batch(indices)
        assert batch.x.layout == torch.sparse_coo
        assert torch.equal(batch.x.to_dense(), expected.x)
        assert torch.equal(batch.lengths, expected.lengths)


CHANGES = Augmentation("series", shift=0.5, speed=0.4, scale=0.3, jitter=0.2)


def varied(part: Recordings, **choices: Any) -> Series:
    return series(part, augmentation=CHANGES, **choices)


def test_a_change_depends_on_seed_epoch_and_recording_only() -> None:
    part = replace(recordings((9,) * 4), frames=(recordings((9,)).frames[0],) * 4)

    def changed(index: int, epoch: int, seed: int = 5) -> bytes:
        one = varied(part, seed=seed)
        return one.input_of(one.variation_index(index, epoch)).tobytes()

    first = changed(2, 1)
    assert first == changed(2, 1)
    assert len({first, changed(1, 1), changed(2, 0), changed(2, 1, seed=6)}) == 4


def test_lengths_of_a_batch_are_those_of_its_changed_recordings() -> None:
    part = recordings((8, 10, 6, 9))
    one = varied(part, hold=2)
    for epoch in range(3):
        indices = [one.variation_index(index, epoch) for index in (3, 0, 1, 2)]
        x, y, lengths = one.batch(indices)
        assert x.shape[1] == lengths.max()
        assert y.tolist() == [1, 0, 1, 0]
        assert lengths.tolist() != one.lengths[[3, 0, 1, 2]].tolist()
        for padded, length, index in zip(x, lengths, indices, strict=True):
            assert torch.equal(padded[:length], torch.from_numpy(one.input_of(index)))
            assert not padded[length:].any()
    # Slower ones are cut again, and zeros go on to a fixed length.
    assert varied(part, length=5).batch(range(4, 40)).lengths.max() == 5
    padded = varied(part, length=9, pads_to_length=True).batch(range(4, 40))
    assert (padded.x.shape[1], *set(padded.lengths.tolist())) == (9, 9)


@pytest.mark.parametrize("task", ["labels", "regression"])
def test_targets_follow_changed_recordings(task: str) -> None:
    lengths = (8, 12)
    places = tuple(np.arange(n) for n in lengths)
    frames = tuple(place[:, None].astype(np.float32) for place in places)
    part = recordings(lengths, task=task, targets=places if task == "labels" else frames)
    own = Standard(np.zeros(1, np.float32), np.ones(1, np.float32))
    moves = Augmentation("series", shift=0.5, speed=0.4)
    net_input = NetInput(standard=own, hold=3, length=9)
    one = Series(replace(part, frames=frames), net_input, moves)
    tolerance, padding = (0.5, PADDING_LABEL) if task == "labels" else (1e-5, 0)
    for epoch in range(5):
        batch = one.batch([one.variation_index(index, epoch) for index in range(2)])
        for values, target, length in zip(*batch, strict=True):
            distance = values[:length, 0] - target[:length].reshape(-1)
            assert distance.abs().max() <= tolerance
            assert (target[length:] == padding).all()


def test_a_centered_recording_has_the_mean_0_and_its_padding_is_0() -> None:
    part = recordings()
    one = series(part, center=True, length=4, pads_to_length=True)
    x = one.whole().x
    assert not x[2, 2:].any()
    # The deviation is of the training set, and the mean of the frames that are left.
    left = part.frames[1][:4]
    expected = (left - left.mean(0)) / one.input.standard.deviation
    np.testing.assert_allclose(x[1], expected, atol=1e-5)
    # It is centered after it changes.
    changed = varied(recordings((20, 30)), center=True)
    for index in range(2, 10):
        np.testing.assert_allclose(changed.input_of(index).mean(0), 0, atol=1e-5)


@pytest.mark.parametrize("center", [False, True])
def test_a_standardized_recording_has_the_deviation_1(center: bool) -> None:
    part = recordings((20, 30))
    one = series(part, center=center, standardize=True)
    for index, own in enumerate(part.frames):
        # Relative to each other, features keep the deviations of the training set.
        relative = (own - own.mean(0)) / one.input.standard.deviation
        mean = own.mean(0) if center else one.input.standard.mean
        expected = (own - mean) / one.input.standard.deviation / np.sqrt(np.square(relative).mean())
        x = one.input_of(index)
        np.testing.assert_allclose(x, expected, atol=1e-5)
        assert np.sqrt(x.var(0).mean()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1e-9])
def test_small_recordings_are_enlarged_and_constant_ones_are_not(size: float) -> None:
    one = series(recordings((20, 30)), center=True, standardize=True)
    wave = np.sin(np.arange(20, dtype=np.float32))[:, None] * np.ones(3, np.float32)

    def scaled(frames: np.ndarray) -> np.ndarray:
        return one.input.scaled(frames, "")

    assert np.sqrt(scaled(size * wave).var(0).mean()) == pytest.approx(1.0, abs=1e-5)
    # Values near 100 differ by the noise of rounding alone.
    assert np.abs(scaled(100 + 1e-5 * wave)).max() < 1e-3


RATE = 8000
DRAW = np.random.default_rng(0)
LSB = DRAW.integers(-1, 2, RATE) / 2**15

# Sounds of a second without any content, and one with some.
STEADY_SOUNDS = {
    "zeros": np.zeros(RATE),
    "one step of 16 bits": LSB,
    "a click of one step": np.eye(1, RATE, 4000)[0] / 2**15,
    "constant": np.full(RATE, 0.3),
    "tone": np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE)),
}
SOUND = 0.3 * DRAW.standard_normal(RATE) * np.hanning(RATE)

# Series of 3,000 steps, as sums in float32 would lose digits.
STEPS = 3000
STEADY_SERIES = {
    "zeros": np.zeros((STEPS, 3)),
    "constant": np.full((STEPS, 3), 0.1),
    "large constant": np.full((STEPS, 3), 101325.7),
    "rounding": 9.81 * (1 + 1e-7 * DRAW.integers(-1, 2, (STEPS, 3))),
}
WAVES = DRAW.standard_normal((STEPS, 3)) + 9.81
STEADY_IMAGES = {"black": np.zeros((1, 20)), "gray": np.full((1, 20), 0.3)}
IMAGE = DRAW.random((1, 20))

# Each change as strong as it may be by default or more.
STRONG = {"noise": 1.0, "gain": 6.0, "scale": 0.5, "jitter": 0.5, "rotate": 40.0, "move": 2.0}


def steady_series(kind: AugmentedKind, varying: np.ndarray, steady: np.ndarray) -> Series:
    """A training set of a recording that varies and a steady one, with all changes of its kind."""
    frames = tuple(values.astype(np.float32) for values in (varying, steady))
    shape = (4, 5) if kind == "image" else ()
    part = Recordings(
        frames, np.arange(2), ("a", "b"), ("a", "b"), fingerprint="", feature_shape=shape
    )
    least_change = MIN_CHANGE if kind == "sound" else 0.0
    standard = replace(Standard.fit(part), least_change=least_change)
    strengths = {name: STRONG.get(name, 0.4) for name in AUGMENTATIONS[kind]}
    return Series(part, NetInput(standard=standard), Augmentation(kind, **strengths))


LOG_MEL = LogMel(RATE)
STEADY = [
    *(("sound", LOG_MEL(SOUND), LOG_MEL(sound), (0, 0)) for sound in STEADY_SOUNDS.values()),
    *(("series", WAVES, series, (1e-6, 2e-5)) for series in STEADY_SERIES.values()),
    *(("image", IMAGE, image, (1e-7, 1e-6)) for image in STEADY_IMAGES.values()),
]


@pytest.mark.parametrize(("center", "standardize"), [*product((False, True), repeat=2)])
@pytest.mark.parametrize(("kind", "varying", "steady", "tolerance"), STEADY)
def test_a_steady_recording_is_the_same_in_training_and_in_use(
    kind: AugmentedKind,
    varying: np.ndarray,
    steady: np.ndarray,
    tolerance: tuple[float, float],
    center: bool,
    standardize: bool,
) -> None:
    one = steady_series(kind, varying, steady)
    if kind != "image":
        one = replace(one, input=replace(one.input, center=center, standardize=standardize))
    for epoch in range(5):
        in_training = one.input_of(one.variation_index(1, epoch))
        # Its length may change.
        in_use = one.input_of(1)[: len(in_training)]
        in_use = np.pad(in_use, ((0, len(in_training) - len(in_use)), (0, 0)), "edge")
        np.testing.assert_allclose(in_training, in_use, *tolerance)
    if kind == "sound" and center and standardize:  # what is left of it is not scaled up
        assert one.input_of(1).std() < 0.5
        assert one.input_of(0).std() > 0.9
