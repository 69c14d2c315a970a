"""Arrays of numbers in MAT-files of version 5, as MATLAB saves them by default.

Design requirements:

- Only the arrays that are asked for are unpacked, no further than their sizes claim, and only if
  there is memory for them. `scipy.io.loadmat` allocates what a damaged file claims.
- Cells, structures, objects, sparse and complex arrays are errors: nothing in a file is executed.

References:
    MathWorks, *MAT-File Format* (R2019b), chapter 1, "MAT-File Level 5 File Format".
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.checks import require_memory
from nwavesdk.internal.files import one_line, read_bytes

__all__ = ["read_mat"]

# The largest file, the most numbers of an array (1 GB as doubles), and the most arrays of a file.
MOST_BYTES = 2**28
MOST_NUMBERS = 2**27
MOST_ELEMENTS = 10_000

# The header has 128 bytes: a text, then version and byte order, two bytes each.
HEADER_BYTES = 128
ORDER_START = 126
ByteOrder = Literal["<", ">"]

# Types of elements, and numpy's types for those that hold numbers.
INT8 = 1
INT32 = 5
UINT32 = 6
MATRIX = 14
PACKED = 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
NUMBERS |= {12: "i8", 13: "u8"}

# Classes of arrays: doubles, singles, integers; and those that are not numbers.
NUMBER_CLASSES = range(6, 16)
OTHER_CLASSES = {1: "cells", 2: "structures", 3: "objects", 4: "text", 5: "sparse numbers"}
IS_COMPLEX = 0x800

# MATLAB's names have at most 63 letters, and its arrays in practice at most 32 axes.
MOST_NAME_BYTES = 256
MOST_AXES = 32

AGAIN = "download or copy it again"

Array = npt.NDArray[Any]


class _Claim(NamedTuple):
    """What the header of an array claims."""

    name: str
    kind: int
    is_complex: bool
    shape: tuple[int, ...]


def read_mat(path: Path, names: Collection[str]) -> dict[str, Array]:
    """Arrays of numbers in a MAT-file.

    Args:
        path: The file.
        names: Names of the arrays; all others are left packed.

    Returns:
        Each array by its name, in the type in which its numbers are stored: MATLAB stores integers
        in few bytes whatever the type of the array is.

    Raises:
        RecordingError: If the file is not a MAT-file of version 5, is cut short or damaged, lacks
            an array, or if one of them is not an array of real numbers.
        FileError: If it cannot be read, or is larger than `MOST_BYTES`.
        ValueError: If there is not enough memory.
    """
    data = read_bytes(path, MOST_BYTES)
    order = _check_header(path, data)
    arrays: dict[str, Array] = {}
    for kind, content in _elements(path, data, order):
        if kind not in (MATRIX, PACKED):
            continue
        element = _Element(path, content, order, is_packed=kind == PACKED)
        claim = element.read_claim()
        if claim.name in names and claim.name not in arrays:
            arrays[claim.name] = element.read_array(claim)
    for name in names:
        if name not in arrays:
            found = ", ".join(sorted(arrays)) or "none of them"
            what = f"has no array {name}, expected {', '.join(names)} (found: {found})"
            raise RecordingError(path, what, "check that it is the right file")
    return arrays


def _check_header(path: Path, data: bytes) -> ByteOrder:
    if not data:
        raise RecordingError(path, "is empty (0 bytes)")
    if not data.startswith(b"MATLAB"):
        raise RecordingError(path, f"is not a MAT-file of version 5 (it begins {data[:8]!r})")
    if len(data) < HEADER_BYTES:
        raise RecordingError(path, "is cut short (in its header)", AGAIN)
    mark = data[ORDER_START:HEADER_BYTES]
    order: ByteOrder = ">" if mark == b"MI" else "<"
    (version,) = struct.unpack_from(f"{order}H", data, ORDER_START - 2)
    if mark not in (b"IM", b"MI") or version >> 8 != 1:
        kind = "of version 7.3" if version >> 8 == 2 else "of an unknown version"
        raise RecordingError(path, f"is a MAT-file {kind}, expected version 5", "save it with -v7")
    return order


def _elements(path: Path, data: bytes, order: ByteOrder) -> Iterator[tuple[int, memoryview]]:
    """The type and the content of each element of a file."""
    # Each element begins with its type and its size, four bytes each. Elements that are not packed
    # end at a multiple of eight bytes.
    view = memoryview(data)
    start = HEADER_BYTES
    for _ in range(MOST_ELEMENTS):
        if start == len(data):
            return
        if start + 8 > len(data):
            break
        kind, size = struct.unpack_from(f"{order}II", data, start)
        end = start + 8 + size
        if end > len(data):
            break
        yield kind, view[start + 8 : end]
        start = min(end if kind == PACKED else end + -size % 8, len(data))
    else:
        raise RecordingError(path, f"has more than {MOST_ELEMENTS:,} arrays", "save fewer")
    raise RecordingError(path, "is cut short (in an array)", AGAIN)


class _Element:
    """The bytes of an array, unpacked as far as they are read.

    Args:
        path: The file, for errors.
        content: The array, perhaps packed.
        order: The order of its bytes.
        is_packed: Whether it is packed, together with its own type and size.
    """

    # Packed bytes that are handed to zlib at once.
    BLOCK = 2**16

    def __init__(self, path: Path, content: memoryview, order: ByteOrder, is_packed: bool) -> None:
        self.path = path
        self.order = order
        self._content = content
        self._unpacker = zlib.decompressobj() if is_packed else None
        self._waiting = b""
        if is_packed:
            kind, _ = struct.unpack(f"{order}II", self._read(8))
            if kind != MATRIX:
                raise self._damaged(f"its type is {kind}, expected {MATRIX}")

    def read_claim(self) -> _Claim:
        """The name, class and shape of the array, of which nothing is allocated."""
        flags = self._read_part(UINT32, 8)
        if len(flags) != 8:
            raise self._damaged("its flags are missing")
        (word,) = struct.unpack_from(f"{self.order}I", flags)
        sizes = self._read_part(INT32, 4 * MOST_AXES)
        shape = struct.unpack(f"{self.order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
        name = self._read_part(INT8, MOST_NAME_BYTES).decode("latin-1")
        return _Claim(name, word & 0xFF, bool(word & IS_COMPLEX), shape)

    def read_array(self, claim: _Claim) -> Array:
        """The numbers of the array, after `read_claim`."""
        name = f"array {claim.name}"
        if claim.kind not in NUMBER_CLASSES or claim.is_complex:
            kind = "complex numbers" if claim.is_complex else "other things"
            kind = OTHER_CLASSES.get(claim.kind, kind)
            what = f"has {kind} in its {name}, expected real numbers"
            raise RecordingError(self.path, what, "save it as numbers")
        count = prod(claim.shape)
        if len(claim.shape) < 2 or min(claim.shape) < 1 or count > MOST_NUMBERS:
            what = f"has an {name} of shape {list(claim.shape)}, expected 1 to {MOST_NUMBERS:,}"
            raise RecordingError(self.path, f"{what} numbers", "save fewer")
        stored, size, _ = self._read_tag()
        if stored not in NUMBERS:
            raise self._damaged(f"the type of its numbers is {stored}")
        dtype = np.dtype(self.order + NUMBERS[stored])
        if size != count * dtype.itemsize:
            raise self._damaged(f"its {name} has {size:,} bytes for {count:,} numbers")
        require_memory(str(self.path), f"the numbers of its {name}", size, "save fewer")
        numbers = np.frombuffer(self._read(size), dtype)
        self._check_end()
        return numbers.reshape(claim.shape, order="F")  # the first axis varies fastest

    def _check_end(self) -> None:
        """Compare the checksum of what was packed; up to seven bytes fill the last eight."""
        if self._unpacker is not None:
            self._unpack(8)
            if not self._unpacker.eof:
                raise self._damaged("it does not end behind its numbers")

    def _read_part(self, expected: int, most: int) -> bytes | bytearray:
        """A part that must have this type and at most so many bytes."""
        kind, size, multiple = self._read_tag()
        if kind != expected or size > most:
            raise self._damaged(f"a part has type {kind} and {size:,} bytes")
        content = self._read(size)
        self._read(-size % multiple)
        return content

    def _read_tag(self) -> tuple[int, int, int]:
        """The type and the size of the next part, and of what its content fills a multiple."""
        # Parts of up to four bytes have the type in the lower and the size in the upper half of
        # the first word, and their content in place of the size.
        (word,) = struct.unpack(f"{self.order}I", self._read(4))
        short_size = word >> 16
        if not short_size:
            (size,) = struct.unpack(f"{self.order}I", self._read(4))
            return word, size, 8
        if short_size > 4:
            raise self._damaged(f"a short part has {short_size} bytes")
        return word & 0xFFFF, short_size, 4

    def _read(self, size: int) -> bytes | bytearray:
        """The next bytes."""
        taken: bytes | bytearray
        if self._unpacker is None:
            taken = bytes(self._content[:size])
            self._content = self._content[size:]
        else:
            taken = self._unpack(size)
        if len(taken) < size:
            raise self._damaged("it ends too early")
        return taken

    def _unpack(self, size: int) -> bytearray:
        assert self._unpacker is not None
        unpacked = bytearray()
        while len(unpacked) < size and (self._waiting or self._content):
            if not self._waiting:
                self._waiting = bytes(self._content[: self.BLOCK])
                self._content = self._content[self.BLOCK :]
            try:
                unpacked += self._unpacker.decompress(self._waiting, size - len(unpacked))
            except zlib.error as error:
                raise self._damaged(one_line(error)) from None
            self._waiting = self._unpacker.unconsumed_tail
        return unpacked

    def _damaged(self, what: str) -> RecordingError:
        return RecordingError(self.path, f"has a damaged array ({what})", AGAIN)
