"""Files of events: N-MNIST's .bin, structured .npy arrays, AEDAT4, and HDF5 with many recordings.

All readers make the same checks: coordinates are on the sensor, times are finite, not negative and
never fall, and there are not too many events. AEDAT4 and HDF5 are read in the process of
`isolation`.

HDF5 files have the format of the Spiking Heidelberg Digits and the Spiking Speech Commands: the
variable-length arrays `spikes/times` [s] and `spikes/units` (channels), `labels` and, if known,
`extra/keys` (names of the classes) and `extra/speaker`. Recordings are read one by one.

References:
    Orchard et al. 2015, Converting static image datasets to spiking neuromorphic datasets using
    saccades, Frontiers in Neuroscience 9:437, doi:10.3389/fnins.2015.00437 (the format .bin).
    Cramer, Stradmann, Schemmel and Zenke 2022, The Heidelberg spiking data sets, IEEE Transactions
    on Neural Networks and Learning Systems 33(7), doi:10.1109/TNNLS.2020.3044364 (HDF5).
"""

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path

import numpy as np

from nwavesdk.data.decoding import MAX_RECORDING_SECONDS
from nwavesdk.data.readers.isolation import decode
from nwavesdk.data.source import (
    Array,
    Events,
    Item,
    RecordingError,
    Sample,
    Source,
    digest_of,
    list_rows,
    name_classes,
    reading,
)
from nwavesdk.internal.imports import require

__all__ = [
    "SHD_CHANNELS",
    "fit_shape",
    "join_shapes",
    "open_shd",
    "read_aedat4",
    "read_bin",
    "read_structured_npy",
]

# Limits of a recording. A minute of a busy camera has some ten million events.
MAX_EVENTS = 2**24
MAX_PLACES = 2**24

# An event of a .bin has five bytes: x, y, then one bit of polarity and 23 bits of time [µs].
BIN_BYTES = 5

# The channels of a recording of the Heidelberg Digits.
SHD_CHANNELS = 700

SHD_FORM = "HDF5 with labels, spikes/times and spikes/units, as the Heidelberg Digits have it"

REMEDY = "write times from 0, as integers [µs] or floats [s], and places from 0"


def read_bin(path: Path) -> Sample:
    """Events of an N-MNIST file.

    Args:
        path: The file.

    Returns:
        Events of the shape (2, 34, 34): polarity, y and x.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file is cut short, or fails a check of the module.
    """
    with reading(path, "events of N-MNIST (5 bytes each)", max_bytes=BIN_BYTES * MAX_EVENTS):
        table = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, BIN_BYTES)
        x, y, high, middle, low = table.T.astype(np.int64)

        # An event at y = 240 is not on the sensor: it marks that another 8,192 µs have passed.
        is_mark = y == 240
        ticks = ((high & 127) << 16) + (middle << 8) + low + 8192 * is_mark.cumsum()
    columns = np.stack([ticks, x, y, high >> 7])[:, ~is_mark]
    return gather_events(path, dict(zip("txyp", columns, strict=True)), (34, 34))


def read_structured_npy(path: Path) -> Sample:
    """Events of a structured array: fields `t` and `x` and, if known, `y` and `p`, in any order.

    Times are microseconds if they are integers, and seconds if they are floats. They count from the
    beginning of the recording. A polarity is 0 or 1, or −1 or 1.

    Args:
        path: The file.

    Returns:
        Events of the shape ([2,] [height,] width), with the parts that the file has and the sizes
        that its events need; `join_shapes` and `fit_shape` bring recordings together.

    Raises:
        FileError: If there is no such file, or it cannot be read.
        RecordingError: If the file does not have such an array, is cut short, or fails a check of
            the module.
    """
    with reading(path, "a .npy file", "write it with numpy.save"):
        array = np.lib.format.open_memmap(path, "r")
    return gather_events(path, {name: array[name] for name in array.dtype.names or ()}, None)


def read_aedat4(path: Path) -> Sample:
    """Events of a camera by iniVation's software (DV), version 4 of AEDAT.

    The first event is at 0 s, because the clock of the camera counts from 1970. Frames and other
    streams are ignored.

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
    columns = decode(path, "aedat4")
    height, width = columns.pop("sensor").tolist()
    return gather_events(path, columns, (height, width))


def open_shd(path: Path) -> Source:
    """The recordings of a file such as shd_train.h5.

    Speakers are groups. Times are seconds if they are floats, and microseconds if they are
    integers; events are sorted by time.

    Args:
        path: The file.

    Raises:
        FileError: If the file does not exist or cannot be opened.
        RecordingError: If it is damaged or has another format.
        ModuleNotFoundError: If the extra `events` is not installed.
    """
    require("h5py", "events")
    counts = ["spikes/times#", "spikes/units#"]
    arrays = decode(path, "hdf5", names=["labels", "extra/speaker", "extra/keys", *counts])
    with reading(path, SHD_FORM):
        labels = arrays["labels"]
        names = [name.decode() for name in arrays.get("extra/keys", labels[:0]).tolist()]
        speakers = list(map(str, arrays.get("extra/speaker", labels[:0])))
        sizes = {int(arrays[count]) for count in counts} | {len(speakers) or len(labels)}

        # A header may claim any number of labels, but a recording takes at least one byte.
        is_list = labels.ndim == 1 and 0 < len(labels) <= path.stat().st_size
        is_label = labels.dtype.kind in "iu" and labels.min() >= 0
        if not is_list or not is_label or sizes != {len(labels)}:
            raise ValueError(
                f"labels of {labels.dtype} {list(labels.shape)}, expected a whole number for each "
                "recording, and as many spikes/times, spikes/units and extra/speaker"
            )
        name_of = name_classes(labels.tolist(), names)
        words = [name_of[label] for label in labels.tolist()]

    return Source(
        kind="events",
        task="classification",
        items=list_rows(path, words, groups=speakers),
        read=lambda item: gather_events(
            path / str(item.index), _shd_columns(item), (SHD_CHANNELS,)
        ),
        digest=lambda item: digest_of(str(item.class_name), *_shd_columns(item).values()),
        classes=tuple(name_of.values()),
        shape=(SHD_CHANNELS,),
    )


def _shd_columns(item: Item) -> dict[str, Array]:
    """The events of a recording in the order of times, with the fields t and x."""
    names = ["spikes/times", "spikes/units"]
    arrays = decode(item.path, "hdf5", names=names, index=item.index)
    with reading(item.path, SHD_FORM):
        times, units = (arrays[name] for name in names)
        # Events of one time keep their order. Arrays of different lengths are an error here.
        order = np.lexsort((np.arange(len(units)), times))
        return {"t": times[order], "x": units[order]}


def gather_events(
    path: Path, columns: Mapping[str, Array], sensor: tuple[int, ...] | None
) -> Sample:
    """The events of a recording, after all checks of the module.

    Args:
        path: Name of the file, for errors.
        columns: Arrays `[n]`: `t` and `x` and, if known, `y` and `p`. Integers in `t` are
            microseconds, floats are seconds.
        sensor: Height and width, or the number of channels; None: the smallest that fits.

    Raises:
        RecordingError: If a check fails.
    """
    with reading(path, "events on a sensor, with t, x and, if known, y and p, by time", REMEDY):
        shapes = {column.shape for column in columns.values()}
        if not {"t", "x"} <= columns.keys() <= set("txyp") or len(shapes) > 1:
            raise ValueError(f"its fields {list(columns)} have the shapes {[*shapes]}")

        ticks = columns["t"]
        if ticks.dtype.kind not in "iuf" or not 0 < ticks.size <= MAX_EVENTS:
            raise ValueError(
                f"it has {ticks.size:,} times of type {ticks.dtype}, expected 1 to {MAX_EVENTS:,} "
                "numbers"
            )

        # A quotient is the float64 nearest to the true time; a product by 1e-6 is not.
        times = ticks.astype(np.float64) / (1e6 if ticks.dtype.kind in "iu" else 1.0)
        if not np.all(np.diff(times, prepend=0, append=MAX_RECORDING_SECONDS) >= 0):
            raise ValueError(
                f"its times from {times[0]:g} to {times[-1]:g} s are not in order, or not within "
                f"0 to {MAX_RECORDING_SECONDS:g} s"
            )

        axes = {name: columns[name] for name in "pyx" if name in columns}
        shape = tuple(sensor or (int(axes[name].max()) + 1 for name in "yx" if name in axes))
        if "p" in axes:
            shape = (2, *shape)
            if np.all(np.abs(axes["p"]) == 1):  # -1 and 1
                axes["p"] = np.maximum(axes["p"], 0)

        if prod(shape) > MAX_PLACES:
            raise ValueError(f"a sensor of shape {shape}, expected at most {MAX_PLACES:,} places")
        places = np.ravel_multi_index(tuple(axes.values()), shape)  # raises if some are outside
    return Sample(Events(times, places, shape, float(times[-1])))


# Recordings of one data set


def join_shapes(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The smallest shape that contains all shapes: the largest size along each axis.

    Raises:
        ValueError: If there are no shapes, or they have different axes.

    Example:
        >>> join_shapes([(2, 30, 34), (2, 32, 31)])
        (2, 32, 34)
    """
    distinct = sorted(set(shapes))
    if len({len(shape) for shape in distinct}) != 1:
        raise ValueError(
            f"Events of one data set need the same axes, got the shapes {distinct[:4]}: "
            "use files with the same fields."
        )
    return tuple(np.max(distinct, axis=0).tolist())


def fit_shape(events: Events, shape: tuple[int, ...], path: Path) -> Events:
    """The same events on a sensor that is at least as large.

    Args:
        events: The events.
        shape: Size of the sensor.
        path: The file that an error names.

    Raises:
        RecordingError: If the sensor is smaller, or has other axes.

    Example:
        >>> events = Events(np.zeros(2), np.array([1, 2]), (2, 2), 0.0)
        >>> fit_shape(events, (2, 3), Path("a.npy")).places.tolist()
        [1, 3]
    """
    if events.shape == shape:
        return events
    if len(shape) != len(events.shape) or any(map(int.__lt__, shape, events.shape)):
        raise RecordingError(
            path,
            f"is from a sensor of shape {events.shape}, expected {shape} or smaller",
            "pass a recording of the same sensor as in the run",
        )
    places = np.ravel_multi_index(np.unravel_index(events.places, events.shape), shape)
    return Events(events.times, places, shape, events.duration)
