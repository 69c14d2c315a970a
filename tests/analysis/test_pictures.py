from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data import NWaveDataloaderConfig, RecordingError

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("soundfile")
pytest.importorskip("soxr")

from matplotlib.image import imread

from nwavesdk.analysis.pictures import plot_front_end


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
def test_a_picture_with_ink_in_its_three_parts(tones: Path, tmp_path: Path, chip: str) -> None:
    path = tmp_path / "new" / "front_end.png"
    plot_front_end(
        path, NWaveDataloaderConfig(tones, sample_rate=8000, chip=chip), tones / "middle" / "0.wav"
    )
    picture = imread(path)[..., :3]
    assert picture.shape[1] == 1440
    colourful = np.ptp(picture, axis=2) > 0.3
    top, bottom = colourful[: len(picture) // 3], colourful[len(picture) // 2 :]
    assert top.mean() > 0.01
    assert bottom.mean() > 0.01


def test_silence_is_drawn_too(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "silence.wav", np.zeros(4000), 8000)
    plot_front_end(
        tmp_path / "a.png",
        NWaveDataloaderConfig(tmp_path, sample_rate=8000),
        tmp_path / "silence.wav",
    )
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_a_recording_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(RecordingError, match=r"bad\.wav is not sound"):
        plot_front_end(tmp_path / "a.png", NWaveDataloaderConfig(tmp_path), tmp_path / "bad.wav")
