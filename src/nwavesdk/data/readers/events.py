"""Files of events, one recording each: N-MNIST's .bin, structured .npy arrays and AEDAT4.

All readers make the same checks: coordinates are on the sensor, times are finite, not negative and
never fall, and there are not too many events.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import MOST_SECONDS
from nwavesdk.data.readers.isolation import shared_decoder
from nwavesdk.data.reading import RecordingError, reading
from nwavesdk.data.source import Events, Sample
from nwavesdk.internal.imports import require

__all__ = [
    "NMNIST_SENSOR",
    "Sensor",
    "fit_shape",
    "gather_events",
    "join_shapes",
    "read_aedat4",
    "read_bin",
    "read_structured_npy",
]

# Height and width of a camera, or the channels of a sensor without rows.
Sensor = tuple[int, int] | tuple[int]

NMNIST_SENSOR = (34, 34)

# Limits of a recording. A minute of a busy camera has some ten million events.
MAX_EVENTS = 2**24
MAX_PLACES = 2**24

# An event of a .bin has five bytes: x, y, then one bit of polarity and 23 bits of time [µs].
BIN_BYTES = 5
# This y of a .bin marks that the clock has passed another 8.192 ms. tonic adds this time to all
# later events, mark by mark.
MARKER_Y = 240
MAX_ADDITIONS = 2**31

FIELDS = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])

# numpy's letters for the dtypes that a field may have: whole numbers, and floating times.
KINDS = {"t": "iuf", "x": "iu", "y": "iu", "p": "iub"}

REWRITE = 'write it with np.save, as an array with the fields "t", "x" and, if known, "y" and "p"'
RULE_OF_TIMES = "times are microseconds if they are whole numbers, and seconds if they are floating"


def read_bin(path: Path, sensor: Sensor | None = NMNIST_SENSOR) -> Sample:
    """Events of an N-MNIST or N-Caltech101 file.

    Args:
        path: The file.
        sensor: Height and width [pixels]; None takes those that the events need.

    Returns:
        Events of the shape (2, height, width): polarity, y and x.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file is cut short, or fails a check of the module.
        ModuleNotFoundError: If the extra `events` is not installed.
    """
    read = require("tonic.io", "events").read_mnist_file
    with reading(path, f"events of N-MNIST ({BIN_BYTES} bytes each)"):
        if path.stat().st_size > BIN_BYTES * MAX_EVENTS:
            raise ValueError(f"more than {MAX_EVENTS:,} events")
        content = path.read_bytes()
        rows = np.frombuffer(content, np.uint8).reshape(-1, BIN_BYTES)
        n_marks = np.count_nonzero(rows[:, 1] == MARKER_Y)
        if n_marks * len(rows) > MAX_ADDITIONS:
            raise ValueError(f"{n_marks:,} marks of its clock among {len(rows):,} events")
        events = read(BytesIO(content), dtype=FIELDS, is_stream=True)
    return gather_events(path, {name: events[name] for name in FIELDS.names or ()}, sensor)


def read_structured_npy(path: Path, sensor: Sensor | None = None) -> Sample:
    """Events of a structured array: fields `t` and `x` and, if known, `y` and `p`, in any order.

    Times are microseconds if they are whole numbers, and seconds if they are floating. They count
    from the beginning of the recording. A polarity is 0 or 1, or −1 or 1.

    Args:
        path: The file.
        sensor: Height and width [pixels], or the number of channels if there is no `y`. None takes
            those that the events need; `join_shapes` and `fit_shape` bring recordings together.

    Returns:
        Events of the shape ([2,] [height,] width), with the parts that the file has.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file does not have such an array, is cut short, or fails a check of
            the module.
    """
    with reading(path, "a .npy file", REWRITE):
        array = np.lib.format.open_memmap(path, "r")
    return gather_events(path, {name: array[name] for name in array.dtype.names or ()}, sensor)


def read_aedat4(path: Path) -> Sample:
    """Events of a camera by iniVation's software (DV), version 4 of AEDAT.

    The first event is at 0 s, because the clock of the camera counts from 1970. Frames and other
    streams are left out.

    Args:
        path: The file.

    Returns:
        Events of the shape (2, height, width): polarity, y and x.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file is damaged, has no or several streams of events, or fails a
            check of the module.
        ModuleNotFoundError: If the extra `events` is not installed.
    """
    require("aedat", "events")
    columns = shared_decoder().ask(path, "aedat4")
    height, width = columns.pop("sensor").tolist()
    return gather_events(path, columns, (height, width))


def gather_events(
    path: Path, columns: Mapping[str, npt.NDArray[Any]], sensor: Sensor | None
) -> Sample:
    """The events of a recording, after all checks of the module.

    Args:
        path: Name of the file, for errors.
        columns: Arrays `[n]`: `t` and `x` and, if known, `y` and `p`. Whole numbers of `t` are
            microseconds, floating ones seconds.
        sensor: Height and width, or the number of channels; None takes those that are needed.

    Raises:
        RecordingError: If a check fails.
    """
    has_fields = {"t", "x"} <= columns.keys() and all(
        column.dtype.kind in KINDS.get(name, "") and column.shape == (columns["t"].size,)
        for name, column in columns.items()
    )
    if has_fields and not len(columns["t"]):
        raise RecordingError(path, "has no events")
    if not has_fields or len(columns["t"]) > MAX_EVENTS:
        fields = [f"{name} ({col.dtype} {list(col.shape)})" for name, col in columns.items()]
        what = f"has events with {', '.join(fields) or 'no fields'}, expected t (numbers), x and, "
        what += f"if known, y and p (whole numbers) of 1 to {MAX_EVENTS:,} events"
        raise RecordingError(path, what, REWRITE)

    names = [name for name in "yx" if name in columns]
    axes = [columns[name].astype(np.int64) for name in names]
    shape = list(sensor or [max(0, int(axis.max())) + 1 for axis in axes])
    if "p" in columns:
        polarities = columns["p"].astype(np.int64)
        has_signs = bool(np.all(np.abs(polarities) == 1))
        names.insert(0, "p")
        axes.insert(0, polarities.clip(0) if has_signs else polarities)
        shape.insert(0, 2)

    if len(shape) != len(names) or np.prod(shape, dtype=np.float64) > MAX_PLACES:
        what = f"has the axes {', '.join(names)}, expected those of a sensor {shape} of at most "
        raise RecordingError(path, f"{what}{MAX_PLACES:,} places", "pass the size of its sensor")
    for name, axis, size in zip(names, axes, shape, strict=True):
        if axis.min() < 0 or axis.max() >= size:
            what = f"has events at {name} = {axis.min()} to {axis.max()}, expected 0 to {size - 1}"
            raise RecordingError(path, what, "count from 0, or pass the size of its sensor")

    times = _times_of(path, columns["t"])
    places = np.ravel_multi_index(axes, shape)
    return Sample(Events(times, places, tuple(shape), float(times[-1])))


def _times_of(path: Path, ticks: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Times [s] that are in order."""
    # A quotient is the float64 nearest to the true time; a product by 1e-6 is not.
    times = ticks.astype(np.float64) / (1_000_000 if ticks.dtype.kind in "iu" else 1)
    is_sorted = bool(np.all(np.diff(times) >= 0))
    if not is_sorted or not 0 <= times[0] <= times[-1] <= MOST_SECONDS:
        order = "" if is_sorted else ", which are not in order"
        what = f"has times from {times[0]:g} to {times[-1]:g} s{order}, expected rising times from "
        what += f"0 to {MOST_SECONDS:g} s"
        remedy = f"sort them, subtract the begin, or cut the recording; {RULE_OF_TIMES}"
        raise RecordingError(path, what, remedy)
    return times


# Recordings of one data set


def join_shapes(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest shape that contains all: the largest size along each axis.

    Raises:
        ValueError: If there are none, or some have other axes.

    Example:
        >>> join_shapes([(2, 30, 34), (2, 32, 31)])
        (2, 32, 34)
    """
    found = set(shapes)
    if len({len(shape) for shape in found}) != 1:
        raise ValueError(
            f"Events of one data set need the same axes, got the shapes {sorted(found)[:4]}: "
            "use files with the same fields."
        )
    return tuple(max(sizes) for sizes in zip(*found, strict=True))


def fit_shape(events: Events, shape: tuple[int, ...]) -> Events:
    """The same events on a sensor that is at least as large.

    Raises:
        ValueError: If it is smaller, or has other axes.

    Example:
        >>> events = Events(np.zeros(2), np.array([1, 2]), (2, 2), 0.0)
        >>> fit_shape(events, (2, 3)).places.tolist()
        [1, 3]
    """
    if events.shape == shape:
        return events
    if len(shape) != len(events.shape) or any(map(int.__lt__, shape, events.shape)):
        raise ValueError(f"fit_shape: events of {events.shape} do not fit into {shape}.")
    coordinates = np.unravel_index(events.places, events.shape)
    places = np.ravel_multi_index(coordinates, shape).astype(np.int64)
    return Events(events.times, places, shape, events.duration)
