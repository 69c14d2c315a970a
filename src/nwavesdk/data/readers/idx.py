"""The MNIST family: idx files of images and labels, unpacked or as gzip."""

import gzip
import re
from math import prod
from pathlib import Path

import numpy as np

from nwavesdk.data.reading import Array, digest_of, reading
from nwavesdk.data.source import Item, Sample, Source, name_classes
from nwavesdk.internal.checks import require_memory

__all__ = ["open_idx"]

# A file begins with two zeros, the type of its numbers (8: unsigned bytes), and the number of axes.
# The size of each axis follows as four bytes, and then the numbers.
UNSIGNED_BYTES = [0, 0, 8]


def open_idx(path: Path) -> Source:
    """The images of an idx file, with the labels in a second file next to it.

    Args:
        path: The file of images, such as `train-images-idx3-ubyte.gz`. The labels are then in
            `train-labels-idx1-ubyte.gz`. Colors are the last axis, of size 3.

    Returns:
        A source of images with values from 0 to 1, float32 `[H, W]` or `[H, W, 3]`; the classes are
        the numbers of the labels, in their order.

    Raises:
        FileError: If a file does not exist or cannot be opened.
        RecordingError: If a file is not an idx file of unsigned bytes, is cut short, has more
            numbers than its header claims, or if the two files do not fit each other.
    """
    images = _read_idx(path)
    name = re.sub(r"images(.)idx\d(.*?)(\.gz)?$", r"labels\1idx1\2", path.name)
    packed = path.with_name(f"{name}.gz")
    path_of_labels = packed if packed.exists() else path.with_name(name)
    labels = _read_idx(path_of_labels)

    with reading(path, f"images for {path_of_labels.name}", "take both from one data set"):
        is_image = images.ndim == 3 or images.shape[3:] == (3,)
        if not is_image or labels.shape != images.shape[:1]:
            raise ValueError(
                f"shapes {images.shape} and {labels.shape}, expected one label for each image "
                "[H, W] or [H, W, 3]"
            )

    name_of = name_classes(labels.tolist())
    return Source(
        kind="image",
        task="classification",
        items=tuple(
            Item(str(index), path, class_name=name_of[label], index=index)
            for index, label in enumerate(labels.tolist())
        ),
        read=lambda item: Sample(images[item.index] / np.float32(255)),
        digest=lambda item: digest_of(images[item.index]),
        classes=tuple(name_of.values()),
        shape=images.shape[1:],
    )


def _read_idx(path: Path) -> Array:
    """The numbers of a file with images or labels."""
    with (
        reading(path, "an idx file"),
        gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file,
    ):
        *kind, n_axes = file.read(4)
        shape = np.frombuffer(file.read(4 * n_axes), ">u4").tolist()
        size = prod(shape)
        if kind != UNSIGNED_BYTES or not shape or not size:
            raise ValueError(f"it begins {kind} with the sizes {shape}, expected unsigned bytes")

        require_memory("its header", f"{size:,} numbers", size, "check that it is idx")
        # Reading one number more detects a file that is too long, and makes gzip compare its
        # checksum.
        return np.frombuffer(file.read(size + 1), np.uint8).reshape(shape)
