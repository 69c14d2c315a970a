"""A run computes with the threads with which it began."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.layers import DenseSynapse
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.fit.seeds import use_threads
from train.runs import model_bytes, stop_after


@pytest.fixture(autouse=True)
def _restore_settings():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_run_records_its_threads_and_restores_the_setting(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    run = Run.new(tmp_path / "run", choices)
    recorded = RunFolder(tmp_path / "run").read_config().machine.threads
    assert recorded == run.config.machine.threads == 1
    torch.set_num_threads(2)
    with use_threads(recorded):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_chosen_threads_are_those_of_the_run(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = torch.get_num_threads()
    monkeypatch.setattr("os.cpu_count", lambda: current + 1)
    chosen = Run.prepare(tmp_path, {**choices, "machine": {"threads": current + 1}})
    assert chosen.config.machine.threads == current + 1
    with use_threads(chosen.config.machine.threads):
        assert torch.get_num_threads() == current + 1


def test_a_small_net_takes_one_thread_and_a_large_one_all(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    small = Run.prepare(tmp_path, choices).config
    assert small.machine.threads == 1
    small.check_same({"machine": {"threads": 1}})
    with pytest.raises(ValueError, match="machine.threads: .*, expected 1:"):
        small.check_same({"machine": {"threads": 2}})
    monkeypatch.setattr("nwavesdk.train.run.SMALL_BATCH", 1)
    assert Run.prepare(tmp_path, choices).config.machine.threads == 2


def test_a_resumed_run_keeps_its_threads(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops after an epoch, and continues where the number of threads differs."""
    choices = {**choices, "machine": {"threads": 2}}
    Run.new(tmp_path / "whole", choices).train()
    stop_after(Run.new(tmp_path / "broken", choices), 1)

    torch.set_num_threads(1)
    threads: set[int] = set()
    forward = DenseSynapse.forward

    def record(synapse: DenseSynapse, spk: torch.Tensor) -> torch.Tensor:
        threads.add(torch.get_num_threads())
        return forward(synapse, spk)

    monkeypatch.setattr(DenseSynapse, "forward", record)
    Run.open(tmp_path / "broken").train()
    assert threads == {2}
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
