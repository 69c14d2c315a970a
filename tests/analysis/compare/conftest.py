"""The small study that the tests of this folder share."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.analysis.cells import evaluate_cell, run_cell
from nwavesdk.analysis.compare import Cell, Study

ARMS = ["fast_sigmoid", "fast_sigmoid(slope=25)", "atan"]


def finish_here(study: Study, cells: list[Cell] | None = None) -> None:
    """Finish cells in this process and without pictures, which is faster."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
        for cell in study.missing() if cells is None else cells:
            run_cell(study.job(cell))
    for cell in study.untested() if cells is None else cells:
        evaluate_cell(study.job(cell))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def study_choices(tones: Path) -> dict[str, Any]:
    """Choices of a run that takes a second, with dropout."""
    return {
        "data": {"source": str(tones), "bands": 12, "hold": 1},
        "net": {"name": "lif", "hidden": [24], "population": 3, "dropout": 0.2},
        "learning": {"epochs": 2, "batch_size": 8, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="session")
def finished_study(
    study_choices: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Study:
    """Two identical arms and another one, two seeds."""
    study = Study.open(tmp_path_factory.mktemp("study"), ARMS, 2, study_choices, threads=1)
    finish_here(study)
    return study
