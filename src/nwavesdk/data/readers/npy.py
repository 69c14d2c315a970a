"""The header of an array in numpy's format `.npy`, which is checked before memory is allocated.

No code is run: arrays of objects, which are pickles, are never read.
"""

import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

__all__ = ["HEADER_BYTES", "NpyHeader", "PythonObjectsError", "parse_header"]

# The begin of a file that surely holds a header of arrays without fields: numpy reads headers of at
# most 10,000 bytes, too.
HEADER_BYTES = 16_384
LONGEST_HEADER = 10_000


@dataclass(frozen=True)
class NpyHeader:
    """What an array is, as its file claims.

    Args:
        dtype: Kind of its values; it has names if they are records, such as events.
        shape: Lengths of its axes.
        is_fortran: Whether the first axis is the one whose values are next to each other.
        size: Length of the header [bytes]; the values follow.
    """

    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    is_fortran: bool
    size: int

    @property
    def n_values(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def file_size(self) -> int:
        """Length of the whole file [bytes]."""
        return self.size + self.n_values * self.dtype.itemsize


class PythonObjectsError(ValueError):
    """The values of a file are Python objects."""

    def __init__(self) -> None:
        super().__init__("it holds Python objects, which are not read because they can run code")


def parse_header(content: bytes) -> NpyHeader:
    """The header at the begin of a file.

    Args:
        content: The file, or its first `HEADER_BYTES`.

    Raises:
        ValueError: If there is no header, or it is damaged.
        PythonObjectsError: If the values are Python objects.
    """
    if not content:
        raise ValueError("it is empty (0 bytes)")
    if content[:6] != b"\x93NUMPY":
        raise ValueError(f"it begins {content[:6]!r}")
    stream = BytesIO(content[:HEADER_BYTES])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old versions and of dtypes that are rejected
            major, _ = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0
            if major > 1:  # version 3 differs from 2 in the encoding of names only
                read = np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(stream, LONGEST_HEADER)
    except Exception:  # a damaged header can raise anything
        raise ValueError("its header is damaged") from None
    if dtype.hasobject:
        raise PythonObjectsError
    if any(length < 0 for length in shape):
        raise ValueError(f"its header has the shape {list(shape)}")
    return NpyHeader(dtype, tuple(map(int, shape)), bool(is_fortran), stream.tell())
