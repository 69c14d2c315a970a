"""The report of a scan: JSON, lines, picture and page."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.analysis.slopes.report import SlopeReport, slopes_picture, write_page
from nwavesdk.data import Batch
from nwavesdk.internal.formats import json_text
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.plot.theme import write_png
from nwavesdk.surrogate import fast_sigmoid


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(0)
    net = SpikingSequential(
        LIFSynapse(5, 20),
        LIFLayer(20, 10e-3),
        torch.nn.LayerNorm(20),
        torch.nn.Linear(20, 3),
        LIFLayer(3, 10e-3),
    ).eval()

    x = 2 * torch.rand(4, 50, 5)

    def loss(spk, _):
        return (spk.mean((0, 1)) * torch.tensor([1.0, 2.0, -1.0])).sum()

    return SimpleNamespace(
        run=SimpleNamespace(config=SimpleNamespace(net=SimpleNamespace(dt=1e-3))),
        recordings=Batch(x, torch.zeros(4), torch.full((4,), 50)),
        weights="initial",
        record_pass=lambda: RecordedPass(net, x, loss),
    )


@pytest.fixture(scope="module")
def report(batch):
    return SlopeReport.of(batch, [fast_sigmoid(2), fast_sigmoid(8)])


def test_json_has_every_candidate_and_the_recommendation(report):
    content = json.loads(json_text(report.as_json()))
    names = [f"fast_sigmoid(slope={slope})" for slope in (2, 8, 25)]
    assert [candidate["name"] for candidate in content["candidates"]] == names
    assert content["layers"] == ["1", "4"]
    assert content["uncovered"] == ["2"]
    advice = content["recommended"]["advice"]
    assert [entry["layer"] for entry in advice] == ["1", "4"]
    assert content["recommended"]["surrogates"] == [entry["surrogate"] for entry in advice]


def test_lines_mark_the_present_surrogates_and_what_is_not_covered(report):
    heads, *rows = report.lines()
    assert heads.split("  ")[-1].strip() == "usable, least"
    marked = [row for row in rows[:4] if " * " in row]
    assert [row.split()[0] for row in marked] == ["fast_sigmoid(slope=25)"]
    assert "Not examined, without neurons: 2." in rows
    assert rows[-1].endswith("layer 4, the last, takes the surrogate of layer 1: its gradient is "
                             "that of the loss, and no layer follows.")  # fmt: skip


def test_picture_and_page_are_written(report, batch, tmp_path):
    write_png(tmp_path / "new" / "slopes.png", partial(slopes_picture, report))
    assert (tmp_path / "new" / "slopes.png").read_bytes().startswith(b"\x89PNG")
    write_page(tmp_path / "slopes.html", report, batch)
    page = (tmp_path / "slopes.html").read_text()
    assert "fast_sigmoid(slope=25) *" in page
    assert "4 training recordings, initial weights" in page
