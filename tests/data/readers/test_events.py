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
from nwavesdk.data.source import Events, RecordingError

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
    def read(function: Callable[..., Any], data: bytes) -> Events:
        path = tmp_path / "one.events"
        path.write_bytes(data)
        events = function(path).values
        assert (events.times.dtype, events.places.dtype) == (np.float64, np.int64)
        return events

    return read


def fault(read: Read, *arguments: Any) -> str:
    with pytest.raises(RecordingError, match="one.events ") as caught:
        read(*arguments)
    assert str(caught.value).isprintable()
    return str(caught.value)


# N-MNIST


def test_bin_has_the_events_of_tonic_also_behind_marks_of_the_clock(read, tmp_path):
    tonic = pytest.importorskip("tonic.io")
    draw = np.random.default_rng(0)
    # Every tenth event marks that the clock has passed another 8,192 µs.
    rows = [(draw.integers(34), 240 if n % 10 == 9 else draw.integers(34)) for n in range(500)]
    data = bin_bytes(*((int(x), int(y), n % 2, 7 * n) for n, (x, y) in enumerate(rows)))
    events = read(read_bin, data)
    dtype = np.dtype([(name, np.int64) for name in "xytp"])
    expected = tonic.read_mnist_file(str(tmp_path / "one.events"), dtype)
    assert len(expected) == 450
    np.testing.assert_array_equal(events.times, expected["t"] / 1e6)
    places = np.ravel_multi_index([expected[name] for name in "pyx"], (2, 34, 34))
    np.testing.assert_array_equal(events.places, places)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"1234567", "cannot be read as events of N-MNIST (5 bytes each)"),
        (bin_bytes((0, 0, 0, 5), (0, 0, 0, 4)), "not in order"),
        (bin_bytes((0, 240, 0, 0)), "it has 0 times"),
        (bin_bytes((33, 34, 1, 0)), "invalid entry in coordinates"),
    ],
)
def test_hostile_bin(read, data, words):
    assert words in fault(read, read_bin, data)


# Structured arrays


FILE = Path("a.npy")


def test_shapes_of_recordings_are_joined(read):
    kinds = {"t": "i8", "x": "i4", "y": "i4"}
    first = read(read_structured_npy, structured(kinds, (0, 1, 4), (3, 2, 0)))
    second = read(read_structured_npy, structured(kinds, (0, 6, 1)))
    shape = join_shapes([first.shape, second.shape])
    assert shape == (5, 7)
    assert fit_shape(first, shape, FILE).places.tolist() == [4 * 7 + 1, 2]
    assert fit_shape(second, shape, FILE).places.tolist() == [1 * 7 + 6]
    with pytest.raises(
        ValueError, match=r"a\.npy is from a sensor of shape .*expected \(5, 6\) or"
    ):
        fit_shape(second, (5, 6), FILE)
    with pytest.raises(ValueError, match="need the same axes"):
        join_shapes([(5, 7), (7,)])


T_X = {"t": "i8", "x": "i4"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no magic here", "cannot be read as a .npy file ("),
        (npy_bytes(np.zeros((2, 2))), "its fields [] have"),
        (structured({"t": "i8", "y": "i4"}, (0, 0)), "its fields ['t', 'y'] have"),
        (structured(T_X | {"on": "?"}, (0, 0, 1)), "its fields ['t', 'x', 'on'] have"),
        (structured({"t": "i8", "x": "f4"}, (0, 0)), "only int indices permitted"),
        (structured({"t": "m8[us]", "x": "i4"}, (0, 0)), "1 times of type timedelta64[us]"),
        (structured({"t": "i8", "x": "(2,)i4"}, (0, 0)), "have the shapes [(1,"),
        (structured(T_X), "it has 0 times of type int64, expected 1 to"),
        (structured(T_X, (0, 0), (1, 0))[:-1], "cannot be read as a .npy file ("),
        (structured(T_X, (-3, 0)), "its times from -3e-06 to -3e-06 s are not"),
        (structured({"t": "f8", "x": "i4"}, (np.nan, 0)), "its times from nan to nan s"),
        (structured({"t": "f4", "x": "i4"}, (3000.0, 0)), "or not within 0 to 600 s"),
        (structured(T_X, (9, 0), (8, 0)), "not in order"),
        (structured(T_X, (0, -1)), "cannot be read as events on a sensor"),
        (structured({"t": "i8", "x": "u8"}, (0, 2**63)), "expected at most 16,777,216 places"),
        (structured(T_X | {"y": "i4"}, (0, 5000, 5000)), "a sensor of shape (5001, 5001), ex"),
        (structured(T_X | {"p": "i1"}, (0, 0, 2)), "invalid entry in coordinates"),
        (structured(T_X, (0, 0)).replace(b"(1,)", b"(9000000000000,)"), "as a .npy file ("),
    ],
)  # fmt: skip
def test_hostile_arrays(read, data, words):
    assert words in fault(read, read_structured_npy, data)


def test_too_many_events(read, monkeypatch):
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    assert "it has 4 times" in fault(read, read_structured_npy, structured(T_X, *[(0, 0)] * 4))
    assert "20 bytes, expected at most 15" in fault(read, read_bin, bytes(20))


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


@pytest.mark.parametrize(
    ("function", "data", "shape", "times", "places"),
    [
        (
            read_bin,
            bin_bytes((3, 2, 1, 0), (33, 33, 0, 1500), (0, 1, 1, 8_388_607)),
            (2, 34, 34),
            [0.0, 1.5e-3, 8.388607],
            [34 * 34 + 2 * 34 + 3, 33 * 34 + 33, 34 * 34 + 34],
        ),
        # Fields in any order, whole microseconds.
        (
            read_structured_npy,
            structured(
                {"p": "?", "x": "<i2", "t": "<u4", "y": "<i2"}, (1, 3, 1000, 0), (0, 1, 2500, 2)
            ),
            (2, 3, 4),
            [1e-3, 2.5e-3],
            [12 + 3, 2 * 4 + 1],
        ),
        # Floating seconds, without y and p.
        (
            read_structured_npy,
            structured({"t": "f8", "x": "u2"}, (0.25, 5), (0.5, 2)),
            (6,),
            [0.25, 0.5],
            [5, 2],
        ),
        # Polarities of both signs.
        (
            read_structured_npy,
            structured({"t": "i8", "x": "i4", "p": "i1"}, (0, 1, -1), (1, 1, 1)),
            (2, 2),
            [0.0, 1e-6],
            [1, 3],
        ),
        pytest.param(
            read_aedat4,
            WHOLE,
            (2, 3, 4),
            [0.0, 5e-6, 1e-3],
            [12 + 2 * 4 + 1, 3, 12],
            marks=pytest.mark.events,
        ),
    ],
)
def test_events_are_read(read, function, data, shape, times, places):
    events = read(function, data)
    assert (events.shape, events.duration) == (shape, times[-1])
    assert events.times.tolist() == times
    assert events.places.tolist() == places


@pytest.mark.events
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"#!AER-DAT3.1\r\n", "cannot be read as HDF5 or AEDAT4 within"),
        (header(), "cannot be read as HDF5 or AEDAT4 within"),
        (header(ids=(0, 1)) + packet((0, 0, 0, 0)), "too many values to unpack"),
        (header() + packet((0, 4, 0, 0)), "invalid entry in coordinates"),
        (header() + packet((9, 0, 0, 0), (8, 0, 0, 0)), "not in order"),
        (header() + packet((0, 0, 0, 0), (2**50, 0, 0, 0)), "to 1.1259e+09 s are"),
        (WHOLE[:-1], "cannot be read as HDF5 or AEDAT4 within"),
        (header() + struct.pack("<II", 0, 2**32 - 1), "cannot be read as HDF5 or AEDAT4 within"),
    ],
)
def test_unfit_aedat4(read, data, words):
    assert words in fault(read, read_aedat4, data)


@pytest.mark.events
def test_random_damage_raises_no_other_error(read):
    draw = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(WHOLE)
        for place in draw.integers(14, len(data), draw.integers(1, 4)):
            data[place] = draw.integers(0, 256)
        with suppress(RecordingError):
            read(read_aedat4, bytes(data[: draw.integers(15, 2 * len(data))]))
