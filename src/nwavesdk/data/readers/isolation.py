"""Files decoded in a separate process.

The libraries for HDF5 and AEDAT4 are written in C and Rust. A damaged file can crash them, take
all memory or never return. So they run in another process (`decoder`). In such a case the file is
reported, the process is killed, and the next file starts another one.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.reading import RecordingError, reading

__all__ = ["Decoder", "shared_decoder"]

PROGRAM = Path(__file__).with_name("decoder.py")

# Time for an answer [s]. Sixteen million events take five.
MAX_SECONDS = 120.0

# The answer is the events of one recording, or numbers for each recording of a file.
MAX_ANSWER_BYTES = 2**30

# One thread is enough to decode, and HDF5 loads no plugins.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}


class Decoder:
    """A process that decodes files, started on first use.

    Args:
        seconds: Time for an answer [s].
    """

    def __init__(self, seconds: float = MAX_SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, path: Path, function: str, **arguments: Any) -> dict[str, npt.NDArray[Any]]:
        """The arrays in a file.

        Args:
            path: The file, which the process opens.
            function: Name of the function in `decoder`.
            arguments: Its other arguments.

        Raises:
            FileError: If there is no such file, or it cannot be read.
            RecordingError: If the file is damaged, crashes the process or takes too long.
        """
        request = {"function": function, "path": os.path.abspath(path), **arguments}
        with self._lock, reading(path, "a file"):
            if self._process is not None and self._process.poll() is not None:
                self.close()
            process = self._process = self._process or self._start()
            timer = threading.Timer(self.seconds, process.kill)
            timer.start()
            try:
                arrays = _answer(process, request)
            except BaseException as error:
                self.close()  # the next answer would be that of this request
                if not isinstance(error, Exception):
                    raise
                what = f"crashes its decoder, needs too much memory or more than {self.seconds:g} s"
                raise RecordingError(path, what) from None
            finally:
                timer.cancel()
        if "fault" in arrays:
            raise RecordingError(path, str(arrays["fault"]))
        return arrays

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            # -P: the folder of the program is not searched for modules.
            [sys.executable, "-P", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | ENVIRONMENT,
        )

    def close(self) -> None:
        """End the process; a later request starts another one."""
        process = self._process
        self._process = None
        if process is not None:
            process.kill()
            process.communicate()


def _answer(process: "subprocess.Popen[bytes]", request: object) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an answer; raises anything if the process dies."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    # An answer is its size in eight bytes, and the content of a .npz.
    size = int.from_bytes(process.stdout.read(8), "little")
    content = process.stdout.read(min(size, MAX_ANSWER_BYTES))
    return dict(np.load(BytesIO(content), allow_pickle=False))


def shared_decoder() -> Decoder:
    """The decoder of this process, which serves all files one by one."""
    return _shared[-1]


# The last one is in use. After a fork, those before it belong to the parents.
_shared = [Decoder()]
atexit.register(lambda: shared_decoder().close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _shared.append(Decoder()))
