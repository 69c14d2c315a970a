"""Data-parallel runs: as one process, with a lost process, and on two nodes of torchrun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from safetensors.torch import load_file

from nwavesdk.train.config.learning import MachineConfig
from nwavesdk.train.fit.machine import trainer_of
from tolerances import GRADIENT, assert_close

PROGRAM = str(Path(__file__).parents[1] / "command_line.py")
COMMAND = (sys.executable, PROGRAM)
WORDS = (
    *("--accelerator", "cpu", "--threads", "1", "--dropout", "0", "--net", "lif"),
    *("--hidden", "16"),
    *("--epochs", "2", "--bands", "12", "--hold", "1", "--population", "1"),
    # Hidden layers fire above this bound, whose cost is of the rates over all processes.
    *("--most-spikes", "0.01", "--spike-cost", "5"),
)
SECONDS = 900


def words_of(tones: Path, out: Path, *more: str) -> list[str]:
    return ["train", "--out", str(out), "--data", str(tones), *WORDS, *more]


def train(tones: Path, out: Path, *more: str) -> None:
    """Run the command to its end."""
    result = subprocess.run(
        [*COMMAND, *words_of(tones, out, *more)], capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, result.stderr[-2000:]


def assert_same_weights(got: Path, expected: Path, but: str = "") -> None:
    weights = load_file(expected / "model.safetensors")
    for name, value in load_file(got / "model.safetensors").items():
        if name == but:
            continue
        if value.is_floating_point():
            assert_close(value, weights[name], GRADIENT, name)
        else:  # a count
            assert torch.equal(value, weights[name])


@pytest.fixture(scope="module")
def two_processes(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "run"
    train(tones, folder, "--batch-size", "8", "--devices", "2")
    return folder


@pytest.mark.slow
def test_two_processes_train_to_the_weights_of_one(
    two_processes: Path, tones: Path, tmp_path: Path
) -> None:
    train(tones, tmp_path / "one", "--batch-size", "16")
    assert_same_weights(two_processes, tmp_path / "one")


@pytest.mark.slow
def test_batch_norms_of_two_processes_are_those_of_one(tones: Path, tmp_path: Path) -> None:
    page = Path(__file__).parents[1] / "norm_net.py"
    more = ("--net", f"{page}:build", "--augment", "none")
    words = ["--accelerator", "cpu", "--threads", "1", "--epochs", "1", "--bands", "12", *more]
    for name, size in {"two": ("8", "--devices", "2"), "one": ("16",)}.items():
        out = ("train", "--out", str(tmp_path / name), "--data", str(tones))
        command = [*COMMAND, *out, *words, "--batch-size", *size]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    # Weights before a norm have gradients near 0, of which AdamW makes steps of full size, rounding
    # included: here they differ by 3e-4. tests/layers/test_process_norms.py has their gradients.
    assert_same_weights(tmp_path / "two", tmp_path / "one", but="net.net.0.weight")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "other"])
def test_a_lost_process_ends_the_run_which_resumes(
    victim: str, two_processes: Path, tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = words_of(tones, out, "--batch-size", "8", "--devices", "2")
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True)
    other = wait_for(lambda: children_of(process.pid))[0]
    wait_for((out / "checkpoint.ckpt").exists)
    os.kill(process.pid if victim == "first" else other, signal.SIGKILL)
    _, errors = process.communicate(timeout=SECONDS)
    if victim == "other":
        # Lightning kills the first process if it does not notice the loss before.
        assert process.returncode in (2, -signal.SIGKILL)
        assert "another process of the run ended" in errors or "terminated with code -9" in errors
    wait_for(lambda: not Path(f"/proc/{other}").exists())
    train(tones, out, "--batch-size", "8", "--devices", "2", "--resume")
    assert_same_weights(out, two_processes)


@pytest.mark.slow
def test_two_nodes_of_torchrun_train_to_the_weights_of_two_processes(
    two_processes: Path, tones: Path, tmp_path: Path
) -> None:
    words = words_of(tones, tmp_path / "run", "--batch-size", "8", "--nodes", "2")
    agents = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
                *("--nproc-per-node", "1", "--node-rank", str(rank)),
                *("--master-addr", "127.0.0.1", "--master-port", "29517"),
                *(PROGRAM, *words),
            ]
        )
        for rank in range(2)
    ]
    assert [agent.wait(SECONDS) for agent in agents] == [0, 0]
    assert_same_weights(tmp_path / "run", two_processes)


def children_of(pid: int) -> list[int]:
    files = list(Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for file in files for child in file.read_text().split()]


def wait_for(condition: Any) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_processes_of_torchrun_must_be_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"nodes: got 2, but torchrun has not started this"):
        trainer_of(MachineConfig(nodes=2), logger=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=r"devices=3.*num_nodes=1.*not match the world size \(4\)"):
        trainer_of(MachineConfig(devices=3), logger=False)
