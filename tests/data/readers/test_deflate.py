"""Members of a zip that are unpacked part by part."""

import pickle
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data.readers.deflate import Deflated, Stored
from nwavesdk.data.readers.streams import StreamedFile
from nwavesdk.data.reading import RecordingError

CONTENT = np.random.default_rng(0).integers(0, 5, 3_000_000).astype(np.uint8).tobytes()


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def member(folder: Path, packed: bytes, size: int, checksum: int) -> Deflated:
    path = folder / "set.npz"
    path.write_bytes(b"before" + packed + b"after")
    return Deflated(StreamedFile.at(path), "x", 6, len(packed), size, checksum)


@pytest.fixture(scope="module")
def deflated(tmp_path_factory: pytest.TempPathFactory) -> Deflated:
    packed = deflate(CONTENT)
    return member(tmp_path_factory.mktemp("zip"), packed, len(CONTENT), zlib.crc32(CONTENT))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(CONTENT)), st.sampled_from([0, 1, 99, 100_000])), max_size=6
    )
)
def test_parts_are_read_in_any_order(deflated: Deflated, places: list[tuple[int, int]]) -> None:
    for place, size in places:
        size = min(size, len(CONTENT) - place)
        assert deflated.read(place, size) == CONTENT[place : place + size]


def test_the_whole_is_read_again_and_by_a_copy(deflated: Deflated) -> None:
    assert deflated.read(0, len(CONTENT)) == CONTENT
    assert deflated.read(0, len(CONTENT)) == CONTENT
    assert pickle.loads(pickle.dumps(deflated)).read(10, 20) == CONTENT[10:30]


def test_parts_in_order_are_unpacked_once(
    deflated: Deflated, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = StreamedFile.read

    def counting(self: StreamedFile, start: int, size: int) -> bytes:
        read.append(size)
        return real(self, start, size)

    monkeypatch.setattr(StreamedFile, "read", counting)
    deflated.read(0, 1)
    for place in range(1, len(CONTENT), 99_991):
        deflated.read(place, min(99_991, len(CONTENT) - place))
    n_packed = len(deflate(CONTENT))
    assert sum(read) == n_packed


def test_memory_is_that_of_the_part(deflated: Deflated) -> None:
    tracemalloc.start()
    try:
        for place in (0, 10, 2_000_000, 5):
            deflated.read(place, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("size", "change", "message"),
    [
        (1000, 0, r"set.npz has a member 'x' that is damaged \(its checksum is wrong\): copy it"),
        (999, 1, "unpacks to more than it promises"),
        (1001, 1, "unpacks to less than it promises"),
    ],
)
def test_other_content_than_promised_is_an_error(
    tmp_path: Path, size: int, change: int, message: str
) -> None:
    content = CONTENT[:1000]
    checksum = zlib.crc32(content[: min(size, 1000)]) + (change == 0)
    damaged = member(tmp_path, deflate(content), size, checksum)
    with pytest.raises(RecordingError, match=message):
        damaged.read(0, size)


def test_a_bomb_is_unpacked_no_further_than_promised(tmp_path: Path) -> None:
    content = bytes(50_000_000)
    bomb = member(tmp_path, deflate(content), 1000, zlib.crc32(content[:1000]))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="unpacks to more than it promises"):
            bomb.read(0, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", [0, 1, 100, 300])
def test_packed_content_that_is_cut_short_is_an_error(tmp_path: Path, cut: int) -> None:
    packed = deflate(CONTENT[:1000])[:cut]
    damaged = member(tmp_path, packed, 1000, zlib.crc32(CONTENT[:1000]))
    with pytest.raises(RecordingError, match="unpacks to less than it promises"):
        damaged.read(0, 1000)


def test_content_that_is_not_deflate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="has a member 'x' that is damaged: copy it again"):
        member(tmp_path, b"\xff" * 100, 1000, 0).read(0, 1000)


def test_stored_content_is_read_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(bytes(range(100)))
    assert Stored(StreamedFile.at(path), 50).read(3, 2) == bytes([53, 54])
