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


@pytest.mark.parametrize(
    ("accuracies", "labels"),
    [
        ([0.75] * 30, {"5 %, 50 %, 95 %": 0.75}),
        ([0.7] * 10 + [0.701] * 10 + [0.8] * 3, {"5 %, 50 %": 0.7005, "95 %": 0.8}),
    ],
)
def test_quantiles_that_are_equal_or_close_share_a_label(
    accuracies: list[float], labels: dict[str, float]
) -> None:
    series = ChipSeries(tuple(accuracies), designed=0.76, wanted=0.7, seed=0, seconds=0.1)
    (axes,) = series_picture(series, "h1v2", LIGHT).axes
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert places == pytest.approx(labels)
