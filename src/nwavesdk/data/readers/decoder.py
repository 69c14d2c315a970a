"""The program of `isolation`: it decodes files with libraries that a damaged file can crash.

It imports nothing of nwavesdk, and so starts fast. Requests are lines of JSON. An answer is its
size (eight bytes) and a .npz with arrays, or with the array "fault": what is wrong with the file.

Of HDF5, only arrays are read that the file itself contains: it can refer to other files.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

__all__ = ["main"]

# Memory of the process: the libraries reserve some, and a recording takes up to 500 MB.
MAX_MEMORY_BYTES = 4 * 2**30


def read_hdf5(path: str, names: list[str], index: int | None = None) -> dict[str, Any]:
    """Those of the arrays `names` that a file has, or their elements at an index.

    A name that ends in `#` asks for the number of elements.
    """
    import h5py

    arrays = {}
    # A lock would keep others from writing the file meanwhile.
    with h5py.File(path, "r", locking=False) as file:
        for wanted in names:
            name = wanted.rstrip("#")
            if name not in file:
                continue
            parts = name.split("/")
            links = [file.get("/".join(parts[: n + 1]), getlink=True) for n in range(len(parts))]
            is_inside = all(isinstance(link, h5py.HardLink) for link in links)
            if not is_inside or file[name].is_virtual or file[name].external:
                raise ValueError(f"{name} is in another file or place")
            if wanted != name:
                arrays[wanted] = np.array(len(file[name]))
                continue
            array = np.asarray(file[name][() if index is None else index])
            arrays[name] = array.astype(np.bytes_) if array.dtype.hasobject else array
    return arrays


def read_aedat4(path: str) -> dict[str, Any]:
    """Sensor and events: t [µs, from the first event], x, y and p."""
    import aedat

    decoder = aedat.Decoder(path)
    streams = [each for each in decoder.id_to_stream().values() if each["type"] == "events"]
    if len(streams) != 1:
        raise ValueError(f"{len(streams)} streams of events, expected one")
    packets = [packet["events"] for packet in decoder if "events" in packet]
    events = np.concatenate(packets)

    # The clock of a camera counts from 1970, so that of the recording begins with its first event.
    ticks = events["t"].astype(np.int64)
    columns = {"t": ticks - ticks[:1], **{name: events[name] for name in "xyp"}}
    return {"sensor": np.array([streams[0]["height"], streams[0]["width"]]), **columns}


FUNCTIONS: dict[str, Callable[..., dict[str, Any]]] = {"hdf5": read_hdf5, "aedat4": read_aedat4}


def main() -> None:
    """Answer requests until the input ends."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, hard))
    # Libraries may write to the standard output.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            arrays = FUNCTIONS[request.pop("function")](**request)
        except BaseException as error:  # a panic of Rust is not an Exception
            reason = " ".join(str(error).split()) or type(error).__name__
            arrays = {"fault": np.array(f"cannot be read ({reason})")}
        content = BytesIO()
        np.savez(content, **arrays)
        answers.write(len(content.getvalue()).to_bytes(8, "little") + content.getvalue())
        answers.flush()


if __name__ == "__main__":
    main()
