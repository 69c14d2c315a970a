"""A cache of computed channels: one file per recording, named by what decides its content.

A file has its own checksum and appears whole or not at all. So several processes may write at the
same time, any of them may be killed, and a damaged file is detected and computed again. A cache
that cannot be written only costs time.

The checksum detects damage, not malice: who can write to the folder can replace channels by others.
They can do no more than that, since an entry is numbers of known shape, and no code.
"""

import math
import os
import struct
import warnings
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.internal.files import (
    FileError,
    make_private_folder,
    read_bytes,
    reason_of,
    remove_drafts,
    write_atomically,
)

__all__ = ["CachedChannels", "ChannelCache"]

# Layout of a file: MAGIC, the SHA-256 of the payload, and the payload: the seconds as a float64 and
# the channels as float32, all little-endian.
MAGIC = b"nwave channels 1"
HEAD_BYTES = len(MAGIC) + sha256().digest_size
SECONDS_BYTES = 8

# Age from which a draft belongs to a process that was killed [s].
STALE_SECONDS = 3600


class CachedChannels(NamedTuple):
    """The channels of a recording.

    Args:
        x: Its channels, `[T, channels]`.
        seconds: Its length before it was cut or padded [s].
    """

    x: npt.NDArray[np.float32]
    seconds: float


class ChannelCache:
    """A folder of computed channels.

    Args:
        folder: The folder; None stores nothing.
        settings: Text of everything except the recording that decides the channels.
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

    def read(self, digest: bytes) -> CachedChannels | None:
        """The channels of a recording, by the hash of its file; None without an intact entry."""
        if self.folder is None:
            return None
        path = self.folder / self._name(digest)
        if not os.path.lexists(path):
            return None
        entry = self._parse(path)
        if entry is None:
            self.damaged.append(path.name)
        return entry

    def _parse(self, path: Path) -> CachedChannels | None:
        """The content of an entry; None if it is damaged or is not a file."""
        steps, channels = self.shape
        size = HEAD_BYTES + SECONDS_BYTES + 4 * steps * channels
        try:
            data = read_bytes(path, size)
        except FileError:
            return None
        payload = data[HEAD_BYTES:]
        if len(data) != size or data[:HEAD_BYTES] != MAGIC + sha256(payload).digest():
            return None
        x = np.frombuffer(payload, "<f4", offset=SECONDS_BYTES).reshape(self.shape)
        (seconds,) = struct.unpack_from("<d", payload)
        return (
            CachedChannels(x, seconds) if math.isfinite(seconds) and np.isfinite(x).all() else None
        )

    def write(self, digest: bytes, entry: CachedChannels) -> None:
        """Store the channels of a recording; a failure gives one warning and ends all writing."""
        if self.folder is None or not self._writes:
            return
        payload = struct.pack("<d", entry.seconds) + np.ascontiguousarray(entry.x, "<f4").tobytes()
        data = MAGIC + sha256(payload).digest() + payload
        try:
            write_atomically(self.folder / self._name(digest), data, flush=False)
        except (OSError, FileError) as error:
            self._stop_writing(error)

    def warn_of_damage(self) -> None:
        """Give one warning for all damaged files."""
        if self.damaged:
            warnings.warn(
                f"{len(self.damaged)} files of the cache {self.folder} were damaged and computed "
                f"again (the first: {self.damaged[0]}).",
                stacklevel=3,
            )

    def _prepare(self, folder: Path) -> None:
        try:
            make_private_folder(folder)
            remove_drafts(folder, STALE_SECONDS)
        except OSError as error:
            self._stop_writing(error)

    def _stop_writing(self, error: OSError | FileError) -> None:
        self._writes = False
        warnings.warn(
            f"The cache {self.folder} cannot be written ({reason_of(error)}): channels are "
            "computed each time; set cache to a folder that can be written, or to False.",
            stacklevel=4,
        )

    def _name(self, digest: bytes) -> str:
        return sha256(digest + self.settings.encode()).hexdigest() + ".channels"
