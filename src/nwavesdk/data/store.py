"""Computed frames of a data set in a folder, which may be larger than memory.

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
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.binning import to_frames
from nwavesdk.data.features import EventBins, Featured
from nwavesdk.data.reading import digest_of, reading
from nwavesdk.data.recordings import Frames
from nwavesdk.data.source import StepTarget
from nwavesdk.internal.files import (
    FileError,
    draft_of,
    make_private_folder,
    remove_drafts,
)

__all__ = ["ARRAYS", "INDEX", "STORE_VERSION", "EventFrames", "Store", "open_store", "store_frames"]

# The files in the folder of a store.
ARRAYS = ("frames.npy", "targets.npy")
INDEX = "index.json"

# Part of the names of folders: raise it when their content has another form.
STORE_VERSION = 2

# The length of the header of `frames.npy`. numpy pads headers to multiples of 64 bytes, and that of
# an array with two axes is longer than 64 and shorter than 128.
HEADER_BYTES = 128

# Age from which a draft belongs to a process that was killed [s].
STALE_SECONDS = 86_400

Array = npt.NDArray[Any]


class EventFrames(Sequence[Frames]):
    """Frames of events, which are made when they are asked for.

    Args:
        bins: The bins of each recording.
    """

    def __init__(self, bins: Iterable[EventBins]) -> None:
        self.bins = tuple(bins)

    def __len__(self) -> int:
        return len(self.bins)

    def __getitem__(self, index: Any) -> Any:
        pairs, shape = self.bins[index]
        return to_frames(pairs, *shape)


# Frames `[L, F]` of each recording as "frames", the target of each as "targets" if steps have one,
# and what the writer added: JSON values by name.
Store = dict[str, Any]


def store_frames(path: Path, recordings: Iterable[Featured], facts: dict[str, Any]) -> Store:
    """Write the frames of recordings into a folder, one after the other.

    Drafts of killed processes are removed.

    Args:
        path: The folder. It may be removed afterwards: files that are mapped stay readable.
        recordings: Frames and target of each; at least one.
        facts: JSON values that are stored with the frames. They may be added while the recordings
            are read.

    Raises:
        OSError: If the folder cannot be written.
    """
    make_private_folder(path.parent)
    remove_drafts(path.parent, STALE_SECONDS)
    draft = draft_of(path)
    new = draft / "new"
    try:
        new.mkdir(parents=True)
        index = {"shapes": _write_arrays(new, recordings)} | facts
        store, checksum = _map_store(new, index)
        (new / INDEX).write_text(json.dumps(index | {"sha256": checksum}))
        # Whatever is in its place is removed with the draft.
        with suppress(FileNotFoundError):
            path.rename(draft / "replaced")
        with suppress(OSError):  # another process has stored the same in the meantime
            new.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return store


def _write_arrays(folder: Path, recordings: Iterable[Featured]) -> list[tuple[int, int, int]]:
    """Write the arrays of a store; returns rows, steps and features of each recording."""
    shapes: list[tuple[int, int, int]] = []
    targets: list[StepTarget] = []
    with open(folder / ARRAYS[0], "xb") as file:
        # The number of rows is known at the end, so the header is written last.
        file.seek(HEADER_BYTES)
        for frames, target in recordings:
            rows: Array = frames.pairs if isinstance(frames, EventBins) else frames
            file.write(rows.tobytes())
            shapes.append((len(rows), *frames.shape))
            if target is not None:
                targets.append(target)

        shape = (sum(count for count, _, _ in shapes), rows.shape[1])
        header = {"descr": rows.dtype.str, "fortran_order": False, "shape": shape}
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header)
    np.save(folder / ARRAYS[1], np.concatenate(targets or [np.zeros(0, np.float32)]))
    return shapes


def open_store(path: Path) -> Store | None:
    """The frames in a folder of the cache; None if there is no such folder.

    A damaged folder gives a warning, and counts as missing.
    """
    try:
        # A pipe in place of a file would be waited for.
        frames, targets = (reading(path / name, "an array") for name in ARRAYS)
        with reading(path / INDEX, "JSON"), frames, targets:
            index = json.loads((path / INDEX).read_bytes())
            expected = index.pop("sha256")
            store, checksum = _map_store(path, index)
            if checksum != expected:
                raise ValueError("its checksum is wrong")
            return store
    except FileError:
        if os.path.lexists(path):
            warnings.warn(
                f"The folder {path.name} of the cache {path.parent} was damaged: its frames are "
                "computed again.",
                stacklevel=3,
            )
    return None


def _map_store(folder: Path, index: dict[str, Any]) -> tuple[Store, str]:
    """The store in a folder, whose arrays are read when they are used, and its checksum."""
    arrays = [np.load(folder / name, mmap_mode="r").view(np.ndarray) for name in ARRAYS]
    checksum = digest_of(json.dumps(index), *arrays).hex()
    values, targets = arrays
    counts, lengths, widths = np.array(index["shapes"]).T
    frames: Any = tuple(np.split(values, np.cumsum(counts)[:-1]))
    if values.dtype == np.int32:
        shapes = zip(lengths.tolist(), widths.tolist(), strict=True)
        frames = EventFrames(map(EventBins, frames, shapes))
    steps = tuple(np.split(targets, np.cumsum(lengths)[:-1])) if len(targets) else ()
    return index | {"frames": frames, "targets": steps}, checksum
