"""Front ends and sounds that are hard for integers."""

import numpy as np

from nwavesdk.data import LogMel, Standard

__all__ = ["FRONT_ENDS", "scale_of", "sounds"]

# Stages of all radices, odd widths, more bands than frequencies, hops beyond the window.
FRONT_ENDS = [
    LogMel(16_000),
    LogMel(16_000, level_memory=3.0),
    LogMel(8000, bands=40, level_memory=0.2),
    LogMel(48_000, bands=64),
    LogMel(44_100, level_memory=3.0),
    LogMel(11_025, bands=24, level_memory=3.0),
    LogMel(16_000, bands=80, window=10e-3, hop=15e-3, level_memory=3.0),
    LogMel(16_000, bands=3, window=255 / 16_000, hop=32e-3),
    LogMel(16_000, bands=1, window=122 / 16_000, level_memory=3.0),
    LogMel(16_000, bands=1, window=4 / 16_000, hop=1e-3),
]


def scale_of(log_mel: LogMel) -> Standard:
    """A scale that differs between bands, and leaves some values outside of 8 bits."""
    bands = np.linspace(0, 1, log_mel.bands, dtype=np.float32)
    return Standard(-8 + 5 * bands, 0.2 + 2 * bands)


def sounds(log_mel: LogMel) -> dict[str, np.ndarray]:
    """Sounds of 0.5 s, int16: silence, the loudest and the quietest ones, and changes."""
    draw = np.random.default_rng(0)
    n = log_mel.sample_rate // 2
    times = np.arange(n) / log_mel.sample_rate
    noise = draw.normal(size=n)
    values = {
        "silence": np.zeros(n),
        "noise of the last bit": draw.integers(-1, 2, n),
        "loudest noise": 1e9 * noise,
        "lowest value": np.full(n, -(2**15)),
        "highest frequency": np.where(np.arange(n) % 2, 2**15, -(2**15)),
        "square wave": np.where(np.sin(2 * np.pi * 440 * times) > 0, 2**15, -(2**15)),
        "chirp": 2**15 * np.sin(np.pi * times**2 * log_mel.sample_rate),
        "clicks": np.where(np.arange(n) % (n // 3), 0, 2**15),
        "quiet, then loud": np.where(times < 0.3, 3 * noise, 2**15 * np.sin(600 * times)),
        "loud, then quiet": np.where(times < 0.1, 2**15 * np.sin(600 * times), noise),
        "fading noise": 10 ** (4.5 - 9 * times) * noise,
    }
    limits = np.iinfo(np.int16)
    return {
        name: np.rint(samples).clip(limits.min, limits.max).astype(np.int16)
        for name, samples in values.items()
    }
