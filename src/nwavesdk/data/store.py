"""Computed frames of a data set, in memory or in a folder of the cache.

A store is a folder with three files: `frames.npy` has the values of all recordings, one after the
other, as float32 (frames) or pairs of int32 (bins of events); `targets.npy` has their targets; and
`index.json` has the number of steps of each recording, the facts that the caller adds, and the
SHA-256 of all this.

The folder appears whole or not at all, so a process that writes may be killed. A damaged store is
detected, and computed again. The checksum detects damage, not malice: who can write to the cache
can replace frames by others. They can do no more than that, since the arrays are numbers of known
shape, and no code.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.binning import to_frames
from nwavesdk.data.features import EventBins, Featured
from nwavesdk.data.reading import reading
from nwavesdk.data.recordings import Indices
from nwavesdk.data.source import StepTarget
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import (
    FileError,
    draft_of,
    make_private_folder,
    remove_drafts,
)

__all__ = ["ARRAYS", "INDEX", "FrameStore", "StoredFrames", "open_store", "store_frames"]

# The files in the folder of a store.
ARRAYS = ("frames.npy", "targets.npy")
INDEX = "index.json"

# The length of the header of `frames.npy`. numpy pads headers to multiples of 64 bytes, and that of
# an array with two axes is longer than 64 and shorter than 128.
HEADER_BYTES = 128

# Age from which a draft belongs to a process that was killed [s].
STALE_SECONDS = 86_400

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class StoredFrames(Sequence[Array]):
    """Frames of recordings, or their targets, that lie one after the other in one array.

    Those of events are stored as pairs, and made into frames when they are asked for.

    Args:
        values: Frames `[steps of all, F]`, or step and place of each event, int32 `[n of all, 2]`.
        counts: Rows of each recording in `values`, `[B]`.
        ends: Where they end, `[B]`.
        lengths: Steps of each recording, `[B]`.
        n_places: Places of the sensor of events; otherwise 0.
    """

    values: Array
    counts: Indices
    ends: Indices
    lengths: Indices
    n_places: int = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        rows = self.pairs(index)
        return to_frames(rows, int(self.lengths[index]), self.n_places) if self.n_places else rows

    def pairs(self, index: int) -> Array:
        """The rows of a recording as they are stored: of events, step and place of each."""
        end = int(self.ends[index])
        return self.values[end - int(self.counts[index]) : end]

    def choose(self, indices: Indices) -> "StoredFrames":
        """Some of the recordings, whose values are not copied."""
        return replace(
            self,
            counts=self.counts[indices],
            ends=self.ends[indices],
            lengths=self.lengths[indices],
        )


class FrameStore(NamedTuple):
    """The frames of a data set.

    Attributes:
        frames: `[L, F]` of each recording.
        targets: The target of each recording, if its steps have one.
        facts: What the writer added: JSON values by name.
    """

    frames: StoredFrames
    targets: Sequence[StepTarget]
    facts: dict[str, Any]


def store_frames(
    path: Path | None, owner: str, recordings: Iterable[Featured], facts: dict[str, Any]
) -> FrameStore:
    """Join the frames of recordings, one after the other, in a folder or in memory.

    Args:
        path: The folder; None for memory.
        owner: What the recordings belong to, for the message of an error.
        recordings: Frames and target of each; at least one.
        facts: JSON values that are stored with the frames. They may be added while the recordings
            are read.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If the memory cannot hold the frames.
    """
    index: dict[str, Any] = {"lengths": [], "counts": [], "n_places": 0}
    targets: list[StepTarget] = []
    rows = _rows_of(recordings, index, targets)
    if path is None:
        values: list[Array] = []
        for array in rows:
            require_memory(
                owner,
                f"the frames of recording {len(values) + 1:,}",
                array.nbytes,
                "set NWAVESDK_CACHE to a folder that can be written, or use fewer recordings",
            )
            values.append(array)
        return _store_of(index | facts, [np.concatenate(values), _joined(targets)])

    make_private_folder(path.parent)
    draft = draft_of(path)
    try:
        draft.mkdir()
        with open(draft / ARRAYS[0], "xb") as file:
            # The number of rows is known at the end, so the header is written last.
            file.seek(HEADER_BYTES)
            for array in rows:
                file.write(array.tobytes())
            header = np.lib.format.header_data_from_array_1_0(array)
            header["shape"] = (sum(index["counts"]), array.shape[1])
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, header)
        np.save(draft / ARRAYS[1], _joined(targets))

        # Mapped files stay readable when another process replaces them.
        arrays = _map_arrays(draft)
        index |= facts
        (draft / INDEX).write_text(json.dumps(index | {"sha256": _checksum(index, arrays)}))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # another process has stored the same in the meantime
            draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _store_of(index, arrays)


def _rows_of(
    recordings: Iterable[Featured], index: dict[str, Any], targets: list[StepTarget]
) -> Iterator[Array]:
    """The rows of each recording in a store, while `index` and `targets` are filled in."""
    for frames, target in recordings:
        if target is not None:
            targets.append(target)
        if isinstance(frames, EventBins):
            rows: Array = frames.pairs
            index["n_places"] = frames.n_places
        else:
            rows = np.ascontiguousarray(frames, np.float32)
        index["lengths"].append(frames.shape[0])
        index["counts"].append(len(rows))
        yield rows


def _joined(targets: list[StepTarget]) -> Array:
    return np.concatenate(targets) if targets else np.zeros(0, np.float32)


def open_store(path: Path) -> FrameStore | None:
    """The frames in a folder of the cache; None if there is no such folder.

    A damaged folder gives a warning, and counts as missing. Drafts of killed processes are removed.
    """
    with suppress(OSError):
        remove_drafts(path.parent, STALE_SECONDS)
    try:
        files = [path / name for name in (INDEX, *ARRAYS)]
        # A pipe in place of a file would be waited for.
        with reading(files[0], "JSON"), reading(files[1], "frames"), reading(files[2], "targets"):
            index = json.loads((path / INDEX).read_bytes())
            checksum = index.pop("sha256")
            arrays = _map_arrays(path)
            if checksum != _checksum(index, arrays):
                raise ValueError("its checksum is wrong")
            return _store_of(index, arrays)
    except FileError:
        if os.path.lexists(path):
            warnings.warn(
                f"The folder {path.name} of the cache {path.parent} was damaged: its frames are "
                "computed again.",
                stacklevel=3,
            )
    return None


def _map_arrays(folder: Path) -> list[Array]:
    """The arrays of a store, which are read from the disk when they are used."""
    paths = [folder / name for name in ARRAYS]
    return [np.lib.format.open_memmap(path, mode="r").view(np.ndarray) for path in paths]


def _checksum(index: dict[str, Any], arrays: list[Array]) -> str:
    content = sha256(json.dumps(index).encode())
    for array in arrays:
        content.update(repr((array.dtype.str, array.shape)).encode())
        content.update(array.data)
    return content.hexdigest()


def _store_of(index: dict[str, Any], arrays: list[Array]) -> FrameStore:
    """The store with an index and its arrays.

    Raises:
        ValueError: If they do not fit.
    """
    values, targets = arrays
    counts, lengths = (np.array(index[name], np.int64) for name in ("counts", "lengths"))
    if len(values) != counts.sum() or len(targets) not in (0, lengths.sum()):
        raise ValueError("its arrays have other lengths")
    ends = np.cumsum(lengths)
    stored = StoredFrames(targets, lengths, ends, lengths) if len(targets) else ()
    frames = StoredFrames(values, counts, np.cumsum(counts), lengths, index["n_places"])
    return FrameStore(frames, stored, index)
