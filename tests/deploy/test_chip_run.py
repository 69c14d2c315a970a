"""A run for a chip: its tools read the test set only to test."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from nwavesdk.deploy import ChipRun
from nwavesdk.train import RunConfig
from nwavesdk.train.run_data import load_run_data
from train.runs import chip_choices, write_untrained


def test_a_test_set_that_is_not_wanted_is_read_by_tests_only(tones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tones"
    shutil.copytree(tones, folder)
    choices = chip_choices(folder)
    _, data = load_run_data(RunConfig.of(choices))
    choices["data"]["test"] = False
    write_untrained(tmp_path / "run", choices)
    (folder / data.test.recordings.keys[0]).write_bytes(b"not a wav")
    run = ChipRun.open(tmp_path / "run")
    with pytest.raises(ValueError, match="expected a wav"):
        run.series(2, 0, 0.5)
