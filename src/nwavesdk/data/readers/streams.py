"""Large files, of which one piece at a time is read.

Design requirements:

- A reader holds no open file: processes that were forked would move each other's place in it, and
  a reader can be pickled.
- A file that has changed since it was listed is an error. Its pieces may be somewhere else now.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import open_regular, reason_of

__all__ = ["StreamedFile"]


@dataclass(frozen=True)
class StreamedFile:
    """A file at the time when it was listed.

    Args:
        path: Its path.
        size: Its length [bytes].
        changed_at: When it was last written [ns].
    """

    path: Path
    size: int
    changed_at: int

    @classmethod
    def at(cls, path: Path) -> "StreamedFile":
        """The file at a path.

        Raises:
            FileError: If it is not a regular file, or cannot be opened.
        """
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
        return cls(path, status.st_size, status.st_mtime_ns)

    def open(self) -> BinaryIO:
        """Open it for reading.

        Raises:
            FileError: If it cannot be opened.
            RecordingError: If it has changed.
        """
        file = open_regular(self.path)
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.size, self.changed_at):
            file.close()
            raise RecordingError(self.path, "has changed while it was in use", "start again")
        return file

    def read(self, start: int, size: int) -> bytes:
        """A piece of it.

        Args:
            start: Place of the first byte.
            size: Length of the piece [bytes].

        Raises:
            FileError: If it cannot be opened.
            RecordingError: If it has changed, cannot be read, or ends before the piece does.
        """
        with self.open() as file:
            if start + size > self.size:  # before `read` reserves the memory
                missing = start + size - self.size
                raise RecordingError(self.path, f"is cut short ({missing:,} bytes are missing)")
            try:
                file.seek(start)
                content = file.read(size)
            except OSError as error:
                what = f"cannot be read ({reason_of(error)})"
                raise RecordingError(self.path, what, "copy it again") from None
        if len(content) < size:
            raise RecordingError(self.path, "has changed while it was in use", "start again")
        return content
