"""Images: PNG and JPEG as values from 0 to 1, read by Pillow."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.data.reading import checked, reading
from nwavesdk.data.source import Sample
from nwavesdk.internal.imports import require

__all__ = ["MAX_PIXELS", "read_image"]

# Largest number of pixels of an image, 4,096 x 4,096: 200 MB as float32 in three colors.
MAX_PIXELS = 2**24


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
