"""`FixedLogMel`: logarithms near `LogMel`, and errors by name."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interop.c.log_mel_reference import LogMelReference
from interop.c.sounds import FRONT_ENDS, scale_of, sounds
from nwavesdk.data import LogMel
from nwavesdk.interop.c.log_mel import FixedLogMel, fixed_log_mel
from nwavesdk.train import load

# The largest error of a natural logarithm. It is 0.006 over the sounds of these tests, in bands
# within this share of the power of the loudest band (70 dB below it). Weaker bands are near the
# rounding of the transform, and may have twice the error.
MAX_ERROR = 0.01
MIN_SHARE = 1e-7

# A folder with recordings, for more sounds.
RECORDINGS = os.environ.get("NWAVE_TEST_RECORDINGS")


def errors(front_end: FixedLogMel, samples: np.ndarray) -> np.ndarray:
    log_mel = front_end.log_mel
    sound = samples.astype(np.float32) / 2**15
    logarithms = LogMelReference(front_end).push_natural(samples, scale_of(log_mel))
    power = log_mel.power_of(log_mel.stream().windows(sound))
    is_near = power >= MIN_SHARE * power.max(axis=1, keepdims=True)
    return np.abs(logarithms - log_mel(sound)) / np.where(is_near, 1, 2)


@pytest.mark.parametrize("log_mel", FRONT_ENDS, ids=str)
def test_logarithms_are_near_those_of_the_run(log_mel: LogMel) -> None:
    front_end = FixedLogMel(log_mel, scale_of(log_mel), step=1 / 32)
    worst = {name: errors(front_end, samples).max() for name, samples in sounds(log_mel).items()}
    assert max(worst.values()) <= MAX_ERROR, worst


def recorded(folder: Path, sample_rate: int) -> Iterator[np.ndarray]:
    from nwavesdk.data.decoding import read_sound, resample

    for path in sorted(folder.rglob("*.*"))[::20]:
        if path.suffix in (".wav", ".flac", ".ogg"):
            samples = resample(read_sound(path), sample_rate)[: 10 * sample_rate]
            yield np.rint(samples.clip(-1, 1) * 32767).astype(np.int16)


@pytest.mark.skipif(not RECORDINGS, reason="NWAVE_TEST_RECORDINGS names no folder with sounds")
@pytest.mark.parametrize("level_memory", [None, 3.0])
def test_logarithms_of_recordings_are_near_those_of_the_run(level_memory: float | None) -> None:
    log_mel = LogMel(16_000, level_memory=level_memory)
    front_end = FixedLogMel(log_mel, scale_of(log_mel), step=1 / 32)
    long_enough = (x for x in recorded(Path(RECORDINGS), 16_000) if len(x) >= log_mel.width)
    assert max(errors(front_end, samples).max() for samples in long_enough) <= MAX_ERROR


def test_frames_are_logarithms_on_the_scale_of_the_run() -> None:
    log_mel = LogMel(16_000)
    scale = scale_of(log_mel)
    front_end = FixedLogMel(log_mel, scale, step=1 / 32)
    samples = sounds(log_mel)["quiet, then loud"]
    frames = LogMelReference(front_end).push(samples).astype(float)
    logarithms = LogMelReference(front_end).push_natural(samples, scale)
    exact = 32 * (logarithms - scale.mean) / scale.deviation
    assert np.abs(frames - exact.clip(-127, 127)).max() < 0.51
    assert {frames.min(), frames.max()} == {-127, 127}


@pytest.mark.parametrize(
    ("choices", "step", "message"),
    [
        (
            {"window": 502 / 16_000},
            1 / 32,
            r"502 .* factor 251, .* --window, such as 512 samples\.",
        ),
        ({"window": 3}, 1 / 32, "samples of a window must be a whole number from 1 to 32768"),
        ({"level_memory": 1e4}, 1 / 32, r"level_memory \[frames\] must be .* of at most 32768"),
        # A scale beyond 32 bits.
        ({}, 1e-5, "least deviation times step must be .* abo"),
    ],
)
def test_a_front_end_beyond_the_arithmetic_is_an_error(
    choices: dict, step: float, message: str
) -> None:
    log_mel = LogMel(16_000, **choices)
    with pytest.raises(ValueError, match=f"^FixedLogMel: .*{message}"):
        FixedLogMel(log_mel, scale_of(log_mel), step=step)


def test_the_front_end_of_a_run_needs_a_scale_of_the_past(live_run: Path) -> None:
    trained = load(live_run)
    front_end = fixed_log_mel(trained, step=1 / 32)
    assert front_end.log_mel == trained.front_end

    centered = replace(trained, input=replace(trained.input, center=True))
    with pytest.raises(ValueError, match=r"scales each .* \(got level as_is, center True.*: train"):
        fixed_log_mel(centered, step=1 / 32)
