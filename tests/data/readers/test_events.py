"""Files of events that are written here, byte by byte, and damaged ones."""

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.readers import events as module
from nwavesdk.data.readers.events import (
    fit_shape,
    join_shapes,
    read_aedat4,
    read_bin,
    read_structured_npy,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Events

# Reads content that is written to a file with this name.
Read = Callable[..., Events]


def bin_bytes(*rows: tuple[int, int, int, int]) -> bytes:
    """N-MNIST's bytes of events (x, y, p, t [µs])."""
    return b"".join(bytes([x, y]) + ((p << 23) | t).to_bytes(3, "big") for x, y, p, t in rows)


def npy_bytes(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def structured(kinds: dict[str, str], *rows: tuple[float, ...]) -> bytes:
    return npy_bytes(np.array(list(rows), list(kinds.items())))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(function: Callable[..., Any], data: bytes, *sensor: Any) -> Events:
        path = tmp_path / "one.events"
        path.write_bytes(data)
        events = function(path, *sensor).values
        assert isinstance(events, Events)
        assert (events.times.dtype, events.places.dtype) == (np.float64, np.int64)
        return events

    return read


def fault(read: Read, *arguments: Any) -> str:
    with pytest.raises(RecordingError, match="one.events ") as caught:
        read(*arguments)
    assert str(caught.value).isprintable()
    return str(caught.value)


# N-MNIST


@pytest.mark.events
def test_bin_has_times_in_seconds_and_places_on_the_sensor(read):
    events = read(read_bin, bin_bytes((3, 2, 1, 0), (33, 33, 0, 1500), (0, 1, 1, 8_388_607)))
    assert events.shape == (2, 34, 34)
    assert events.times.tolist() == [0.0, 1.5e-3, 8.388607]
    assert events.duration == 8.388607
    assert events.places.tolist() == [34 * 34 + 2 * 34 + 3, 33 * 34 + 33, 34 * 34 + 34]


@pytest.mark.events
def test_marks_of_the_clock_add_to_the_times_and_are_no_events(read):
    data = bin_bytes((1, 1, 0, 100), (0, 240, 0, 0), (1, 1, 0, 50), (0, 240, 0, 0), (2, 1, 0, 60))
    assert np.rint(read(read_bin, data).times * 1e6).tolist() == [100, 8192 + 50, 2 * 8192 + 60]


@pytest.mark.events
def test_bin_of_another_sensor(read):
    data = bin_bytes((200, 100, 1, 0))
    assert "has events at y = 100 to 100, expected 0 to 33" in fault(read, read_bin, data)
    assert read(read_bin, data, (180, 240)).shape == (2, 180, 240)
    assert read(read_bin, data, None).shape == (2, 101, 201)


@pytest.mark.events
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"1234567", "cannot be read as events of N-MNIST (5 bytes each)"),
        (bin_bytes((0, 0, 0, 5), (0, 0, 0, 4)), "which are not in order"),
        (bin_bytes((0, 240, 0, 0)), "has no events"),
        (bin_bytes((0, 240, 0, 0)) * 50_000, "50,000 marks of its clock among 50,000 events"),
    ],
)
def test_hostile_bin(read, data, words):
    assert words in fault(read, read_bin, data)


# Structured arrays


def test_fields_in_any_order_and_whole_microseconds(read):
    kinds = {"p": "?", "x": "<i2", "t": "<u4", "y": "<i2"}
    events = read(read_structured_npy, structured(kinds, (1, 3, 1000, 0), (0, 1, 2500, 2)))
    assert events.shape == (2, 3, 4)
    assert events.times.tolist() == [1e-3, 2.5e-3]
    assert events.places.tolist() == [12 + 3, 2 * 4 + 1]


def test_floating_times_are_seconds_and_y_and_p_may_be_missing(read):
    data = structured({"t": "f8", "x": "u2"}, (0.25, 5), (0.5, 2))
    events = read(read_structured_npy, data)
    assert (events.shape, events.duration) == ((6,), 0.5)
    assert events.times.tolist() == [0.25, 0.5]
    assert events.places.tolist() == [5, 2]
    assert read(read_structured_npy, data, (700,)).shape == (700,)


def test_polarities_of_both_signs(read):
    data = structured({"t": "i8", "x": "i4", "p": "i1"}, (0, 1, -1), (1, 1, 1))
    assert read(read_structured_npy, data).places.tolist() == [1, 3]


def test_shapes_of_recordings_are_joined(read):
    kinds = {"t": "i8", "x": "i4", "y": "i4"}
    first = read(read_structured_npy, structured(kinds, (0, 1, 4), (3, 2, 0)))
    second = read(read_structured_npy, structured(kinds, (0, 6, 1)))
    shape = join_shapes([first.shape, second.shape])
    assert shape == (5, 7)
    assert fit_shape(first, shape).places.tolist() == [4 * 7 + 1, 2]
    assert fit_shape(second, shape).places.tolist() == [1 * 7 + 6]
    with pytest.raises(ValueError, match="do not fit"):
        fit_shape(second, (5, 6))
    with pytest.raises(ValueError, match="need the same axes"):
        join_shapes([(5, 7), (7,)])


T_X = {"t": "i8", "x": "i4"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no magic here", "cannot be read as a .npy file ("),
        (npy_bytes(np.zeros((2, 2))), "has events with no fields, expected t (numbers), x and"),
        (structured({"t": "i8", "y": "i4"}, (0, 0)), "has events with t (int64 [1]), y (int32"),
        (structured(T_X | {"on": "?"}, (0, 0, 1)), "on (bool [1]), expected"),
        (structured({"t": "i8", "x": "f4"}, (0, 0)), "x (float32 [1]), expected"),
        (structured({"t": "m8[us]", "x": "i4"}, (0, 0)), "t (timedelta64[us] [1])"),
        (structured({"t": "i8", "x": "O"}, (0, 0)), "cannot be read as a .npy file ("),
        (structured({"t": "i8", "x": "(2,)i4"}, (0, 0)), "x (int32 [1, 2])"),
        (npy_bytes(np.zeros((2, 2), list(T_X.items()))), "t (int64 [2, 2])"),
        (structured(T_X), "has no events"),
        (structured(T_X, (0, 0), (1, 0))[:-1], "cannot be read as a .npy file ("),
        (structured(T_X, (-3, 0)), "has times from -3e-06 to -3e-06 s, expected"),
        (structured({"t": "f8", "x": "i4"}, (np.nan, 0)), "has times from nan to nan s"),
        (structured({"t": "f8", "x": "i4"}, (0, 0), (np.inf, 0)), "to inf s"),
        (structured({"t": "f4", "x": "i4"}, (3000.0, 0)), "to 3000 s, expected rising times"),
        (structured(T_X, (9, 0), (8, 0)), "which are not in order"),
        (structured(T_X, (0, -1)), "has events at x = -1 to -1, expected 0 to 0: count from 0"),
        (structured({"t": "i8", "x": "u8"}, (0, 2**63)), "has events at x = -9223372036854775808"),
        (structured(T_X | {"y": "i4"}, (0, 5000, 5000)), "those of a sensor [5001, 5001] of at"),
        (structured(T_X | {"p": "i1"}, (0, 0, 2)), "has events at p = 2 to 2, expected 0 to 1"),
        (structured(T_X | {"p": "i1"}, (0, 0, 0), (0, 0, -1)), "has events at p = -1 to 0"),
    ],
)  # fmt: skip
def test_hostile_arrays(read, data, words):
    assert words in fault(read, read_structured_npy, data)


def test_array_of_another_sensor_or_with_too_many_events(read, monkeypatch):
    data = structured(T_X | {"y": "i4"}, (0, 5, 3))
    assert "has events at x = 5 to 5, exp" in fault(read, read_structured_npy, data, (4, 5))
    assert "has the axes y, x, expected" in fault(read, read_structured_npy, data, (9,))
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    assert "of 1 to 3 events" in fault(read, read_structured_npy, structured(T_X, *[(0, 0)] * 4))


@pytest.mark.events
def test_bin_with_too_many_events(read, monkeypatch):
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    assert "more than 3 events" in fault(read, read_bin, bin_bytes(*[(0, 0, 0, 0)] * 4))


def test_a_header_that_claims_more_than_the_file_is_rejected_before_it_is_allocated(read):
    data = structured(T_X, (0, 0)).replace(b"(1,)", b"(9000000000000,)")
    assert "cannot be read as a .npy file (" in fault(read, read_structured_npy, data)


# AEDAT4

STREAM = """
<node name="{id}">
  <attr key="typeIdentifier" type="string">EVTS</attr>
  <node name="info">
    <attr key="sizeX" type="int">{width}</attr><attr key="sizeY" type="int">{height}</attr>
  </node>
</node>"""

EVENT = np.dtype(
    {
        "names": ["t", "x", "y", "p"],
        "formats": ["<i8", "<i2", "<i2", "u1"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)


def header(width: int = 4, height: int = 3, ids: tuple[int, ...] = (0,)) -> bytes:
    """The header: a flatbuffer with a description in XML, and no compression."""
    streams = "".join(STREAM.format(id=i, width=width, height=height) for i in ids)
    text = f'<dv version="2.0"><node name="outInfo">{streams}</node></dv>'.encode()
    # Place of the table and name of the format; sizes and places of the fields; the table: way to
    # the sizes, compression, way to the text.
    root = struct.pack("<I4s", 20, b"IOHE")
    fields = struct.pack("<5H2x", 10, 12, 4, 0, 8)
    table = struct.pack("<iiI", 12, 0, 4)
    content = root + fields + table + struct.pack("<I", len(text)) + text + b"\0"
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(content)) + content


def packet(*events: tuple[int, int, int, int], stream: int = 0) -> bytes:
    """Events (t [µs], x, y, p), laid out as in `header`."""
    values = np.array(list(events), [(name, "i8") for name in "txyp"]).astype(EVENT)
    root = struct.pack("<I4s", 16, b"EVTS")
    fields = struct.pack("<3H2x", 6, 8, 4)
    table = struct.pack("<iI4x", 8, 8)
    content = root + fields + table + struct.pack("<I", len(values)) + values.tobytes()
    content = struct.pack("<I", len(content)) + content
    return struct.pack("<II", stream, len(content)) + content


START = 1_700_000_000_000_000  # µs since 1970
WHOLE = header() + packet((START, 1, 2, 1), (START + 5, 3, 0, 0)) + packet((START + 1000, 0, 0, 1))


@pytest.mark.events
def test_events_of_all_packets_begin_at_zero(read):
    events = read(read_aedat4, WHOLE)
    assert events.shape == (2, 3, 4)
    assert events.times.tolist() == [0.0, 5e-6, 1e-3]
    assert events.places.tolist() == [12 + 2 * 4 + 1, 3, 12]


@pytest.mark.events
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"#!AER-DAT3.1\r\n", "cannot be read ("),
        (header(), "cannot be read ("),
        (header(ids=(0, 1)) + packet((0, 0, 0, 0)), "2 streams of events, expected one"),
        (header() + packet((0, 4, 0, 0)), "has events at x = 4 to 4, expected 0 to 3"),
        (header() + packet((9, 0, 0, 0), (8, 0, 0, 0)), "which are not in order"),
        (header() + packet((0, 0, 0, 0), (2**50, 0, 0, 0)), "to 1.1259e+09 s, expected"),
        (WHOLE[:-1], "cannot be read ("),
        (header() + struct.pack("<II", 0, 2**32 - 1), "crashes its decoder"),
    ],
)
def test_unfit_aedat4(read, data, words):
    assert words in fault(read, read_aedat4, data)


@pytest.mark.parametrize(
    ("function", "whole", "first", "n_files"),
    [
        (
            read_structured_npy,
            structured(T_X | {"y": "i2", "p": "?"}, *[(i, i, i, i % 2) for i in range(4)]),
            0,
            500,
        ),
        pytest.param(read_aedat4, WHOLE, 14, 40, marks=pytest.mark.events),
    ],
)
def test_random_damage_raises_no_other_error(read, function, whole, first, n_files):
    draw = np.random.default_rng(0)
    for _ in range(n_files):
        data = bytearray(whole)
        for place in draw.integers(first, len(data), draw.integers(1, 4)):
            data[place] = draw.integers(0, 256)
        with suppress(RecordingError):
            read(function, bytes(data[: draw.integers(first + 1, 2 * len(data))]))
