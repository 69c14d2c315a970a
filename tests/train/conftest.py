"""Runs that all tests of training share."""

from pathlib import Path

import numpy as np
import pytest

from train.runs import no_pictures, patient_choices, small_choices


@pytest.fixture(scope="session")
def finished(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the fixture `choices`."""
    pytest.importorskip("lightning")
    from nwavesdk.plot.theme import render_png
    from nwavesdk.train import Run

    folder = tmp_path_factory.mktemp("shared") / "run"
    # Whichever test is first may draw no pictures.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwavesdk.train.report.page.render_png", render_png)
        Run.new(folder, small_choices(tones)).train()
    return folder


@pytest.fixture(scope="session")
def stopped_early(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that its patience ended."""
    pytest.importorskip("lightning")
    from nwavesdk.train import Run

    folder = tmp_path_factory.mktemp("shared") / "patient"
    with no_pictures():
        Run.new(folder, patient_choices(tones)).train()
    return folder


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Noise by eight speakers who are named in the names of the files."""
    soundfile = pytest.importorskip("soundfile")
    draw = np.random.default_rng(0)
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        for speaker in range(8):
            for take in range(2):
                file = tmp_path / name / f"0{speaker}ab_nohash_{take}.wav"
                soundfile.write(file, 0.1 * draw.standard_normal(2000), 8000)
    return tmp_path


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no reports of runs."""
    monkeypatch.setattr("nwavesdk.train.fit.course.write_report", lambda _: None)


@pytest.fixture(autouse=True)
def _no_pictures(without_pictures: None) -> None:
    """The runs that all tests share have pictures, and the others have none."""
