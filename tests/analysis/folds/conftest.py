"""The small cross-validation that the tests of this folder share."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.analysis.folds import FoldStudy
from nwavesdk.analysis.folds.study import run_fold


def finish_here(study: FoldStudy) -> None:
    """Finish folds in this process and without pictures, which is faster."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
        for fold in study.missing():
            run_fold(study.job(fold))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fold_choices(tones: Path) -> dict[str, Any]:
    """Three folds of a run that takes a second."""
    return {
        "data": {"source": str(tones), "bands": 8, "hold": 1, "folds": 3},
        "net": {"name": "lif", "hidden": [12], "population": 2},
        "learning": {"epochs": 1, "batch_size": 16, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="session")
def finished_folds(
    fold_choices: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> FoldStudy:
    """Three folds by recording, finished."""
    study = FoldStudy.open(tmp_path_factory.mktemp("folds"), fold_choices, threads=1)
    finish_here(study)
    return study
