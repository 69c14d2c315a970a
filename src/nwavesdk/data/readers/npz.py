"""The arrays in a `.npz`, a zip of `.npy` files, of which a part of one array is read at a time.

Design requirements:

- Memory is that of the part, whatever the size of the file. A stored array is read at its place. A
  deflated one is unpacked up to its place, and from the last place on if parts are read in order.
- What a file claims is compared with its size before memory is allocated. An array that unpacks to
  more than its header promises is an error.
- No code in a file is run.
"""

import math
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from nwavesdk.data.readers.deflate import Content, Deflated, Stored
from nwavesdk.data.readers.npy import (
    HEADER_BYTES,
    NpyHeader,
    PythonObjectsError,
    parse_header,
)
from nwavesdk.data.readers.streams import StreamedFile
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import one_line

__all__ = ["Archive", "Member"]

# The longest list of members [bytes]: about 200,000 of them.
MOST_LIST_BYTES = 2**24

# The most that a byte of deflated content unpacks to [bytes], by the definition of deflate.
MOST_UNPACKED = 1032

# The header of a member has 30 bytes. Its last two numbers are the lengths of the name and of the
# extra field, which follow it.
ZIP_HEADER_BYTES = 30

# The largest array that is read as a whole [bytes].
MOST_WHOLE_BYTES = 2**28

SAVE_NO_OBJECTS = (
    "save it as numbers or as text, with .astype(float), .astype(int) or .astype(str), and series "
    "of different lengths as x_0, x_1 and so on"
)
SAVE_AGAIN = "write it with numpy.savez or numpy.savez_compressed"
COPY_AGAIN = "copy it again"

Array = npt.NDArray[Any]


class Member:
    """An array in a `.npz`.

    Args:
        path: The file, for errors.
        name: Its name, without `.npy`.
        header: What it holds.
        content: Its file inside the zip.
    """

    def __init__(self, path: Path, name: str, header: NpyHeader, content: Content) -> None:
        self.path = path
        self.name = name
        self.header = header
        self._content = content
        self._in_c_order: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        return self.header.shape

    def read(self, first: int, shape: tuple[int, ...]) -> Array:
        """Values that are next to each other in C order.

        Args:
            first: Place of the first value in the flattened array.
            shape: Shape of the result.

        Raises:
            RecordingError: If the file is damaged or has changed, or the whole array must be read
                because it is in Fortran order, and is larger than `MOST_WHOLE_BYTES`.
        """
        count = math.prod(shape)
        if self.header.is_fortran:
            flat = self._read_fortran()[first : first + count]
            if count == self.header.n_values:  # there are no other parts to keep it for
                self._in_c_order = None
            return flat.reshape(shape)
        size = self.header.dtype.itemsize
        content = self._content.read(self.header.size + first * size, count * size)
        return np.frombuffer(content, self.header.dtype).reshape(shape)

    def read_all(self) -> Array:
        """The whole array.

        Raises:
            RecordingError: If it is larger than `MOST_WHOLE_BYTES`, or cannot be read.
        """
        self._check_size("cut the array, or split the file")
        return self.read(0, self.shape)

    def _read_fortran(self) -> Array:
        if self._in_c_order is None:
            self._check_size("save numpy.ascontiguousarray of it, which is read part by part")
            values = self._content.read(self.header.size, self._n_bytes)
            # In Fortran order, values lie in the order of the reversed axes.
            array = np.frombuffer(values, self.header.dtype).reshape(self.shape[::-1]).T
            self._in_c_order = np.ascontiguousarray(array).reshape(-1)
        return self._in_c_order

    @property
    def _n_bytes(self) -> int:
        return self.header.n_values * self.header.dtype.itemsize

    def _check_size(self, remedy: str) -> None:
        if self._n_bytes > MOST_WHOLE_BYTES:
            what = f"has {self._n_bytes:,} bytes in {self.name!r}, expected at most "
            raise RecordingError(self.path, what + f"{MOST_WHOLE_BYTES:,}", remedy)


class Archive:
    """The arrays of a `.npz` by name.

    Args:
        path: The file.

    Raises:
        FileError: If it does not exist, or cannot be opened.
        RecordingError: If it is not a zip, or a name occurs twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = StreamedFile.at(path)
        self._entries: dict[str, ZipInfo] = {}
        for entry in _list_entries(self._file):
            name = entry.filename.removesuffix(".npy")
            if name in self._entries:
                raise RecordingError(path, f"has two members {name!r}", SAVE_AGAIN)
            self._entries[name] = entry

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members, without `.npy`."""
        return tuple(self._entries)

    def member(self, name: str) -> Member:
        """The array of a name.

        Raises:
            RecordingError: If it is not an array of the size that the zip claims, or has no values.
        """
        entry = self._entries[name]
        self._check_entry(entry, name)
        content = self._content_of(entry, name)
        begin = content.read(0, min(entry.file_size, HEADER_BYTES))
        try:
            header = parse_header(begin)
        except ValueError as error:
            what = f"has a member {name!r} that is not an array ({error})"
            has_objects = isinstance(error, PythonObjectsError)
            remedy = SAVE_NO_OBJECTS if has_objects else SAVE_AGAIN
            raise RecordingError(self.path, what, remedy) from None
        if header.file_size != entry.file_size:
            what = f"has {entry.file_size:,} bytes in {name!r}, expected {header.file_size:,} for "
            raise RecordingError(self.path, f"{what}its shape {list(header.shape)}", SAVE_AGAIN)
        if not header.n_values:
            what = f"has no values in {name!r} (its shape is {list(header.shape)})"
            raise RecordingError(self.path, what, "leave it out, or add recordings")
        return Member(self.path, name, header, content)

    def _check_entry(self, entry: ZipInfo, name: str) -> None:
        if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) or entry.flag_bits & 1:
            what = f"has a member {name!r} that is encrypted, or neither stored nor deflated"
            raise RecordingError(self.path, what, SAVE_AGAIN)
        most = entry.compress_size
        if entry.compress_type == ZIP_DEFLATED:
            most = MOST_UNPACKED * (entry.compress_size + 1)
        if entry.file_size > most:
            what = f"promises {entry.file_size:,} bytes in {name!r}, more than it can hold in "
            raise RecordingError(self.path, f"{what}{entry.compress_size:,}", COPY_AGAIN)

    def _content_of(self, entry: ZipInfo, name: str) -> Content:
        header = self._file.read(entry.header_offset, ZIP_HEADER_BYTES)
        if header[:4] != b"PK\3\4":
            raise RecordingError(self.path, f"is damaged at its member {name!r}", COPY_AGAIN)
        n_name = int.from_bytes(header[26:28], "little")
        n_extra = int.from_bytes(header[28:30], "little")
        start = entry.header_offset + ZIP_HEADER_BYTES + n_name + n_extra
        missing = start + entry.compress_size - self._file.size
        if missing > 0:
            what = f"is cut short ({missing:,} bytes of its member {name!r} are missing)"
            raise RecordingError(self.path, what, COPY_AGAIN)
        if entry.compress_type == ZIP_STORED:
            return Stored(self._file, start)
        return Deflated(self._file, name, start, entry.compress_size, entry.file_size, entry.CRC)


class _LimitedFile:
    """A file of which no more than the longest list of members is read at a time."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._file = file
        self._size = size

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self.tell())
        size = min(size, left) if size >= 0 else left  # `read` reserves all memory that it may need
        if size > MOST_LIST_BYTES:
            raise ValueError(f"its list of members is longer than {MOST_LIST_BYTES:,} bytes")
        return self._file.read(size)


def _list_entries(file: StreamedFile) -> list[ZipInfo]:
    with file.open() as stream:
        try:
            return ZipFile(_LimitedFile(stream, file.size)).infolist()
        except Exception as error:  # a damaged zip can raise anything
            what = f"is not a .npz file ({one_line(error)})" if file.size else "is empty (0 bytes)"
            raise RecordingError(file.path, what, SAVE_AGAIN) from None
