"""The front end against loops and closed forms."""

import math

import numpy as np
import pytest

from data.conftest import tone
from nwavesdk.data import FrontEnd, NWaveDataloaderConfig

signal = pytest.importorskip("scipy.signal")
pytest.importorskip("soxr")


def test_bins_are_means_of_rectified_channels_by_a_loop() -> None:
    config = NWaveDataloaderConfig(
        "x", sample_rate=11025, recording_duration_s=0.1, sim_time_s=3e-3
    )
    front_end = FrontEnd(config)
    sound = np.random.default_rng(0).uniform(-1, 1, 1103).astype(np.float32)
    x = front_end(front_end.fitted((sound, 11025)))
    assert x.shape == (33, 16)
    assert x.dtype == np.float32
    for channel in (0, 7, 15):
        band = config.bank.edges[channel]
        filtered = signal.sosfilt(
            signal.butter(2, band, "bandpass", fs=11025, output="sos"), sound.astype(float)
        )
        for step in range(33):
            start, end = round(step * 33.075), round((step + 1) * 33.075)
            mean = math.fsum(abs(value) for value in filtered[start:end]) / (end - start)
            assert x[step, channel] == pytest.approx(mean, rel=1e-4, abs=1e-7)


def test_a_tone_in_a_centre_settles_at_two_over_pi_of_its_size() -> None:
    config = NWaveDataloaderConfig("x", sample_rate=16000, sim_time_s=50e-3)
    front_end = FrontEnd(config)
    for channel in (2, 8, 13):
        x = front_end(tone(config.bank.centres[channel], 1.0, 16000))
        assert x[10:].mean(0).argmax() == channel
        assert x[10:, channel].mean() == pytest.approx(0.5 * 2 / np.pi, rel=0.02)


@pytest.mark.parametrize("rate", [8000, 32000])
def test_short_sound_is_followed_by_silence_and_long_sound_is_cut(rate: int) -> None:
    front_end = FrontEnd(
        NWaveDataloaderConfig("x", sample_rate=8000, recording_duration_s=0.2, sim_time_s=10e-3)
    )
    short = front_end.fitted((tone(440, 0.1, rate), rate))
    assert short.shape == (1600,)
    np.testing.assert_allclose(short[50:750], tone(440, 0.1, 8000)[50:750], atol=0.01)
    assert not short[801:].any()
    long = front_end.fitted((tone(440, 0.5, rate), rate))
    assert long.shape == (1600,)
    np.testing.assert_allclose(long[50:1550], tone(440, 0.2, 8000)[50:1550], atol=0.01)


def test_level() -> None:
    for level, peak in (("as_is", 0.125), ("peak", 1.0)):
        config = NWaveDataloaderConfig("x", sample_rate=8000, level=level)  # type: ignore[arg-type]
        assert np.abs(
            FrontEnd(config).fitted((tone(440, amplitude=0.125), 8000))
        ).max() == pytest.approx(peak, abs=1e-3)
