"""A run for a chip: its tools read the test set only to test."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from nwavesdk.deploy import ChipRun
from nwavesdk.deploy.chip_run import series_picture
from nwavesdk.deploy.chip_series import ChipSeries
from nwavesdk.plot.theme import LIGHT
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import complete_data
from train.runs import chip_choices, write_untrained


def test_a_test_set_that_is_not_wanted_is_read_by_tests_only(tones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tones"
    shutil.copytree(tones, folder)
    choices = chip_choices(folder)
    _, data = complete_data(RunConfig.of(choices))
    choices["data"]["test"] = False
    write_untrained(tmp_path / "run", choices)
    (folder / data.test.recordings.keys[0]).write_bytes(b"not a wav")
    run = ChipRun.open(tmp_path / "run")
    with pytest.raises(ValueError, match="cannot be read as sound"):
        run.series(2, 0, 0.5)


def test_the_legend_of_drawn_chips_has_their_quantiles() -> None:
    accuracies = (*[0.7] * 10, *[0.701] * 10, *[0.8] * 3)
    series = ChipSeries(accuracy=accuracies, designed=0.76, wanted=0.7, seed=0, seconds=0.1)
    (legend,) = series_picture(series, "h1v2", LIGHT).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "5 % quantile 0.700",
        "50 % quantile 0.701",
        "95 % quantile 0.800",
        "wanted 0.7",
        "as designed 0.760",
    ]
