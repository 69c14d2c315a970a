"""The model file: written and read back; damaged files are errors."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("safetensors")
pytest.importorskip("lightning")

from safetensors.torch import load_file, save

from nwavesdk.data import Standard
from nwavesdk.internal.files import FileError
from nwavesdk.internal.formats import UNSEALED, seal
from nwavesdk.train.fit.model_file import load_model, save_model

STANDARD = Standard(np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32))


def test_weights_and_scale_are_read_back(tmp_path: Path) -> None:
    net, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_model(tmp_path / "model.safetensors", net, STANDARD)
    standard, targets = load_model(tmp_path / "model.safetensors", other)
    assert targets is None
    assert torch.equal(net.weight, other.weight)
    np.testing.assert_array_equal(standard.mean, STANDARD.mean)
    np.testing.assert_array_equal(standard.deviation, STANDARD.deviation)


def test_missing_damaged_and_foreign_models_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(
        FileError, match=r"model\.safetensors does not exist: the run has not finished"
    ):
        load_model(path, nn.Linear(2, 3))
    save_model(path, nn.Linear(2, 3), STANDARD)
    with pytest.raises(
        FileError,
        match=r"not hold the weights of this run.s network \(.*size mismatch for weight.*remove",
    ):
        load_model(path, nn.Linear(2, 4))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(FileError, match="is damaged"):
        load_model(path, nn.Linear(2, 3))
    os.mkfifo(path.with_name("pipe"))
    with pytest.raises(FileError, match="is a pipe"):
        load_model(path.with_name("pipe"), nn.Linear(2, 3))


def test_a_model_belongs_to_its_run(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    net = nn.Linear(2, 3)
    save_model(path, net, STANDARD, owner="one run")
    load_model(path, net, owner="one run")
    for owner in ("", "another run"):
        with pytest.raises(FileError, match=r"is damaged.* \(its checksum is wrong\): remove it"):
            load_model(path, net, owner=owner)


def test_every_changed_bit_of_a_model_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, nn.Linear(2, 3), STANDARD)
    content = path.read_bytes()
    net = nn.Linear(2, 3)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=r"model\.safetensors .*: remove it; `nwave train"):
            load_model(path, net)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("net.weight", torch.zeros(2, 3), "size mismatch for weight"),
        ("net.more", torch.zeros(1), r"Unexpected key\(s\) in state_dict: .more"),
        ("net.weight", None, r"Missing key\(s\) in state_dict: .weight"),
        ("standard.deviation", None, r"standard\.deviation"),
    ],
)
def test_a_model_of_another_net_is_an_error(
    name: str, value: torch.Tensor | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    net = nn.Linear(2, 3)
    save_model(path, net, STANDARD)
    tensors = load_file(path)
    tensors[name] = torch.zeros(1) if value is None else value
    if value is None:
        del tensors[name]
    path.write_bytes(seal(save(tensors, {"sha256": UNSEALED})))
    with pytest.raises(FileError, match=words):
        load_model(path, net)
