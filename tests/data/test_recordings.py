from dataclasses import replace

import numpy as np
import pytest

from nwavesdk.data import Recordings, Standard, fit_hold, fit_length
from nwavesdk.data.recordings import (
    is_standardized,
    standardized,
)


def recordings(*lengths: int, n_features: int = 3) -> Recordings:
    draw = np.random.default_rng(0)
    frames = tuple(
        (5 + 2 * draw.standard_normal((length, n_features))).astype(np.float32)
        for length in lengths
    )
    labels = np.arange(len(lengths))
    return Recordings(
        frames, labels, tuple(map(str, labels)), tuple(map(str, labels)), fingerprint=""
    )


def test_training_frames_get_mean_zero_and_deviation_one() -> None:
    part = recordings(40, 7, 100)
    standard = Standard.fit(part)
    scaled = np.concatenate([standard.apply(frames) for frames in part.frames])
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-13, 1e13])
def test_the_unit_of_a_feature_does_not_matter_and_a_constant_one_stays_zero(unit: float) -> None:
    frames = recordings(50).frames[0]
    expected = Standard.fit(recordings(50)).apply(frames)
    frames[:, 1] = -18.420681
    part = replace(recordings(50), frames=(frames * np.float32(unit),))
    scaled = Standard.fit(part).apply(part.frames[0])
    np.testing.assert_allclose(scaled[:, ::2], expected[:, ::2], atol=1e-4)
    np.testing.assert_allclose(scaled[:, 1], 0, atol=1e-4)


def test_a_standardized_recording_is_independent_of_its_scale_and_level() -> None:
    wave = np.sin(np.arange(40, dtype=np.float32))
    frames = np.stack([wave, 1e-9 * wave, 100 + 3 * wave, np.full(40, 0.1, np.float32)], 1)
    scaled = standardized(frames.astype(np.float32))
    assert scaled.dtype == np.float32
    expected = (wave - wave.mean()) / wave.std()
    for column in range(3):
        np.testing.assert_allclose(scaled[:, column], expected, atol=1e-4)
    np.testing.assert_array_equal(scaled[:, 3], 0)  # constant
    assert is_standardized(scaled)
    for changed in (scaled + 0.2, 1.2 * scaled, 0.8 * scaled):
        assert not is_standardized(changed[:, :3])


@pytest.mark.parametrize("length", [1, 7, 25, 40, 59, 98])
def test_steps_are_about_a_hundred(length: int) -> None:
    assert 70 <= length * fit_hold(length) <= 130
    assert fit_hold(400) == 1
    assert fit_length(recordings(*range(1, 101))) in (90, 91)


def recordings_of(per_class: dict[str, int], order: int = 0) -> Recordings:
    keys = [f"{name}/{n}.wav" for name, count in per_class.items() for n in range(count)]
    keys = [keys[i] for i in np.random.default_rng(order).permutation(len(keys))]
    labels = np.array([list(per_class).index(key[0]) for key in keys])
    frames = (np.zeros((1, 2), np.float32),) * len(keys)
    return Recordings(frames, labels, tuple(per_class), tuple(keys), fingerprint="")


def test_a_limit_is_even_over_classes_and_does_not_depend_on_order() -> None:
    whole = recordings_of({"a": 30, "b": 50})
    assert np.bincount(whole.limit(20).labels).tolist() == [10, 10]
    assert set(whole.limit(20).keys) == set(recordings_of({"a": 30, "b": 50}, 3).limit(20).keys)
    with pytest.raises(ValueError, match=r"limit: got 5 recordings, expected at least 6"):
        whole.limit(5)
    for task in ("labels", "regression"):  # recordings without a class
        each = replace(whole, labels=np.zeros(80, np.int64), task=task)
        assert len(each.limit(20)) == 20
        with pytest.raises(ValueError, match=r"limit: got 2 recordings, expected at least 3"):
            each.limit(2)


def test_recordings_that_disagree_are_rejected() -> None:
    frames = (np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="2 recordings, 1 labels and 2 keys"):
        Recordings(frames, np.zeros(1, np.int64), ("a",), ("1", "2"), fingerprint="")
    differing = Recordings(frames, np.zeros(2, np.int64), ("a",), ("1", "2"), fingerprint="")
    with pytest.raises(ValueError, match=r"shapes \(2,\) \(3,\)"):
        Standard.fit(differing)
