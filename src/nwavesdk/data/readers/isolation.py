"""Files decoded in a separate process.

The libraries for HDF5 and AEDAT4 are written in C and Rust. A damaged file can crash them, take
all memory or never return. So they run in another process (`decoder`). In such a case the file is
reported, the process is killed, and the next file starts another one.
"""

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from nwavesdk.data.reading import RecordingError

__all__ = ["Decoder", "shared_decoder"]

PROGRAM = Path(__file__).with_name("decoder.py")

# Time for an answer [s]. Sixteen million events take five.
MOST_SECONDS = 120.0

# A letter and the size of the content.
HEADER = struct.Struct("<cQ")

# The answer is the events of one recording, or numbers for each recording of a file.
MOST_ANSWER_BYTES = 2**30


class Decoder:
    """A process that decodes files, started on first use.

    Args:
        seconds: Time for an answer [s].
    """

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, path: Path, function: str, **arguments: int) -> bytes:
        """The answer to a request.

        Args:
            path: The file, which the process opens.
            function: Name of the function in `decoder`.
            arguments: Its other arguments.

        Returns:
            The bytes of a .npy, or JSON.

        Raises:
            RecordingError: If the file is damaged, crashes the process or takes too long.
        """
        request = {"function": function, "path": os.path.abspath(path), **arguments}
        with self._lock:
            answer = self._answer(json.dumps(request).encode() + b"\n")
            if answer is None:
                self._stop()
        if answer is None:
            what = f"crashes its decoder, or takes more than {self.seconds:g} s"
            raise RecordingError(path, what)
        letter, content = answer
        if letter == b"F":
            raise RecordingError(path, content.decode("utf-8", "replace"))
        return content

    def _answer(self, request: bytes) -> tuple[bytes, bytes] | None:
        """Letter and content of an answer, or None if the process dies."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(self.seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            header = process.stdout.read(HEADER.size)
            if len(header) < HEADER.size:
                return None
            letter, size = HEADER.unpack(header)
            if size > MOST_ANSWER_BYTES:
                return None
            content = process.stdout.read(size)
        except OSError:
            return None
        finally:
            timer.cancel()
        return (letter, content) if len(content) == size else None

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self._process = subprocess.Popen(
                # -P: the folder of the program is not searched for modules.
                [sys.executable, "-P", str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | ENVIRONMENT,
            )
        return self._process

    def _stop(self) -> None:
        process = self._process
        self._process = None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """End the process; a later request starts another one."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """Leave the process to the parent, after a fork."""
        if self._process is not None:
            _of_parents.append(self._process)
        self._process = None
        self._lock = threading.Lock()


# One thread is enough to decode, and HDF5 loads no plugins.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}

_of_parents: list[Any] = []
_shared = Decoder()
atexit.register(_shared.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.forget)


def shared_decoder() -> Decoder:
    """The decoder of this process, which serves all files one by one."""
    return _shared
