"""The unpacked content of a member of a zip, of which a part is read at a time."""

import threading
import zlib
from typing import Protocol

from nwavesdk.data.readers.streams import StreamedFile
from nwavesdk.data.reading import RecordingError

__all__ = ["Content", "Deflated", "Stored"]

# Packed content that is read at a time, and the most that is unpacked at a time [bytes].
PACKED_PIECE = 2**16
UNPACKED_PIECE = 2**18


class Content(Protocol):
    """The unpacked content of a member."""

    def read(self, place: int, size: int) -> bytes:
        """A part of it.

        Args:
            place: Place of its first byte.
            size: Its length [bytes].

        Raises:
            RecordingError: If it cannot be read.
        """


class Stored:
    """The content of a member that is not packed.

    Args:
        file: The zip.
        start: Place of the content in it.
    """

    def __init__(self, file: StreamedFile, start: int) -> None:
        self.file = file
        self.start = start

    def read(self, place: int, size: int) -> bytes:
        return self.file.read(self.start + place, size)


class Deflated:
    """The content of a packed member, unpacked up to the last part that was read.

    A part behind it continues there. For a part before it, unpacking begins again. Memory is that
    of the part. The checksum is compared when the end of the content is read.

    Args:
        file: The zip.
        name: Name of the member, for errors.
        start: Place of the packed content in the zip.
        packed_size: Length of the packed content [bytes].
        size: Length of the unpacked content [bytes].
        checksum: CRC-32 of the unpacked content.
    """

    def __init__(
        self, file: StreamedFile, name: str, start: int, packed_size: int, size: int, checksum: int
    ) -> None:
        self._options = (file, name, start, packed_size, size, checksum)
        self._file = file
        self._name = name
        self._end = start + packed_size
        self._start = start
        self._size = size
        self._checksum = checksum
        self._lock = threading.Lock()
        self._begin()

    def __reduce__(self) -> tuple[type["Deflated"], tuple[object, ...]]:
        # A copy begins again: neither a lock nor the state of zlib can be pickled.
        return Deflated, self._options

    def read(self, place: int, size: int) -> bytes:
        with self._lock:
            if place < self._place:
                self._begin()
            while self._place < place:
                self._unpack(place - self._place)
            parts = []
            end = place + size
            while self._place < end:
                parts.append(self._unpack(end - self._place))
            if end == self._size:
                self._check_end()
                self._begin()  # frees the memory of zlib
        return b"".join(parts)

    def _begin(self) -> None:
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)  # without a header, as in a zip
        self._packed = b""
        self._packed_place = self._start
        self._place = 0
        self._found_checksum = 0

    def _unpack(self, most: int) -> bytes:
        """The next bytes of the content, at least one."""
        part = self._advance(min(most, UNPACKED_PIECE))
        if not part:
            raise self._fault("unpacks to less than it promises")
        self._place += len(part)
        self._found_checksum = zlib.crc32(part, self._found_checksum)
        return part

    def _advance(self, most: int) -> bytes:
        """Up to `most` bytes from zlib; none at the end of the packed content."""
        while True:
            if not self._packed:
                size = min(PACKED_PIECE, self._end - self._packed_place)
                self._packed = self._file.read(self._packed_place, size)
                self._packed_place += size
            packed = self._packed
            try:
                # zlib may have some more bytes even if it is given none.
                part = self._unpacker.decompress(packed, most)
            except zlib.error:
                raise self._fault("is damaged") from None
            self._packed = self._unpacker.unconsumed_tail
            if part or not packed or self._unpacker.eof:
                return part

    def _check_end(self) -> None:
        if self._advance(1):
            raise self._fault("unpacks to more than it promises")
        if self._found_checksum != self._checksum:
            raise self._fault("is damaged (its checksum is wrong)")

    def _fault(self, what: str) -> RecordingError:
        what = f"has a member {self._name!r} that {what}"
        return RecordingError(self._file.path, what, "copy it again")
