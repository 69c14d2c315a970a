"""Hostile files in a data folder: they are raised or skipped, and never block."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.conftest import tone, write
from nwavesdk.data import RecordingError, load_wav_folder

for package in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(package)

SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), r"is empty \(0 bytes\)"),
    "escape": (lambda path: path.write_text("\x1b[31m\n\r"), "cannot be read as sound"),
    "cut": (lambda path: path.write_bytes(write(path).read_bytes()[:-1]), "is cut short"),
    "pipe": (os.mkfifo, "is a pipe, expected a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, expected a file"),
    "dangling": (lambda path: path.symlink_to("gone"), "does not exist"),
    "itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_hostile_file_is_raised_or_skipped(words: Path, name: str) -> None:
    spoil, message = SPOILED[name]
    spoil(words / "yes" / "x\x1b[31m.wav")
    with pytest.raises(RecordingError, match=rf"{message}.*; on_error=\"skip\" skips it") as error:
        load_wav_folder(words, bands=4)
    assert "yes/x\\x1b[31m.wav" in str(error.value)
    assert str(error.value).isprintable()
    skipping = load_wav_folder(words, bands=4, on_error="skip")
    ((file, reason),) = skipping.skipped
    assert file == "yes/x\\x1b[31m.wav"
    assert reason in str(error.value)
    assert len(skipping.keys) == 12


def test_values_that_overflow_in_the_filters_are_named(words: Path) -> None:
    write(words / "yes" / "x.wav", np.sign(tone(500, 0.25) + 1e-3) * np.float32(3e38), 16000)
    with pytest.raises(RecordingError, match=r"x\.wav has -\?inf at index|x\.wav has nan"):
        load_wav_folder(words, bands=4)
