"""File operations of a process, seen from inside, before they happen, and from outside, after.

From inside, an audit hook sees each operation of Python that creates, renames or removes a file:
the process can end itself exactly before the n-th one. From outside, inotify reports what happened
to the files, a moment later: also writes, and also those of other processes.
"""

import ctypes
import os
import select
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Event", "Watch", "stop_at_operation"]

# Bits of inotify(7).
KINDS = {
    0x002: "modify",
    0x008: "close",
    0x040: "rename",
    0x080: "rename",
    0x100: "create",
    0x200: "delete",
}
IS_FOLDER = 0x40000000
HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name

# Audit events of Python that change a folder, except for "open".
OPERATIONS = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Event(NamedTuple):
    """What happened to a file: `create`, `modify`, `close`, `rename` or `delete`."""

    kind: str
    path: Path


class Watch:
    """Watches a folder with all that is inside; a context manager. Linux only."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.number = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, Path] = {}
        self._add(folder)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)

    def events(self, sentinel: int, seconds: float) -> Iterator[Event]:
        """The events until `sentinel` becomes readable, or until nothing happens for a while."""
        while True:
            ready, _, _ = select.select([self.number, sentinel], [], [], seconds)
            if self.number in ready:
                yield from self._read()
            elif sentinel in ready or not ready:
                return

    def sees(self, kind: str, number: int, sentinel: int) -> bool:
        """Wait for the n-th event of a kind; whether it came before the end of the process."""
        for event in self.events(sentinel, 60.0):
            number -= event.kind == kind
            if number == 0:
                return True
        return False

    def _read(self) -> Iterator[Event]:
        data = os.read(self.number, 1 << 16)
        while data:
            watch, mask, _, length = HEAD.unpack_from(data)
            name = data[HEAD.size : HEAD.size + length].rstrip(b"\0")
            data = data[HEAD.size + length :]
            if watch not in self._folders:
                continue
            path = self._folders[watch] / os.fsdecode(name)
            for bit, kind in KINDS.items():
                if mask & bit and name:
                    if kind == "create" and mask & IS_FOLDER:
                        self._add(path)
                    yield Event(kind, path)

    def _add(self, folder: Path) -> None:
        mask = sum(KINDS)
        watch = self._libc.inotify_add_watch(self.number, os.fsencode(folder), mask)
        if watch >= 0:
            self._folders[watch] = folder
            for path in folder.iterdir():
                if path.is_dir():
                    self._add(path)


def stop_at_operation(root: Path, stop_at: int | None, log: Path | None) -> None:
    """Kill this process before its n-th operation on files inside `root`, or log all of them."""
    inside = os.path.join(os.path.abspath(root), "")
    output = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            if not arguments[2] & WRITING:
                return
        elif event not in OPERATIONS:
            return
        path = arguments[0]
        if isinstance(path, int):
            return
        path = os.path.abspath(os.fsdecode(path))
        if not (path + os.sep).startswith(inside):
            return
        count += 1
        if output is not None:
            os.write(output, f"{event} {path}\n".encode(errors="replace"))
        if count == stop_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
