"""The picture of `nwave data` for a small data set."""

import tempfile
from functools import partial
from pathlib import Path

from examples.small_data import make_csv
from nwavesdk.analysis import data_report
from nwavesdk.analysis.data_picture import draw_data
from nwavesdk.plot.theme import LIGHT, render_png
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import complete_data

__all__ = ["data"]


def data() -> bytes:
    """The PNG of the series that `docs/data.md` begins with."""
    with tempfile.TemporaryDirectory() as folder:
        series = make_csv(Path(folder, "moves"))
        config, sets = complete_data(RunConfig.of({"data": {"source": str(series)}}))
        report = data_report(config, sets, is_task_given=False)
        return render_png(partial(draw_data, config, sets, report), LIGHT)
