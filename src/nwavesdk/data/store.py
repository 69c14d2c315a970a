"""Computed frames of a data set, in memory or in one memory-mapped file of the cache.

Layout of a file: MAGIC, padded to 64 bytes; the values of all recordings, one after the other, as
float32 (frames) or pairs of int32 (bins of events); their targets, as int64 or float32; a footer
in JSON, with the number of steps of each recording and what the caller adds; the length of the
footer in 8 bytes; and the SHA-256 of all this.

A file appears whole or not at all, so any process that writes may be killed. A damaged file is
detected, and computed again. The checksum detects damage, not malice: who can write to the folder
can replace frames by others. They can do no more than that, since the file is numbers of known
shape, and no code.
"""

import json
import mmap
import os
import struct
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nwavesdk.data.binning import to_frames
from nwavesdk.data.features import EventBins
from nwavesdk.data.recordings import Frames
from nwavesdk.data.source import StepTarget
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import (
    draft_of,
    make_private_folder,
    remove_drafts,
)

__all__ = [
    "SUFFIX",
    "FrameStore",
    "StoreWriter",
    "StoredEvents",
    "StoredFrames",
    "open_store",
]

MAGIC = b"nwave frames 2".ljust(64, b"\0")
DIGEST_BYTES = sha256().digest_size
TAIL_BYTES = 8 + DIGEST_BYTES
SUFFIX = ".frames"

# Age from which a draft belongs to a process that was killed [s].
STALE_SECONDS = 86_400

# The largest footer that is read: 10^7 recordings have one of about 500 MB.
MOST_FOOTER_BYTES = 2**30

# Bytes that are hashed together.
BLOCK_BYTES = 2**22

Values = npt.NDArray[np.float32] | npt.NDArray[np.int32]


class StoredFrames(Sequence[Frames]):
    """Frames of recordings that lie one after the other in one array.

    Args:
        values: `[steps of all, F]`.
        lengths: Steps of each recording, `[B]`.
    """

    def __init__(self, values: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64]) -> None:
        self.lengths = lengths
        self._values = values
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        end = int(self._ends[index])
        return self._values[end - int(self.lengths[index]) : end]


class StoredEvents(Sequence[Frames]):
    """Bins of events of recordings; an element is made into frames when it is asked for.

    Args:
        pairs: Step and place of each event, int32 `[events of all, 2]`.
        counts: Events of each recording, `[B]`.
        lengths: Steps of each recording, `[B]`.
        n_places: Places of the sensor.
    """

    def __init__(
        self,
        pairs: npt.NDArray[np.int32],
        counts: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        n_places: int,
    ) -> None:
        self.lengths = lengths
        self.n_places = n_places
        self._pairs = StoredFrames(pairs, counts)  # type: ignore[arg-type]  # pairs are integers

    def __len__(self) -> int:
        return len(self.lengths)

    def pairs(self, index: int) -> npt.NDArray[np.int32]:
        """Step and place of each event of a recording, `[n, 2]`."""
        pairs: npt.NDArray[np.int32] = self._pairs[index]
        return pairs

    def __getitem__(self, index: Any) -> Any:
        return to_frames(self.pairs(index), int(self.lengths[index]), self.n_places)


@dataclass(frozen=True, eq=False)
class FrameStore:
    """The frames of a data set.

    Args:
        frames: One array per recording.
        targets: The target of each recording, if its steps have one.
        facts: What the writer added: JSON values by name.
        is_cached: Whether it was read from the cache.
    """

    frames: Sequence[Frames]
    targets: Sequence[StepTarget]
    facts: dict[str, Any]
    is_cached: bool


class StoreWriter:
    """Takes the frames of one recording after the other, to a file or, without one, to memory.

    Args:
        path: The file, which appears when all is written; None for memory.
        owner: What the recordings belong to, for the message of an error.

    Raises:
        OSError: If the file cannot be written, also from `append` and `finish`.
    """

    def __init__(self, path: Path | None, owner: str) -> None:
        self._path = path
        self._owner = owner
        self._hash = sha256()
        self._memory: list[Values] = []
        self._targets: list[StepTarget] = []
        self._lengths: list[int] = []
        self._counts: list[int] = []
        self._n_places = 0
        self._file: BinaryIO | None = None
        if path is not None:
            make_private_folder(path.parent)
            remove_drafts(path.parent, STALE_SECONDS)
            self._draft = draft_of(path)
            self._file = open(self._draft, "xb")  # noqa: SIM115  # closed by `close`
            self._write(self._file, MAGIC)

    def append(self, frames: "Frames | EventBins", target: StepTarget | None) -> None:
        """Add a recording.

        Args:
            frames: `[L, F]`, or bins of events.
            target: `[L]` or `[L, D]`, or None.
        """
        if isinstance(frames, EventBins):
            values: Values = np.ascontiguousarray(frames.pairs, "<i4")
            self._n_places = frames.n_places
            self._counts.append(len(values))
            self._lengths.append(frames.steps)
        else:
            values = np.ascontiguousarray(frames, "<f4")
            self._lengths.append(len(values))
        if target is not None:
            self._targets.append(target)
        if self._file is not None:
            self._write(self._file, values.tobytes())
            return
        what = f"the frames of recording {len(self._lengths):,}"
        remedy = "set NWAVESDK_CACHE to a folder that can be written, or use fewer recordings"
        require_memory(self._owner, what, values.nbytes, remedy)
        self._memory.append(values.reshape(-1))

    def _write(self, file: BinaryIO, content: bytes) -> None:
        file.write(content)
        self._hash.update(content)

    def finish(self, width: int, facts: dict[str, Any]) -> FrameStore:
        """Write the rest, and open the store.

        Args:
            width: Features of a frame.
            facts: JSON values that are stored with the frames.
        """
        targets: StepTarget = np.zeros(0, np.float32)
        if self._targets:
            targets = np.concatenate(self._targets)  # type: ignore[assignment]  # of one dtype
        footer = {
            "width": width,
            "lengths": self._lengths,
            "counts": self._counts,
            "n_places": self._n_places,
            "targets": {"dtype": targets.dtype.str, "shape": list(targets.shape)},
            "facts": facts,
        }
        if self._file is None or self._path is None:
            kind = np.int32 if self._n_places else np.float32
            values: Values = np.concatenate([np.zeros(0, kind), *self._memory])
            return _store_of(values, targets, footer, is_cached=False)
        text = json.dumps(footer).encode()
        self._write(self._file, targets.tobytes() + text + struct.pack("<Q", len(text)))
        self._file.write(self._hash.digest())
        self._file.close()
        os.replace(self._draft, self._path)
        return _map_store(self._path, footer, is_cached=False)

    def close(self) -> None:
        """Remove what was written, if it is not finished."""
        if self._file is not None:
            self._file.close()
            with suppress(OSError):
                self._draft.unlink(missing_ok=True)


def open_store(path: Path) -> FrameStore | None:
    """The frames in a file of the cache; None if there is no such file.

    A damaged file gives a warning, and counts as missing.
    """
    if not os.path.lexists(path):
        return None
    footer = _read_footer(path)
    if footer is None:
        warnings.warn(
            f"The file {path.name} of the cache {path.parent} was damaged: its frames are computed "
            "again.",
            stacklevel=3,
        )
        return None
    return _map_store(path, footer, is_cached=True)


def _read_footer(path: Path) -> dict[str, Any] | None:
    """The footer of a file whose checksum and sizes are right; None of another one."""
    try:
        size = os.stat(path).st_size
        if not path.is_file() or size < len(MAGIC) + TAIL_BYTES:
            return None
        with open(path, "rb") as file:
            content = sha256()
            remaining = size - DIGEST_BYTES
            while block := file.read(min(BLOCK_BYTES, remaining)):
                content.update(block)
                remaining -= len(block)
            if content.digest() != file.read():
                return None
            file.seek(0)
            if file.read(len(MAGIC)) != MAGIC:
                return None
            file.seek(size - TAIL_BYTES)
            (n_footer,) = struct.unpack("<Q", file.read(8))
            if n_footer > min(MOST_FOOTER_BYTES, size - TAIL_BYTES - len(MAGIC)):
                return None
            file.seek(size - TAIL_BYTES - n_footer)
            footer: dict[str, Any] = json.loads(file.read(n_footer))
        n_payload = size - TAIL_BYTES - n_footer - len(MAGIC)
        return footer if _payload_bytes(footer) == n_payload else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _values_shape(footer: dict[str, Any]) -> tuple[int, int]:
    """Shape of the values of all recordings."""
    if footer["n_places"]:
        return sum(footer["counts"]), 2
    return sum(footer["lengths"]), footer["width"]


def _payload_bytes(footer: dict[str, Any]) -> int:
    rows, columns = _values_shape(footer)
    dtype = np.dtype(footer["targets"]["dtype"])
    n_values = int(np.prod(footer["targets"]["shape"]))
    return int(4 * rows * columns + dtype.itemsize * n_values)


def _map_store(path: Path, footer: dict[str, Any], *, is_cached: bool) -> FrameStore:
    rows, columns = _values_shape(footer)
    kind = np.dtype("<i4" if footer["n_places"] else "<f4")
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    values: Values = np.frombuffer(mapped, kind, rows * columns, len(MAGIC))
    described = footer["targets"]
    targets: StepTarget = np.frombuffer(
        mapped,
        np.dtype(described["dtype"]),
        int(np.prod(described["shape"])),
        len(MAGIC) + 4 * rows * columns,
    ).reshape(described["shape"])
    return _store_of(values, targets, footer, is_cached=is_cached)


def _store_of(values: Any, targets: Any, footer: dict[str, Any], *, is_cached: bool) -> FrameStore:
    lengths = np.array(footer["lengths"], np.int64)
    values = values.reshape(_values_shape(footer))
    if footer["n_places"]:
        counts = np.array(footer["counts"], np.int64)
        frames: Sequence[Frames] = StoredEvents(values, counts, lengths, footer["n_places"])
    else:
        frames = StoredFrames(values, lengths)
    stored: Sequence[Any] = StoredFrames(targets, lengths) if len(targets) else ()
    return FrameStore(frames, stored, footer["facts"], is_cached)
