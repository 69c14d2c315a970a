from pathlib import Path

import pytest

from nwavesdk.internal.files import write_atomically


@pytest.mark.parametrize("flush", [True, False])
def test_content_is_there_and_an_older_file_gives_way_only_if_it_may(
    tmp_path: Path, flush: bool
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", flush=flush)
    write_atomically(path, b"new", flush=flush)
    with pytest.raises(FileExistsError):
        write_atomically(path, b"newer", replace=False, flush=flush)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("nwavesdk.internal.files.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_whose_checksum_is_its_own_need_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr("nwavesdk.internal.files.os.fsync", waits.append)
    write_atomically(tmp_path / "cached", b"", flush=False)
    assert not waits
    write_atomically(tmp_path / "kept", b"")
    assert len(waits) == 1
