"""Files of which one piece at a time is read."""

import os
import pickle
from pathlib import Path

import pytest

from nwavesdk.data.readers.streams import StreamedFile
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import FileError


@pytest.fixture
def file(tmp_path: Path) -> StreamedFile:
    path = tmp_path / "numbers"
    path.write_bytes(bytes(range(100)))
    return StreamedFile.at(path)


def test_pieces_are_read_in_any_order(file: StreamedFile) -> None:
    assert file.read(98, 2) == b"bc"
    assert file.read(0, 3) == b"\0\1\2"
    assert file.read(100, 0) == b""
    assert pickle.loads(pickle.dumps(file)).read(97, 1) == b"a"


def test_a_piece_behind_the_end_is_an_error_before_memory_is_reserved(file: StreamedFile) -> None:
    with pytest.raises(RecordingError, match=r"is cut short \(1 bytes are missing\)"):
        file.read(98, 3)
    with pytest.raises(RecordingError, match="is cut short"):
        file.read(0, 2**60)


@pytest.mark.parametrize("content", [bytes(100), b"shorter"])
def test_a_file_that_has_changed_is_an_error(file: StreamedFile, content: bytes) -> None:
    file.path.write_bytes(content)
    os.utime(file.path, ns=(0, file.changed_at + (len(content) == file.size)))
    with pytest.raises(RecordingError, match="has changed while it was in use: start again"):
        file.read(0, 1)


def test_what_is_not_a_file_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="is a pipe, expected a file"):
        StreamedFile.at(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a folder, expected a file"):
        StreamedFile.at(tmp_path / "folder")
    with pytest.raises(FileError, match="does not exist"):
        StreamedFile.at(tmp_path / "nothing")
