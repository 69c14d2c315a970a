"""What may stand where a file is expected: pipes, sockets, devices, loops of links, odd names."""

import os
import shutil
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    make: Callable[[Path], object]

    def at(self, ending: str) -> Callable[[Path], None]:
        """A function that makes it in a folder, with an ending behind its name."""

        def prepare(folder: Path) -> None:
            path = folder / f"{self.name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.make(path)

        return prepare


def _nothing(path: Path) -> None:
    """Make nothing."""


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # The path of a socket has at most 107 characters.
        folder = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


def _device(number: int, name: str, path: Path) -> None:
    """A device; without the rights to make one, a link to it."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, number))
    except OSError:
        path.symlink_to(name)


def _link_to(make: Callable[[Path], object], path: Path) -> None:
    other = path.with_name(f"{path.name}-target")
    make(other)
    path.symlink_to(other.name)


def _file(content: bytes, path: Path, size: int | None = None, mode: int = 0o644) -> None:
    path.write_bytes(content)
    path.chmod(mode)
    if size is not None:
        os.truncate(path, size)


def _below_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"precious")


def _folder_with_file(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_bytes(b"precious")


_precious = partial(_file, b"precious")
_link_back = partial(_link_to, lambda path: path.symlink_to(path.name.removesuffix("-target")))
ESCAPE = "a\x1b[31m\nb\rc"
PLACES = {
    "missing": Place("missing", _nothing),
    "pipe": Place("pipe", os.mkfifo),
    "socket": Place("socket", _socket),
    "folder": Place("folder", _folder_with_file),
    "empty-folder": Place("empty-folder", Path.mkdir),
    "device": Place("device", partial(_device, 5, "/dev/zero")),
    "full-device": Place("full-device", partial(_device, 7, "/dev/full")),
    "dangling": Place("dangling", lambda path: path.symlink_to("nowhere")),
    "loop": Place("loop", _link_back),
    "link-to-itself": Place("itself", lambda path: path.symlink_to(path.name)),
    "link-to-zero": Place("zero", lambda path: path.symlink_to("/dev/zero")),
    "link-to-pipe": Place("link", partial(_link_to, os.mkfifo)),
    "link-to-file": Place("link", partial(_link_to, _precious)),
    "empty": Place("empty", partial(_file, b"")),
    "noise": Place("noise", partial(_file, bytes(range(256)) * 4)),
    "sparse": Place("sparse", partial(_file, b"", size=HUGE)),
    "unreadable": Place("unreadable", partial(_file, b"secret", mode=0)),
    "below-file": Place("file/below", _below_file),
    "below-nothing": Place("a/b/c/below", _nothing),
    "not-utf8": Place("caf\udce9", _precious),
    "not-utf8-missing": Place("caf\udce9", _nothing),
    "escape": Place(ESCAPE, _precious),
    "escape-missing": Place(ESCAPE, _nothing),
    "long": Place("x" * 300, _nothing),
    "dollar": Place("$a_{b", _nothing),
    "hyphen": Place("-x", _nothing),
}


def replace(path: Path, kind: str) -> None:
    """Put something else in the place of a file or a folder that exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    PLACES[kind].make(path)
