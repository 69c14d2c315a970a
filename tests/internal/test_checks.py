import math

import numpy as np
import pytest
import torch

from nwavesdk.internal import checks
from nwavesdk.internal.checks import (
    choice,
    finite_number,
    positive_number,
    require_memory,
    shown,
    whole_number,
)


def test_a_choice_is_returned_unchanged():
    assert choice("Layer", "device", "cpu", ["cpu", "gpu"]) == "cpu"
    with pytest.raises(ValueError, match="Layer: device must be one of 'cpu', 'gpu', got 'tpu'"):
        choice("Layer", "device", "tpu", ["cpu", "gpu"])


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2), torch.tensor([2.0])])
def test_numbers_of_all_libraries_become_floats(value):
    number = finite_number("Layer", "x", value)
    assert type(number) is float
    assert number == 2


@pytest.mark.parametrize(
    "value",
    [True, "2", b"2", None, [2], math.nan, math.inf, 10**400, np.ones(2), torch.ones(2)],
    ids=str,
)
def test_what_is_not_a_finite_number_is_rejected(value):
    with pytest.raises(ValueError, match=r"Layer: x must be a finite number, got "):
        finite_number("Layer", "x", value)


@pytest.mark.parametrize(
    ("bounds", "value", "expected"),
    [
        ({"least": 0, "most": 1}, 1.1, r"of at least 0 and of at most 1, got 1\.1"),
        ({"least": 0, "below": 1}, 1, "of at least 0 and below 1, got 1"),
        ({"least": 0, "below": 1}, -0.5, r"of at least 0 and below 1, got -0\.5"),
        ({"above": 0, "unit": "s"}, 0, r"above 0 \[s\], got 0"),
        ({"most": 0, "unit": "s"}, 0.1, r"of at most 0 \[s\], got 0\.1"),
    ],
)
def test_a_number_out_of_its_bounds_is_rejected(bounds, value, expected):
    with pytest.raises(ValueError, match=f"x must be a finite number {expected}"):
        finite_number("Layer", "x", value, **bounds)


def test_inclusive_bounds_are_accepted():
    assert finite_number("Layer", "x", 0, least=0, most=0) == 0


def test_a_positive_number_names_its_unit():
    assert positive_number("Layer", "dt", 1e-3) == 1e-3
    with pytest.raises(ValueError, match=r"dt must be a finite number above 0 \[s\], got 0"):
        positive_number("Layer", "dt", 0, "s")


@pytest.mark.parametrize("value", [1, np.int64(1), torch.tensor(1)])
def test_whole_numbers_of_all_libraries_become_ints(value):
    assert type(whole_number("Layer", "n", value)) is int


@pytest.mark.parametrize("value", [0, True, 1.0, "1", None, torch.ones(2)], ids=str)
def test_what_is_not_a_whole_number_is_rejected(value):
    with pytest.raises(ValueError, match="n must be a whole number of at least 1, got "):
        whole_number("Layer", "n", value)


@pytest.mark.parametrize("value", [1, 9])
def test_a_whole_number_out_of_its_range_is_rejected(value):
    with pytest.raises(ValueError, match=f"n must be a whole number from 2 to 8, got {value}"):
        whole_number("Layer", "n", value, least=2, most=8)


@pytest.mark.parametrize("value", [2**31, 2**70, 10**5000], ids=["int32", "float", "digits"])
def test_a_whole_number_beyond_all_sizes_is_rejected_in_a_short_line(value):
    with pytest.raises(ValueError, match="n must be a whole number from 1 to 2147483647") as error:
        whole_number("Layer", "n", value)
    assert len(str(error.value)) < 150


class Unshowable:
    def __repr__(self):
        raise RuntimeError


LONG = [
    "x" * 10**6,
    list(range(10**5)),
    [[[[[[[[["deep"]]]]]]]]],
    dict.fromkeys(range(1000), "x" * 1000),
    10**5000,
    torch.zeros(100, 100),
    Unshowable(),
    "\x1b[31m\n",
]


@pytest.mark.parametrize("value", LONG, ids=lambda value: type(value).__name__)
def test_a_value_is_shown_in_one_short_line(value):
    text = shown(value)
    assert text.isprintable()
    assert len(text) < 600
    with pytest.raises(ValueError, match="Layer: device must be one of 'cpu', got") as error:
        choice("Layer", "device", value, ["cpu"])
    assert text in str(error.value)


@pytest.mark.parametrize("value", [1e-300, "cpu", [2], None, -3, (1, "a")], ids=str)
def test_a_short_value_is_shown_unchanged(value):
    assert shown(value) == repr(value)


@pytest.mark.parametrize("needed", [1e12, 10**30, 10**400, float("inf")], ids=str)
def test_what_memory_cannot_hold_is_rejected_with_numbers_and_a_remedy(monkeypatch, needed):
    monkeypatch.setattr(checks, "_free_memory", lambda: 2e9)
    require_memory("--data", "9 recordings", 2e9, "lower --limit")
    line = r"--data: 9 recordings need [\d,.]+ GB of memory, expected at most the 2\.0 GB that are "
    with pytest.raises(ValueError, match=line + "free: lower --limit") as error:
        require_memory("--data", "9 recordings", needed, "lower --limit")
    assert len(str(error.value)) < 150


def test_the_free_memory_of_this_machine_is_known():
    require_memory("a test", "bytes", 1e6, "close programs")
    with pytest.raises(ValueError, match="1,000,000.0 GB of memory"):
        require_memory("a test", "bytes", 1e15, "close programs")
