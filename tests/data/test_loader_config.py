import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nwavesdk.chip import load_profile
from nwavesdk.data import NWaveDataloaderConfig
from nwavesdk.data.decoding import MOST_SECONDS
from nwavesdk.train.sections import DataConfig


@pytest.mark.parametrize(
    ("duration", "step", "steps"),
    [
        (1.0, 1e-3, 1000),
        (0.3, 0.1, 3),
        (0.7, 0.1, 7),
        (0.1 + 0.2, 0.1, 3),
        (1.0, 3e-3, 333),
        (0.9999, 1e-3, 999),
    ],
)
def test_a_series_has_the_whole_steps_of_a_recording(
    duration: float, step: float, steps: int
) -> None:
    config = NWaveDataloaderConfig("x", recording_duration_s=duration, sim_time_s=step)
    assert steps == config.T
    assert len(config.edges) == steps + 1
    assert config.edges[-1] <= round(duration * 16000)


def test_steps_need_not_be_whole_samples() -> None:
    config = NWaveDataloaderConfig(
        "x", sample_rate=22050, recording_duration_s=1.0, sim_time_s=1e-3
    )
    assert config.edges.tolist() == [round(k * 22.05) for k in range(1001)]
    assert set(config.edges[1:] - config.edges[:-1]) == {22, 23}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"data_parent": ""}, "data_parent: expected the path of a folder (got '')"),
    ({"task": "ranking"}, "task: expected 'classification' or 'regression' (got 'ranking')"),
    ({"sample_rate": 0}, "sample_rate: expected at least 1 (got 0)"),
    ({"sample_rate": 16000.0}, "sample_rate: expected a whole number (got 16000.0)"),
    ({"recording_duration_s": 0}, "recording_duration_s: expected a number greater than 0 (got 0)"),
    ({"recording_duration_s": float("inf")}, "recording_duration_s: expected a finite"),
    ({"sim_time_s": float("nan")}, "sim_time_s: expected a finite number (got nan)"),
    ({"sim_time_s": True}, "sim_time_s: expected a number (got True)"),
    ({"sim_time_s": "1"}, "sim_time_s: expected a number (got '1')"),
    ({"sim_time_s": 1e-5}, "holds no sample at 16000 Hz: raise sim_time_s to 6.25e-05 or more"),
    ({"sim_time_s": 2.0}, "holds no time step of 2 s: raise recording_duration_s or lower"),
    ({"batch_size": 0}, "batch_size: expected at least 1 (got 0)"),
    ({"batch_size": True}, "batch_size: expected a whole number (got True)"),
    ({"val": 0.0}, "val: expected a number greater than 0 (got 0.0)"),
    ({"test": 1.0}, "test: expected a number less than 1 (got 1.0)"),
    ({"val": 0.6, "test": 0.6}, "must be positive and sum below 1, got 0.6 and 0.6"),
    (
        {"split": "month"},
        "split: expected 'auto', 'folder', 'speaker' or 'recording' (got 'month')",
    ),
    ({"level": "loud"}, "level: expected 'as_is' or 'peak' (got 'loud')"),
    ({"on_error": "ignore"}, "on_error: expected 'raise' or 'skip' (got 'ignore')"),
    (
        {"cache": True},
        "cache: expected a folder, None (the default folder) or False (no cache) (got True)",
    ),
    ({"cache": ""}, "cache: expected a folder"),
    ({"seed": -1}, "seed: expected at least 0 (got -1)"),
    ({"max_seconds": 0}, "max_seconds: expected a number greater than 0 (got 0)"),
    ({"max_seconds": 1e300}, "max_seconds: expected at most 86400"),
    ({"recording_duration_s": 1e300}, "recording_duration_s: expected at most"),
    ({"sim_time_s": 1e-300}, "A time step of 1e-300 s holds no sample at 16000 Hz"),
    ({"sample_rate": 2**70}, "sample_rate: expected at most 1000000"),
    ({"batch_size": 2**70}, "batch_size: expected at most 1000000000"),
    ({"seed": 2**70}, "seed: expected a number less than 9223372036854775808"),
    ({"progress": 1}, "progress: expected a boolean (got 1)"),
    ({"chip": 1}, "chip: expected a name, a path or a Profile (got 1)"),
    (
        {"sample_rate": 6000},
        "use a sample_rate above 7648 Hz, or a chip profile with a lower filter_highest",
    ),
]


@pytest.mark.parametrize(("choices", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_choice_is_reported_with_what_is_expected(
    choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        NWaveDataloaderConfig(**{"data_parent": "x", **choices})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_chip_is_a_name_or_a_profile() -> None:
    with pytest.raises(FileNotFoundError, match="found no profile h9"):
        NWaveDataloaderConfig("x", chip="h9")
    assert NWaveDataloaderConfig("x", chip=load_profile("h1v2")).bank.count == 16


def test_the_cache_is_in_the_home_where_the_environment_puts_it_or_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NWAVESDK_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/of/tests")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert NWaveDataloaderConfig("x").cache_folder == Path("/xdg/nwavesdk/data")
    monkeypatch.setenv("NWAVESDK_CACHE", "~/cache")
    config = NWaveDataloaderConfig("~/x")
    assert (config.folder, config.cache_folder) == (Path.home() / "x", Path.home() / "cache/data")
    assert NWaveDataloaderConfig("x", cache="here").cache_folder == Path("here")
    assert NWaveDataloaderConfig("~nobody-here/x", cache=False).cache_folder is None
    assert NWaveDataloaderConfig("~nobody-here/x").folder == Path("~nobody-here/x")


def test_the_longest_recording_is_that_of_a_run() -> None:
    assert NWaveDataloaderConfig("x").max_seconds == DataConfig().max_seconds == MOST_SECONDS


def test_choices_are_read_without_torch() -> None:
    code = (
        "import sys, nwavesdk.data.loader_config; assert not {'torch', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
