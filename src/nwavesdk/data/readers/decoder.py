"""The program of `isolation`: it decodes files with libraries that a damaged file can crash.

It imports nothing of nwavesdk, and so starts fast. Requests are lines of JSON. An answer is a
letter, the size of its content (eight bytes) and its content: a .npy ("A"), JSON ("J"), or what is
wrong with the file ("F").

Of HDF5, only arrays are read that the file itself contains: it can refer to other files.
"""

import contextlib
import json
import math
import os
import struct
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

__all__ = ["main"]

# Memory of the process: the libraries reserve some, and a recording takes up to 500 MB.
MOST_MEMORY_BYTES = 4 * 2**30

MOST_CLASSES = 2**16
MOST_NAME_BYTES = 2**10
MOST_CHUNK_BYTES = 2**28

TIMES = "spikes/times"
UNITS = "spikes/units"


class FaultError(Exception):
    """What is wrong with a file."""


# SHD's HDF5


def read_contents(path: str, most: int) -> dict[str, Any]:
    """Labels, speakers and names of classes of at most `most` recordings."""
    file = open_hdf5(path)
    # A recording takes more than a byte, even if it is compressed.
    count = len(find_array(file, "labels", min(most, os.path.getsize(path))))
    for name in (TIMES, UNITS):
        check_kind(name, find_array(file, name, count, count))
    speakers = None
    names: list[str] = []
    if "extra" in file and "speaker" in file["extra"]:
        speakers = read_whole_numbers(file, "extra/speaker", count)
    if "extra" in file and "keys" in file["extra"]:
        names = read_names(file)
    labels = read_whole_numbers(file, "labels", count)
    return {"labels": labels, "speakers": speakers, "names": names}


def read_recording(path: str, index: int, most: int) -> Any:
    """The events of a recording as an array with the fields t and x, in the order of times."""
    file = open_hdf5(path)
    columns = []
    for name in (TIMES, UNITS):
        data = find_array(file, name, 2**62)
        check_kind(name, data)
        columns.append(np.asarray(data[index]))
    times, units = columns
    if len(times) != len(units) or len(times) > most:
        raise FaultError(
            f"has {len(times):,} times and {len(units):,} units, expected as many units as times, "
            f"up to {most:,}"
        )
    order = np.argsort(times, kind="stable")
    return make_events({"t": times[order], "x": units[order]})


def open_hdf5(path: str) -> Any:
    """The file, which stays open for the next request."""
    import h5py

    global _opened
    status = os.stat(path)
    name = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if _opened[0] != name:
        if _opened[1] is not None:
            _opened[1].close()
        _opened = (), None
        # A lock would keep others from writing the file as long as this process runs.
        _opened = name, h5py.File(path, "r", locking=False)
    return _opened[1]


_opened: tuple[tuple[Any, ...], Any] = (), None


def find_array(file: Any, name: str, most: int, least: int = 1) -> Any:
    """A dataset of one axis, with a length from `least` to `most`."""
    import h5py

    places = name.split("/")
    for depth in range(1, len(places) + 1):
        link = file.get("/".join(places[:depth]), getlink=True)
        if not isinstance(link, h5py.HardLink):  # other links lead to other files
            raise FaultError(f"has no {name}")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise FaultError(f"has no array {name} of its own")
    if data.ndim != 1 or not least <= data.shape[0] <= most:
        what = f"has {name} of shape {list(data.shape)}"
        raise FaultError(f"{what}, expected one axis of {least:,} to {most:,}")
    if data.chunks and math.prod(data.chunks) * data.dtype.itemsize > MOST_CHUNK_BYTES:
        raise FaultError(f"has {name} in chunks of {list(data.chunks)}, which are too large")
    return data


def check_kind(name: str, data: Any) -> None:
    """Reject a dataset that does not hold arrays of numbers of variable length."""
    import h5py

    kind = h5py.check_vlen_dtype(data.dtype)
    kinds = "iu" if name == UNITS else "iuf"
    if not isinstance(kind, np.dtype) or kind.kind not in kinds:
        raise FaultError(f"has {name} of {kind or data.dtype}, expected numbers of variable length")


def read_whole_numbers(file: Any, name: str, count: int) -> list[int]:
    data = find_array(file, name, count, count)
    if data.dtype.kind not in "iu":
        raise FaultError(f"has {name} of {data.dtype}, expected whole numbers")
    numbers: list[int] = data[()].tolist()
    return numbers


def read_names(file: Any) -> list[str]:
    import h5py

    data = find_array(file, "extra/keys", MOST_CLASSES)
    is_text = data.dtype.kind == "S" or h5py.check_string_dtype(data.dtype)
    if not is_text or data.dtype.itemsize > MOST_NAME_BYTES:
        raise FaultError(f"has extra/keys of {data.dtype}, expected short names")
    names = [bytes(name).decode("utf-8") for name in data[()]]
    if len(set(names)) < len(names) or not all(0 < len(n) <= MOST_NAME_BYTES for n in names):
        raise FaultError("has equal, empty or very long names of classes in extra/keys")
    return names


# AEDAT4


def read_sensor(path: str) -> dict[str, int]:
    """Width and height of the camera whose events a file holds."""
    import aedat

    streams = [s for s in aedat.Decoder(path).id_to_stream().values() if s["type"] == "events"]
    if len(streams) != 1:
        raise FaultError(f"has {len(streams)} streams of events, expected one")
    return {name: int(streams[0][name]) for name in ("width", "height")}


def read_aedat4(path: str, most: int) -> Any:
    """The events as an array with the fields t [µs, from the first event], x, y and p."""
    import aedat

    packets = []
    count = 0
    for packet in aedat.Decoder(path):
        if "events" in packet:
            packets.append(packet["events"])
            count += len(packet["events"])
        if count > most:
            raise FaultError(f"has more than {most:,} events")
    if not count:
        raise FaultError("has no events")
    found = np.concatenate(packets)
    # The clock of a camera counts from 1970, so that of the recording begins with its first event.
    ticks = found["t"].astype(np.int64)
    return make_events({"t": ticks - ticks[0], **{name: found[name] for name in "xyp"}})


# Requests and answers


def make_events(columns: dict[str, Any]) -> Any:
    kinds = [(name, column.dtype.newbyteorder("=")) for name, column in columns.items()]
    events = np.empty(len(columns["t"]), kinds)
    for name, column in columns.items():
        events[name] = column
    return events


def npy_bytes(array: Any) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contents": read_contents,
    "recording": read_recording,
    "sensor": read_sensor,
    "aedat4": read_aedat4,
}


def answer(request: dict[str, Any]) -> bytes:
    """The content of the answer to a request, after its letter and its size."""
    function = FUNCTIONS[request.pop("function")]
    try:
        value = function(**request)
    except FaultError as fault:
        letter, content = b"F", str(fault).encode()
    except MemoryError:
        letter, content = b"F", b"needs too much memory"
    except BaseException as error:  # panics of Rust are no Exceptions
        reason = " ".join(str(error).split()) or type(error).__name__
        letter, content = b"F", f"cannot be read ({reason})".encode(errors="replace")
    else:
        is_array = isinstance(value, np.ndarray)
        letter = b"A" if is_array else b"J"
        content = npy_bytes(value) if is_array else json.dumps(value).encode()
    return letter + struct.pack("<Q", len(content)) + content


def main() -> None:
    """Answer requests until the input ends."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, hard))
    # Libraries may write to the standard output.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answers.write(answer(json.loads(line)))
        answers.flush()


if __name__ == "__main__":
    main()
