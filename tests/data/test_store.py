"""The file of frames: it holds what was written, and every damage is detected."""

from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data.features import EventBins
from nwavesdk.data.store import FrameStore, StoreWriter, open_store

FRAMES = [np.random.default_rng(n).random((n, 3)).astype(np.float32) for n in (4, 1, 7)]
TARGETS = [np.arange(2 * len(frames), dtype=np.float32).reshape(-1, 2) for frames in FRAMES]
FACTS = {"keys": ["a", "b", "c"], "skipped": []}


def write(path: Path | None, with_targets: bool = True) -> FrameStore:
    writer = StoreWriter(path, "data")
    for frames, target in zip(FRAMES, TARGETS, strict=True):
        writer.append(frames, target if with_targets else None)
    store = writer.finish(3, FACTS)
    writer.close()
    return store


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("with_targets", [True, False])
def test_a_store_holds_what_was_written(
    tmp_path: Path, in_memory: bool, with_targets: bool
) -> None:
    path = None if in_memory else tmp_path / "cache" / "x.frames"
    stores = [write(path, with_targets)]
    if path is not None:
        opened = open_store(path)
        assert opened is not None
        assert opened.is_cached
        stores.append(opened)
        assert [file.name for file in path.parent.iterdir()] == ["x.frames"]
    for store in stores:
        assert len(store.frames) == 3
        assert store.frames.lengths.tolist() == [4, 1, 7]  # type: ignore[attr-defined]
        for index, frames in enumerate(FRAMES):
            np.testing.assert_array_equal(store.frames[index], frames)
            if with_targets:
                np.testing.assert_array_equal(store.targets[index], TARGETS[index])
        assert with_targets or not len(store.targets)
        assert store.facts == FACTS


@pytest.mark.parametrize("in_memory", [True, False])
def test_bins_of_events_become_frames_when_they_are_read(tmp_path: Path, in_memory: bool) -> None:
    path = None if in_memory else tmp_path / "x.frames"
    writer = StoreWriter(path, "data")
    writer.append(EventBins(np.array([[0, 1], [2, 3], [2, 3]], np.int32), 4, 5), None)
    writer.append(EventBins(np.zeros((0, 2), np.int32), 2, 5), None)
    writer.append(EventBins(np.array([[0, 0]], np.int32), 1, 5), np.array([7]))
    store = writer.finish(5, FACTS)
    expected = np.zeros((4, 5), np.float32)
    expected[0, 1] = 1
    expected[2, 3] = 2
    np.testing.assert_array_equal(store.frames[0], expected)
    assert store.frames[1].shape == (2, 5)
    assert not store.frames[1].any()
    assert store.frames[2].tolist() == [[1, 0, 0, 0, 0]]
    assert store.frames.pairs(0).tolist() == [[0, 1], [2, 3], [2, 3]]  # type: ignore[attr-defined]


def test_an_unfinished_file_does_not_appear(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "x.frames", "data")
    writer.append(FRAMES[0], None)
    assert not (tmp_path / "x.frames").exists()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_no_store(tmp_path: Path) -> None:
    assert open_store(tmp_path / "x.frames") is None


@pytest.mark.parametrize("place", [0, 70, 100, 200, -200, -40, -33, -1])
def test_a_changed_byte_is_detected(tmp_path: Path, place: int) -> None:
    path = tmp_path / "x.frames"
    write(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"x\.frames of the cache .* was damaged"):
        assert open_store(path) is None


@pytest.mark.parametrize("length", [0, 1, 63, 64, 100, 300, -1])
def test_a_cut_file_is_detected(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.frames"
    write(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(UserWarning, match="was damaged"):
        assert open_store(path) is None


def test_a_folder_in_place_of_a_file_is_detected(tmp_path: Path) -> None:
    (tmp_path / "x.frames").mkdir()
    with pytest.warns(UserWarning, match="was damaged"):
        assert open_store(tmp_path / "x.frames") is None


def test_a_footer_that_promises_more_than_the_file_has_is_detected(tmp_path: Path) -> None:
    from hashlib import sha256

    path = tmp_path / "x.frames"
    write(path, with_targets=False)
    content = path.read_bytes()[:-32].replace(b"[4, 1, 7]", b"[4, 1, 9]")
    path.write_bytes(content + sha256(content).digest())
    with pytest.warns(UserWarning, match="was damaged"):
        assert open_store(path) is None


def test_without_a_file_memory_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.internal.checks._free_memory", lambda: 50)
    writer = StoreWriter(None, "words")
    writer.append(FRAMES[1], None)
    with pytest.raises(ValueError, match="words: the frames of recording 2 need .*NWAVESDK_CACHE"):
        writer.append(FRAMES[2], None)
