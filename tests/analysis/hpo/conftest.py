"""What the tests of this folder share: a small config, and trials that run in this process."""

from pathlib import Path
from typing import Any

import pytest
import torch


class Here:
    """Runs trials in this process, one after another, in place of a Ray cluster."""

    jobs = 1

    def __init__(self, *_: Any, **__: Any) -> None:
        self.threads = torch.get_num_threads()

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.threads)

    def call(self, work: Any, job: Any, on_report: Any) -> Any:
        return work(job, on_report)

    def stop(self) -> None:
        """Nothing to stop."""


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
