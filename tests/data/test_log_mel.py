import numpy as np
import pytest

from nwavesdk.data import LogMel

pytest.importorskip("scipy")

RATE = 16000


def tone(frequency: float, amplitude: float = 0.5, seconds: float = 0.5) -> np.ndarray:
    return (
        amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)
    ).astype(np.float32)


def mel(frequency: float) -> float:
    return 2595 * np.log10(1 + frequency / 700)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0, 6000.0])
def test_a_tone_is_loudest_in_its_own_band(frequency: float) -> None:
    frames = LogMel(RATE, bands=32)(tone(frequency))
    spacing = mel(RATE / 2) / 33
    assert abs(frames.mean(0).argmax() + 1 - mel(frequency) / spacing) <= 1


def test_ten_times_the_amplitude_is_a_hundred_times_the_power() -> None:
    front_end = LogMel(RATE)
    band = front_end(tone(1000)).mean(0).argmax()
    louder, softer = front_end(tone(1000, 0.5))[:, band], front_end(tone(1000, 0.05))[:, band]
    np.testing.assert_allclose(louder - softer, np.log(100), rtol=1e-3)


def test_number_of_frames_and_short_sounds() -> None:
    front_end = LogMel(RATE, bands=20, window=25e-3, hop=10e-3)
    assert front_end(np.zeros(RATE, np.float32)).shape == (98, 20)
    assert front_end(np.zeros(1, np.float32)).shape == (1, 20)


def test_silence_is_finite_and_no_band_is_deaf() -> None:
    frames = LogMel(8000, bands=80)(np.zeros(800, np.float32))
    assert np.isfinite(frames).all()
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    assert (LogMel(8000, bands=80)(noise).mean(0) > frames.mean(0) + 5).all()


@pytest.mark.parametrize("field", ["sample_rate", "bands", "window", "hop"])
def test_numbers_must_be_positive(field: str) -> None:
    with pytest.raises(ValueError, match=f"positive {field}, got 0"):
        LogMel(**{"sample_rate": RATE, field: 0})
