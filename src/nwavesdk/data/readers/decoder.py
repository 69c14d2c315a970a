"""The program of `isolation`: it decodes files with libraries that a damaged file can crash.

It imports nothing of nwavesdk, and so starts fast. Requests are lines of JSON. An answer is its
size (eight bytes) and a .npz with arrays, or with the array "fault", which describes the fault of
the file.

An HDF5 file can refer to other files. Only arrays that the file itself contains are read.
"""

import contextlib
import json
import sys
from io import BytesIO
from typing import Any

import numpy as np

__all__ = ["main"]

# Memory of the process: the libraries reserve some, and a recording takes up to 500 MB.
MAX_MEMORY_BYTES = 4 * 2**30


def read_hdf5(path: str, names: list[str], index: int | tuple[()] = ()) -> dict[str, Any]:
    """The arrays of a file by `names`, or their elements at an index; missing arrays are skipped.

    A name that ends in `#` asks for the number of elements.
    """
    import h5py

    arrays = {}
    inside: set[str] = set()
    # Without a lock, other programs can write the file meanwhile.
    with h5py.File(path, "r", locking=False) as file:
        file.visit(inside.add)  # follows no links
        for wanted in names:
            name = wanted.rstrip("#")
            if name in file:
                if name not in inside or file[name].is_virtual or file[name].external:
                    raise ValueError(f"{name} is in another file or place")
                array = file[name]
                values = np.asarray(len(array) if wanted.endswith("#") else array[index])
                arrays[wanted] = values.astype(np.bytes_) if values.dtype.hasobject else values
    return arrays


def read_aedat4(path: str) -> dict[str, Any]:
    """Sensor and events: t [µs, from the first event], x, y and p."""
    import aedat

    decoder = aedat.Decoder(path)
    (stream,) = [row for row in decoder.id_to_stream().values() if row["type"] == "events"]
    events = np.concatenate([packet["events"] for packet in decoder if "events" in packet])

    # The clock of a camera counts from 1970; times count from the first event.
    ticks = events["t"].astype(np.int64)
    sensor = np.array([stream["height"], stream["width"]])
    return {"sensor": sensor, "t": ticks - ticks[:1], **{name: events[name] for name in "xyp"}}


FUNCTIONS: dict[str, Any] = {"hdf5": read_hdf5, "aedat4": read_aedat4}


def main() -> None:
    """Answer requests until the input ends."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))

    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            arrays = FUNCTIONS[request.pop("function")](**request)
        except BaseException as error:  # a panic of Rust is not an Exception
            arrays = {"fault": np.array(str(error) or type(error).__name__)}

        content = BytesIO()
        np.savez(content, **arrays)
        sys.stdout.buffer.write(content.tell().to_bytes(8, "little") + content.getvalue())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
