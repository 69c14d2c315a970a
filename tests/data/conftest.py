"""Small folders of recordings, and choices with which they are read fast."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

# Options of `NWaveDataloaderConfig`, by name.
Options = dict[str, Any]

RATE = 8000


def tone(
    frequency: float, seconds: float = 0.3, rate: int = RATE, amplitude: float = 0.5
) -> np.ndarray:
    return (
        amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)
    ).astype(np.float32)


def write(path: Path, sound: np.ndarray | None = None, rate: int = RATE) -> Path:
    soundfile = pytest.importorskip("soundfile")
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(440.0) if sound is None else sound, rate, subtype="FLOAT")
    return path


def blocks_of(sound: np.ndarray, longest: int) -> list[np.ndarray]:
    """A sound in blocks of random length up to `longest`, many of them empty or of one sample."""
    draw = np.random.default_rng(0)
    lengths = [1, 0, 1, 1]
    while sum(lengths) < len(sound):
        lengths += [int(draw.integers(0, longest + 1)), int(draw.integers(0, 2))]
    return np.split(sound, np.cumsum(lengths[:-1]))


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Two classes of six speakers, one recording each, all of them different."""
    folder = tmp_path / "words"
    for pitch, name in ((300.0, "no"), (1500.0, "yes")):
        for speaker in range(6):
            write(folder / name / f"{speaker:08x}_nohash_0.wav", tone(pitch + 10 * speaker))
    return folder


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """Five recordings of 0.3 s, each with a target of 30 steps."""
    folder = tmp_path / "curves"
    (folder / "target").mkdir(parents=True)
    for index in range(5):
        write(folder / "wavs" / f"{index}.wav", tone(300.0 + index))
        torch.save(torch.arange(30) + 100.0 * index, folder / "target" / f"{index}.pt")
    return folder


@pytest.fixture
def fast(tmp_path: Path) -> Options:
    """Choices for 40 steps of 10 ms at 8 kHz, with a cache for this test alone."""
    return {
        "sample_rate": RATE,
        "recording_duration_s": 0.4,
        "sim_time_s": 10e-3,
        "cache": tmp_path / "cache",
        "progress": False,
    }
