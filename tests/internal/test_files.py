import errno
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    check_folder,
    check_target,
    draft_of,
    is_draft,
    make_private_folder,
    one_line,
    printable,
    read_bytes,
    remove_drafts,
    write_atomically,
)


def test_content_is_there_and_an_older_file_gives_way_only_if_it_may(tmp_path: Path) -> None:
    path = tmp_path / "new" / "newer" / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    with pytest.raises(FileExistsError):
        write_atomically(path, b"newer", replace=False)
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


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


@pytest.mark.parametrize("check", [check_target, check_folder])
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("x" * 300, r"cannot be written \(File name too long\)"),
        ("a\0b", r"a\\x00b cannot be written"),
        ("file/below", r"cannot be written \(Not a directory\)"),
        ("nowhere/below", r"nowhere is not a folder that you can write\): change"),
    ],
)
def test_a_name_that_cannot_be_written_is_rejected_before_the_work(
    tmp_path: Path, check: Callable[[Path], None], name: str, match: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("missing")
    with pytest.raises(FileError, match=match):
        check(tmp_path / name)


@pytest.mark.parametrize("check", [check_target, check_folder])
def test_a_place_that_is_read_only_is_rejected_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Path], None]
) -> None:
    check(tmp_path / "new" / "newer")
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind root
    with pytest.raises(FileError, match="is not a folder that you can write.: change"):
        check(tmp_path / "new" / "newer")


@pytest.mark.skipif(os.name != "posix", reason="special files of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link"])
def test_what_cannot_become_a_folder_is_rejected(tmp_path: Path, kind: str) -> None:
    check_folder(tmp_path)
    path = tmp_path / "target"
    make_special(kind, path)
    expected = (
        "is not a folder that you can write" if kind == "link" else f"target is a {kind}, exp"
    )
    with pytest.raises(FileError, match=expected):
        check_folder(path)


def test_old_drafts_of_killed_writes_are_removed(tmp_path: Path) -> None:
    for make in (Path.touch, Path.mkdir, Path.touch):
        draft = draft_of(tmp_path / "file")
        make(draft)
        os.utime(draft, (1, 1))
    os.utime(draft)
    others = {"config.json", ".hidden", "0123456789abcdef.draft"}
    for name in others:
        (tmp_path / name).touch()
    assert sum(map(is_draft, tmp_path.iterdir())) == 3
    remove_drafts(tmp_path, older_than=60)
    assert {path.name for path in tmp_path.iterdir()} == {*others, draft.name}
    remove_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == others


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
