"""Files decoded in a separate process.

The libraries for HDF5 and AEDAT4 are written in C and Rust. A damaged file can crash them, take
all memory or never return. So they run in another process (`decoder`). In such a case the file is
reported, the process is killed, and the next file starts a new process.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.data.source import Array, reading

__all__ = ["close_decoder", "decode"]

PROGRAM = Path(__file__).with_name("decoder.py")

# Time for an answer [s]. Sixteen million events take five.
MAX_SECONDS = 60.0

# The expected form of a file, for errors. `decoder` limits its own memory.
FORM = f"HDF5 or AEDAT4 within {MAX_SECONDS:g} s and 4 GiB, without a crash"

# One thread is enough to decode, and HDF5 loads no plugins.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}

# The decoder by the id of the process that uses it: a fork cannot use the decoder of its parent.
_decoders: dict[int, Any] = {}
_locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

# Files that took too long, and when they were changed.
_endless: set[tuple[str, int]] = set()


def decode(path: Path, function: str, **arguments: Any) -> dict[str, Array]:
    """The arrays in a file.

    Args:
        path: The file, which the decoder opens.
        function: Name of the function in `decoder`.
        arguments: Its other arguments.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file is damaged, crashes the decoder or takes too long.
    """
    request = json.dumps({"function": function, "path": os.path.abspath(path), **arguments})
    with _locks[os.getpid()], reading(path, FORM):
        state = os.path.abspath(path), os.stat(path).st_mtime_ns
        if state in _endless:
            raise ValueError("it took too long before")
        decoder = _start_decoder()
        timer = threading.Timer(MAX_SECONDS, decoder.kill)
        timer.start()
        try:
            decoder.stdin.write(request.encode() + b"\n")
            decoder.stdin.flush()
            # An answer is its size in eight bytes, and the content of a .npz.
            size = int.from_bytes(decoder.stdout.read(8), "little")
            arrays = dict(np.load(BytesIO(decoder.stdout.read(size)), allow_pickle=False))
        except BaseException:
            # The timer has killed the decoder, and would for each recording of the file.
            if timer.finished.is_set():
                _endless.add(state)
            # A later request would read the answer to this one.
            close_decoder()
            raise
        finally:
            timer.cancel()

        if "fault" in arrays:
            raise ValueError(str(arrays["fault"]))
    return arrays


def _start_decoder() -> Any:
    """The decoder of this process, started if it is not running."""
    decoder = _decoders.get(os.getpid())
    if decoder is None or decoder.poll() is not None:
        close_decoder()
        decoder = _decoders[os.getpid()] = subprocess.Popen(
            # -P: the folder of the program is not searched for modules.
            [sys.executable, "-P", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | ENVIRONMENT,
        )
    return decoder


def close_decoder() -> None:
    """End the decoder of this process; a later request starts a new decoder."""
    decoder = _decoders.pop(os.getpid(), None)
    if decoder is not None:
        decoder.kill()
        decoder.communicate()


atexit.register(close_decoder)
