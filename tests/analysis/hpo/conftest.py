"""The small config that the tests of this folder share."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def config(tones: Path) -> dict[str, Any]:
    """The config of a trial that takes a fraction of a second."""
    return {
        "data.data_parent": str(tones),
        "data.sample_rate": 8000,
        "data.recording_duration_s": 0.2,
        "data.sim_time_s": 5e-3,
        "data.batch_size": 16,
        "model.hidden": 8,
        "optim.lr": 0.02,
        "trainer.epochs": 2,
    }
