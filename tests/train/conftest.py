"""Runs that all tests of training share."""

from pathlib import Path

import pytest

from train.runs import patient_choices, small_choices


@pytest.fixture(scope="session")
def finished(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the fixture `choices`."""
    pytest.importorskip("lightning")
    from nwavesdk.train import Run, RunConfig

    folder = tmp_path_factory.mktemp("shared") / "run"
    Run.new(folder, RunConfig.of(small_choices(tones))).train()
    return folder


@pytest.fixture(scope="session")
def stopped_early(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that its patience ended."""
    pytest.importorskip("lightning")
    from nwavesdk.train import Run, RunConfig

    folder = tmp_path_factory.mktemp("shared") / "patient"
    Run.new(folder, RunConfig.of(patient_choices(tones))).train()
    return folder
