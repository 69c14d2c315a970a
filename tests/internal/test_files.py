import errno
import os
import pickle
import socket
import time
from pathlib import Path

import pytest

from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    check_folder,
    check_target,
    is_draft,
    make_private_folder,
    one_line,
    printable,
    read_bytes,
    remove_drafts,
    write_atomically,
)


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


def test_a_write_that_fails_leaves_the_older_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nwavesdk.internal.files.os.fsync", fail)
    with pytest.raises(FileWriteError, match=r"file cannot be written \(No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
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


def make_special(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to("/dev/null" if kind == "device" else path.parent / "elsewhere")


@pytest.mark.skipif(os.name != "posix", reason="special files of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "link"])
def test_only_files_are_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "target"
    make_special(kind, path)
    before = os.lstat(path)
    for write in (check_target, lambda path: write_atomically(path, b"new")):
        with pytest.raises(FileError, match=f"target is a {kind}, expected a file: "):
            write(path)
    assert os.lstat(path).st_ino == before.st_ino
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="devices of Linux")
def test_devices_are_neither_replaced_nor_read() -> None:
    with pytest.raises(FileError, match="/dev/full is a device, expected a file"):
        write_atomically(Path("/dev/full"), b"")
    with pytest.raises(FileError, match="/dev/zero is a device, expected a file"):
        read_bytes(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("x" * 300, "cannot be written"),
        ("x" * 240, "cannot be written"),  # its draft has a longer name
        ("a\0b", r"a\\x00b cannot be written"),
        ("missing/file", "its folder does not exist.: make the folder"),
    ],
)
def test_a_name_that_cannot_be_written_is_rejected_before_the_work(
    tmp_path: Path, name: str, match: str
) -> None:
    with pytest.raises(FileError, match=match):
        check_target(tmp_path / name)


def test_a_file_in_a_folder_that_is_read_only_is_rejected_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind root
    with pytest.raises(FileError, match="its folder is read-only.: change"):
        check_target(tmp_path / "file")
    with pytest.raises(FileError, match="its folder is read-only.: change"):
        check_target(tmp_path / "new" / "file", make_folders=True)
    with pytest.raises(FileError, match="its folder is read-only.: change"):
        check_folder(tmp_path / "new" / "newer")


def test_folders_of_a_named_file_are_made_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    check_target(path, make_folders=True)
    with pytest.raises(FileWriteError, match="No such file or directory"):
        write_atomically(path, b"")
    assert not any(tmp_path.iterdir())
    write_atomically(path, b"", make_folders=True)
    with pytest.raises(FileError, match=r"cannot be written \(Not a directory\)"):
        check_target(path / "below")
    with pytest.raises(FileError, match=r"cannot be written \(Not a directory\)"):
        write_atomically(path / "below", b"", make_folders=True)


@pytest.mark.skipif(os.name != "posix", reason="special files of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
def test_what_cannot_become_a_folder_is_rejected(tmp_path: Path, kind: str) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "newer")
    path = tmp_path / "target"
    make_special(kind, path)
    with pytest.raises(FileError, match=f"target is a {kind}.*: "):
        check_folder(path)
    with pytest.raises(FileError, match=r"cannot be a folder \(File name too long\)"):
        check_folder(tmp_path / ("x" * 300))


def test_drafts_of_killed_writes_are_found_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nwavesdk.internal.files.Path.unlink", lambda *_, **__: None)
    monkeypatch.setattr("nwavesdk.internal.files.os.replace", lambda *_: None)
    write_atomically(tmp_path / "config.json", b"")  # as if it was killed before the rename
    monkeypatch.undo()
    (tmp_path / ".config.json.123.0123abcd").write_bytes(b"")  # of an earlier version
    for name in ("config.json", ".hidden", ".config.json.bak", "a.123.0123abcd.draft"):
        (tmp_path / name).write_bytes(b"")
    assert sum(map(is_draft, tmp_path.iterdir())) == 2
    remove_drafts(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"config.json", ".hidden", ".config.json.bak", "a.123.0123abcd.draft"}


def test_young_drafts_may_belong_to_a_write_that_has_not_ended(tmp_path: Path) -> None:
    for name, age in (("old", 61), ("young", 30)):
        draft = tmp_path / f".{name}.123.0123abcd.draft"
        draft.write_bytes(b"")
        os.utime(draft, (time.time() - age,) * 2)
    remove_drafts(tmp_path, older_than=60)
    assert [path.name for path in tmp_path.iterdir()] == [".young.123.0123abcd.draft"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_can_be_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "private", b"", mode=0o600)
        write_atomically(tmp_path / "shared", b"")
        make_private_folder(tmp_path / "around" / "inside")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"private": 0o600, "shared": 0o666, "around": 0o700, "inside": 0o700}


@pytest.mark.skipif(os.name != "posix", reason="special files of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_only_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    make_special(kind, path)
    with pytest.raises(FileError, match=f"source is a {kind}, expected a file: "):
        read_bytes(path)


def test_a_read_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, most=5) == b"12345"
    with pytest.raises(FileError, match=r"is too large \(5 bytes, expected at most 4\)"):
        read_bytes(path, most=4)
    with open(path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(FileError, match=r"is too large \(1,099,511,627,776 bytes"):
        read_bytes(path)
    with pytest.raises(FileError, match="nothing does not exist"):
        read_bytes(tmp_path / "nothing")
    with pytest.raises(FileError, match="cannot be read"):
        read_bytes(Path("a\0b"))


@pytest.mark.parametrize(
    "letter", ["\x1b", "\r", "\n", "\x00", "\x9b", "\u202e", "\udcff", "\u2028"]
)
def test_names_cannot_change_the_screen(letter: str) -> None:
    text = printable(f"a{letter}b")
    assert text.isprintable()
    assert text.startswith("a\\")
    assert text.encode()
    assert printable("é [名前] $x$") == "é [名前] $x$"


def test_errors_of_any_length_become_a_part_of_one_line() -> None:
    assert one_line(ValueError("a\n\n b\x1b")) == r"a b\x1b"
    assert one_line(MemoryError()) == "MemoryError"
    assert len(one_line(ValueError("a" * 1000))) == 200


def test_errors_name_the_file_and_survive_pickling() -> None:
    deep = FileError(Path("data", *["folder"] * 200, 255 * "x"), "is empty", "remove it")
    assert str(deep).startswith("data/folder/")
    assert str(deep).endswith(f"…/{255 * 'x'} is empty: remove it.")
    assert len(str(deep)) < 400
    error = FileError(Path("a\nb"), "is empty", "remove it")
    assert str(error) == r"a\nb is empty: remove it."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    full = FileWriteError(errno.ENOSPC, "No space left on device", "a\x1b")
    assert str(full).startswith(r"a\x1b cannot be written (No space left on device): ")
    assert str(pickle.loads(pickle.dumps(full))) == str(full)
