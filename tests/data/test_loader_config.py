from pathlib import Path
from typing import Any

import pytest

from nwavesdk.chip import load_profile
from nwavesdk.data import NWaveDataloaderConfig


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
def test_steps_are_the_whole_ones(duration: float, step: float, steps: int) -> None:
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
    ({"data_parent": ""}, "data_parent must be the path of a folder, got ''"),
    ({"task": "ranking"}, 'task must be "classification" or "regression", got \'ranking\''),
    ({"sample_rate": 0}, "sample_rate must be a whole number of Hz from 1, got 0"),
    ({"sample_rate": 16000.0}, "sample_rate must be a whole number"),
    (
        {"recording_duration_s": 0},
        "recording_duration_s must be a positive number of seconds, got 0",
    ),
    ({"recording_duration_s": float("inf")}, "recording_duration_s must be a positive"),
    ({"sim_time_s": float("nan")}, "sim_time_s must be a positive number"),
    ({"sim_time_s": True}, "sim_time_s must be a positive number"),
    ({"sim_time_s": 1e-5}, "holds no sample at 16000 Hz: raise sim_time_s to 6.25e-05 or more"),
    ({"sim_time_s": 2.0}, "holds no time step of 2 s: raise recording_duration_s or lower"),
    ({"batch_size": 0}, "batch_size must be a whole number from 1"),
    ({"val": 0.0}, "val must be a share between 0 and 1"),
    ({"val": 0.6, "test": 0.6}, "must be positive and sum below 1, got 0.6 and 0.6"),
    ({"split": "month"}, 'split must be "auto" or "speaker" or "recording"'),
    ({"level": "loud"}, 'level must be "as_is" or "peak"'),
    ({"on_error": "ignore"}, 'on_error must be "raise" or "skip"'),
    (
        {"cache": True},
        "cache must be a folder, None (the default folder) or False (none), got True",
    ),
    ({"seed": -1}, "seed must be a whole number from 0"),
    ({"max_seconds": 0}, "max_seconds must be a positive number of seconds, or None"),
    ({"progress": 1}, "progress must be True, False or None"),
    ({"chip": 1}, "chip must be a name, a path or a Profile"),
    (
        {"sample_rate": 6000},
        "use a sample_rate above 7648 Hz, or a chip profile with a lower filter_highest",
    ),
]


@pytest.mark.parametrize(("choices", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_choice_is_told(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        NWaveDataloaderConfig(**{"data_parent": "x", **choices})
    assert said in str(error.value)


def test_a_chip_by_name_or_profile() -> None:
    with pytest.raises(FileNotFoundError, match="there is no profile h9"):
        NWaveDataloaderConfig("x", chip="h9")
    assert NWaveDataloaderConfig("x", chip=load_profile("h1v2")).bank.count == 16


def test_the_cache_is_in_the_home_where_the_environment_says_or_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NWAVESDK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert NWaveDataloaderConfig("x").cache_folder == tmp_path / "xdg" / "nwavesdk" / "data"
    monkeypatch.setenv("NWAVESDK_CACHE", str(tmp_path))
    assert NWaveDataloaderConfig("x").cache_folder == tmp_path / "data"
    assert NWaveDataloaderConfig("x", cache="here").cache_folder == Path("here")
    assert NWaveDataloaderConfig("x", cache=False).cache_folder is None


def test_how_long_a_recording_may_be() -> None:
    assert NWaveDataloaderConfig("x").longest == 60
    assert NWaveDataloaderConfig("x", recording_duration_s=100.0).longest == 200
    assert NWaveDataloaderConfig("x", max_seconds=5).longest == 5
