"""Images as values from 0 to 1: PNG and JPEG, read by Pillow, and idx files of the MNIST family.

An idx file has all images or all labels of a set, unpacked or as gzip.
"""

import gzip
import re
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.data.source import (
    Array,
    Sample,
    Source,
    checked,
    digest_of,
    list_rows,
    name_classes,
    reading,
)
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.imports import require

__all__ = ["MAX_PIXELS", "open_idx", "read_image"]

# Largest number of pixels of an image, 4,096 x 4,096: 200 MB as float32 in three colors.
MAX_PIXELS = 2**24

# An idx file begins with two zeros, the type of its numbers (8: unsigned bytes), and the number of
# axes. The size of each axis follows as four bytes, and then the numbers.
UNSIGNED_BYTES = [0, 0, 8]


def read_image(path: Path) -> Sample:
    """The pixels of a PNG or a JPEG.

    Transparent pixels are composed on black. An image is turned as its EXIF orientation requires,
    as in a viewer. Gray images of 16 bits keep all bits; of color images of 16 bits, Pillow reads 8
    bits.

    Args:
        path: The file.

    Returns:
        A sample with values from 0 to 1, float32 `[H, W]` if the image is gray, `[H, W, 3]` (red,
        green, blue) if it has colors or a palette.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file has another format, is damaged, holds several images, or has
            more than `MAX_PIXELS` pixels.
    """
    open_image = partial(require("PIL.Image", "train").open, formats=("PNG", "JPEG"))
    turned = require("PIL.ImageOps", "train").exif_transpose
    with reading(path, "a PNG or JPEG image"):
        with open_image(path) as image:
            n_images = getattr(image, "n_frames", 1)
            if n_images > 1 or image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"it has {n_images} x {image.width} x {image.height} pixels, expected one "
                    f"image of at most {MAX_PIXELS:,} pixels"
                )
            image.verify()  # compares the checksums of a PNG, and leaves the image unusable

        with open_image(path) as image:
            # Pillow turns gray images with transparency to RGB if they have 16 bits.
            is_gray = image.mode in ("1", "L", "LA") or "LA;16B" in image.tile[0].args
            pixels = _pixels_of(turned(image), is_gray)
    return Sample(checked(path, pixels))


def _pixels_of(image: Any, is_gray: bool) -> Any:
    if image.mode.startswith("I"):  # gray of 16 bits, transparent where it has one value
        gray = np.asarray(image)
        visible = gray * (gray != image.info.get("transparency", -1))
        return np.divide(visible, 65535, dtype=np.float32)

    colors = np.divide(np.asarray(image.convert("RGBA")), 255, dtype=np.float32)
    composed = colors[..., :3] * colors[..., 3:]
    return composed[..., 0] if is_gray else composed


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
    names = [name_of[label] for label in labels.tolist()]
    return Source(
        kind="image",
        task="classification",
        items=list_rows(path, names),
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
