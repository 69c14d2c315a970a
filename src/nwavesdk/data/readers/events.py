"""Files of events, one recording each: N-MNIST's .bin and structured .npy arrays.

All readers make the same checks: coordinates are on the sensor, times are finite, not negative and
never fall, and there are not too many events. `read_aedat4` is in `aedat4`, which shares them.
"""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.decoding import MOST_SECONDS
from nwavesdk.data.readers.npy import parse_header
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Events, Sample
from nwavesdk.internal.imports import require

__all__ = [
    "MOST_EVENTS",
    "NMNIST_SENSOR",
    "SUFFIXES",
    "Sensor",
    "fit_shape",
    "gather_events",
    "holds_events",
    "join_shapes",
    "read_bin",
    "read_structured_npy",
]

# Height and width of a camera, or the channels of a sensor without rows.
Sensor = tuple[int, int] | tuple[int]

# A .npy is a file of events only if its array has fields: see `holds_events`.
SUFFIXES = frozenset({".bin"})

NMNIST_SENSOR = (34, 34)

# Limits of a recording. A minute of a busy camera has some ten million events.
MOST_EVENTS = 2**24
MOST_PLACES = 2**24

# An event of a .bin has five bytes: x, y, then one bit of polarity and 23 bits of time [µs].
BIN_BYTES = 5
# This y marks that the clock has passed another 8.192 ms; it is not an event.
MARKER_Y = 240
# tonic adds this time to all later events, marker by marker: the most additions that we allow.
MOST_ADDITIONS = 2**31

FIELDS = np.dtype([("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)])

RULE_OF_TIMES = "times are microseconds if they are whole numbers, and seconds if they are floating"
REWRITE = 'write it with np.save, as an array with the fields "t", "x" and, if known, "y" and "p"'


def read_bin(path: Path, data: bytes, sensor: Sensor | None = NMNIST_SENSOR) -> Sample:
    """Events of an N-MNIST or N-Caltech101 file.

    Args:
        path: Name of the file, for errors.
        data: Its content.
        sensor: Height and width [pixels]; None takes those that the events need.

    Returns:
        Events of the shape (2, height, width): polarity, y and x.

    Raises:
        RecordingError: If the content is cut short, or fails a check of the module.
    """
    _check_bin(path, data)
    read = require("tonic.io", "events").read_mnist_file
    fields = read(BytesIO(data), dtype=FIELDS, is_stream=True)
    columns = {name: fields[name] for name in FIELDS.names or ()}
    return gather_events(path, columns, sensor)


def _check_bin(path: Path, data: bytes) -> None:
    count, rest = divmod(len(data), BIN_BYTES)
    if not data:
        raise RecordingError(path, "is empty (0 bytes)")
    if rest:
        what = (
            f"has {len(data):,} bytes, expected a multiple of {BIN_BYTES} (x, y, polarity and time "
            "of each event): it is cut short, or not in the format of N-MNIST"
        )
        raise RecordingError(path, what)
    _check_count(path, count)
    markers = int(np.count_nonzero(np.frombuffer(data, np.uint8)[1::BIN_BYTES] == MARKER_Y))
    if markers * count > MOST_ADDITIONS:
        what = (
            f"has {markers:,} marks of its clock (y = {MARKER_Y}) among {count:,} events, expected "
            f"at most {MOST_ADDITIONS // count:,}"
        )
        raise RecordingError(path, what, "cut it")


def holds_events(data: bytes) -> bool:
    """Whether the content of a .npy has fields, as events do; False if it cannot be read.

    Example:
        >>> file = BytesIO()
        >>> np.save(file, np.zeros(3, [("t", np.int64), ("x", np.int16)]))
        >>> holds_events(file.getvalue())
        True
    """
    try:
        return parse_header(data).dtype.names is not None
    except ValueError:
        return False


def read_structured_npy(path: Path, data: bytes, sensor: Sensor | None = None) -> Sample:
    """Events of a structured array: fields `t` and `x` and, if known, `y` and `p`, in any order.

    Times are microseconds if they are whole numbers, and seconds if they are floating. They count
    from the beginning of the recording. A polarity is 0 or 1, or −1 or 1.

    Args:
        path: Name of the file, for errors.
        data: Its content.
        sensor: Height and width [pixels], or the number of channels if there is no `y`. None takes
            those that the events need; `join_shapes` and `fit_shape` bring recordings together.

    Returns:
        Events of the shape ([2,] [height,] width), with the parts that the file has.

    Raises:
        RecordingError: If the content is not such an array, is cut short, or fails a check of the
            module.
    """
    try:
        header = parse_header(data)
    except ValueError as error:
        raise RecordingError(path, f"cannot be read as .npy ({error})", REWRITE) from None
    _check_fields(path, header.shape, header.dtype)
    _check_count(path, header.n_values)
    if len(data) != header.file_size:
        fault = "is cut short" if len(data) < header.file_size else "is too long"
        what = f"{fault} ({len(data):,} bytes, expected {header.file_size:,})"
        raise RecordingError(path, what)
    array = np.frombuffer(data, header.dtype, offset=header.size)
    columns = {name: array[name] for name in header.dtype.names or ()}
    return gather_events(path, columns, sensor)


def _check_fields(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    fields = dict(dtype.fields or {})
    kinds = {"t": "iuf", "x": "iu", "y": "iu", "p": "iub"}
    names = set(fields)
    what = ""
    if not {"t", "x"} <= names <= set(kinds):
        got = ", ".join(map(str, fields)) or "none"
        what = f'has the fields {got}, expected "t", "x" and, if known, "y" and "p"'
    elif len(shape) != 1:
        what = f"has an array of shape {list(shape)}, expected one axis"
    for name, (kind, *_) in fields.items():
        if not what and kind.kind not in kinds[str(name)]:
            expected = "numbers" if name == "t" else "whole numbers"
            what = f"has {name} of {kind}, expected {expected}"
    if what:
        raise RecordingError(path, what, REWRITE)


# Checks that all readers share


def gather_events(
    path: Path,
    columns: dict[str, npt.NDArray[Any]],
    sensor: Sensor | None,
    ticks_per_second: int = 1_000_000,
) -> Sample:
    """The events of a recording, after all checks of the module.

    Args:
        path: Name of the file, for errors.
        columns: Arrays `[n]`: `t` and `x` and, if known, `y` and `p`. Whole numbers of `t` are
            microseconds, floating ones seconds.
        sensor: Height and width, or the number of channels; None takes those that are needed.
        ticks_per_second: Whole numbers of `t` in a second.

    Raises:
        RecordingError: If a check fails.
    """
    _check_count(path, len(columns["t"]))
    times = _times(path, columns["t"], ticks_per_second)
    names = [name for name in ("y", "x") if name in columns]
    if sensor is not None and len(sensor) != len(names):
        what = f"has events with {' and '.join(names)}, expected those of a sensor {list(sensor)}"
        raise RecordingError(path, what, "give the size of its sensor")
    shape: list[int] = []
    places = np.zeros(len(times), np.int64)
    if "p" in columns:
        shape.append(2)
        places += _polarities(path, columns["p"])
    for axis, name in enumerate(names):
        size = _check_coordinates(path, name, columns[name], sensor and sensor[axis])
        shape.append(size)
        places = places * size + columns[name].astype(np.int64)
    if np.prod(shape, dtype=np.float64) > MOST_PLACES:
        what = f"needs a sensor of {shape}, expected at most {MOST_PLACES:,} places"
        raise RecordingError(path, what)
    return Sample(Events(times, places, tuple(shape), float(times[-1])))


def _check_count(path: Path, count: int) -> None:
    if not count:
        raise RecordingError(path, "has no events", "remove it")
    if count > MOST_EVENTS:
        what = f"has {count:,} events, expected at most {MOST_EVENTS:,}"
        raise RecordingError(path, what, "cut it")


def _times(path: Path, ticks: npt.NDArray[Any], ticks_per_second: int) -> npt.NDArray[np.float64]:
    """Times [s] of ticks, after their checks."""
    # A quotient is the float64 nearest to the true time; a product by 1e-6 is not.
    is_whole = ticks.dtype.kind in "iu"
    times = ticks.astype(np.float64) / (ticks_per_second if is_whole else 1)
    what = ""
    remedy = RULE_OF_TIMES
    if not np.isfinite(times).all():
        what = "has times that are not finite"
        remedy = "repair or remove it"
    elif times.min() < 0:
        what = f"has a time of {times.min():g} s, expected none before 0"
        remedy = f"subtract the time at which it begins; {RULE_OF_TIMES}"
    elif times.max() > MOST_SECONDS:
        what = f"lasts {times.max():,.1f} s, expected at most {MOST_SECONDS:g} s"
        remedy = f"cut it, or subtract the time at which it begins; {RULE_OF_TIMES}"
    elif (falls := np.flatnonzero(np.diff(times) < 0)).size:
        what = f"has times that fall (event {falls[0] + 1:,}), expected the order of times"
        remedy = "sort its events by time"
    if what:
        raise RecordingError(path, what, remedy)
    return times


def _polarities(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Polarities as 0 and 1."""
    polarities = values.astype(np.int64)
    found = set(np.unique(polarities).tolist())
    if not (found <= {0, 1} or found <= {-1, 1}):
        shown = ", ".join(map(str, sorted(found)[:4]))
        what = f"has polarities of {shown}, expected 0 and 1, or -1 and 1"
        raise RecordingError(path, what)
    return (polarities > 0).astype(np.int64)


def _check_coordinates(path: Path, name: str, values: npt.NDArray[Any], size: int | None) -> int:
    """The size of the sensor along an axis."""
    lowest, highest = int(values.min()), int(values.max())
    most = MOST_PLACES if size is None else size
    if lowest < 0 or highest >= most:
        got = lowest if lowest < 0 else highest
        what = f"has an event at {name} = {got}, expected 0 to {most - 1} (its sensor)"
        remedy = "check that it is of this sensor"
        if lowest < 0:
            remedy = f"count {name} from 0"
        elif size is not None:
            remedy += ", or give the size of its sensor"
        raise RecordingError(path, what, remedy)
    return highest + 1 if size is None else size


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
