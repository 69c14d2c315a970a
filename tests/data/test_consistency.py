"""Recordings that belong together: features of series that float32 rounds are named."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data.features import FeatureOptions
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import load_recordings

SINE = np.sin(np.arange(50.0))
CLOCK = 0.01 * np.arange(50)


def load(folder: Path, *columns: np.ndarray, first: np.ndarray = SINE) -> None:
    """Load a folder with two series: these columns, and others."""
    for name, series in (("no", [first] * len(columns)), ("yes", columns)):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / "1.npy", np.stack(series, axis=1))
    load_path(folder)


def load_path(path: Path) -> None:
    faults = Faults(path if path.is_dir() else path.parent, "raise")
    load_recordings(open_source(path, faults), faults, FeatureOptions())


@pytest.mark.parametrize(
    ("column", "values", "step"),
    [
        # A clock that float32 rounds to a few values, and a pressure in Pa.
        (1.7e9 + 1000 * CLOCK, "1.7e+09 to 1.70000051e+09", "128"),
        (101325 + CLOCK, "101325 to 101325.492", "0.00781"),
        (-101325 - CLOCK, "-101325.492 to -101325", "0.00781"),
    ],
)
def test_a_feature_that_float32_rounds_is_named(
    tmp_path: Path, column: np.ndarray, values: str, step: str
) -> None:
    expected = (
        "1 of 2 recordings have a feature that is rounded to float32: feature 2 of yes/1.npy "
        f"goes from {values} in steps of {step}; "
    )
    with pytest.warns(UserWarning, match=re.escape(expected)):
        load(tmp_path, SINE, column)


def test_a_feature_or_target_that_float32_rounds_to_one_value_is_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"^2 of 2 .* from 1\.7e\+09 to 1\.7e\+09 in steps of 128"):
        load(tmp_path / "two", 1.7e9 + CLOCK, first=1.7e9 + CLOCK + 1)
    targets = [np.stack([SINE, 1.7e9 + scale * SINE], axis=1) for scale in (500, 1e9)]
    path = tmp_path / "set.npz"
    np.savez(path, x=np.stack([SINE, SINE])[..., None], y=targets)
    expected = r"1 of 2 recordings have a target that is rounded to float32: target 2 of set\.npz/0"
    with pytest.warns(UserWarning, match=expected):
        load_path(path)


@pytest.mark.parametrize(
    "column",
    [
        101325 + 100 * CLOCK,
        4e6 + np.arange(50) % 15,  # whole numbers
        np.full(50, 5.77e9),  # constant: in the other recording it has another value
        1e9 * SINE,
        np.full(50, 35.0),
        np.zeros(50),
        0.1 + 1e-17 * SINE,  # the same number in float32
    ],
)
def test_a_feature_that_float32_holds_gives_no_warning(tmp_path: Path, column: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path, SINE, column)


# As programs write the time: seconds since a start, with jitter, or in whole seconds.
CLOCKS = [
    np.round(17.31 + 0.02 * np.arange(50), 3),
    np.sort(SINE),
    np.arange(50) // 5,
]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_feature_that_rises_in_all_recordings_is_named(tmp_path: Path, clock: np.ndarray) -> None:
    with pytest.warns(UserWarning, match=r"^feature 2 rises in all .* --columns x,y,z\.$"):
        load(tmp_path, SINE, clock, first=CLOCKS[0])


@pytest.mark.parametrize(
    "columns",
    [
        [SINE, CLOCKS[0]],
        [CLOCKS[0][:5], CLOCKS[0]],
        [-CLOCKS[0], -CLOCKS[1]],
        [np.zeros(50), np.zeros(50)],
    ],
)
def test_other_features_than_a_clock_give_no_warning(
    tmp_path: Path, columns: list[np.ndarray]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path, columns[0], first=columns[1])
