"""HDF5 files in the format of the Spiking Heidelberg Digits and the Spiking Speech Commands.

A file has the variable-length arrays `spikes/times` [s] and `spikes/units` (channels), `labels`
and, if known, `extra/keys` (names of the classes) and `extra/speaker`. Recordings are read one by
one, in the process of `isolation`.

References:
    Cramer, Stradmann, Schemmel and Zenke 2022, The Heidelberg spiking data sets, IEEE Transactions
    on Neural Networks and Learning Systems 33(7), doi:10.1109/TNNLS.2020.3044364.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.readers.events import gather_events
from nwavesdk.data.readers.isolation import decode
from nwavesdk.data.reading import RecordingError, digest_of, reading
from nwavesdk.data.source import Item, Part, Sample, Source
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.imports import require

__all__ = ["SHD_CHANNELS", "SHD_SUFFIXES", "is_shd", "open_shd"]

SHD_CHANNELS = 700
SHD_SUFFIXES = frozenset({".h5", ".hdf5"})

# The last word of a file's name, such as that of shd_train.h5 and ssc_valid.h5.
PARTS: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
FORM = "HDF5 with labels, spikes/times and spikes/units, as the Heidelberg Digits have it"

PART_OF_NAME = re.compile(rf"(?:.*[_-])?({'|'.join(PARTS)})", re.IGNORECASE)


def is_shd(path: Path) -> bool:
    """Whether a path is such a file, or a folder that has some."""
    files = path.iterdir() if path.is_dir() else [path]
    return any(map(_has_suffix, files))


def _has_suffix(file: Path) -> bool:
    return file.suffix.lower() in SHD_SUFFIXES and not file.name.startswith(".")


def open_shd(path: Path, channels: int = SHD_CHANNELS) -> Source:
    """The recordings of one file, or of a folder such as one with shd_train.h5 and shd_test.h5.

    The names of the files in a folder give an official split: their last word is train, val, valid,
    validation or test. Speakers are groups. Times are seconds if they are floating, and
    microseconds if they are whole numbers; they are sorted.

    Args:
        path: The file or the folder.
        channels: Channels of the sensor.

    Raises:
        ValueError: If `channels` is not a whole number above 0.
        RecordingError: If there is no such file, or one is damaged or has another format.
    """
    whole_number("open_shd", "channels", channels, most=2**24)
    require("h5py", "events")
    files = _find_files(path)
    names: list[str] | None = None
    items: list[Item] = []
    for file, part in files.items():
        labels, speakers, names_of_file = _read_contents(file)
        names = names_of_file if names is None else names
        if names_of_file != names:
            what = "has other names of classes (extra/keys) than the files before it"
            raise RecordingError(file, what, "use files of one data set")
        for index, (label, speaker) in enumerate(zip(labels, speakers, strict=True)):
            name = names[label] if names else str(label)
            items.append(Item(f"{file.name}/{index}", file, name, part, speaker, index=index))

    classes = names or sorted({str(item.class_name) for item in items}, key=int)

    def read(item: Item) -> Sample:
        try:
            return gather_events(item.path, _columns_of(item), (channels,))
        except RecordingError as fault:
            what = f"{fault.what}, in recording {item.index}"
            raise RecordingError(item.path, what, fault.remedy) from None

    shape = (channels,)
    return Source("events", "classification", tuple(items), read, _digest, tuple(classes), shape)


def _find_files(path: Path) -> dict[Path, Part | None]:
    """The files and their parts, in the order of their names."""
    if not path.is_dir():
        return {path: None}
    files = sorted(filter(_has_suffix, path.iterdir()))
    matches = [PART_OF_NAME.fullmatch(file.stem) for file in files]
    parts = [PARTS[match[1].lower()] if match else None for match in matches]
    if None in parts and set(parts) != {None}:
        what = "has no part in its name, but other files of the folder do"
        file = files[parts.index(None)]
        raise RecordingError(file, what, "rename it to end in _train, _val or _test")
    return dict(zip(files, parts, strict=True))


def _read_contents(path: Path) -> tuple[list[int], Sequence[str | None], list[str]]:
    """Labels, speakers and names of classes, which are empty if unknown."""
    counts = ["spikes/times#", "spikes/units#"]
    names_of_arrays = ["labels", "extra/speaker", "extra/keys", *counts]
    arrays = decode(path, "hdf5", names=names_of_arrays)
    with reading(path, FORM):
        labels = arrays["labels"]
        if {int(arrays[count]) for count in counts} != {len(labels)}:
            raise ValueError("not as many labels as spikes/times and spikes/units")
        names = [name.decode() for name in arrays.get("extra/keys", labels[:0]).tolist()]
        speakers = [str(speaker) for speaker in arrays.get("extra/speaker", labels[:0])]
        if len(set(names)) < len(names) or len(speakers) not in (0, len(labels)):
            raise ValueError("equal names in extra/keys, or too few or many extra/speaker")
        # A recording takes more than a byte, even if it is compressed.
        is_list = labels.dtype.kind in "iu" and labels.shape <= (path.stat().st_size,)
        highest = (len(names) or 2**31) - 1
        if not is_list or labels.ndim > 1 or labels.min() < 0 or labels.max() > highest:
            what = f"labels of {labels.dtype} {list(labels.shape)}"
            raise ValueError(f"{what}, expected whole numbers [recordings] from 0 to {highest}")
        return labels.tolist(), speakers or [None] * len(labels), names


def _columns_of(item: Item) -> dict[str, npt.NDArray[Any]]:
    """The events of a recording in the order of times, with the fields t and x."""
    names = ["spikes/times", "spikes/units"]
    arrays = decode(item.path, "hdf5", names=names, index=item.index)
    with reading(item.path, FORM):
        times, units = (arrays[name] for name in names)
        # Events of one time keep their order. Arrays of different lengths are an error here.
        order = np.lexsort((np.arange(len(units)), times))
        return {"t": times[order], "x": units[order]}


def _digest(item: Item) -> bytes:
    return digest_of(str(item.class_name), *_columns_of(item).values())
