"""The MNIST family: idx files of images and labels, unpacked or as gzip."""

import gzip
import re
import struct
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import RecordingError, digest_of, reading
from nwavesdk.data.source import Item, Part, Sample, Source
from nwavesdk.internal.checks import require_memory

__all__ = ["holds_idx", "open_idx"]

# Such as "train-images-idx3-ubyte.gz", or "emnist-letters-test-labels.idx1-ubyte".
NAME = re.compile(
    r"(?P<set>(\w+-)*?)(?P<part>train|t10k|test)-(?P<content>images|labels)[-.]idx\d-ubyte(\.gz)?"
)

# A file begins with two zeros, the type of its numbers (8: unsigned bytes), and how many axes there
# are. The size of each axis follows as four bytes, and then the numbers.
UNSIGNED_BYTES = b"\0\0\x08"

# How a gzip file begins.
GZIP = b"\x1f\x8b"

# The axes of files of images: count, height, width, and perhaps colors; of labels: count.
AXES = {"images": (3, 4), "labels": (1,)}

# In the order of the items.
PARTS: tuple[Part, ...] = ("train", "test")

Bytes = npt.NDArray[np.uint8]


def holds_idx(folder: Path) -> bool:
    """Whether a folder has a file that `open_idx` reads, by its name."""
    return any(NAME.fullmatch(path.name) for path in folder.iterdir())


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
    """
    paths = _find_files(folder)
    images: dict[Part | None, Bytes] = {}
    items: list[Item] = []
    for part in PARTS:
        path = paths[part, "images"]
        images[part] = _read_idx(path, "images")
        labels = _read_idx(paths[part, "labels"], "labels")
        shape = images["train"].shape[1:]
        if len(labels) != len(images[part]) or images[part].shape[1:] != shape:
            problem = (
                f"has images {list(images[part].shape)} and {len(labels):,} labels, expected one "
                f"label for each image {list(shape)}"
            )
            raise RecordingError(path, problem, "take all files from one data set")
        name = path.name.removesuffix(".gz")
        items += [
            Item(f"{name}/{index}", path, str(label), part, index=index)
            for index, label in enumerate(labels.tolist())
        ]

    def read(item: Item) -> Sample:
        return Sample(np.divide(images[item.part][item.index], 255, dtype=np.float32))

    def digest(item: Item) -> bytes:
        return digest_of(images[item.part][item.index])

    classes = sorted({str(item.class_name) for item in items}, key=int)
    return Source("image", "classification", tuple(items), read, digest, tuple(classes), shape)


def _find_files(folder: Path) -> dict[tuple[Part, str], Path]:
    """The file of each part and content."""
    files: dict[tuple[Part, str], Path] = {}
    prefixes = set()
    # In reverse order, so that an unpacked file takes the place of the same file with .gz.
    for path in sorted(folder.iterdir(), reverse=True):
        if match := NAME.fullmatch(path.name):
            files["train" if match["part"] == "train" else "test", match["content"]] = path
            prefixes.add(match["set"])

    if len(prefixes) != 1 or len(files) != len(PARTS) * len(AXES):
        names = ", ".join(sorted(path.name for path in files.values()))
        problem = f"has the idx files {names}, expected images and labels, for train and for t10k"
        raise RecordingError(
            folder, problem, "add missing files, or give each data set its own folder"
        )
    return files


def _read_idx(path: Path, content: str) -> Bytes:
    """The numbers of a file with images or labels."""
    with reading(path, f"an idx file of {content}"):
        with open(path, "rb") as file:
            is_packed = file.read(len(GZIP)) == GZIP
        with gzip.open(path) if is_packed else open(path, "rb") as stream:
            start = stream.read(4)
            if start[:3] != UNSIGNED_BYTES or start[3] not in AXES[content]:
                expected = " or ".join(map(str, AXES[content]))
                raise ValueError(f"it begins {start!r}, expected bytes with {expected} axes")
            shape = struct.unpack(f">{start[3]}I", stream.read(4 * start[3]))
            size = prod(shape)
            if not size:
                raise ValueError(f"it has the shape {list(shape)}, expected numbers")
            require_memory("its header", f"{size:,} numbers", size, "check that it is idx")
            # One more than there should be, which also makes gzip compare its checksum.
            numbers = np.frombuffer(stream.read(size + 1), np.uint8)

        images = numbers.reshape(shape)
        if images.shape[3:] not in ((), (1,), (3,)):
            raise ValueError(f"it has {images.shape[3]} colors, expected 3 as the last axis")
    return images[..., 0] if images.shape[3:] == (1,) else images
