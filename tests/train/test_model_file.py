from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")
pytest.importorskip("lightning")

from nwavesdk.data import Standard
from nwavesdk.train.checkpoint import load_model, save_model

STANDARD = Standard(np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32))


def test_weights_and_scale_come_back(tmp_path: Path) -> None:
    net, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_model(tmp_path / "model.safetensors", net, STANDARD)
    standard = load_model(tmp_path / "model.safetensors", other)
    assert torch.equal(net.weight, other.weight)
    np.testing.assert_array_equal(standard.mean, STANDARD.mean)
    np.testing.assert_array_equal(standard.deviation, STANDARD.deviation)


def test_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(
        ValueError, match=r"model\.safetensors is not there: the run has not finished"
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
