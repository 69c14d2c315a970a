"""AEDAT4 files that are written here, flatbuffer by flatbuffer, and damaged ones."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.readers.aedat4 import MAGIC, read_aedat4
from nwavesdk.data.reading import RecordingError

NAME = Path("waving/one.aedat4")

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
    return MAGIC + struct.pack("<I", len(content)) + content


def packet(*events: tuple[int, int, int, int], stream: int = 0) -> bytes:
    """Events (t [µs], x, y, p), laid out as in `header`."""
    values = np.array(list(events), [(name, "i8") for name in "txyp"]).astype(EVENT)
    root = struct.pack("<I4s", 16, b"EVTS")
    fields = struct.pack("<3H2x", 6, 8, 4)
    table = struct.pack("<iI4x", 8, 8)
    content = root + fields + table + struct.pack("<I", len(values)) + values.tobytes()
    content = struct.pack("<I", len(content)) + content
    return struct.pack("<II", stream, len(content)) + content


def fault(data: bytes) -> str:
    with pytest.raises(RecordingError) as caught:
        read_aedat4(NAME, data)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("waving/one.aedat4 ")
    return str(caught.value)


START = 1_700_000_000_000_000  # µs since 1970
WHOLE = header() + packet((START, 1, 2, 1), (START + 5, 3, 0, 0)) + packet((START + 1000, 0, 0, 1))


@pytest.mark.events
def test_events_of_all_packets_begin_at_zero():
    events: Any = read_aedat4(NAME, WHOLE).values
    assert events.shape == (2, 3, 4)
    assert events.times.tolist() == [0.0, 5e-6, 1e-3]
    assert events.places.tolist() == [12 + 2 * 4 + 1, 3, 12]


@pytest.mark.events
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(), "has no events"),
        (header(ids=(0, 1)) + packet((0, 0, 0, 0)), "has 2 streams of events, expected one"),
        (header() + packet((0, 4, 0, 0)), "has an event at x = 4, expected 0 to 3"),
        (header() + packet((0, 0, -1, 0)), "has an event at y = 65535, expected 0 to 2"),
        (header() + packet((9, 0, 0, 0), (8, 0, 0, 0)), "has a time of -1e-06 s"),
        (header() + packet((0, 0, 0, 0), (2**50, 0, 0, 0)), "lasts 1,125,899,906.8 s"),
        (header() + packet((0, 0, 0, 0), stream=7), "cannot be read (unknown stream id"),
        (WHOLE[:-1], "cannot be read ("),
        (WHOLE[:40], "cannot be read ("),
        (header() + struct.pack("<II", 0, 2**32 - 1), "crashes its decoder"),
    ],
)
def test_unfit_contents(data, words):
    assert words in fault(data)


def test_other_formats():
    assert "is empty (0 bytes)" in fault(b"")
    assert "begins b'#!AER-DAT3.1\\r\\n', expected AEDAT4" in fault(b"#!AER-DAT3.1\r\n")


@pytest.mark.events
def test_random_damage_raises_no_other_error():
    draw = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        data = bytearray(WHOLE)
        for place in draw.integers(len(MAGIC), len(data), draw.integers(1, 4)):
            data[place] = draw.integers(0, 256)
        try:
            read_aedat4(NAME, bytes(data))
        except RecordingError as error:
            found += "\n" not in str(error)
    assert found > 10
