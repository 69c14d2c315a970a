"""The checkpoint and the model file: written and read back; damaged files are errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")
pytest.importorskip("lightning")

from nwavesdk.data import Standard
from nwavesdk.train import BrokenRunError, Run, RunConfig
from nwavesdk.train.checkpoint import AtomicCheckpointIO, load_model, save_model
from train.runs import stop_after

STANDARD = Standard(np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32))


def test_weights_and_scale_are_read_back(tmp_path: Path) -> None:
    net, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_model(tmp_path / "model.safetensors", net, STANDARD)
    standard = load_model(tmp_path / "model.safetensors", other)
    assert torch.equal(net.weight, other.weight)
    np.testing.assert_array_equal(standard.mean, STANDARD.mean)
    np.testing.assert_array_equal(standard.deviation, STANDARD.deviation)


def test_missing_damaged_and_foreign_models_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(
        ValueError, match=r"model\.safetensors does not exist: the run has not finished"
    ):
        load_model(path, nn.Linear(2, 3))
    save_model(path, nn.Linear(2, 3), STANDARD)
    with pytest.raises(
        ValueError, match=r"does not hold the weights of this run's network.*size mismatch"
    ):
        load_model(path, nn.Linear(2, 4))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_model(path, nn.Linear(2, 3))


def test_a_checkpoint_that_would_run_code_is_rejected(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(BrokenRunError, match="Weights only load failed"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def checkpoint(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of a run that breaks off after one epoch."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    net, learning = {"hidden": [4], "population": 1}, {"epochs": 2, "batch_size": 8}
    choices = {
        "data": {"source": str(tones), "bands": 4, "hold": 1},
        "net": net,
        "learning": learning,
    }
    stop_after(Run.new(folder, RunConfig.of({**choices, "machine": {"accelerator": "cpu"}})), 1)
    return (folder / "checkpoint.ckpt").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_an_error(
    checkpoint: bytes, share: float, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint[: int(share * len(checkpoint))])
    with pytest.raises(
        BrokenRunError,
        match=r"checkpoint\.ckpt is damaged or not the checkpoint of a run .*begin a new run",
    ):
        AtomicCheckpointIO().load_checkpoint(file)


def test_a_checkpoint_with_a_wrong_bit_or_wrong_content_is_an_error(
    checkpoint: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint)
    state = AtomicCheckpointIO().load_checkpoint(file)["state_dict"]
    weights = state["net.0.weight"].numpy().tobytes()
    place = checkpoint.index(weights) + len(weights) // 2
    for content in (
        checkpoint[:place] + bytes([checkpoint[place] ^ 1]) + checkpoint[place + 1 :],
        b"\x80\x02.",
    ):
        file.write_bytes(content)
        with pytest.raises(BrokenRunError, match="is damaged"):
            AtomicCheckpointIO().load_checkpoint(file)
    torch.save({"weights": torch.zeros(2)}, file)
    with pytest.raises(
        BrokenRunError, match="epoch, global_step, loops, optimizer_states, state_dict missing"
    ):
        AtomicCheckpointIO().load_checkpoint(file)
    with pytest.raises(FileNotFoundError):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "none.ckpt")
