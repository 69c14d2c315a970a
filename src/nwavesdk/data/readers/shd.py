"""HDF5 files in the format of the Spiking Heidelberg Digits and the Spiking Speech Commands.

A file has the variable-length arrays `spikes/times` [s] and `spikes/units` (channels), `labels`
and, if known, `extra/keys` (names of the classes) and `extra/speaker`. Recordings are read one by
one, in the process of `isolation`.

References:
    Cramer, Stradmann, Schemmel and Zenke 2022, The Heidelberg spiking data sets, IEEE Transactions
    on Neural Networks and Learning Systems 33(7), doi:10.1109/TNNLS.2020.3044364.
"""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from nwavesdk.data.readers.events import MOST_EVENTS, read_structured_npy
from nwavesdk.data.readers.isolation import shared_decoder
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, Part, Sample, Source
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.imports import require

__all__ = ["SHD_CHANNELS", "SHD_SUFFIXES", "is_shd", "open_shd"]

SHD_CHANNELS = 700
SHD_SUFFIXES = frozenset({".h5", ".hdf5"})

MOST_RECORDINGS = 2**24

# The last word of a file's name, such as that of shd_train.h5 and ssc_valid.h5.
PARTS: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
PART_OF_NAME = re.compile(rf"(?:.*[_-])?({'|'.join(PARTS)})", re.IGNORECASE)

EXPECTED = (
    "expected HDF5 with spikes/times, spikes/units and labels, in the format of the Spiking "
    "Heidelberg Digits"
)


class _Contents(NamedTuple):
    """What a file holds besides its events.

    Attributes:
        labels: Class of each recording.
        speakers: Speaker of each recording; None if unknown.
        names: Names of the classes, by label; empty if unknown.
    """

    labels: list[int]
    speakers: list[int] | None
    names: tuple[str, ...]


def is_shd(path: Path) -> bool:
    """Whether a path is such a file, or a folder that has some."""
    if path.is_dir():
        return any(file.suffix.lower() in SHD_SUFFIXES for file in path.iterdir())
    return path.suffix.lower() in SHD_SUFFIXES


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
    files = _find_files(path)
    contents = {file: _read_contents(file) for file in files}
    names = _join_names(contents)
    items = tuple(
        item for file in files for item in _items(file, files[file], contents[file], names)
    )

    def read(item: Item) -> Sample:
        try:
            return read_structured_npy(item.path, _read_events(item), (channels,))
        except RecordingError as fault:
            what = f"{fault.what}, in recording {item.index}"
            raise RecordingError(item.path, what, fault.remedy) from None

    classes = _classes(names, items)
    return Source("events", "classification", items, read, _digest, classes, (channels,))


def _find_files(path: Path) -> dict[Path, Part | None]:
    """The files and their parts, in the order of their names."""
    if not path.is_dir():
        return {path: None}
    found = sorted(path.iterdir())
    files = [file for file in found if file.suffix.lower() in SHD_SUFFIXES]
    if not files:
        packed = [file for file in found if re.search(r"\.(h5|hdf5)\.(gz|zip)$", file.name.lower())]
        if packed:
            raise RecordingError(packed[0], "is compressed, expected .h5", "unpack it")
        raise RecordingError(path, "has no .h5 file", "name the folder that has them")
    parts = {file: _part_of(file) for file in files}
    unknown = [file for file in files if parts[file] is None]
    if unknown and len(unknown) < len(files):
        what = "has no part in its name, but other files of the folder do"
        raise RecordingError(unknown[0], what, "rename it to end in _train, _val or _test")
    return parts


def _part_of(file: Path) -> Part | None:
    match = PART_OF_NAME.fullmatch(file.stem)
    return PARTS[match[1].lower()] if match else None


def _items(
    file: Path, part: Part | None, contents: _Contents, names: tuple[str, ...]
) -> Iterator[Item]:
    for index, label in enumerate(contents.labels):
        yield Item(
            key=f"{file.name}/{index}",
            path=file,
            class_name=names[label] if names else str(label),
            part=part,
            group=None if contents.speakers is None else str(contents.speakers[index]),
            index=index,
        )


def _join_names(contents: dict[Path, _Contents]) -> tuple[str, ...]:
    """The names of the classes, which all files share; empty if none has them."""
    first = next(iter(contents))
    names = contents[first].names
    for file, content in contents.items():
        if content.names != names:
            what = f"has other names of classes (extra/keys) than {first.name}"
            raise RecordingError(file, what, "use files of one data set")
    return names


def _classes(names: tuple[str, ...], items: tuple[Item, ...]) -> tuple[str, ...]:
    """The classes in the order of their labels."""
    return names or tuple(sorted({item.class_name or "" for item in items}, key=int))


def _read_contents(path: Path) -> _Contents:
    require("h5py", "events")
    try:
        found = json.loads(shared_decoder().ask(path, "contents", most=MOST_RECORDINGS))
    except RecordingError as fault:
        what = f"{fault.what}, {EXPECTED}"
        raise RecordingError(path, what, fault.remedy) from None
    contents = _Contents(found["labels"], found["speakers"], tuple(found["names"]))
    lowest = min(contents.labels)
    highest = max(contents.labels)
    if lowest < 0 or (contents.names and highest >= len(contents.names)):
        bad = lowest if lowest < 0 else highest
        expected = f"0 to {len(contents.names) - 1}" if contents.names else "none below 0"
        raise RecordingError(path, f"has a label {bad}, expected {expected}")
    return contents


def _read_events(item: Item) -> bytes:
    """The events of a recording, a .npy with the fields t and x."""
    return shared_decoder().ask(item.path, "recording", index=item.index, most=MOST_EVENTS)


def _digest(item: Item) -> bytes:
    return sha256(f"{item.class_name}\n".encode() + _read_events(item)).digest()
