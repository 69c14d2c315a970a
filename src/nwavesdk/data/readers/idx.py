"""The MNIST family: idx files of images and labels, unpacked or as gzip.

Design requirements:

- What a header claims is compared with what there is: no more than that is ever unpacked, and no
  byte may be missing or left over.
- Images are held as bytes, as they are in the file, and become numbers when they are read.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from gzip import GzipFile
from hashlib import sha256
from io import BytesIO
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.readers.images import MOST_PIXELS
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Item, Part, Sample, Source
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import one_line, read_bytes, reason_of

__all__ = ["holds_idx", "open_idx"]

# Such as "train-images-idx3-ubyte.gz", or "emnist-letters-test-labels.idx1-ubyte".
NAME = re.compile(
    r"(?P<set>(\w+-)*?)(?P<part>train|t10k|test)-(?P<content>images|labels)"
    r"[-.]idx\d-ubyte(?P<packed>\.gz)?"
)

# The largest file, packed or not: 6 million images of 28 x 28 pixels.
MOST_BYTES = 2**32

# A file begins with two zeros, the type of its numbers, and how many axes there are. The size of
# each axis follows as four bytes, and then the numbers.
UNSIGNED_BYTE = 8
TYPES = {9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
LONGEST_HEADER = 4 + 4 * 4

# How a gzip file begins, and the most bytes that one of its bytes stands for: deflate codes 258
# bytes by 2 bits.
GZIP = b"\x1f\x8b"
MOST_PACKED = 1032

# The axes of files of images: count, height, width, and perhaps colors; of labels: count.
AXES = {"images": (3, 4), "labels": (1,)}

# In the order of the items.
PARTS: tuple[Part, ...] = ("train", "test")

SAME_SET = "take both from one data set"

Bytes = npt.NDArray[np.uint8]


class _File(NamedTuple):
    """A file by its name: the data set, its part, what it holds, and whether it is packed."""

    path: Path
    set_name: str
    part: Part
    content: str
    is_packed: bool


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of each part, `[count, height, width]` or `[count, height, width, 3]`."""

    parts: dict[Part, Bytes]

    def read(self, item: Item) -> Sample:
        return Sample(np.divide(self._image(item), 255, dtype=np.float32))

    def digest(self, item: Item) -> bytes:
        image = self._image(item)
        return sha256(repr(image.shape).encode() + image.tobytes()).digest()

    def _image(self, item: Item) -> Bytes:
        assert item.part is not None
        image: Bytes = self.parts[item.part][item.index]
        return image


def holds_idx(folder: Path) -> bool:
    """Whether a folder has a file that `open_idx` reads, by its name."""
    return any(True for _ in _list_files(folder))


def open_idx(folder: Path) -> Source:
    """The images of a folder with four idx files, such as MNIST, Fashion-MNIST or EMNIST.

    The names are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and the same with `t10k` or
    `test`; before them may be the name of a data set (`emnist-letters-`), and `.` may take the
    place of the second last `-`. Each may end in `.gz`; whether a file is packed is seen from its
    content. Of a file that is there twice, the unpacked one is read. Colors are the last axis of
    idx4 files, of size 3.

    Args:
        folder: The folder.

    Returns:
        A source of images with values from 0 to 1, float32 `[H, W]` or `[H, W, 3]`, with the parts
        "train" and "test"; the classes are the numbers of the labels, in their order.

    Raises:
        RecordingError: If a file is missing, is no idx file of unsigned bytes, is cut short, has
            more than its header claims, or if the files do not fit each other.
        ValueError: If there is not enough memory.
    """
    files = _find_files(folder)
    images: dict[Part, Bytes] = {}
    items: list[Item] = []
    for part in PARTS:
        file = files[part, "images"]
        images[part] = _read_images(file.path)
        labels = _read_labels(files[part, "labels"].path, len(images[part]))
        items += _items_of(file, labels)
    shape = images["train"].shape[1:]
    if images["test"].shape[1:] != shape:
        what = f"has images of {_size_of(images['test'])}, expected {_size_of(images['train'])}"
        raise RecordingError(files["test", "images"].path, f"{what} as for training", SAME_SET)
    held = _Images(images)
    return Source(
        kind="image",
        task="classification",
        items=tuple(items),
        read=held.read,
        digest=held.digest,
        classes=tuple(sorted({str(item.class_name) for item in items}, key=int)),
        shape=shape,
    )


def _items_of(file: _File, labels: Bytes) -> list[Item]:
    name = file.path.name.removesuffix(".gz")
    return [
        Item(f"{name}/{index}", file.path, class_name=str(label), part=file.part, index=index)
        for index, label in enumerate(labels.tolist())
    ]


def _list_files(folder: Path) -> Iterator[_File]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        what = f"cannot be read ({reason_of(error)})"
        raise RecordingError(folder, what, "check its name and its permissions") from None
    for name in names:
        match = NAME.fullmatch(name)
        if match is not None:
            part: Part = "train" if match["part"] == "train" else "test"
            is_packed = match["packed"] is not None
            yield _File(folder / name, match["set"], part, match["content"], is_packed)


def _find_files(folder: Path) -> dict[tuple[Part, str], _File]:
    """The file of each part and content."""
    listed = sorted(_list_files(folder), key=lambda file: file.is_packed)
    sets = sorted({file.set_name.rstrip("-") for file in listed})
    if len(sets) > 1:
        names = ", ".join(name or "one without a name" for name in sets)
        what = f"holds several data sets ({names}), expected one"
        raise RecordingError(folder, what, "give each its own folder")
    files: dict[tuple[Part, str], _File] = {}
    for file in listed:
        files.setdefault((file.part, file.content), file)
    prefix = listed[0].set_name if listed else ""
    for beginning, part in (("train", "train"), ("t10k", "test")):
        for content, axes in AXES.items():
            if (part, content) not in files:
                name = f"{prefix}{beginning}-{content}-idx{axes[0]}-ubyte"
                raise RecordingError(folder, f"has no {name} or {name}.gz", "add it")
    return files


def _read_idx(path: Path, content: str) -> Bytes:
    """The numbers of a file with images or labels."""
    with suppress(OSError):  # which `read_bytes` reports
        require_memory(str(path), "its bytes", os.stat(path).st_size, "use fewer images")
    data = read_bytes(path, MOST_BYTES)
    if not data:
        raise RecordingError(path, "is empty (0 bytes)")
    if data.startswith(GZIP):
        return _unpack(path, data, content)
    shape, start = _read_header(path, data, content)
    _check_size(path, len(data) - start - prod(shape))
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _unpack(path: Path, data: bytes, content: str) -> Bytes:
    try:
        with GzipFile(fileobj=BytesIO(data)) as file:
            shape, start = _read_header(path, file.read(LONGEST_HEADER), content)
            size = prod(shape)
            if size > MOST_PACKED * len(data):
                what = f"claims {size:,} numbers, more than its {len(data):,} bytes can hold"
                raise RecordingError(path, what, "download or copy it again")
            require_memory(str(path), f"{shape[0]:,} {content}", size, "use fewer")
            file.seek(start)
            numbers = bytearray()
            while len(numbers) < size and (more := file.read(min(2**20, size - len(numbers)))):
                numbers += more
            _check_size(path, len(numbers) - size + len(file.read(1)))
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot be unpacked ({one_line(error)})"
        raise RecordingError(path, what, "download or copy it again") from None
    return np.frombuffer(numbers, np.uint8).reshape(shape)


def _read_header(path: Path, data: bytes, content: str) -> tuple[tuple[int, ...], int]:
    """The sizes of the axes, and where the numbers begin."""
    if len(data) < 4 or data[:2] != b"\0\0":
        raise RecordingError(path, f"is not an idx file (it begins {data[:8]!r})")
    kind, n_axes = data[2:4]
    if kind != UNSIGNED_BYTE:
        name = TYPES.get(kind, f"numbers of the unknown type {kind}")
        raise RecordingError(path, f"holds {name}, expected unsigned bytes", "convert it")
    if n_axes not in AXES[content]:
        expected = " or ".join(map(str, AXES[content]))
        what = f"has {n_axes} axes, expected {expected} for {content}"
        raise RecordingError(path, what, "check that it is the right file")
    start = 4 + 4 * n_axes
    if len(data) < start:
        raise RecordingError(path, "is cut short (in its header)")
    shape = struct.unpack_from(f">{n_axes}I", data, 4)
    if not 0 < prod(shape) <= MOST_BYTES:
        what = f"claims {prod(shape):,} numbers, expected 1 to {MOST_BYTES:,}"
        raise RecordingError(path, what, "check that it is the right file")
    return shape, start


def _check_size(path: Path, surplus: int) -> None:
    if surplus > 0:
        raise RecordingError(path, "has more bytes than its header claims")
    if surplus < 0:
        raise RecordingError(path, f"is cut short ({-surplus:,} bytes are missing)")


def _read_images(path: Path) -> Bytes:
    images = _read_idx(path, "images")
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim == 4 and images.shape[3] != 3:
        what = f"has images of {_size_of(images)}, expected height x width x 3"
        raise RecordingError(path, what, "make the colors the last axis")
    if images.shape[1] * images.shape[2] > MOST_PIXELS:
        what = f"has images of {_size_of(images)}, expected at most {MOST_PIXELS:,} pixels"
        raise RecordingError(path, what, "make them smaller")
    return images


def _read_labels(path: Path, n_images: int) -> Bytes:
    labels = _read_idx(path, "labels")
    if len(labels) != n_images:
        what = f"has {len(labels):,} labels, expected one for each of {n_images:,} images"
        raise RecordingError(path, what, SAME_SET)
    return labels


def _size_of(images: Bytes) -> str:
    return " x ".join(map(str, images.shape[1:]))
