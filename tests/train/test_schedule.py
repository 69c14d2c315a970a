"""A run whose surrogate moves: it learns otherwise, and a killed one ends with the same weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from safetensors.torch import load_file

from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.train import Run, RunConfig
from train.interrupt import stop_after


@pytest.mark.parametrize(
    "form", ["exponential(slope, 2, 40)", "plateau(slope, 2, 40, patience=1, stages=2)"]
)
def test_a_killed_run_ends_with_the_same_weights(
    form: str, choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[float] = []
    step = SurrogateAnnealing.step

    def watched(
        self: SurrogateAnnealing, net: Any, epoch: int, metric: float | None = None
    ) -> None:
        step(self, net, epoch, metric if metric is None else 1.0)  # no gain after the first
        values.append(self.value)

    monkeypatch.setattr(SurrogateAnnealing, "step", watched)
    choices["learning"] |= {"epochs": 4, "surrogate_schedule": form}
    Run.new(tmp_path / "whole", RunConfig.of(choices)).train()
    expected, values[:] = list(values), []
    stop_after(Run.new(tmp_path / "broken", RunConfig.of(choices)), 2)
    Run.open(tmp_path / "broken").train()
    assert values == expected
    assert expected[0] == 2
    assert expected[-1] == 40
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for name, value in a.items():
        assert torch.equal(value, b[name]), name
    assert "slope from 2 to 40" in (tmp_path / "whole" / "report.html").read_text()


def test_it_moves_what_is_learnt(choices: dict[str, Any], tmp_path: Path) -> None:
    weights = []
    for schedule in (None, "linear(slope, 25, 1)"):
        choices["learning"] |= {"epochs": 2, "surrogate_schedule": schedule}
        Run.new(tmp_path / str(schedule is None), RunConfig.of(choices)).train()
        weights.append((tmp_path / str(schedule is None) / "model.safetensors").read_bytes())
    assert weights[0] != weights[1]
