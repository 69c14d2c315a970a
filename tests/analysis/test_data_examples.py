import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

from matplotlib.image import imread

from nwavesdk.analysis.data_examples import data_picture, plot_data
from nwavesdk.analysis.data_pictures import draw_data
from nwavesdk.data import RecordingError
from nwavesdk.data.recordings import standardized
from nwavesdk.plot.theme import LIGHT
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import complete_data


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NWAVESDK_CACHE", str(tmp_path / "cache"))


def load(source: Path, chip: str | None = None, **choices: Any) -> Any:
    sections: dict[str, Any] = {"data": {"source": str(source), **choices}}
    if chip is not None:
        sections["data"]["duration"] = 0.3
        sections |= {"chip": {"profile": chip}, "net": {"dt": 5e-3}}
    return complete_data(RunConfig.of(sections))


def test_filters_waveforms_and_channels_of_a_chip(tones: Path, tmp_path: Path) -> None:
    config, data = load(tones, "h1v2", sample_rate=8000)
    plot_data(tmp_path / "new" / "data.png", config, data)
    picture = imread(tmp_path / "new" / "data.png")[..., :3]
    assert picture.shape[1] == 12 * 144
    is_colorful = np.ptp(picture, axis=2) > 0.3
    filters = is_colorful[:300]
    channels = is_colorful[500:1000, picture.shape[1] // 2 :]
    bars = is_colorful[-400:]
    for part in (filters, channels, bars):
        assert part.mean() > 0.01


def test_a_folder_of_sound_has_an_example_of_each_class(tones: Path) -> None:
    config, data = load(tones, bands=12, hold=2)
    picture = data_picture(config, data)
    assert [example.name for example in picture.examples] == ["high", "low", "middle"]
    keys = data.train.recordings.keys
    for example in picture.examples:
        samples, rate = example.values
        index = next(
            i for i in range(len(keys)) if np.array_equal(data.train.input_of(i), example.frames)
        )
        assert keys[index].startswith(example.name)
        assert rate == 8000
        assert len(example.frames) * example.step == pytest.approx(len(samples) / rate, abs=0.03)
    assert picture.bank is None
    assert sum(map(sum, picture.counts.values())) == 48


def write_series(folder: Path, n: int = 9) -> None:
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for index in range(n):
            values = draw.normal(size=(20 + index, 3)).astype(np.float32)
            np.save(folder / name / f"{index}.npy", values)


def test_a_folder_of_series_is_drawn_in_steps(tmp_path: Path) -> None:
    write_series(tmp_path / "series")
    config, data = load(tmp_path / "series", hold=1)
    picture = data_picture(config, data)
    assert [example.name for example in picture.examples] == ["a", "b"]
    for example in picture.examples:
        assert example.step is None
        # Frames have each value a second time, on the scale of the recording.
        both = np.concatenate([example.values, standardized(example.values)], axis=1)
        np.testing.assert_allclose(data.standard.apply(both), example.frames, rtol=1e-5, atol=1e-6)


def test_values_are_drawn_for_as_long_as_their_frames(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name in ("wavs", "target"):
        (tmp_path / "set" / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    for index in range(6):
        sound = 0.1 * draw.standard_normal(1600 + 80 * index)
        soundfile.write(tmp_path / "set" / "wavs" / f"{index}.wav", sound, 8000)
        target = torch.from_numpy(draw.normal(size=(200 + 10 * index, 2)))
        torch.save(target, tmp_path / "set" / "target" / f"{index}.pt")
    config, data = load(tmp_path / "set", hold=3, length=10)
    picture = data_picture(config, data)
    assert (picture.task, picture.classes) == ("regression", ())
    recordings = data.train.recordings
    for example in picture.examples:
        index = recordings.keys.index(example.name)
        assert len(example.frames) == len(example.target) == 30
        expected = np.repeat(recordings.targets[index][:10], 3, axis=0)
        np.testing.assert_array_equal(example.target, expected)
        assert example.step == pytest.approx(0.01 / 3)


def test_silence_is_drawn_too(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name in ("no", "yes"):
        (tmp_path / "words" / name).mkdir(parents=True)
        for index in range(3):
            soundfile.write(tmp_path / "words" / name / f"{index}.wav", np.zeros(4000), 8000)
    figure = draw_data(data_picture(*load(tmp_path / "words")), LIGHT)
    assert figure.axes[0].get_ylim() == pytest.approx((-1.1, 1.1))


def test_a_recording_that_is_gone(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones, tmp_path / "tones")
    config, data = load(tmp_path / "tones")
    for file in (tmp_path / "tones" / "low").iterdir():
        file.write_bytes(b"no sound")
    with pytest.raises(RecordingError, match=r"\.wav cannot be read as sound"):
        plot_data(tmp_path / "a.png", config, data)
