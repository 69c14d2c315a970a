"""Damage, full disks and settings; several processes are in `test_channels.py`."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.channel_cache import CachedChannels, ChannelCache

ENTRY = CachedChannels(np.random.default_rng(0).uniform(size=(5, 3)).astype(np.float32), 0.75)


def test_an_entry_is_read_back(tmp_path: Path) -> None:
    cache = ChannelCache(tmp_path / "a" / "b", "settings", (5, 3))
    assert cache.read(b"content") is None
    cache.write(b"content", ENTRY)
    entry = ChannelCache(tmp_path / "a" / "b", "settings", (5, 3)).read(b"content")
    assert entry is not None
    np.testing.assert_array_equal(entry.x, ENTRY.x)
    assert entry.seconds == 0.75


def test_other_content_and_other_settings_are_other_entries(tmp_path: Path) -> None:
    ChannelCache(tmp_path, "settings", (5, 3)).write(b"content", ENTRY)
    assert ChannelCache(tmp_path, "settings", (5, 3)).read(b"other") is None
    assert ChannelCache(tmp_path, "other", (5, 3)).read(b"content") is None


@pytest.mark.parametrize("place", [0, 20, 50, -1])
def test_a_flipped_bit_is_detected(tmp_path: Path, place: int) -> None:
    cache = ChannelCache(tmp_path, "settings", (5, 3))
    cache.write(b"content", ENTRY)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert cache.read(b"content") is None
    with pytest.warns(
        UserWarning, match=r"1 files of the cache .* were damaged and computed again \(the first: "
    ):
        cache.warn_of_damage()


@pytest.mark.parametrize("length", [0, 10, 60, 115])
def test_a_truncated_file_is_detected(tmp_path: Path, length: int) -> None:
    cache = ChannelCache(tmp_path, "settings", (5, 3))
    cache.write(b"content", ENTRY)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == 16 + 32 + 8 + 60
    os.truncate(path, length)
    assert cache.read(b"content") is None
    assert cache.damaged == [path.name]


def test_a_full_disk_gives_one_warning_and_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = ChannelCache(tmp_path, "settings", (5, 3))
    monkeypatch.setattr("nwavesdk.internal.files.os.replace", full)
    with pytest.warns(
        UserWarning, match=r"cannot be written \(No space left on device\).*or to False"
    ):
        cache.write(b"content", ENTRY)
    cache.write(b"other", ENTRY)  # a second warning would be an error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_created_gives_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(
        UserWarning, match=r"The cache .*file/data cannot be written \(Not a directory\)"
    ):
        cache = ChannelCache(tmp_path / "file" / "data", "settings", (5, 3))
    cache.write(b"content", ENTRY)
    assert cache.read(b"content") is None


def test_without_a_folder_nothing_is_stored() -> None:
    cache = ChannelCache(None, "settings", (5, 3))
    cache.write(b"content", ENTRY)
    assert cache.read(b"content") is None


def test_old_drafts_are_removed_and_new_ones_are_not(tmp_path: Path) -> None:
    old, new = (tmp_path / f".aa.channels.{n}.{n}{'b' * 7}.draft" for n in (1, 2))
    for draft in (old, new):
        draft.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    ChannelCache(tmp_path, "settings", (5, 3))
    assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_entry_that_is_not_finite_is_computed_again(tmp_path: Path, value: float) -> None:
    cache = ChannelCache(tmp_path, "settings", (5, 3))
    for entry in (ENTRY._replace(x=np.full((5, 3), value)), ENTRY._replace(seconds=value)):
        cache.write(b"content", entry)
        assert cache.read(b"content") is None
    assert len(cache.damaged) == 2


def test_an_entry_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    cache = ChannelCache(tmp_path, "settings", (5, 3))
    cache.write(b"content", ENTRY)
    (path,) = tmp_path.iterdir()
    os.truncate(path, 2**40)  # a sparse file, larger than any memory
    assert cache.read(b"content") is None
    assert cache.damaged == [path.name]
    cache.write(b"content", ENTRY)
    assert cache.read(b"content") is not None


@pytest.mark.parametrize("kind", [os.mkfifo, Path.mkdir])
def test_an_entry_that_is_not_a_file_does_not_block(tmp_path: Path, kind: Any) -> None:
    cache = ChannelCache(tmp_path, "settings", (5, 3))
    cache.write(b"content", ENTRY)
    (path,) = tmp_path.iterdir()
    path.unlink()
    kind(path)
    assert cache.read(b"content") is None
    with pytest.warns(UserWarning, match="cannot be written .*expected a file"):
        cache.write(b"content", ENTRY)
