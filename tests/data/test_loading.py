"""The folder of frames: it holds what was written, and every damage is detected."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.features import EventBins, Featured, SeriesFeatures
from nwavesdk.data.folder import Faults
from nwavesdk.data.loading import (
    INDEX,
    STORE_ARRAYS,
    list_recordings,
    load_recordings,
    open_store,
    store_frames,
)
from nwavesdk.data.source import Item, Sample, Source

FRAMES = [np.random.default_rng(n).random((n, 3)).astype(np.float32) for n in (4, 1, 7)]
TARGETS = [np.arange(2 * len(frames), dtype=np.float32).reshape(-1, 2) for frames in FRAMES]
FACTS = {"keys": ["a", "b", "c"], "skipped": []}
BINS = [
    EventBins(np.array([[0, 1], [2, 3], [2, 3]], np.int32), (4, 5)),
    EventBins(np.zeros((0, 2), np.int32), (2, 5)),
    EventBins(np.array([[0, 0]], np.int32), (1, 5)),
]


def write(path: Path, with_targets: bool = True) -> dict[str, Any]:
    recordings = [
        # A front end may return a transposed array.
        Featured(np.asfortranarray(frames), target if with_targets else None)
        for frames, target in zip(FRAMES, TARGETS, strict=True)
    ]
    return store_frames(path, recordings, FACTS)


def test_series_of_any_dtype_are_float32() -> None:
    dtypes = ("float32", ">f8", "int32", "bool")
    items = tuple(
        Item(dtype, Path(dtype), class_name="ab"[i % 2]) for i, dtype in enumerate(dtypes)
    )
    source = Source(
        kind="series",
        task="classification",
        items=items,
        read=lambda item: Sample(np.ones((3, 1), item.key)),
        digest=lambda item: item.key.encode(),
    )
    recordings = load_recordings(source, Faults(Path("made up"), "raise"), SeriesFeatures())
    for frames in recordings.recordings.frames:
        assert frames.dtype == np.float32
        np.testing.assert_array_equal(frames, np.ones((3, 1)))
    # The source knew other classes before a table named these.
    assert list_recordings(replace(source, classes=("c", "d"))).classes == ("a", "b")


@pytest.mark.parametrize("with_targets", [True, False])
def test_a_store_has_what_was_written(tmp_path: Path, with_targets: bool) -> None:
    written = write(tmp_path / "cache" / "x", with_targets)
    opened = open_store(tmp_path / "cache" / "x")
    assert opened is not None
    for store in (written, opened):
        assert FACTS.items() <= store.items()
        assert all(map(np.array_equal, store["frames"], FRAMES))
        assert len(store["targets"]) == 3 * with_targets
        assert all(map(np.array_equal, store["targets"], TARGETS))


def test_bins_of_events_become_frames_when_they_are_read(tmp_path: Path) -> None:
    frames = store_frames(tmp_path / "x", [Featured(bins, None) for bins in BINS], FACTS)["frames"]
    shutil.rmtree(tmp_path / "x")  # files that are mapped stay readable
    expected = np.zeros((4, 5), np.float32)
    expected[[0, 2], [1, 3]] = [1, 2]
    np.testing.assert_array_equal(frames[0], expected)
    np.testing.assert_array_equal(frames[1], np.zeros((2, 5)))
    assert frames[2].tolist() == [[1, 0, 0, 0, 0]]
    assert frames.bins[0].shape == (4, 5)
    assert frames.bins[0].pairs.tolist() == [[0, 1], [2, 3], [2, 3]]


def test_an_unfinished_store_does_not_appear(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Featured]:
        yield Featured(FRAMES[0], None)
        assert [path.suffix for path in tmp_path.iterdir()] == [".draft"]
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        store_frames(tmp_path / "x", interrupted(), FACTS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".x.1.0123abcd.draft").mkdir()
    (tmp_path / ".x.2.0123abcd.draft").mkdir()
    os.utime(tmp_path / ".x.1.0123abcd.draft", (0, 0))  # of a process that was killed long ago
    write(tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"x", ".x.2.0123abcd.draft"}


def check_replaced(path: Path) -> None:
    with pytest.warns(UserWarning, match=r"folder x of the cache .* was damaged"):
        assert open_store(path) is None
    assert all(map(np.array_equal, write(path)["frames"], FRAMES))
    assert list(path.parent.iterdir()) == [path]
    assert open_store(path) is not None


@pytest.mark.parametrize("name", [*STORE_ARRAYS, INDEX])
@pytest.mark.parametrize("damage", [0, 30, -40, "cut", "empty", "missing", "pipe"])
def test_damage_is_detected_and_replaced(tmp_path: Path, name: str, damage: int | str) -> None:
    write(tmp_path / "x")
    file = tmp_path / "x" / name
    content = bytearray(file.read_bytes())
    if isinstance(damage, int):  # the place of a byte
        content[damage] ^= 1
    file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage != "missing":
        file.write_bytes({"cut": content[:-1], "empty": b""}.get(damage, content))
    check_replaced(tmp_path / "x")


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo], ids=["file", "pipe"])
def test_what_is_in_place_of_a_store_is_replaced(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x")
    check_replaced(tmp_path / "x")
