"""Random changes of recordings: what each one keeps, what moves with it, and its errors."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data import Augmentation, default_augmentation
from nwavesdk.data.augment import AUGMENTATIONS, AugmentedKind, Varied
from nwavesdk.data.binning import to_frames

# A strength that has a visible effect on the recordings of these tests.
STRENGTHS = {
    "shift": 0.5,
    "speed": 0.5,
    "warp": 0.5,
    "noise": 5.0,
    "gain": 3.0,
    "scale": 0.5,
    "jitter": 0.5,
    "spread": 2.0,
    "drop": 0.9,
    "rotate": 40.0,
    "zoom": 0.5,
    "move": 2.0,
    "flip": 1.0,
    "erase": 1.0,
    "time_mask": 0.8,
    "band_mask": 0.8,
}
CHANGES = [(kind, name) for kind, names in AUGMENTATIONS.items() for name in names]

few = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32)


def recording(length: int = 20, width: int = 20) -> np.ndarray:
    """Frames that cannot be written, as in a file."""
    frames = np.random.default_rng(1).normal(-4, 2, (length, width)).astype(np.float32)
    frames.flags.writeable = False
    return frames


def events(steps: int = 12) -> np.ndarray:
    """Steps and places of 40 events of a sensor of 2 x 3 x 4 places."""
    pairs = np.random.default_rng(2).integers(0, (steps, 24), (40, 2)).astype(np.int32)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    pairs.flags.writeable = False
    return pairs


def vary(
    kind: AugmentedKind,
    frames: np.ndarray,
    seed: int,
    target: Any = None,
    shape: tuple[int, ...] = (4, 5),
    **strengths: float,
) -> Varied:
    change = Augmentation(kind, **strengths)
    return change.apply(frames, target, shape, np.random.default_rng(seed))


def vary_events(
    pairs: np.ndarray,
    seed: int,
    target: Any = None,
    steps: int = 12,
    shape: tuple[int, ...] = (2, 3, 4),
    **strengths: float,
) -> Varied:
    varied = Varied(pairs, steps, target, shape, are_events=True)
    return Augmentation("events", **strengths).change(varied, np.random.default_rng(seed))


def images_of(image: np.ndarray, shape: tuple[int, ...], **strengths: float) -> list[np.ndarray]:
    """An image after 200 changes."""
    image = image.reshape(1, -1).astype(np.float32)
    changed = (vary("image", image, seed, None, shape, **strengths) for seed in range(200))
    return [varied.frames.reshape(shape) for varied in changed]


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_without_strengths_nothing_changes(kind: AugmentedKind) -> None:
    off = dict.fromkeys(AUGMENTATIONS[kind], 0.0)
    assert Augmentation(kind, **off).strengths == {}
    before, after = changed(kind, off, 0)
    np.testing.assert_array_equal(after.values.reshape(before.shape), before)


def changed(
    kind: AugmentedKind, strengths: dict[str, float], seed: int
) -> tuple[np.ndarray, Varied]:
    """A recording of a kind before and after changes."""
    if kind == "events":
        return events(), vary_events(events(), seed, **strengths)
    return recording(), vary(kind, recording(), seed, **strengths)


@pytest.mark.parametrize(("kind", "name"), CHANGES)
def test_a_change_returns_another_valid_recording(kind: AugmentedKind, name: str) -> None:
    is_same = []
    for seed in range(3):
        before, after = changed(kind, {name: STRENGTHS[name]}, seed)
        values = after.values
        assert values.dtype == before.dtype
        assert np.isfinite(values).all()
        assert after.steps == (12 if kind == "events" else 20) or name == "speed"
        if kind == "events":
            np.testing.assert_array_equal(values, values[np.lexsort((values[:, 1], values[:, 0]))])
            assert after.frames.sum() == len(values)  # none is outside
        is_same.append(np.array_equal(values.reshape(len(values), -1), before))
    assert not all(is_same)


@few
@given(seed=seeds, length=st.integers(1, 40), strength=st.floats(0, 0.9))
def test_targets_move_with_their_frames_and_events(seed: int, length: int, strength: float) -> None:
    # Each frame is its place, and so is its target.
    places = np.arange(length)
    frames = places[:, None].astype(np.float32)
    moved = {"shift": strength, "speed": strength}
    labels: Any = vary("series", frames, seed, places, **moved)
    assert labels.target.dtype == np.int64
    assert labels.steps == len(labels.target) == len(labels.frames)
    assert np.abs(labels.frames[:, 0] - labels.target).max() <= 0.5 + 1e-5
    values: Any = vary("series", frames, seed, frames, **moved)
    np.testing.assert_allclose(values.frames, values.target.astype(np.float32), atol=1e-5)

    # The place of each event is its step. Half a new step is up to 0.95 old ones, and the targets
    # are rounded.
    pairs = np.stack([places, places], axis=1).astype(np.int32)
    varied: Any = vary_events(pairs, seed, places, length, (length,), **moved)
    assert varied.steps == len(varied.target)
    distances = varied.target[varied.values[:, 0]] - varied.values[:, 1]
    assert np.abs(distances).max(initial=0) <= 1


def test_a_shift_fills_a_sound_with_its_quietest_frame_and_a_series_with_the_outermost() -> None:
    frames = np.array([5, 3, 1, 2, 4], np.float32)[:, None]
    sounds, series = (
        {tuple(vary(kind, frames, seed, shift=0.2).frames[:, 0]) for seed in range(30)}
        for kind in ("sound", "series")
    )
    assert sounds == {(5, 3, 1, 2, 4), (1, 5, 3, 1, 2), (3, 1, 2, 4, 1)}
    assert series == {(5, 3, 1, 2, 4), (5, 5, 3, 1, 2), (3, 1, 2, 4, 4)}


@few
@given(seed=seeds, length=st.integers(1, 60), strength=st.floats(0.01, 0.9))
def test_speed_keeps_the_ends_and_bounds_the_length(
    seed: int, length: int, strength: float
) -> None:
    ramp = np.arange(length, dtype=np.float32)[:, None]
    faster = vary("series", ramp, seed, speed=strength).frames[:, 0]
    assert max(1, round(length / (1 + strength))) <= len(faster) <= round(length / (1 - strength))
    # It is the same ramp: evenly spaced places, symmetric about the middle.
    np.testing.assert_allclose(faster + faster[::-1], length - 1, atol=1e-3)
    assert (np.diff(faster) >= 0).all()


@few
@given(seed=seeds, ratio=st.floats(1, 40))
def test_noise_has_its_ratio_to_the_signal_and_only_adds_power(seed: int, ratio: float) -> None:
    frames = recording(100, 40)
    noisy = vary("sound", frames, seed, noise=ratio).frames
    assert (noisy >= frames - 1e-5).all()
    power = [np.exp(each.astype(np.float64)).mean() for each in (frames, noisy)]
    measured = 10 * np.log10(power[0] / (power[1] - power[0]))
    # The tilt and the fluctuation of the noise change its mean power by a few decibels.
    assert ratio - 5 < measured < ratio + 33


def test_a_gain_is_the_same_number_of_decibels_everywhere() -> None:
    frames = recording()
    gains = np.array([vary("sound", frames, seed, gain=6.0).frames - frames for seed in range(200)])
    assert np.ptp(gains, axis=(1, 2)).max() < 1e-5
    assert 5 < np.std(gains) / np.log(10) * 10 < 7


@few
@given(seed=seeds, strength=st.floats(0.01, 0.9))
def test_a_warp_stretches_from_the_lowest_band(seed: int, strength: float) -> None:
    ramp = np.tile(np.arange(30, dtype=np.float32), (3, 1))
    warped = vary("sound", ramp, seed, warp=strength).frames
    stretch = warped[0, 1]
    assert 1 - strength - 1e-6 <= stretch <= 1 + strength + 1e-6
    expected = np.tile(np.minimum(stretch * np.arange(30), 29), (3, 1))
    np.testing.assert_allclose(warped, expected, atol=1e-3)


def test_scales_differ_by_feature_and_keep_the_mean() -> None:
    frames = recording()
    factors = []
    for seed in range(50):
        scaled = vary("series", frames, seed, scale=0.3).frames
        np.testing.assert_allclose(scaled.mean(0), frames.mean(0), atol=1e-4)
        factors.append(scaled.std(0) / frames.std(0))
    assert 0.25 < np.std(np.log(factors)) < 0.35


def test_jitter_is_a_fraction_of_the_deviation_of_each_feature() -> None:
    frames = recording(2000, 3) * np.array([1, 10, 0], np.float32)
    added = vary("series", frames, 0, jitter=0.5).frames - frames
    np.testing.assert_allclose(added.std(0), 0.5 * frames.std(0), rtol=0.1)
    image = recording(1)
    added = vary("image", image, 0, jitter=0.5).frames - image
    assert 0.3 * image.std() < added.std() < 0.7 * image.std()


@pytest.mark.parametrize(("name", "axis"), [("time_mask", 0), ("band_mask", 1)])
def test_a_mask_is_the_mean_of_the_recording_over_time(name: str, axis: int) -> None:
    frames = recording()
    counts = []
    for seed in range(100):
        masked = vary("sound", frames, seed, **{name: 0.3}).frames
        is_masked = (masked != frames).any(axis=1 - axis, keepdims=True)
        np.testing.assert_allclose(masked, np.where(is_masked, frames.mean(0), frames), atol=1e-5)
        counts.append(is_masked.sum())
    # Two masks of up to 6 of 20.
    assert 6 < max(counts) <= 12
    assert min(counts) < 3


def test_an_image_moves_by_whole_pixels_and_repeats_its_edge() -> None:
    moved = {tuple(image.ravel()) for image in images_of(np.arange(6), (2, 3), move=1)}
    columns = [(1, 2, 2), (0, 1, 2), (0, 0, 1)]
    # The first pixel of the upper and of the lower row.
    rows = [(0, 3), (0, 0), (3, 3)]
    assert moved == {
        (*(upper + column for column in order), *(lower + column for column in order))
        for order in columns
        for upper, lower in rows
    }


def test_a_flip_mirrors_left_and_right() -> None:
    image = np.arange(6)
    assert images_of(image, (2, 3), flip=1)[0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert images_of(image, (1, 2, 3), flip=1)[0].ravel().tolist() == [3, 4, 5, 0, 1, 2]
    assert 70 < sum(mirrored[0, 0] == 2 for mirrored in images_of(image, (2, 3), flip=0.5)) < 130


def test_a_rectangle_of_an_image_gets_one_color() -> None:
    image = np.arange(1, 49).reshape(4, 6, 2)
    sizes = set()
    for erased in images_of(image, image.shape, erase=0.5):
        y, x = (erased != image).all(axis=2).nonzero()
        sizes.add((len({*y.tolist()}), len({*x.tolist()})))
        assert (erased != image).sum() == 2 * len(y)
        assert (erased[y, x] == erased[y[:1], x[:1]]).all()
        assert ((erased >= 1) & (erased <= 48)).all()
    assert sizes == {(0, 0), *product((1, 2), (1, 2, 3))}


def gradient(image: np.ndarray) -> tuple[float, float]:
    """How much an image of 21 x 21 rises from pixel to pixel near its center, along y and x."""
    middle = image[8:13, 8:13]
    rises = [float(np.diff(middle, axis=axis).mean()) for axis in (0, 1)]
    np.testing.assert_allclose(np.diff(middle, axis=0), rises[0], atol=1e-4)
    np.testing.assert_allclose(np.diff(middle, axis=1), rises[1], atol=1e-4)
    return rises[0], rises[1]


def test_a_rotation_turns_the_picture_by_up_to_its_angle() -> None:
    slope = np.tile(np.arange(21), (21, 1))
    angles = []
    for turned in images_of(slope, (21, 21), rotate=30):
        assert turned[10, 10] == pytest.approx(10, abs=1e-5)  # the center stays
        along_y, along_x = gradient(turned)
        assert np.hypot(along_y, along_x) == pytest.approx(1, abs=1e-4)
        angles.append(np.degrees(np.arctan2(along_y, along_x)))
    assert -30 <= min(angles) < -25
    assert 25 < max(angles) <= 30


def test_a_zoom_stretches_height_and_width_separately() -> None:
    slope = np.indices((21, 21)).sum(0)
    stretches = [
        [1 / rise for rise in gradient(zoomed)] for zoomed in images_of(slope, (21, 21), zoom=0.2)
    ]
    assert 0.8 - 1e-4 < np.min(stretches) < 0.83
    assert 1.17 < np.max(stretches) < 1.2 + 1e-4
    assert abs(np.corrcoef(np.transpose(stretches))[0, 1]) < 0.3


def test_a_rotated_image_repeats_its_edge_and_keeps_its_colors_apart() -> None:
    zoomed = images_of(np.tile(np.arange(8), (3, 1)), (3, 8), zoom=0.5)
    assert (np.diff(zoomed) >= 0).all()
    assert sum((each.min(), each.max()) == (0, 7) for each in zoomed) > 50
    planes = recording(3, 20)
    colored = planes.T.reshape(1, -1)  # [1, 4 * 5 * 3]
    mixed = vary("image", colored, 1, None, (4, 5, 3), rotate=90, zoom=0.5).frames
    apart = vary("image", planes, 1, None, (4, 5), rotate=90, zoom=0.5).frames
    np.testing.assert_array_equal(mixed.reshape(20, 3).T, apart)


@few
@given(seed=seeds)
def test_events_turn_as_the_picture_does(seed: int) -> None:
    # A spot of 3 x 3 pixels, as an image and as 50 events in each of them.
    image = np.zeros((21, 31), np.float32)
    image[6:9, 18:21] = 1
    strengths = {"rotate": 20.0, "zoom": 0.2}
    turned = vary("image", image.reshape(1, -1), seed, None, (21, 31), **strengths).frames[0]
    places = np.repeat(np.flatnonzero(image), 50)
    pairs = np.stack([np.zeros_like(places), 21 * 31 + places], axis=1).astype(np.int32)
    changed = vary_events(pairs, seed, None, 1, (2, 21, 31), **strengths)
    counts = changed.frames.reshape(2, -1)
    assert not counts[0].any()  # the polarity stays
    assert counts.sum() == 450
    axes = np.indices((21, 31)).reshape(2, -1)
    np.testing.assert_allclose(axes @ counts[1] / 450, axes @ turned / turned.sum(), atol=0.2)


def test_events_of_a_sensor_with_one_axis_stay_on_it() -> None:
    pairs = np.stack([np.zeros(9), np.arange(9)], axis=1).astype(np.int32)
    turned = vary_events(pairs, 0, None, 1, (9,), rotate=180)
    np.testing.assert_array_equal(turned.values, pairs)
    zoomed = [vary_events(pairs[3:6], seed, None, 1, (9,), zoom=0.9).values for seed in range(50)]
    assert 3 <= max(np.ptp(pairs[:, 1]) for pairs in zoomed) <= 5
    moved = [vary_events(pairs[:2], seed, None, 1, (2,), move=1).values for seed in range(100)]
    assert {tuple(pairs[:, 1]) for pairs in moved} == {(0, 1), (1,), (0,)}


def test_events_move_with_the_picture_of_their_sensor() -> None:
    # One event at polarity 1, y 1, x 2 of a sensor of 2 x 3 x 4.
    pairs = np.array([[0, 12 + 4 + 2]], np.int32)
    moved = {int(vary_events(pairs, seed, move=1).values[0, 1]) for seed in range(200)}
    assert moved == {12 + 4 * y + x for y in (0, 1, 2) for x in (1, 2, 3)}
    assert vary_events(pairs, 0, flip=1).values.tolist() == [[0, 12 + 4 + 1]]


def test_a_largest_fraction_of_events_is_dropped() -> None:
    left = [len(vary_events(events(), seed, drop=0.5).values) / 40 for seed in range(200)]
    assert 0.2 < min(left) < 0.6
    assert max(left) > 0.95
    assert 0.7 < np.mean(left) < 0.8


def test_masked_events_are_left_out_and_others_stay() -> None:
    full = to_frames(events(), 12, 24)
    n_masked = []
    for seed in range(20):
        masked = vary_events(events(), seed, time_mask=0.3).frames
        is_masked = (masked != full).any(1)
        assert not masked[is_masked].any()
        n_masked.append(is_masked.sum())
    assert 3 <= max(n_masked) <= 6


@pytest.mark.parametrize(
    ("kind", "strengths", "message"),
    [
        ("sound", {"shfit": 0.1}, "no 'shfit' for sound, did you mean 'shift'.: it has shift, sp"),
        ("series", {"noise": 10}, "no 'noise' for series: it has shift, speed, scale, jitter"),
        ("events", {"kind": 1}, "no 'kind' for events: it has shift"),
        ("sound", {"shift": -0.1}, "shift must be a finite number of at least 0 and below 1"),
        ("sound", {"speed": 1}, "speed must be a finite number .*below 1.*, got 1"),
        ("sound", {"noise": 1e3}, "noise must be a finite number .* at most 100, got 1000"),
        ("sound", {"gain": True}, "gain must be a finite number"),
        ("video", {}, "kind must be one of 'sound'"),
    ],
)
def test_a_wrong_change_is_one_line(kind: Any, strengths: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^data.augment: .*{message}.*$"):
        Augmentation(kind, **strengths)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_the_defaults_are_changes_of_their_kind(kind: AugmentedKind) -> None:
    strengths = default_augmentation(kind)
    assert Augmentation(kind, **strengths).strengths == strengths
