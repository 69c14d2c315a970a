"""Hostile files, through both readers of data folders: `nwave train` and `nwave data`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.conftest import tone, write
from nwavesdk.data import NWaveDataloaderConfig, RecordingError, generate, load_wav_folder

soundfile = pytest.importorskip("soundfile")
for package in ("soxr", "scipy"):
    pytest.importorskip(package)

# Reads a folder with a choice of on_error; returns what has keys and skipped files.
Read = Callable[[Path, Any], Any]


def frames(folder: Path, on_error: Any) -> Any:
    return load_wav_folder(folder, bands=4, on_error=on_error)


def channels(folder: Path, on_error: Any) -> Any:
    return generate(
        NWaveDataloaderConfig(
            folder,
            sample_rate=8000,
            recording_duration_s=0.1,
            sim_time_s=10e-3,
            cache=False,
            on_error=on_error,
        )
    )


def sound(path: Path, *, samples: Any = None, rate: int = 8000, **how: Any) -> bytes:
    samples = tone(440.0, 0.1) if samples is None else samples
    soundfile.write(path, samples, rate, **{"format": "WAV", **how})
    return path.read_bytes()


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), r"is empty \(0 bytes\)"),
    "text": (lambda path: path.write_text("no sound"), "cannot be read as sound"),
    "escape": (lambda path: path.write_text("\x1b[31m\n\r"), "cannot be read as sound"),
    "cut": (lambda path: path.write_bytes(sound(path)[:-1]), "is cut short"),
    "pipe": (os.mkfifo, "is a pipe, expected a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, expected a file"),
    "dangling": (lambda path: path.symlink_to("gone"), "does not exist"),
    "itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("read", [frames, channels])
@pytest.mark.parametrize("name", SPOILED)
def test_a_hostile_file_is_raised_or_skipped(words: Path, name: str, read: Read) -> None:
    spoil, message = SPOILED[name]
    path = words / "yes" / "x\x1b[31m.wav"
    spoil(path)
    with pytest.raises(RecordingError, match=rf"{message}.*; on_error=\"skip\" leaves it") as error:
        read(words, "raise")
    assert "yes/x\\x1b[31m.wav" in str(error.value)
    assert str(error.value).isprintable()
    skipping = read(words, "skip")
    ((file, reason),) = skipping.skipped
    assert file == "yes/x\\x1b[31m.wav"
    assert reason in str(error.value)
    assert len(skipping.keys) == 12


@pytest.mark.parametrize("read", [frames, channels])
def test_a_file_that_was_swapped_after_the_listing_does_not_block(
    words: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = soundfile.SoundFile

    def swap(*args: Any) -> Any:
        last = words / "yes" / "00000005_nohash_0.wav"
        if last.is_file():
            last.unlink()
            os.mkfifo(last)
        return real(*args)

    monkeypatch.setattr(soundfile, "SoundFile", swap)
    with pytest.raises(RecordingError, match=r"00000005_nohash_0\.wav is a pipe, expected a file"):
        read(words, "raise")


@pytest.mark.parametrize("read", [frames, channels])
def test_unusual_wavs_and_names_of_classes_are_read(words: Path, read: Read) -> None:
    folder = words / "$\x1b\n$"
    folder.mkdir()
    sound(folder / "0.wav", format="RF64")
    sound(folder / "1.wav", format="WAVEX", subtype="PCM_24")
    sound(folder / "2.wav", samples=np.zeros((100, 64)))
    result = read(words, "raise")
    assert result.classes[0] == "$\x1b\n$"
    assert len(result.keys) == 15


def test_values_that_overflow_in_the_filters_are_named(words: Path) -> None:
    loud = np.sign(tone(500, 0.25) + 1e-3) * np.float32(3e38)
    write(words / "yes" / "x.wav", loud, 16000)
    for read in (frames, channels):
        with pytest.raises(RecordingError, match=r"x\.wav has samples that are too large"):
            read(words, "raise")
