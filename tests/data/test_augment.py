"""Random changes of recordings: what each one keeps, what moves with it, and its errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data import Augmentation, default_augmentation
from nwavesdk.data.augment import AUGMENTATIONS, AugmentedKind, Varied, VariedEvents
from nwavesdk.data.binning import to_frames

# A strength that has a visible effect on the recordings of these tests.
STRENGTHS = {
    **{"shift": 0.5, "speed": 0.5, "warp": 0.5, "noise": 5.0, "gain": 3.0, "scale": 0.5},
    **{"jitter": 0.5, "spread": 2.0, "drop": 0.9, "rotate": 40.0, "zoom": 0.5},
    **{"move": 2.0, "flip": 1.0, "erase": 1.0},
    **{"time_mask": 0.8, "band_mask": 0.8},
}
CHANGES = [
    (kind, name) for kind, names in AUGMENTATIONS.items() if kind != "events" for name in names
]

few = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32)


def recording(length: int = 20, width: int = 20) -> np.ndarray:
    """Frames that cannot be written, as those of a file."""
    draw = np.random.default_rng(1)
    frames = draw.normal(-4, 2, (length, width)).astype(np.float32)
    frames.flags.writeable = False
    return frames


def events(steps: int = 12) -> np.ndarray:
    """Steps and places of 40 events of a sensor of 2 x 3 x 4 places."""
    draw = np.random.default_rng(2)
    pairs = draw.integers(0, (steps, 24), (40, 2)).astype(np.int32)
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
    change = Augmentation.of(kind, strengths)
    return change.apply(frames, target, shape, np.random.default_rng(seed))


def vary_events(
    pairs: np.ndarray,
    seed: int,
    target: Any = None,
    steps: int = 12,
    shape: tuple[int, ...] = (2, 3, 4),
    **strengths: float,
) -> VariedEvents:
    change = Augmentation.of("events", strengths)
    return change.apply_to_events(pairs, steps, target, shape, np.random.default_rng(seed))


def images_of(image: np.ndarray, shape: tuple[int, ...], **strengths: float) -> list[np.ndarray]:
    """An image after 200 changes."""
    image = image.reshape(1, -1).astype(np.float32)
    changed = (vary("image", image, seed, None, shape, **strengths) for seed in range(200))
    return [varied.frames.reshape(shape) for varied in changed]


def test_without_strengths_nothing_changes() -> None:
    frames, pairs = recording(), events()
    for kind in AUGMENTATIONS:
        assert Augmentation(kind).strengths == {}
        assert kind == "events" or vary(kind, frames, 0).frames is frames
    assert vary_events(pairs, 0).pairs is pairs


@pytest.mark.parametrize(("kind", "name"), CHANGES)
def test_a_change_changes_a_copy_and_keeps_the_type(kind: AugmentedKind, name: str) -> None:
    frames = recording()
    before = frames.copy()
    changed = [vary(kind, frames, seed, **{name: STRENGTHS[name]}).frames for seed in range(3)]
    np.testing.assert_array_equal(frames, before)
    for each in changed:
        assert each.dtype == np.float32
        assert np.isfinite(each).all()
        assert each.shape == frames.shape or name == "speed"
    assert not all(np.array_equal(each, frames) for each in changed)


@pytest.mark.parametrize("name", AUGMENTATIONS["events"])
def test_a_change_of_events_gives_sorted_events_of_the_recording(name: str) -> None:
    before = events()
    changed = [vary_events(before, seed, **{name: STRENGTHS[name]}) for seed in range(3)]
    np.testing.assert_array_equal(events(), before)
    for pairs, steps, _, _ in changed:
        assert pairs.dtype == np.int32
        np.testing.assert_array_equal(pairs, pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])
        assert to_frames(pairs, steps, 24).sum() == len(pairs)  # none is outside
        assert steps == 12 or name == "speed"
    assert not all(np.array_equal(each.pairs, before) for each in changed)


@few
@given(seed=seeds, length=st.integers(1, 40), strength=st.floats(0, 0.9))
def test_targets_move_with_their_frames(seed: int, length: int, strength: float) -> None:
    # Each frame is its place, and so is its target.
    places = np.arange(length)
    frames = places[:, None].astype(np.float32)
    moved = {"shift": strength, "speed": strength}
    labels = vary("series", frames, seed, places, **moved)
    assert labels.target is not None
    assert labels.target.dtype == np.int64
    assert labels.steps == len(labels.target) == len(labels.frames)
    assert np.abs(labels.frames[:, 0] - labels.target).max() <= 0.5 + 1e-5
    values = vary("series", frames, seed, frames, **moved)
    assert values.target is not None
    np.testing.assert_allclose(values.frames, values.target.astype(np.float32), atol=1e-5)


@few
@given(seed=seeds, length=st.integers(1, 40), strength=st.floats(0, 0.9))
def test_targets_move_with_their_events(seed: int, length: int, strength: float) -> None:
    # The place of each event is its step, and so is its target.
    places = np.arange(length)
    pairs = np.stack([places, places], axis=1).astype(np.int32)
    varied = vary_events(pairs, seed, places, length, (length,), shift=strength, speed=strength)
    assert varied.target is not None
    assert varied.steps == len(varied.target)
    # Half a new step, of up to 1.9 old ones, and the rounding of the target.
    distances = varied.target[varied.pairs[:, 0]] - varied.pairs[:, 1]
    assert np.abs(distances).max(initial=0) <= 1


def test_a_shift_fills_a_sound_with_its_quietest_frame_and_a_series_with_the_outermost() -> None:
    frames = np.array([5, 3, 1, 2, 4], np.float32)[:, None]
    found = {
        kind: {tuple(vary(kind, frames, seed, shift=0.4).frames[:, 0]) for seed in range(60)}
        for kind in ("sound", "series")
    }
    inside = {(5, 3, 1, 2, 4)}
    assert found["sound"] == inside | {
        *((1, 5, 3, 1, 2), (1, 1, 5, 3, 1), (3, 1, 2, 4, 1), (1, 2, 4, 1, 1)),
    }
    assert found["series"] == inside | {
        *((5, 5, 3, 1, 2), (5, 5, 5, 3, 1), (3, 1, 2, 4, 4), (1, 2, 4, 4, 4)),
    }


@few
@given(seed=seeds, length=st.integers(1, 60), strength=st.floats(0.01, 0.9))
def test_speed_keeps_the_ends_and_bounds_the_length(
    seed: int, length: int, strength: float
) -> None:
    ramp = np.arange(length, dtype=np.float32)[:, None]
    faster = vary("series", ramp, seed, speed=strength).frames[:, 0]
    bounds = (length / (1 + strength), length / (1 - strength))
    assert max(1, round(bounds[0])) <= len(faster) <= round(bounds[1])
    # It is the same ramp: evenly spaced places, symmetric about the middle.
    np.testing.assert_allclose(faster + faster[::-1], length - 1, atol=1e-3)
    assert (np.diff(faster) >= 0).all()


@few
@given(seed=seeds, ratio=st.floats(1, 40))
def test_noise_has_its_ratio_to_the_signal_and_only_adds_power(seed: int, ratio: float) -> None:
    frames = recording(100, 40).astype(np.float64)
    noisy = vary("sound", recording(100, 40), seed, noise=ratio).frames.astype(np.float64)
    assert (noisy >= frames - 1e-5).all()
    signal = np.exp(frames).mean()
    added = (np.exp(noisy) - np.exp(frames)).mean()
    measured = 10 * np.log10(signal / added)
    # The tilt and the fluctuation of the noise change its mean power by a few decibels.
    assert ratio - 5 < measured < ratio + 33


def test_a_gain_is_the_same_number_of_decibels_everywhere() -> None:
    frames = recording()
    gains = []
    for seed in range(200):
        change = vary("sound", frames, seed, gain=6.0).frames - frames
        assert np.ptp(change) < 1e-5
        gains.append(change.mean() / np.log(10) * 10)
    assert 5 < np.std(gains) < 7


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
        is_masked = (masked != frames).any(axis=1 - axis)
        mean = np.broadcast_to(frames.mean(0), frames.shape)
        where: Any = is_masked if axis == 0 else (slice(None), is_masked)
        np.testing.assert_allclose(masked[where], mean[where], atol=1e-5)
        counts.append(is_masked.sum())
    # Two masks of up to 6 of 20.
    assert max(counts) <= 12
    assert max(counts) > 6
    assert min(counts) < 3


def test_an_image_moves_by_whole_pixels_and_repeats_its_edge() -> None:
    moved = {tuple(image.ravel()) for image in images_of(np.arange(6), (2, 3), move=1)}
    rows: dict[int, Callable[[list[int]], list[int]]] = {
        -1: lambda r: [r[1], r[2], r[2]],
        0: lambda r: r,
        1: lambda r: [r[0], r[0], r[1]],
    }
    upper = [0, 1, 2]
    lower = [3, 4, 5]
    assert moved == {
        (*move(first), *move(second))
        for move in rows.values()
        for first, second in ((upper, lower), (upper, upper), (lower, lower))
    }


def test_a_flip_mirrors_left_and_right() -> None:
    image = np.arange(6)
    assert images_of(image, (2, 3), flip=1)[0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert images_of(image, (1, 2, 3), flip=1)[0].ravel().tolist() == [3, 4, 5, 0, 1, 2]
    mirrored = [each[0, 0] == 2 for each in images_of(image, (2, 3), flip=0.5)]
    assert 70 < sum(mirrored) < 130


def test_a_rectangle_of_an_image_gets_one_color() -> None:
    image = np.arange(1, 49).reshape(4, 6, 2)
    sizes = set()
    for erased in images_of(image, image.shape, erase=0.5):
        is_other = erased != image
        y, x, _ = is_other.nonzero()
        height, width = len({*y.tolist()}), len({*x.tolist()})
        sizes.add((height, width))
        assert is_other.sum() == 2 * height * width
        colors = erased[y, x]
        assert (colors == colors[:1]).all()
        assert ((erased >= 1) & (erased <= 48)).all()
    assert sizes == {(0, 0), *((height, width) for height in (1, 2) for width in (1, 2, 3))}


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
    assert all((np.diff(each, axis=1) >= 0).all() for each in zoomed)
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
    counts = to_frames(changed.pairs, 1, 2 * 21 * 31).reshape(2, -1)
    assert not counts[0].any()  # the polarity stays
    assert counts.sum() == 450
    rows, columns = np.indices((21, 31)).reshape(2, -1)
    for axis in (rows, columns):
        center = (turned * axis).sum() / turned.sum()
        assert (counts[1] * axis).sum() / 450 == pytest.approx(center, abs=0.2)


def test_events_of_a_sensor_with_one_axis_stay_on_it() -> None:
    pairs = np.stack([np.zeros(9), np.arange(9)], axis=1).astype(np.int32)
    turned = vary_events(pairs, 0, None, 1, (9,), rotate=180)
    np.testing.assert_array_equal(turned.pairs, pairs)
    zoomed = [vary_events(pairs[3:6], seed, None, 1, (9,), zoom=0.9).pairs for seed in range(50)]
    assert 3 <= max(np.ptp(each[:, 1]) for each in zoomed) <= 5
    moved = [vary_events(pairs[[0, 3]], seed, None, 1, (5,), move=1).pairs for seed in range(100)]
    assert {tuple(each[:, 1]) for each in moved} == {(0, 3), (1, 4), (2,)}


def test_events_move_with_the_picture_of_their_sensor() -> None:
    # One event at polarity 1, y 1, x 2 of a sensor of 2 x 3 x 4.
    pairs = np.array([[0, 12 + 4 + 2]], np.int32)
    moved = {int(vary_events(pairs, seed, move=1).pairs[0, 1]) for seed in range(200)}
    assert moved == {12 + 4 * y + x for y in (0, 1, 2) for x in (1, 2, 3)}
    assert vary_events(pairs, 0, flip=1).pairs.tolist() == [[0, 12 + 4 + 1]]


def test_a_largest_fraction_of_events_is_dropped() -> None:
    kept = [len(vary_events(events(), seed, drop=0.5).pairs) / 40 for seed in range(200)]
    assert 0.2 < min(kept) < 0.6
    assert max(kept) > 0.95
    assert 0.7 < np.mean(kept) < 0.8


def test_masked_events_are_left_out_and_others_stay() -> None:
    full = to_frames(events(), 12, 24)
    n_masked = 0
    for seed in range(20):
        masked = to_frames(vary_events(events(), seed, time_mask=0.3).pairs, 12, 24)
        is_masked = (masked != full).any(1)
        n_masked = max(n_masked, int(is_masked.sum()))
        assert not masked[is_masked].any()
    assert 3 <= n_masked <= 6


@pytest.mark.parametrize(
    ("kind", "strengths", "message"),
    [
        ("sound", {"shfit": 0.1}, "no 'shfit' for sound, did you mean 'shift'.: it has shift, sp"),
        ("series", {"noise": 10}, "no 'noise' for series: it has shift, speed, scale, jitter"),
        ("events", {"kind": 1}, "no 'kind' for events: it has shift"),
        ("sound", {"shift": -0.1}, "shift must be a finite number of at least 0 and below 1"),
        ("sound", {"speed": 1}, "speed must be a finite number .*below 1.*, got 1"),
        ("sound", {"noise": 1e3}, "noise must be a finite number .* at most 100, got 1000"),
        ("sound", {"time_mask": float("nan")}, "time_mask must be a finite number"),
        ("image", {"rotate": 200}, "rotate must be a finite number .* at most 180.*, got 200"),
        ("events", {"zoom": 1}, "zoom must be a finite number .*below 1.*, got 1"),
        ("sound", {"gain": True}, "gain must be a finite number"),
    ],
)
def test_a_wrong_change_is_one_line(kind: Any, strengths: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^data.augment: .*{message}.*$"):
        Augmentation.of(kind, strengths)
    # The class has the same checks.
    with pytest.raises(ValueError, match=r"data.augment: there is no 'drop' for sound"):
        Augmentation("sound", drop=0.1)
    with pytest.raises(ValueError, match=r"data.augment: kind must be one of 'sound'"):
        Augmentation("video")  # type: ignore[arg-type]


def test_the_defaults_are_changes_of_their_kind() -> None:
    for kind in AUGMENTATIONS:
        strengths = default_augmentation(kind)
        assert Augmentation.of(kind, strengths).strengths == strengths
    assert {"shift", "noise", "time_mask", "band_mask"} <= default_augmentation("sound").keys()
