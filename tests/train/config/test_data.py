"""The recordings of a run: the ranges of their fields, and fields that exclude each other."""

from typing import Any, get_args

import pytest

from nwavesdk.data.split import SplitKind
from nwavesdk.train import RunConfig
from nwavesdk.train.config.data import SPLITS


def test_splits_are_those_of_the_data_package() -> None:
    """The name of a table takes the place of `"file"`."""
    assert set(SPLITS) == set(get_args(SplitKind)) - {"file"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"limit": 2**70}, "at most"),
        ({"length": 10**7}, "at most"),
        ({"hold": 10**5}, "at most"),
        ({"bands": 10**9}, "at most"),
        ({"sample_rate": 2 * 10**9}, "at most"),
        ({"window": 1e-300}, "at least"),
        ({"window": 25}, "at most 1 "),
        ({"hop": 1e-9}, "at least"),
        ({"max_seconds": 1e300}, "at most"),
        ({"source": "\udcff"}, "expected a name in UTF-8: rename the folder"),
        ({"split": "chance"}, r"expected one of auto, .* or the name of a \.csv file"),
        ({"folds": 2, "leave_one_out": "group"}, "has no effect with leave_one_out, got 2: remove"),
        ({"fold": 1}, "has no effect without folds or leave_one_out, got 1: remove it"),
        ({"augment": "shift"}, "got 'shift', expected NAME=VALUE"),
    ],
    ids=str,
)
def test_a_bad_field_of_recordings_is_one_line(data: dict[str, Any], words: str) -> None:
    name = next(iter(data))
    choices = {"data": {"kind": "sound", "source": "x", **data}, "task": {"name": "classification"}}
    with pytest.raises(ValueError, match=rf"^data\.{name}: .*{words}") as error:
        RunConfig.of(choices)
    assert len(str(error.value)) < 200


def test_the_digits_have_no_speakers() -> None:
    with pytest.raises(ValueError, match=r"^data\.split: expected "):
        RunConfig.of({"data": {"split": "speaker"}})
