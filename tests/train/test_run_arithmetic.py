"""A run computes with the threads and crossovers with which it began."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.solvers.sparse import crossover
from nwavesdk.solvers.sparse import product as sparse
from nwavesdk.solvers.sparse.crossover import CrossoverTable
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.config.facts import ArithmeticConfig
from nwavesdk.train.fit.arithmetic import current_arithmetic, use_arithmetic
from train.runs import model_bytes, stop_after

ALWAYS, NEVER = (
    CrossoverTable((8,), (8,), (8,), *[(((density,),),)] * 3) for density in (1.0, 0.0)
)


@pytest.fixture(autouse=True)
def _restore_settings():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    crossover.use_table(None)


def test_a_run_records_its_arithmetic_and_restores_the_settings(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    crossover.use_table(ALWAYS)
    run = Run.new(tmp_path / "run", choices)
    recorded = RunFolder(tmp_path / "run").read_config().arithmetic
    assert recorded == run.config.arithmetic == current_arithmetic(recorded.threads)
    assert recorded.table() == ALWAYS
    text = (tmp_path / "run" / "config.json").read_text()
    assert "[ 1.0 ]" in text
    assert json.loads(text)["arithmetic"]["crossovers"]["forward"] == [[[1.0]]]
    crossover.use_table(NEVER)
    torch.set_num_threads(2)
    with use_arithmetic(recorded):
        assert crossover.active_table() == ALWAYS
        assert torch.get_num_threads() == recorded.threads == 1
    assert crossover.active_table() == NEVER
    assert torch.get_num_threads() == 2
    with use_arithmetic(None):
        assert crossover.active_table() == NEVER


def test_chosen_threads_are_those_of_the_run(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = torch.get_num_threads()
    monkeypatch.setattr("os.cpu_count", lambda: current + 1)
    chosen = Run.prepare(tmp_path, {**choices, "machine": {"threads": current + 1}})
    assert chosen.config.arithmetic.threads == current + 1
    with use_arithmetic(chosen.config.arithmetic):
        assert torch.get_num_threads() == current + 1


def test_a_small_net_takes_one_thread_and_a_large_one_all(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    small = Run.prepare(tmp_path, choices).config
    assert small.arithmetic.threads == small.machine.threads == 1
    small.check_same({"machine": {"threads": 1}})
    with pytest.raises(ValueError, match="machine.threads: .*, expected 1:"):
        small.check_same({"machine": {"threads": 2}})
    monkeypatch.setattr("nwavesdk.train.run.SMALL_BATCH", 1)
    assert Run.prepare(tmp_path, choices).config.machine.threads == 2


def test_a_resumed_run_keeps_its_table_and_threads(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops after an epoch, and continues where table and number of threads are others."""
    crossover.use_table(ALWAYS)
    choices = {**choices, "machine": {"threads": 2}}
    Run.new(tmp_path / "whole", choices).train()
    stop_after(Run.new(tmp_path / "broken", choices), 1)

    table = tmp_path / "table.toml"
    table.write_text(NEVER.toml())
    monkeypatch.setenv("NWAVESDK_CROSSOVER", str(table))
    crossover.use_table(None)
    torch.set_num_threads(1)
    seen: set[tuple[int, bool]] = set()
    gathered: list[bool] = []
    product = sparse.product_within
    gather = sparse.gather_product

    def record_product(x: Any, weight: Any, limits: Any, *others: Any) -> Any:
        seen.add((torch.get_num_threads(), limits == (x.numel(),) * 3))
        return product(x, weight, limits, *others)

    def record_gather(*arguments: Any) -> Any:
        gathered.append(True)
        return gather(*arguments)

    monkeypatch.setattr("nwavesdk.layers.synapse.product_within", record_product)
    monkeypatch.setattr(sparse, "gather_product", record_gather)
    run = Run.open(tmp_path / "broken")
    run.train()
    assert gathered
    assert seen == {(run.config.arithmetic.threads, True)}
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
    assert crossover.active_table() == NEVER
    gathered.clear()
    Run.open(tmp_path / "broken").test()
    assert gathered


def test_more_threads_than_cores_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    torch.set_num_threads(2)
    with pytest.warns(UserWarning, match="began with 3 threads, this machine has 2 cores"):  # noqa: SIM117
        with use_arithmetic(ArithmeticConfig(threads=3, crossovers=NEVER.content())):
            assert torch.get_num_threads() == 3
