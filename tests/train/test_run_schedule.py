"""A run whose surrogate changes: its weights differ, and it resumes to the bit."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.train import Run
from train.runs import model_bytes, stop_after


@pytest.mark.parametrize(
    ("form", "epochs"),
    [
        ("exponential(slope, 2, 40)", 3),
        ("plateau(slope, 2, 40, patience=1, stages=2)", 4),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(
    form: str,
    epochs: int,
    choices: dict[str, Any],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values: list[float] = []
    step = SurrogateAnnealing.step

    def record_value(
        self: SurrogateAnnealing, net: Any, epoch: int, metric: float | None = None
    ) -> None:
        step(self, net, epoch, None if metric is None else 1.0)  # no improvement after the first
        values.append(self.value)

    monkeypatch.setattr(SurrogateAnnealing, "step", record_value)
    choices["learning"] |= {"epochs": epochs, "surrogate_schedule": form}
    Run.new(tmp_path / "whole", choices).train()
    expected = list(values)
    values.clear()
    stop_after(Run.new(tmp_path / "broken", choices), 2)
    Run.open(tmp_path / "broken").train()
    assert values == expected
    assert expected[0] == 2
    assert expected[-1] == 40
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
    # The shared run is the same without a schedule.
    assert model_bytes(tmp_path / "whole") != model_bytes(finished)
    assert "slope from 2 to 40" in (tmp_path / "whole" / "report.html").read_text()
