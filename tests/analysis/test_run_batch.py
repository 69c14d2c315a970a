"""The weights and the batch of a run that has begun, is broken off, or is finished."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.analysis import examine_recording
from nwavesdk.analysis.run_batch import RunBatch
from nwavesdk.analysis.slopes.report import SlopeReport
from nwavesdk.train import Run, RunConfig
from nwavesdk.train.fit.network import sample_config
from nwavesdk.train.fit.tasks import StepLabels
from train.runs import Choices, stop_after


@pytest.fixture
def choices(tones: Path, own_cache: None) -> Choices:  # noqa: ARG001
    """A run for a chip with mismatch, annealed signs and dropout."""
    return {
        "seed": 3,
        "data": {"source": str(tones), "sample_rate": 8000, "duration": 0.3},
        "net": {
            "name": "chip",
            "hidden": [10],
            "population": 3,
            "dt": 5e-3,
            "dropout": 0.3,
            "sharpness": 100,
        },
        "chip": {"profile": "h1v1"},
        "learning": {"epochs": 3, "batch_size": 8, "rate": 0.05},
        "machine": {"accelerator": "cpu"},
    }


def weights(batch: RunBatch) -> list[torch.Tensor]:
    return [
        value.clone() for name, value in batch.net.state_dict().items() if name.endswith("weight")
    ]


def test_weights_are_the_latest_and_the_batch_stays_the_same(
    choices: Choices, tmp_path: Path
) -> None:
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    begun = RunBatch.open(tmp_path / "run")
    assert begun.weights == "initial"
    assert begun.recordings.x.shape == (8, 60, 16)
    assert not begun.net.training
    names = {"1": "front end (1)", "4": "hidden 1 (4)", "7": "output (7)"}
    assert begun.layer_names([*names]) == names
    other = replace(begun, task=StepLabels(sample_config("lif", (16,), 2, task="labels")))
    assert [*other.layer_names(["1", "4"]).values()] == ["front end (1)", "hidden 1 (4)"]

    stop_after(run, 1)
    broken = RunBatch.open(tmp_path / "run")
    assert broken.weights == "checkpoint"
    assert any(not torch.equal(a, b) for a, b in zip(weights(begun), weights(broken), strict=True))

    Run.open(tmp_path / "run").train()
    finished = RunBatch.open(tmp_path / "run", recordings=5)
    assert finished.weights == "trained"
    assert torch.equal(finished.recordings.x, begun.recordings.x[:5])

    again = RunBatch.open(tmp_path / "run" / "config.json")
    assert all(torch.equal(a, b) for a, b in zip(weights(begun), weights(again), strict=True))

    for batch in (begun, broken, finished):
        first, second = (SlopeReport.of(batch).as_json() | {"seconds": 0} for _ in range(2))
        assert first == second, "a report must use the chip and the batch of the run"
        recorded = batch.record_pass()
        assert len(examine_recording(recorded.recording, dict(recorded.gradients())).layers) == 3


def test_only_training_recordings_are_used(choices: Choices, tmp_path: Path) -> None:
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    batch = RunBatch.open(tmp_path / "run", recordings=1000)
    assert len(batch.recordings.x) == len(run.data.train)
    train = run.data.train.whole().x
    assert torch.equal(
        batch.recordings.x.flatten(1).sum(1).sort().values, train.flatten(1).sum(1).sort().values
    )
