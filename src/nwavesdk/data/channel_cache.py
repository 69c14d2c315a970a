"""Channels that were computed before, one file a recording, named by all that decides what is in it.

A file carries its own checksum and appears whole or not at all, so that several processes may build at once, any of
them may be killed, and a file that was damaged is noticed and made anew. A cache that cannot be written only
costs time.


How far the reading of a data folder is, on standard error.
"""

import struct
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.files import write_atomically

__all__ = ["Advance", "ChannelCache", "Heard", "build_bar"]

MAGIC = b"nwave channels 1"
STALE = 3600
"""Age at which a draft belongs to a process that was killed [s]."""


class Heard(NamedTuple):
    """What was heard of a recording.

    Args:
        x: Its channels, `[T, channels]`.
        seconds: Its own length, before it was cut or padded [s].
    """

    x: npt.NDArray[np.float32]
    seconds: float


class ChannelCache:
    """A folder of computed channels.

    Args:
        folder: The folder; None keeps nothing.
        settings: Text of everything beside the recording that decides the channels.
        shape: Time steps and channels of an entry.
    """

    def __init__(self, folder: Path | None, settings: str, shape: tuple[int, int]) -> None:
        self.folder = folder
        self.settings = settings
        self.shape = shape
        self.damaged: list[str] = []
        self._writes = folder is not None
        if folder is not None:
            self._prepare(folder)

    def read(self, content: bytes) -> Heard | None:
        """What is kept of a recording, by the hash of its file.

        Returns:
            None where there is nothing, or nothing whole.
        """
        if self.folder is None:
            return None
        name = self._name(content)
        try:
            data = (self.folder / name).read_bytes()
        except OSError:
            return None
        head, payload = data[: len(MAGIC) + 32], data[len(MAGIC) + 32 :]
        size = 8 + 4 * self.shape[0] * self.shape[1]
        if head != MAGIC + sha256(payload).digest() or len(payload) != size:
            self.damaged.append(name)
            return None
        return Heard(
            np.frombuffer(payload, "<f4", offset=8).reshape(self.shape),
            *struct.unpack_from("<d", payload),
        )

    def write(self, content: bytes, heard: Heard) -> None:
        """Keep what was heard; where that fails, one warning is given and nothing more is kept."""
        if self.folder is None or not self._writes:
            return
        payload = struct.pack("<d", heard.seconds) + np.ascontiguousarray(heard.x, "<f4").tobytes()
        data = MAGIC + sha256(payload).digest() + payload
        try:
            write_atomically(self.folder / self._name(content), data, flush=False)
        except OSError as error:
            self._give_up(error)

    def tell_damage(self) -> None:
        """One warning about all the damaged files that were met."""
        if self.damaged:
            warnings.warn(
                f"{len(self.damaged)} files of the cache {self.folder} were damaged and made anew (the first: "
                f"{self.damaged[0]}).",
                stacklevel=3,
            )

    def _prepare(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for draft in folder.glob(".*.channels.*"):
                if draft.stat().st_mtime < time.time() - STALE:
                    draft.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writes = False
        warnings.warn(
            f"The cache {self.folder} cannot be written ({error.strerror or error}): channels are computed anew each "
            "time; set cache to a folder that can be written, or to False.",
            stacklevel=4,
        )

    def _name(self, content: bytes) -> str:
        return sha256(content + self.settings.encode()).hexdigest() + ".channels"


class Advance(Protocol):
    """Tells the bar that one more recording is done."""

    def __call__(self, cached: int, skipped: int) -> None: ...


@contextmanager
def build_bar(total: int, show: bool | None) -> Iterator[Advance]:
    """A bar over recordings with the numbers of cached and skipped ones.

    Args:
        total: Number of recordings.
        show: Whether there is one; None: where standard error is a terminal.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda cached, skipped: None  # noqa: ARG005
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("recordings"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[cached]} cached, {task.fields[skipped]} skipped"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("recordings", total=total, cached=0, skipped=0)
        yield lambda cached, skipped: progress.update(
            task, advance=1, cached=cached, skipped=skipped
        )
