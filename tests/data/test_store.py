"""The folder of frames: it holds what was written, and every damage is detected."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data.features import EventBins, Featured
from nwavesdk.data.store import FrameStore, open_store, store_frames

FRAMES = [np.random.default_rng(n).random((n, 3)).astype(np.float32) for n in (4, 1, 7)]
TARGETS = [np.arange(2 * len(frames), dtype=np.float32).reshape(-1, 2) for frames in FRAMES]
FACTS = {"keys": ["a", "b", "c"], "skipped": []}
BINS = [
    EventBins(np.array([[0, 1], [2, 3], [2, 3]], np.int32), 4, 5),
    EventBins(np.zeros((0, 2), np.int32), 2, 5),
    EventBins(np.array([[0, 0]], np.int32), 1, 5),
]


def write(path: Path | None, with_targets: bool = True) -> FrameStore:
    recordings = [
        # A front end may return a transposed array.
        Featured(np.asfortranarray(frames), target if with_targets else None)
        for frames, target in zip(FRAMES, TARGETS, strict=True)
    ]
    return store_frames(path, "data", recordings, FACTS)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("with_targets", [True, False])
def test_a_store_holds_what_was_written(
    tmp_path: Path, in_memory: bool, with_targets: bool
) -> None:
    path = None if in_memory else tmp_path / "cache" / "x"
    stores = [write(path, with_targets)]
    if path is not None:
        opened = open_store(path)
        assert opened is not None
        stores.append(opened)
        assert [file.name for file in path.parent.iterdir()] == ["x"]
    for store in stores:
        assert len(store.frames) == 3
        assert store.frames.lengths.tolist() == [4, 1, 7]
        for index, frames in enumerate(FRAMES):
            np.testing.assert_array_equal(store.frames[index], frames)
            if with_targets:
                np.testing.assert_array_equal(store.targets[index], TARGETS[index])
        assert with_targets or not len(store.targets)
        assert FACTS.items() <= store.facts.items()


@pytest.mark.parametrize("in_memory", [True, False])
def test_bins_of_events_become_frames_when_they_are_read(tmp_path: Path, in_memory: bool) -> None:
    path = None if in_memory else tmp_path / "x"
    store = store_frames(path, "data", [Featured(bins, None) for bins in BINS], FACTS)
    expected = np.zeros((4, 5), np.float32)
    expected[0, 1] = 1
    expected[2, 3] = 2
    np.testing.assert_array_equal(store.frames[0], expected)
    assert store.frames[1].shape == (2, 5)
    assert not store.frames[1].any()
    assert store.frames[2].tolist() == [[1, 0, 0, 0, 0]]
    assert store.frames.pairs(0).tolist() == [[0, 1], [2, 3], [2, 3]]


def test_an_unfinished_store_does_not_appear(tmp_path: Path) -> None:
    def interrupted():
        yield Featured(FRAMES[0], None)
        assert [path.name[:3] for path in tmp_path.iterdir()] == [".x."]
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        store_frames(tmp_path / "x", "data", interrupted(), FACTS)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_no_store(tmp_path: Path) -> None:
    assert open_store(tmp_path / "x") is None


def check_detected(path: Path) -> None:
    with pytest.warns(UserWarning, match=r"folder x of the cache .* was damaged"):
        assert open_store(path) is None


@pytest.mark.parametrize("name", ["frames.npy", "targets.npy", "index.json"])
@pytest.mark.parametrize("place", [0, 30, -40, -1])
def test_a_changed_byte_is_detected(tmp_path: Path, name: str, place: int) -> None:
    path = tmp_path / "x"
    write(path)
    content = bytearray((path / name).read_bytes())
    content[place] ^= 1
    (path / name).write_bytes(content)
    check_detected(path)
    # It is replaced.
    np.testing.assert_array_equal(write(path).frames[2], FRAMES[2])
    assert open_store(path) is not None


@pytest.mark.parametrize("name", ["frames.npy", "targets.npy", "index.json"])
@pytest.mark.parametrize("length", [None, 0, 1, 100, -1])
def test_a_cut_or_missing_file_is_detected(tmp_path: Path, name: str, length: int | None) -> None:
    path = tmp_path / "x"
    write(path)
    content = (path / name).read_bytes()
    (path / name).unlink()
    if length is not None:
        (path / name).write_bytes(content[:length])
    check_detected(path)


def test_a_file_or_pipe_in_place_of_a_store_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    check_detected(path)
    # It is left alone, and frames are used without a cache.
    np.testing.assert_array_equal(write(path).frames[2], FRAMES[2])
    assert [path] == list(tmp_path.iterdir())
    path.unlink()
    write(path)
    (path / "frames.npy").unlink()
    os.mkfifo(path / "frames.npy")
    check_detected(path)


def test_an_index_that_promises_more_than_the_arrays_have_is_detected(tmp_path: Path) -> None:
    from nwavesdk.data.store import _checksum, _map_arrays

    path = tmp_path / "x"
    write(path, with_targets=False)
    index = json.loads((path / "index.json").read_text())
    index["counts"] = [4, 1, 9]
    del index["sha256"]
    index["sha256"] = _checksum(index, _map_arrays(path))
    (path / "index.json").write_text(json.dumps(index))
    check_detected(path)


def test_without_a_folder_memory_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 50)
    with pytest.raises(ValueError, match="words: the frames of recording 3 need .*NWAVESDK_CACHE"):
        store_frames(
            None, "words", [Featured(frames, None) for frames in FRAMES[1::-1] + FRAMES[2:]], {}
        )
