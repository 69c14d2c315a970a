"""What may stand where a file is expected: pipes, sockets, devices, loops of links, odd names."""

import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LINK_TARGETS", "PLACES", "Place", "replace"]

HUGE = 2**31
LINK_TARGETS = ["/dev/zero", "nowhere"]


@dataclass(frozen=True)
class Place:
    """Something other than the expected file.

    Attributes:
        name: The path at which it is made, relative to the folder of a case.
        make: Makes it at a path.
    """

    name: str
    make: Callable[[Path], None]

    def at(self, ending: str) -> Callable[[Path], None]:
        """A function that makes it in a folder, with an ending behind its name."""

        def prepare(folder: Path) -> None:
            path = folder / f"{self.name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.make(path)

        return prepare


def _nothing(path: Path) -> None:
    del path


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # The path of a socket has at most 107 characters.
        here = os.open(path.parent, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def _device(path: Path) -> None:
    """A device like /dev/zero; without the rights to make one, a link to it."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except OSError:
        path.symlink_to("/dev/zero")


def _full_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    except OSError:
        path.symlink_to("/dev/full")


def _loop(path: Path) -> None:
    other = path.with_name(f"{path.name}-back")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name(f"{path.name}-pipe"))
    path.symlink_to(f"{path.name}-pipe")


def _link_to_file(path: Path) -> None:
    path.with_name(f"{path.name}-file").write_bytes(b"precious")
    path.symlink_to(f"{path.name}-file")


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(HUGE)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)


def _below_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"precious")


def _folder_with_file(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_bytes(b"precious")


PLACES = {
    "missing": Place("missing", _nothing),
    "pipe": Place("pipe", _pipe),
    "socket": Place("socket", _socket),
    "folder": Place("folder", _folder_with_file),
    "empty-folder": Place("empty-folder", Path.mkdir),
    "device": Place("device", _device),
    "full-device": Place("full-device", _full_device),
    "dangling": Place("dangling", lambda path: path.symlink_to("nowhere")),
    "loop": Place("loop", _loop),
    "link-to-itself": Place("itself", lambda path: path.symlink_to(path.name)),
    "link-to-zero": Place("zero", lambda path: path.symlink_to("/dev/zero")),
    "link-to-pipe": Place("link", _link_to_pipe),
    "link-to-file": Place("link", _link_to_file),
    "empty": Place("empty", lambda path: path.write_bytes(b"") and None),
    "noise": Place("noise", lambda path: path.write_bytes(bytes(range(256)) * 4) and None),
    "sparse": Place("sparse", _sparse),
    "unreadable": Place("unreadable", _unreadable),
    "below-file": Place("file/below", _below_file),
    "below-nothing": Place("a/b/c/below", _nothing),
    "not-utf8": Place("caf\udce9", lambda path: path.write_bytes(b"x") and None),
    "not-utf8-missing": Place("caf\udce9", _nothing),
    "escape": Place("a\x1b[31m\nb\rc", lambda path: path.write_bytes(b"x") and None),
    "escape-missing": Place("a\x1b[31m\nb\rc", _nothing),
    "long": Place("x" * 300, _nothing),
    "dollar": Place("$a_{b", _nothing),
    "hyphen": Place("-x", _nothing),
}


def replace(path: Path, kind: str) -> None:
    """Put something else in the place of a file or a folder that exists."""
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    PLACES[kind].make(path)
