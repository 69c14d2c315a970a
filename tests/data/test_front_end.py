"""Front ends: log-mel frames and the channels of a chip, whole and in blocks."""

import math
from typing import Any

import numpy as np
import pytest

from data.conftest import blocks_of, tone
from nwavesdk.data import FrontEnd, LogMel, NWaveDataloaderConfig
from nwavesdk.data.features import VERSION
from nwavesdk.data.front_end import PRIOR_FRAMES, RunningMean

pytest.importorskip("soxr")
signal = pytest.importorskip("scipy.signal")


def test_a_step_is_the_mean_of_a_rectified_channel_like_in_a_loop() -> None:
    config = NWaveDataloaderConfig(
        "x", sample_rate=11025, recording_duration_s=0.1, sim_time_s=3e-3
    )
    front_end = FrontEnd(config)
    sound = np.random.default_rng(0).uniform(-1, 1, 1103).astype(np.float32)
    x = front_end(front_end.prepare((sound, 11025)))
    assert (x.shape, x.dtype) == ((33, 16), np.float32)
    for channel in (0, 7, 15):
        band = config.bank.edges[channel]
        sections = signal.butter(2, band, "bandpass", fs=11025, output="sos")
        filtered = signal.sosfilt(sections, sound.astype(float))
        for step in range(33):
            start, end = round(step * 33.075), round((step + 1) * 33.075)
            mean = math.fsum(abs(value) for value in filtered[start:end]) / (end - start)
            assert x[step, channel] == pytest.approx(mean, rel=1e-4, abs=1e-7)


CHIPS = [
    FrontEnd(NWaveDataloaderConfig("x", sample_rate=rate, sim_time_s=step))
    for rate, step in [(8000, 10e-3), (11025, 3e-3), (8000, 1.6 / 8000)]
]
LOG_MELS = [
    LogMel(16000, 32, window=25e-3, hop=10e-3),
    LogMel(8000, 12, window=11e-3, hop=7e-3),
    LogMel(11025, 80, window=5e-3, hop=13e-3),
    LogMel(8000, 12, window=25e-3, hop=20e-3, level_memory=1.0),
]


@pytest.mark.parametrize("longest", [1, 90, 4000])
@pytest.mark.parametrize("front_end", [*CHIPS, *LOG_MELS])
def test_blocks_give_the_frames_of_the_whole_sound(front_end: Any, longest: int) -> None:
    count = 2000 if longest == 1 else 20_000
    sound = np.random.default_rng(0).uniform(-1, 1, count).astype(np.float32)
    stream = front_end.stream()
    frames = np.concatenate([stream.push(block) for block in blocks_of(sound, longest)])
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, front_end(sound))


def test_frames_relative_to_a_running_level_hardly_depend_on_the_gain() -> None:
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 80_000).astype(np.float32)
    relative = LogMel(8000, 12, level_memory=0.5)
    expected = relative(sound)[500:]
    for gain in (0.1, 3.0):
        np.testing.assert_allclose(relative(np.float32(gain) * sound)[500:], expected, atol=0.01)
    assert np.abs(expected).mean() < 1  # the power of a band is about the power of the mean band


def test_the_cache_has_another_version_if_frames_change() -> None:
    """Otherwise a run gets frames that an earlier version has cached: raise `VERSION`."""
    sound = np.random.default_rng(0).uniform(-1, 1, 20_000).astype(np.float32)
    means = [float(np.abs(front_end(sound)).mean()) for front_end in (LOG_MELS[1], LOG_MELS[3])]
    assert (VERSION, means) == (3, pytest.approx([0.720383, 0.424007], rel=1e-4))


def test_a_peak_of_the_whole_sound_is_not_known_in_blocks() -> None:
    with pytest.raises(ValueError, match=r"only at its end, got 'peak', expected 'as_is' for sou"):
        FrontEnd(NWaveDataloaderConfig("x", level="peak")).stream()


@pytest.mark.parametrize("channel", [2, 8, 13])
def test_a_tone_in_the_center_of_a_band_gives_two_over_pi_of_its_amplitude(channel: int) -> None:
    config = NWaveDataloaderConfig("x", sample_rate=16000, sim_time_s=50e-3)
    x = FrontEnd(config)(tone(config.bank.centers[channel], 1.0, 16000))[10:]
    assert x.mean(0).argmax() == channel
    assert x[:, channel].mean() == pytest.approx(0.5 * 2 / np.pi, rel=0.02)


@pytest.mark.parametrize("rate", [8000, 32000])
@pytest.mark.parametrize(("level", "scale"), [("as_is", 1.0), ("peak", 2.0)])
@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_a_sound_is_resampled_scaled_and_cut_or_padded(
    rate: int, level: Any, scale: float, seconds: float
) -> None:
    config = NWaveDataloaderConfig(
        "x", sample_rate=8000, recording_duration_s=0.2, sim_time_s=10e-3, level=level
    )
    samples = FrontEnd(config).prepare((tone(440, seconds, rate), rate))
    assert samples.shape == (1600,)
    end = min(1600, round(8000 * seconds))
    expected = scale * tone(440, 0.2, 8000)[50 : end - 50]
    np.testing.assert_allclose(samples[50 : end - 50], expected, atol=0.03)
    assert not samples[end + 1 :].any()


# Log-mel frames

RATE = 16000


def mel(frequency: float) -> float:
    return 2595 * np.log10(1 + frequency / 700)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_is_loudest_in_its_own_band(frequency: float) -> None:
    frames = LogMel(RATE, bands=32)(tone(frequency, 0.5, RATE))
    spacing = mel(RATE / 2) / 33
    assert abs(frames.mean(0).argmax() + 1 - mel(frequency) / spacing) <= 1


def test_ten_times_the_amplitude_is_a_hundred_times_the_power() -> None:
    front_end = LogMel(RATE)
    band = front_end(tone(1000, 0.5, RATE)).mean(0).argmax()
    louder, softer = (
        front_end(tone(1000, 0.5, RATE))[:, band],
        front_end(tone(1000, 0.5, RATE, 0.05))[:, band],
    )
    np.testing.assert_allclose(louder - softer, np.log(100), rtol=1e-3)


def test_silence_is_finite_and_no_band_is_deaf() -> None:
    front_end = LogMel(8000, bands=80, window=25e-3, hop=10e-3)
    frames = front_end(np.zeros(8000, np.float32))
    assert frames.shape == (98, 80)
    assert front_end(np.zeros(1, np.float32)).shape == (1, 80)
    assert np.isfinite(frames).all()
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    assert (front_end(noise).mean(0) > frames.mean(0) + 5).all()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"window": 1e-4}, "a window of 0.0001 s .* have 2 and 160 samples at 16000 Hz, expected"),
        ({"hop": 1e-5}, "a hop of 1e-05 s have 400 and 0 samples at 16000 Hz, expected at least 4"),
        ({"sample_rate": 0}, "LogMel: sample_rate must be a finite number above 0, got 0"),
        ({"bands": 0}, "LogMel: bands must be a finite number above 0, got 0"),
        ({"window": 0}, "LogMel: window must be a finite number above 0, got 0"),
        ({"hop": 0}, "LogMel: hop must be a finite number above 0, got 0"),
    ],
)
def test_numbers_out_of_range_are_rejected(choices: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LogMel(**{"sample_rate": RATE, **choices})
    with pytest.raises(ValueError, match=r"LogMel takes a mono sound .* shape \[5, 2\]: average"):
        LogMel(RATE).stream().push(np.zeros((5, 2)))


def test_a_running_mean_starts_from_a_given_mean_and_forgets() -> None:
    draw = np.random.default_rng(0)
    frames = (5 + 2 * draw.standard_normal((60, 3))).astype(np.float32)
    mean = np.array([1.0, 2.0, 3.0], np.float32)
    running = RunningMean(mean, memory=20)
    means = np.concatenate([running.push(piece) for piece in np.split(frames, [1, 1, 7, 40])])
    decays = np.exp(-np.arange(61) / 20)
    for n, value in enumerate(means, 1):
        weights = np.append(PRIOR_FRAMES * decays[n], decays[:n][::-1])
        expected = weights @ np.concatenate([mean[None], frames[:n]]) / weights.sum()
        np.testing.assert_allclose(value, expected, rtol=1e-6)
