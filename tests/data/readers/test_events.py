"""Files of events that are written here, byte by byte, and damaged ones."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.readers import events as module
from nwavesdk.data.readers.events import (
    fit_shape,
    holds_events,
    join_shapes,
    read_bin,
    read_structured_npy,
)
from nwavesdk.data.reading import RecordingError
from nwavesdk.data.source import Events

NAME = Path("7/one.bin")


def bin_bytes(*rows: tuple[int, int, int, int]) -> bytes:
    """N-MNIST's bytes of events (x, y, p, t [µs])."""
    return b"".join(bytes([x, y]) + ((p << 23) | t).to_bytes(3, "big") for x, y, p, t in rows)


def npy_bytes(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def structured(kinds: dict[str, str], *rows: tuple[float, ...]) -> bytes:
    return npy_bytes(np.array(list(rows), list(kinds.items())))


def values_of(sample: Any) -> Events:
    events = sample.values
    assert isinstance(events, Events)
    assert events.times.dtype == np.float64
    assert events.places.dtype == np.int64
    return events


def fault(data: bytes, read: Any = read_structured_npy, **how: Any) -> str:
    with pytest.raises(RecordingError) as caught:
        read(NAME, data, **how)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("7/one.bin ")
    return str(caught.value)


# N-MNIST


@pytest.mark.events
def test_bin_has_times_in_seconds_and_places_on_the_sensor():
    data = bin_bytes((3, 2, 1, 0), (33, 33, 0, 1500), (0, 1, 1, 8_388_607))
    events = values_of(read_bin(NAME, data))
    assert events.shape == (2, 34, 34)
    assert events.times.tolist() == [0.0, 1.5e-3, 8.388607]
    assert events.duration == 8.388607
    assert events.places.tolist() == [34 * 34 + 2 * 34 + 3, 33 * 34 + 33, 34 * 34 + 34]


@pytest.mark.events
def test_marks_of_the_clock_add_to_the_times_and_are_no_events():
    data = bin_bytes((1, 1, 0, 100), (0, 240, 0, 0), (1, 1, 0, 50), (0, 240, 0, 0), (2, 1, 0, 60))
    events = values_of(read_bin(NAME, data))
    assert np.rint(events.times * 1e6).tolist() == [100, 8192 + 50, 2 * 8192 + 60]


@pytest.mark.events
def test_bin_of_another_sensor():
    data = bin_bytes((200, 100, 1, 0))
    assert "has an event at y = 100, expected 0 to 33" in fault(data, read_bin)
    assert values_of(read_bin(NAME, data, (180, 240))).shape == (2, 180, 240)
    assert values_of(read_bin(NAME, data, None)).shape == (2, 101, 201)


@pytest.mark.events
def test_bin_with_falling_times():
    data = bin_bytes((0, 0, 0, 5), (0, 0, 0, 4))
    assert "has times that fall (event 1)" in fault(data, read_bin)


@pytest.mark.events
def test_bin_with_marks_only():
    assert "has no events" in fault(bin_bytes((0, 240, 0, 0)), read_bin)


def test_hostile_bin(monkeypatch):
    assert "is empty (0 bytes)" in fault(b"", read_bin)
    assert "has 7 bytes, expected a multiple of 5" in fault(b"1234567", read_bin)
    marks = bin_bytes((0, 240, 0, 0)) * 50_000
    assert "has 50,000 marks of its clock (y = 240)" in fault(marks, read_bin)
    monkeypatch.setattr(module, "MOST_EVENTS", 3)
    assert "has 4 events, expected at most 3" in fault(bin_bytes((0, 0, 0, 0)) * 4, read_bin)


# Structured arrays


def test_fields_in_any_order_and_whole_microseconds():
    kinds = {"p": "?", "x": "<i2", "t": "<u4", "y": "<i2"}
    events = values_of(
        read_structured_npy(NAME, structured(kinds, (1, 3, 1000, 0), (0, 1, 2500, 2)))
    )
    assert events.shape == (2, 3, 4)
    assert events.times.tolist() == [1e-3, 2.5e-3]
    assert events.places.tolist() == [12 + 3, 2 * 4 + 1]


def test_floating_times_are_seconds_and_y_and_p_may_be_missing():
    data = structured({"t": "f8", "x": "u2"}, (0.25, 5), (0.5, 2))
    events = values_of(read_structured_npy(NAME, data))
    assert (events.shape, events.duration) == ((6,), 0.5)
    assert events.times.tolist() == [0.25, 0.5]
    assert events.places.tolist() == [5, 2]
    assert values_of(read_structured_npy(NAME, data, (700,))).shape == (700,)


def test_polarities_of_both_signs():
    data = structured({"t": "i8", "x": "i4", "p": "i1"}, (0, 1, -1), (1, 1, 1))
    assert values_of(read_structured_npy(NAME, data)).places.tolist() == [1, 3]


def test_shapes_of_recordings_are_joined():
    first = values_of(
        read_structured_npy(
            NAME, structured({"t": "i8", "x": "i4", "y": "i4"}, (0, 1, 4), (3, 2, 0))
        )
    )
    second = values_of(
        read_structured_npy(NAME, structured({"t": "i8", "x": "i4", "y": "i4"}, (0, 6, 1)))
    )
    shape = join_shapes([first.shape, second.shape])
    assert shape == (5, 7)
    assert fit_shape(first, shape).places.tolist() == [4 * 7 + 1, 2]
    assert fit_shape(second, shape).places.tolist() == [1 * 7 + 6]
    with pytest.raises(ValueError, match="do not fit"):
        fit_shape(second, (5, 6))
    with pytest.raises(ValueError, match="need the same axes"):
        join_shapes([(5, 7), (7,)])


def test_only_an_array_with_fields_holds_events():
    assert holds_events(structured({"t": "i8", "x": "i4"}, (0, 0)))
    assert not holds_events(npy_bytes(np.zeros((3, 2))))
    assert not holds_events(b"\x93NUMPY\x01\x00")
    assert not holds_events(b"")


T_X = {"t": "i8", "x": "i4"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read as .npy (it is empty (0 bytes))"),
        (b"no magic here", "cannot be read as .npy (it begins"),
        (npy_bytes(np.zeros((2, 2))), 'has the fields none, expected "t", "x"'),
        (structured({"t": "i8", "y": "i4"}, (0, 0)), "has the fields t, y, expected"),
        (structured(T_X | {"on": "?"}, (0, 0, 1)), "has the fields t, x, on, expected"),
        (structured({"t": "i8", "x": "f4"}, (0, 0)), "has x of float32, expected whole numbers"),
        (structured({"t": "m8[us]", "x": "i4"}, (0, 0)), "expected numbers"),
        (structured({"t": "i8", "x": "O"}, (0, 0)), "(it holds Python objects"),
        (structured({"t": "i8", "x": "(2,)i4"}, (0, 0)), "expected whole numbers"),
        (npy_bytes(np.zeros((2, 2), list(T_X.items()))), "has an array of shape [2, 2]"),
        (structured(T_X), "has no events"),
        (structured(T_X, (0, 0), (1, 0))[:-1], "is cut short (151 bytes, expected 152)"),
        (structured(T_X, (0, 0)) + b"!", "is too long"),
        (structured(T_X, (-3, 0)), "has a time of -3e-06 s, expected none before 0"),
        (structured({"t": "f8", "x": "i4"}, (np.nan, 0)), "has times that are not finite"),
        (structured({"t": "f8", "x": "i4"}, (np.inf, 0)), "has times that are not finite"),
        (structured({"t": "f4", "x": "i4"}, (3000.0, 0)), "lasts 3,000.0 s, expected at most 600"),
        (structured({"t": "u8", "x": "i4"}, (2**63, 0)), "lasts 9,223,372,036,854.8 s"),
        (structured(T_X, (9, 0), (8, 0)), "has times that fall (event 1)"),
        (structured(T_X, (0, -1)), "(its sensor): count x from 0"),
        (structured({"t": "i8", "x": "u8"}, (0, 2**63)), f"has an event at x = {2**63}"),
        (structured(T_X | {"y": "i4"}, (0, 5000, 5000)), "needs a sensor of [5001, 5001]"),
        (structured(T_X | {"p": "i1"}, (0, 0, 2)), "has polarities of 2, expected 0 and 1"),
        (structured(T_X | {"p": "i1"}, (0, 0, 0), (0, 0, -1)), "has polarities of -1, 0"),
    ],
)  # fmt: skip
def test_hostile_arrays(data, words):
    assert words in fault(data)


def test_array_of_another_sensor():
    data = structured(T_X | {"y": "i4"}, (0, 5, 3))
    assert "has an event at x = 5, expected 0 to 4" in fault(data, sensor=(4, 5))
    assert "has events with y and x, expected those of a sensor [9]" in fault(data, sensor=(9,))


def test_a_header_that_claims_more_than_the_file_is_rejected_before_it_is_allocated():
    data = structured(T_X, (0, 0)).replace(b"(1,)", b"(9000000000000,)")
    assert "has 9,000,000,000,000 events" in fault(data)


def test_random_damage_raises_no_other_error():
    draw = np.random.default_rng(0)
    whole = structured(T_X | {"y": "i2", "p": "?"}, *[(i, i, i, i % 2) for i in range(4)])
    for _ in range(1500):
        data = bytearray(whole)
        for place in draw.integers(0, len(data), draw.integers(1, 4)):
            data[place] = draw.integers(0, 256)
        del data[draw.integers(1, 2 * len(data)) :]
        with suppress(RecordingError):
            values_of(read_structured_npy(NAME, bytes(data)))
