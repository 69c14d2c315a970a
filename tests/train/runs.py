"""Small runs for tests: their choices, runs that break off, and what they leave behind."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from nwavesdk.train import CompletedConfig, Run, TrainedRun

# What a user chooses for a run, by section and field.
Choices = dict[str, Any]


@contextmanager
def no_pictures() -> Iterator[None]:
    """Draw no pictures of runs, which take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("matplotlib"):
            patch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
        yield


def small_choices(tones: Path) -> Choices:
    """A run that takes a second: few bands, few neurons, few epochs."""
    return {
        "seed": 3,
        # A tone does not change in time: nothing of it is left if it is centered.
        "data": {
            **{"source": str(tones), "bands": 12, "hold": 1, "center": False},
            "augment": {"shift": 0.1},
        },
        "net": {"name": "lif", "hidden": [24], "population": 3},
        "learning": {"epochs": 3, "batch_size": 8, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


def patient_choices(tones: Path) -> Choices:
    """A run with a high learning rate that its patience ends long before 40 epochs."""
    choices = small_choices(tones)
    choices["learning"] |= {"epochs": 40, "patience": 2, "rate": 0.2}
    return choices


def chip_choices(tones: Path, profile: str = "h1v2", training: str = "mismatch") -> Choices:
    """A run for a chip that takes a second or two."""
    return {
        "seed": 3,
        "data": {"source": str(tones), "sample_rate": 8000, "duration": 0.3},
        "net": {"name": "chip", "hidden": [10], "population": 3, "dt": 5e-3, "sharpness": 100},
        "chip": {"profile": profile, "training": training},
        "learning": {"epochs": 3, "batch_size": 8, "rate": 0.05},
        "machine": {"accelerator": "cpu"},
    }


def write_untrained(folder: Path, choices: Choices) -> None:
    """Write a run with the model of its initial weights, which takes no training."""
    from nwavesdk.train import Run, RunConfig
    from nwavesdk.train.fit.model_file import save_model

    run = Run.new(folder, RunConfig.of(choices))
    net = run.network(deployed=True)
    save_model(run.folder.model, net, run.data.standard, run.folder.identity)


def load_detector(folder: Path, *_: object, **__: object) -> "TrainedRun":
    """A run of `tones` with a decision, whose detections have the names `low` and `middle`."""
    from nwavesdk.train.apply.decision import Decision
    from nwavesdk.train.apply.trained import load

    run = load(folder)
    decision = Decision(
        events=("low", "middle"),
        step_seconds=run.step_seconds,
        smoothing=0.02,
        threshold=-0.69,
        release=-0.7,
        dead_time=0.2,
    )
    return replace(run, decision=decision)


class StopError(Exception):
    """What interrupts the run."""


def stop_after(run: "Run", epochs: int) -> None:
    """Train and break off after the checkpoint of an epoch, as an interrupt would."""

    def stop(row: Mapping[str, float]) -> None:
        if row["epoch"] == epochs:
            raise StopError

    with pytest.raises(StopError):
        run.train(stop)


def assert_resumes(run: "Run", epochs: int, whole: Path) -> None:
    """Test that a run that breaks off and continues has the weights of a whole run."""
    from nwavesdk.train import Run

    stop_after(run, epochs)
    Run.open(run.folder.path).train()
    assert model_bytes(run.folder.path) == model_bytes(whole)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run."""
    return dict(torch.load(folder / "checkpoint.ckpt", weights_only=True))


def model_bytes(folder: Path) -> bytes:
    """The scale and the weights of a run, without the header, whose seal names the run."""
    content = (folder / "model.safetensors").read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def metrics(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def metrics_without_time(folder: Path) -> list[dict[str, str]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in metrics(folder)
    ]


def difference(
    config: "CompletedConfig", other: "CompletedConfig", ignored: Iterable[str] = ()
) -> str | None:
    """The name of the first field in which two configs differ, or None."""
    from nwavesdk.internal.model import differences

    names = [name for name, _, _ in differences(config.model_dump(), other.model_dump())]
    is_ignored = tuple(f"{name}." for name in ignored)
    return next((name for name in names if not f"{name}.".startswith(is_ignored)), None)
